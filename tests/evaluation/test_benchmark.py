import numpy as np
import pytest
import soundfile

from audiosr.audio import io
from audiosr.audio.io import RATE
from audiosr.errors import AudioFileError, UsageError
from audiosr.evaluation.benchmark import Folder, Shards
from audiosr.evaluation.clips import ReferenceClip, list_hash
from audiosr.evaluation.results import Failure
from data_prep.__main__ import main as data_prep
from tests.evaluation.conftest import tone_burst


def test_folder_takes_subfolders_for_domains_and_brings_clips_to_48_khz(tmp_path):
    io.write_audio(tmp_path / "music" / "a.wav", tone_burst(1.0, 8000)[None, :44_100], 44_100)
    io.write_audio(tmp_path / "speech" / "deep" / "b.flac", tone_burst(0.5, 8000)[None], RATE)
    benchmark = Folder(tmp_path, name="mine")
    clips = [c for c in benchmark if isinstance(c, ReferenceClip)]
    assert len(benchmark) == 2
    assert [(c.key, c.domain) for c in clips] == [
        ("music/a.wav", "music"),
        ("speech/deep/b.flac", "speech"),
    ]
    assert [c.source_rate for c in clips] == [44_100, 48_000]
    assert [c.wave.shape for c in clips] == [(1, 48_000), (1, 24_000)]


def test_folder_without_subfolders_is_one_domain(tmp_path):
    io.write_audio(tmp_path / "birds" / "a.wav", tone_burst(0.2, 8000)[None], RATE)
    (clip,) = Folder(tmp_path / "birds", name="mine")
    assert isinstance(clip, ReferenceClip)
    assert clip.domain == "birds"


def test_channels_are_kept_for_the_protocol_to_choose(tmp_path):
    wave = tone_burst(0.2, 8000)
    io.write_audio(tmp_path / "a.wav", np.stack([wave, np.zeros_like(wave)]), RATE)
    (clip,) = Folder(tmp_path, name="mine")
    assert isinstance(clip, ReferenceClip)
    np.testing.assert_allclose(clip.wave, [wave, np.zeros_like(wave)], atol=1e-6)


def test_broken_file_is_named_and_the_others_are_read(tmp_path):
    io.write_audio(tmp_path / "good.wav", tone_burst(0.2, 8000)[None], RATE)
    (tmp_path / "bad.wav").write_text("no audio")
    bad, good = Folder(tmp_path, name="mine")
    assert isinstance(bad, Failure)
    assert "not audio" in bad.reason
    assert isinstance(good, ReferenceClip)


def test_names_that_are_not_unicode_become_keys_that_can_be_written(tmp_path):
    (tmp_path / "caf\udce9.wav").write_bytes(b"no audio")
    with (tmp_path / "d\udce9.wav").open("wb") as file:
        soundfile.write(file, np.zeros(480), 48000, format="WAV")

    bad, good = Folder(tmp_path, name="mine")

    assert isinstance(bad, Failure)
    assert isinstance(good, ReferenceClip)
    assert bad.key == "caf\\xe9.wav"
    assert good.key == "d\\xe9.wav"
    assert bad.reason.encode()


def test_a_clip_shorter_than_one_sample_is_named(tmp_path):
    soundfile.write(tmp_path / "a.wav", np.array([0.3]), 192000)

    (bad,) = Folder(tmp_path, name="mine")

    assert isinstance(bad, Failure)
    assert "shorter than a sample" in bad.reason


def test_missing_folder_is_an_error_at_once(tmp_path):
    with pytest.raises(AudioFileError, match="nowhere"):
        Folder(tmp_path / "nowhere", name="mine")


def test_clips_of_one_name_in_two_shards_are_two_clips(tmp_path):
    for number in range(2):
        burst = tone_burst(1.2, 20_000, number)[None]
        io.write_audio(tmp_path / f"{number}/in/test/music/a.wav", burst, RATE)
        source, out = tmp_path / f"{number}/in", tmp_path / f"{number}/out"
        data_prep(["folder", "--source", str(source), "--out", str(out), "--workers", "1"])
    outs = [str(tmp_path / f"{number}/out") for number in range(2)]
    data_prep(["merge", str(tmp_path / "both"), *outs])

    clips = [
        c
        for c in Shards(tmp_path / "both", split="test", name="both")
        if isinstance(c, ReferenceClip)
    ]

    assert len({clip.key for clip in clips}) == 2


def numbered(tmp_path) -> Folder:
    for domain, clips in {"music": 7, "speech": 3}.items():
        for number in range(clips):
            wave = tone_burst(0.05, 8000, number)[None]
            io.write_audio(tmp_path / domain / f"{number}.wav", wave, RATE)
    return Folder(tmp_path, name="mine")


def test_a_part_is_spread_over_each_domain_and_the_card_says_so(tmp_path):
    whole = numbered(tmp_path)
    part = Folder(tmp_path, name="mine", limit=3)
    assert [clip.key for clip in part] == [
        *("music/0.wav", "music/2.wav", "music/4.wav"),
        *("speech/0.wav", "speech/1.wav", "speech/2.wav"),
    ]
    assert (whole.card()["part"], whole.card()["clips"]) == ("whole", 10)
    assert part.card()["part"] == "at most 3 clips of each domain"
    assert (part.card()["clips"], part.card()["listed"]) == (6, 10)
    assert part.card()["list_sha256"] != whole.card()["list_sha256"]


def test_some_domains_can_be_chosen(tmp_path):
    numbered(tmp_path)
    part = Folder(tmp_path, name="mine", domains=["speech"])
    assert {entry.domain for entry in part.entries} == {"speech"}
    assert part.card()["part"] == "the domains speech"
    with pytest.raises(UsageError, match="names sfx: there are music, speech"):
        Folder(tmp_path, name="mine", domains=["sfx"])
    with pytest.raises(UsageError, match="at least 1"):
        Folder(tmp_path, name="mine", limit=0)


def test_hash_of_the_list_depends_on_the_names_alone():
    assert list_hash(["a", "b"]) == list_hash(["b", "a"])
    assert list_hash(["a", "b"]) != list_hash(["ab"])


def test_clips_of_a_broken_shard_are_failures(tmp_path):
    for name in "ab":
        io.write_audio(tmp_path / f"in/test/music/{name}.wav", tone_burst(1.2, 20_000)[None], RATE)
    io.write_audio(tmp_path / "in/test/speech/c.wav", tone_burst(1.2, 20_000, 3)[None], RATE)
    out = tmp_path / "out"
    data_prep(["folder", "--source", str(tmp_path / "in"), "--out", str(out), "--workers", "1"])
    (shard,) = (out / "test").glob("music*.tar")
    held = len(Shards(out, split="test", name="mine"))
    shard.write_bytes(shard.read_bytes()[:1000])
    clips = list(Shards(out, split="test", name="mine"))
    assert len(clips) == held
    assert [type(clip) for clip in clips] == [Failure] * (held - 1) + [ReferenceClip]
