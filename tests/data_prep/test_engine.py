import hashlib
import json
from pathlib import Path

import numpy as np
import pytest
import soundfile
from webdataset.compat import WebDataset

from audiosr.audio.io import read_audio, resample
from audiosr.errors import DataError, UsageError
from audiosr.shards.index import Index
from audiosr.shards.reader import evaluation_clips
from data_prep.clips import EncodedClip, Item, Settings, cut
from tests.data_prep.conftest import contents


def dropped(root: Path) -> dict[str, str]:
    """Name to reason of what was left out."""
    lines = (root / "dropped.jsonl").read_text().splitlines()
    return {entry["name"]: entry["reason"] for entry in map(json.loads, lines)}


def test_each_unusable_file_is_counted_and_listed_by_its_reason(mixed_corpus, prepared):
    index = prepared(mixed_corpus)

    assert dropped(index.root) == {
        "extra/outside.wav": "outside train, valid, test",
        "train/speech/ann__copy.wav": "duplicate",
        "train/speech/corrupt.flac": "broken",
        "train/speech/empty.wav": "broken",
        "train/speech/nan.wav": "broken",
        "train/speech/narrow.wav": "low bandwidth",
        "train/speech/short.wav": "too short",
        "train/speech/silent.wav": "silent",
        "train/speech/telephone.wav": "low bandwidth",
        "train/speech/text.wav": "broken",
    }
    assert index.drops == {
        "broken": 4,
        "duplicate": 1,
        "low bandwidth": 2,
        "outside train, valid, test": 1,
        "silent": 1,
        "too short": 1,
    }


def test_index_counts_what_the_shards_hold(mixed_corpus, prepared):
    index = prepared(mixed_corpus)

    assert {
        (s, d): [x.clips for x in shards]
        for s, ds in index.splits.items()
        for d, shards in ds.items()
    } == {
        ("test", "speech"): [1],
        ("valid", "speech"): [1],
        ("train", "music"): [3],
        ("train", "speech"): [2],
    }
    assert Index.load(index.root) == index
    for domains in index.splits.values():
        for shards in domains.values():
            for shard in shards:
                content = (index.root / shard.name).read_bytes()
                assert len(content) == shard.bytes
                assert hashlib.sha256(content).hexdigest() == shard.sha256


def test_content_found_twice_stays_in_the_evaluation_split(mixed_corpus, prepared):
    index = prepared(mixed_corpus)

    assert [clip.meta.source for clip in evaluation_clips(index.root, "test")] == ["dan"]


@pytest.mark.slow
def test_shards_are_the_same_for_any_number_of_workers(mixed_corpus, prepared):
    alone = prepared(mixed_corpus, "alone", workers=1)
    together = prepared(mixed_corpus, "together", workers=2)

    assert contents(alone.root) == contents(together.root)


def test_long_file_is_cut_without_seams(mixed_corpus, prepared):
    index = prepared(mixed_corpus)
    whole = resample(*read_audio(mixed_corpus / "train/music/bob/long.wav"), 48000)

    clips = [c for c in evaluation_clips(index.root, "train") if c.domain == "music"]

    assert [c.meta.seconds for c in clips] == pytest.approx([10.24, 10.24, 4.52])
    assert [c.meta.source_start for c in clips] == pytest.approx([0, 10.24, 20.48])
    joined = np.concatenate([c.wave for c in clips], axis=1)
    assert joined.shape == whole.shape
    assert np.abs(joined - whole).max() < 1e-4


def test_sixteen_bit_samples_come_through_unchanged(mixed_corpus, prepared):
    index = prepared(mixed_corpus)
    source, _ = soundfile.read(mixed_corpus / "train/speech/ann__b.flac", dtype="int16")

    clip = next(c for c in evaluation_clips(index.root, "train") if c.wave.shape[0] == 2)

    assert np.array_equal(np.round(clip.wave.T * 32768).astype(np.int16), source)


def test_samples_above_full_scale_are_turned_down_not_clipped(prepared, audio_file, noise):
    wave = 8 * noise(2)
    path = audio_file("loud/loud.wav", wave, subtype="FLOAT")

    (clip,) = evaluation_clips(prepared(path.parent).root, "train")

    gain = np.abs(clip.wave).max() / np.abs(wave).max()
    assert np.abs(clip.wave).max() < 1
    assert clip.wave == pytest.approx(gain * wave, abs=1e-6)


def test_clip_says_where_it_comes_from_and_what_was_measured(prepared, tmp_path, noise):
    path = tmp_path / "tagged" / "ann__a.flac"
    path.parent.mkdir()
    with soundfile.SoundFile(path, "w", 44100, 1) as file:
        file.license, file.copyright = "CC-BY-4.0", "Ann"
        file.write(noise(2, rate=44100)[0])

    (clip,) = evaluation_clips(prepared(path.parent).root, "train")

    names = ("bandwidth_hz", "loudness_lufs", "sha256", "samples_sha256")
    measured = {name: getattr(clip.meta, name) for name in names}
    assert clip.meta.told() == measured | {
        "source": "ann",
        "licence": "CC-BY-4.0",
        "copyright": "Ann",
        "domain": "tagged",
        "seconds": 2.0,
        "rate": 48000,
        "channels": 1,
        "source_rate": 44100,
        "source_file": "ann__a.flac",
        "source_start": 0.0,
        "clipped_share": 0.0,
    }
    assert 20500 < clip.bandwidth_hz < 22500
    assert len(measured["sha256"]) == 64


def test_loudness_follows_the_standard(tmp_path):
    # A 997 Hz sine at full scale measures -3.01 LUFS (ITU-R BS.1770-4), whatever its bandwidth.
    time = np.arange(96000) / 48000
    wave = 0.5 * np.sin(2 * np.pi * 997 * time)
    path = tmp_path / "sine.wav"
    soundfile.write(path, wave, 48000)
    settings = Settings(min_bandwidth=0)
    item = Item(path, "sine.wav", "train", "audio", "sine")

    (clip,) = cut(item, settings)

    assert isinstance(clip, EncodedClip)
    assert clip.meta.loudness_lufs == pytest.approx(-3.01 - 6.02, abs=0.05)


def test_shards_are_closed_at_the_limit(prepared, audio_file, noise):
    for seed in range(5):
        path = audio_file(f"five/{seed}.wav", noise(2, seed=seed), subtype="PCM_16")

    shards = prepared(path.parent, shard_mb=0.3).splits["train"]["five"]

    assert [shard.name for shard in shards] == [f"train/five-{n:06d}.tar" for n in range(3)]
    assert [shard.clips for shard in shards] == [2, 2, 1]


def test_the_webdataset_library_reads_the_shards(mixed_corpus, prepared):
    index = prepared(mixed_corpus)
    shards = [str(index.root / shard.name) for shard in index.splits["train"]["music"]]

    samples = list(WebDataset(shards, shardshuffle=False))

    assert [set(sample) >= {"flac", "json"} for sample in samples] == [True] * 3
    assert [json.loads(sample["json"])["sha256"] for sample in samples] == [
        hashlib.sha256(sample["flac"]).hexdigest() for sample in samples
    ]


def test_earlier_shards_are_replaced_only_when_asked(mixed_corpus, prepared):
    first = prepared(mixed_corpus)

    with pytest.raises(UsageError, match="holds shards already"):
        prepared(mixed_corpus)
    second = prepared(mixed_corpus, overwrite=True, clip_seconds=2, shard_mb=1)

    assert second.clips("train") > first.clips("train")
    held = {path.relative_to(second.root).as_posix() for path in second.root.rglob("*.tar")}
    assert held == {
        s.name for ds in second.splits.values() for shards in ds.values() for s in shards
    }


def test_failed_run_leaves_the_earlier_shards(mixed_corpus, prepared):
    before = contents(prepared(mixed_corpus).root)

    with pytest.raises(DataError, match=r"no clip is left .* too short"):
        prepared(mixed_corpus, overwrite=True, clip_seconds=30, min_seconds=26)

    assert contents(mixed_corpus.parent / "shards") == before


@pytest.mark.parametrize(
    "wrong",
    [{"clip_seconds": 0.5}, {"min_seconds": 11}, {"min_bandwidth": 24000}, {"shard_mb": 0}],
)
def test_impossible_settings_are_refused(wrong):
    with pytest.raises(UsageError, match=next(iter(wrong)).replace("_", "-")):
        Settings(**wrong)
