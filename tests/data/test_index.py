import json
import tarfile

import pytest

from audiosr.data.index import Index, members
from audiosr.errors import DataError
from tests.data.conftest import add_member

pytestmark = pytest.mark.smoke


def test_missing_shards_are_reported_with_the_commands_that_make_them(tmp_path):
    with pytest.raises(DataError) as raised:
        Index.load(tmp_path / "none")

    assert str(raised.value) == (
        f"no shards at {tmp_path / 'none'}: run `make demo` or "
        f"`python -m data_prep folder --source DIR --out {tmp_path / 'none'}`"
    )


def test_saved_index_comes_back_equal(shards):
    index = Index.load(shards)
    index.save()

    assert Index.load(shards) == index
    assert index.clips("train") == 12
    assert index.clips("test") == 0
    assert list(index.domains("train")) == ["effects", "music", "speech"]


def test_split_without_clips_is_reported(shards):
    with pytest.raises(DataError, match="no clips for split test; it holds train, valid"):
        Index.load(shards).domains("test")


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"schema": 99}, "schema 99"),
        ({"splits": {"train": {"speech": [{"name": "a.tar"}]}}}, "not an index"),
        ({"splits": 3}, "not an index"),
    ],
)
def test_index_that_is_not_ours_is_refused(shards, change, said):
    path = shards / "index.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | change))

    with pytest.raises(DataError, match=said):
        Index.load(shards)


@pytest.mark.parametrize("name", ["/etc/passwd", "../other.tar", "train/../../other.tar"])
def test_shard_outside_the_folder_is_refused(shards, name):
    path = shards / "index.json"
    content = json.loads(path.read_text())
    content["splits"]["train"]["speech"][0]["name"] = name
    path.write_text(json.dumps(content))

    with pytest.raises(DataError, match="not a path below the folder"):
        Index.load(shards)


def test_half_written_index_is_reported(shards):
    path = shards / "index.json"
    path.write_text(path.read_text()[:100])

    with pytest.raises(DataError, match="cannot be read"):
        Index.load(shards)


def test_only_audio_with_json_counts_as_a_clip(tmp_path):
    path = tmp_path / "mixed.tar"
    with tarfile.open(path, "w") as tar:
        for name in ("a.flac", "a.json", "b.pkl", "b.json", "c.flac", "d.npy", "e.pth", "f.WAV"):
            add_member(tar, name, b"x" * 10)
        link = tarfile.TarInfo("g.flac")
        link.type, link.linkname = tarfile.SYMTYPE, "/etc/passwd"
        tar.addfile(link)
        add_member(tar, "g.json", b"{}")
        add_member(tar, "../../h.ogg", b"y" * 10)
        add_member(tar, "../../h.json", b"{}")

    found = members(path)

    assert [member.key for member in found] == ["a", "../../h"]
    content = path.read_bytes()
    offset, size = found[1].audio
    assert content[offset : offset + size] == b"y" * 10


def test_shard_cut_short_gives_the_clips_before_the_cut(shards):
    path = shards / "train" / "speech-000000.tar"
    whole = members(path)
    content = path.read_bytes()
    path.write_bytes(content[: whole[1].audio[0] + 100])

    assert members(path) == whole[:1]


def test_file_that_is_no_tar_holds_no_clip(tmp_path):
    path = tmp_path / "noise.tar"
    path.write_bytes(bytes(range(256)) * 100)

    assert members(path) == []
