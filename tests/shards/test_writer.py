"""Does what is written depend on the clips alone, and say all that was known of them?"""

import io
import math
import pickle
import tarfile

import pytest

from audiosr.shards.ledger import BadClip
from audiosr.shards.meta import Meta
from audiosr.shards.writer import EncodedClip, ShardWriter

META = Meta(source="Ann Æ\udcff", domain="speech", seconds=1.5, clipped_share=0.0, rate=48000)


@pytest.mark.parametrize("sizes", [(0,), (511, 512, 513), (20_000, 7)])
def test_shard_is_a_plain_ustar_archive_without_dates_or_owners(tmp_path, sizes):
    expected = io.BytesIO()
    with tarfile.open(fileobj=expected, mode="w", format=tarfile.USTAR_FORMAT) as tar:
        for number, size in enumerate(sizes):
            for suffix, content in ((".flac", bytes(size)), (".json", META.dump())):
                entry = tarfile.TarInfo(f"k{number}{suffix}")
                entry.size, entry.mode = len(content), 0o644
                tar.addfile(entry, io.BytesIO(content))

    with ShardWriter(tmp_path, "train/speech", limit_bytes=math.inf) as writer:
        for number, size in enumerate(sizes):
            writer.write(EncodedClip(f"k{number}", bytes(size), META))
        shard = writer.close()

    assert shard is not None
    assert (tmp_path / shard.name).read_bytes() == expected.getvalue()


def test_what_is_written_comes_back_and_what_was_not_known_stays_unsaid():
    sent = pickle.loads(pickle.dumps(META))  # as from a process that encodes

    assert Meta.parse(sent.dump()).dump() == META.dump()
    assert sent.told().keys() == {"source", "domain", "seconds", "rate", "clipped_share"}


def test_json_of_others_says_what_it_can():
    meta = Meta.parse(b'{"text": "hello", "source": {"url": 1}, "licence": null, "seconds": 2}')

    assert meta.told() == {"seconds": 2.0}


@pytest.mark.parametrize(
    "text", ["", "[]", '{"sha256": 3}', '{"rate": "fast"}', '{"seconds": NaN}', '{"rate": []}']
)
def test_json_that_says_what_cannot_be_is_refused(text):
    with pytest.raises(BadClip, match="says what cannot be"):
        Meta.parse(text.encode())
