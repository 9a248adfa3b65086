"""Does training from streamed shards go on exactly, and does it take the shards of others?"""

import io
from collections import Counter
from pathlib import Path

import numpy as np
import pytest
import soundfile
import torch
from webdataset.writer import ShardWriter, TarWriter

from audiosr.errors import DataError
from audiosr.shards.corpus import Corpus
from audiosr.shards.stream import EndlessClips, StreamReader
from tests.data.conftest import module
from tests.data.test_processes import fit
from tests.shards.servers import serving


def keys(loader) -> list[list[str]]:
    return [batch["key"] for batch in loader]


def waves(loader) -> torch.Tensor:
    return torch.cat([batch["waveform"] for batch in loader])


@pytest.fixture
def others(tmp_path, chord) -> Path:
    """Shards that webdataset wrote: FLAC with JSON, and MP3 and WAV at 44.1 kHz without."""
    for split, first, count in (("train", 0, 12), ("val", 100, 4)):
        pattern = str(tmp_path / "others" / f"{split}-%03d.tar")
        (tmp_path / "others").mkdir(exist_ok=True)
        with ShardWriter(pattern, maxcount=4, verbose=0) as writer:
            for number in range(first, first + count):
                kind = ("flac", "mp3", "wav", "ogg")[number % 4]
                rate = 48000 if kind == "flac" else 44100
                buffer = io.BytesIO()
                soundfile.write(buffer, chord(1, rate=rate, seed=number).T, rate, format=kind)
                sample = {"__key__": f"{number:03d}", kind: buffer.getvalue(), "txt": "a caption"}
                if kind == "flac":
                    sample["json"] = {"caption": "a chord", "bandwidth_hz": 20_000, "rate": rate}
                writer.write(sample)
    return tmp_path / "others"


@pytest.mark.parametrize("workers", [0, pytest.param(2, marks=pytest.mark.slow)])
def test_resumed_stream_goes_on_with_the_very_next_batch(shards, workers):
    def run(**options) -> torch.Tensor:
        with serving(shards) as server:
            loader = module(server.url, num_workers=workers, shuffle=5, **options)
            loader = loader.train_dataloader()
            return torch.cat([waves(loader), waves(loader)])

    whole = run(steps_per_epoch=12)

    for start in (1, 5, 12, 17):
        rest = run(steps_per_epoch=12, start_step=start)
        assert torch.equal(rest[: len(whole) - 4 * start], whole[4 * start :])


def test_shards_before_the_place_of_a_resumed_run_are_not_fetched(shards):
    with serving(shards) as server:
        loader = module(server.url, batch_size=1, shuffle=2, domain_weights={"speech": 1})
        iterator = iter(loader.train_dataloader())
        first = next(iterator)["key"]
        fresh = len(server.shards())
        resumed = module(
            server.url, batch_size=1, shuffle=2, domain_weights={"speech": 1}, start_step=5000
        )
        next(iter(resumed.train_dataloader()))

        assert first
        assert len(server.shards()) - fresh <= 4


@pytest.mark.slow
@pytest.mark.parametrize("stopped", [4, 7])
def test_lightning_resumes_a_streamed_run(shards, tmp_path, stopped):
    with serving(shards) as server:
        whole = fit(server.url, tmp_path / "whole", 14)
        rest = fit(server.url, tmp_path / "rest", 14, tmp_path / "whole" / f"step={stopped}.ckpt")

    assert len(whole.seen) == 14
    assert rest.seen == whole.seen[stopped:]
    assert len(whole.validated) == 4 * 2


def test_every_part_sees_each_clip_as_often_as_the_others(shards):
    reader = StreamReader(Corpus.open(shards), "train")
    parts = [
        EndlessClips(reader, "speech", seed=1, part=part, parts=4, shuffle=3) for part in range(4)
    ]

    seen: Counter[str] = Counter()
    for part in parts:
        for _ in range(75):
            raw = part.peek(0)
            assert raw is not None
            seen[raw.key] += 1
            part.advance()

    assert set(seen) == {f"speech{n}" for n in range(5)}
    assert min(seen.values()) > 45


@pytest.mark.parametrize("shuffle", [1, 7, 64])
def test_endless_clips_start_anywhere(shards, shuffle):
    def some(start: int, count: int) -> list[str]:
        reader = StreamReader(Corpus.open(shards), "train")
        clips = EndlessClips(
            reader, "speech", seed=3, part=1, parts=2, shuffle=shuffle, start=start
        )
        found = [clips.peek(n) for n in range(count)]
        return [raw.key for raw in found if raw]

    whole = some(0, 120)

    assert all(some(start, 120 - start) == whole[start:] for start in (1, 13, 60, 119))
    assert Counter(whole[:60]).keys() == {f"speech{n}" for n in range(5)}


def test_workers_and_ranks_read_shards_of_their_own(make_shards, noise):
    root = make_shards({"train/speech": [noise(0.3, seed=n) for n in range(8)]}, per_shard=1)
    corpus = Corpus.open(str(root / "train" / "*.tar"))
    reader = StreamReader(corpus, "train")

    firsts = [
        {raw.key for n in range(2) if (raw := clips.peek(n))}
        for part in range(4)
        for clips in [EndlessClips(reader, "speech", seed=1, part=part, parts=4, shuffle=1)]
    ]

    assert len(set.union(*firsts)) == 8


@pytest.mark.parametrize("workers", [0, pytest.param(2, marks=pytest.mark.slow)])
def test_shards_of_others_train_from_a_pattern_and_from_a_url(others, workers):
    with serving(others) as server:
        roots = [
            others,
            f"{others}/{{train,val}}-*.tar",
            f"{server.url}/{{train-00{{0..2}},val-000}}.tar",
        ]
        found = []
        for root in roots:
            data = module(root, num_workers=workers, shuffle=8, domain="chords")
            found.append((waves(data.train_dataloader()), waves(data.val_dataloader())))

    assert all(torch.equal(a, b) for a, b in zip(found[0], found[1], strict=True))
    assert all(torch.equal(a, b) for a, b in zip(found[0], found[2], strict=True))
    assert (found[0][0].abs().amax(-1) > 0.4).all()


def test_clip_whose_bandwidth_nobody_tells_is_measured_where_it_matters(others):
    reader = StreamReader(Corpus.open(others), "train")
    (domain,) = reader.domains
    clips = [reader.read(domain, number) for number in range(12)]

    told = [clip.bandwidth_hz for clip in clips if clip]
    assert np.isnan(told).tolist() == [n % 4 != 0 for n in range(12)]
    chosen = module(others, shuffle=4, min_bandwidth_hz=19_000, steps_per_epoch=20)
    seen = {key for batch in keys(chosen.train_dataloader()) for key in batch}
    assert {"000", "004", "008"} <= seen
    with pytest.raises(DataError, match=r"reaches data.min_bandwidth_hz=23900: lower it"):
        keys(module(others, min_bandwidth_hz=23_900).train_dataloader())


def test_bad_clip_of_a_stream_leaves_the_order_of_the_others(make_shards, noise):
    clips = [noise(0.3, seed=n) for n in range(12)]
    options = {"max_bad_fraction": 0.2, "shuffle": 4, "steps_per_epoch": 20}
    orders = []
    for last in (noise(0.3, seed=99), b"bad"):
        root = make_shards({"train/speech": [*clips, last]}, per_shard=5)
        orders.append(keys(module(f"{root}/train/*.tar", **options).train_dataloader()))

    good, replaced = (np.array(order) for order in orders)

    assert (good != "speech12").any()
    assert (good == replaced)[good != "speech12"].all()
    assert "speech12" not in replaced


def test_too_many_bad_clips_of_a_stream_end_training_with_one_sentence(make_shards, noise):
    root = make_shards({"train/speech": [noise(0.3), *[b"bad%d" % n for n in range(20)]]})

    with pytest.raises(DataError, match=r"^11 of 1000 clips in .*cannot be used") as raised:
        keys(module(f"{root}/train/*.tar", steps_per_epoch=90).train_dataloader())

    assert "\n" not in str(raised.value)
    with serving(root) as server, pytest.raises(DataError, match=r"^1 of 21 clips in"):
        keys(module(server.url, steps_per_epoch=90).train_dataloader())


def test_shards_that_hold_no_clip_end_training(tmp_path):
    with TarWriter(str(tmp_path / "texts-000.tar")) as writer:
        writer.write({"__key__": "a", "txt": "no audio"})

    with pytest.raises(DataError, match=r"no clip of texts in .* can be used"):
        keys(module(tmp_path).train_dataloader())


@pytest.mark.parametrize("ranks", [1, 2, 3])
def test_streamed_validation_is_that_of_the_folder(shards, ranks):
    with serving(shards) as server:
        for rank in range(ranks):
            found = []
            for root in (shards, server.url):
                data = module(root, batch_size=2)
                data._rank = lambda rank=rank: (rank, ranks)
                loader = data.val_dataloader()
                found.append([*keys(loader), *keys(loader)])
            assert found[0] == found[1]
