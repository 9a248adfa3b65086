import json

import numpy as np
import pytest
import scipy.signal
import soundfile

from audiosr.audio.io import RATE
from audiosr.errors import UsageError
from audiosr.shards.reader import evaluation_clips
from data_prep.clips import Drop, Item, Settings, _loudness_lufs, cut


def item(path, seconds=None):
    return Item(path, path.name, "train", "audio", "source", seconds=seconds)


def made(path, settings=None, **options):
    """What becomes of a file."""
    return list(cut(item(path, **options), settings or Settings()))


@pytest.mark.parametrize("subtype", ["PCM_16", "PCM_24", "FLOAT"])
def test_clipped_recording_is_left_out_with_its_share(audio_file, noise, subtype):
    wave = noise(2)
    level = np.quantile(np.abs(wave), 0.98)

    (drop,) = made(audio_file("hot.wav", np.clip(wave / level, -1, 1), subtype=subtype))

    assert isinstance(drop, Drop)
    assert drop.reason == "clipped"
    assert drop.detail == "2.00% of the samples at full scale"


def test_share_of_clipped_samples_is_noted_where_it_is_small(audio_file, noise):
    wave = noise(2, channels=2)
    wave[1] = np.clip(wave[1] / np.quantile(np.abs(wave[1]), 0.998), -1, 1)

    (clip,) = made(audio_file("warm.wav", wave, subtype="PCM_16"))

    assert not isinstance(clip, Drop)
    assert clip.meta.clipped_share == pytest.approx(0.002, abs=1e-4)


def test_only_the_first_seconds_are_used_where_the_recipe_says_so(audio_file, noise):
    path = audio_file("long.wav", noise(5, rate=44100), rate=44100)

    clips = made(path, Settings(clip_seconds=2), seconds=3.5)

    assert [c.meta.seconds for c in clips if not isinstance(c, Drop)] == [2.0, 1.5]
    assert len(made(path, Settings(clip_seconds=2), seconds=100)) == 3
    assert [d.reason for d in made(path, seconds=0) if isinstance(d, Drop)] == ["too short"]


def test_a_clip_whose_edge_is_a_guess_is_left_out_unless_all_are_wanted(audio_file, noise):
    """Noise at 16 kHz whose images pass the short filter of a poor resampler."""
    passes = 0.99 * 16_000
    time = np.arange(-18, 19) / RATE
    short = np.sinc(passes * time) * np.cos(np.pi * passes * time / 12) ** 2
    wave = scipy.signal.upfirdn(short, noise(2, rate=16_000, seed=1), 3)
    path = audio_file("upsampled.wav", 0.5 * wave / np.abs(wave).max(), subtype="FLOAT")

    (drop,) = made(path)
    (clip,) = made(path, Settings(min_bandwidth=0))

    assert isinstance(drop, Drop)
    assert drop.reason == "low bandwidth"
    assert "is a guess" in drop.detail
    assert not isinstance(clip, Drop)
    assert clip.meta.bandwidth_hz > Settings().min_bandwidth


@pytest.mark.parametrize("frames", [7, 49, 1002, 4797, 9999, 19199, 19200, 19201])
def test_clip_of_any_length_has_a_loudness(audio_file, frames):
    """A block of 1002 / 48000 s is more than 1002 samples, one of 49 / 48000 s less than 49."""
    tone = 0.5 * np.sin(2 * np.pi * 12_000 * np.arange(frames)[None] / RATE + 1)
    path = audio_file("short.wav", tone)

    (clip,) = made(path, Settings(min_seconds=0, min_bandwidth=0))

    assert not isinstance(clip, Drop)
    # The filters settle within some milliseconds.
    assert clip.meta.loudness_lufs == pytest.approx(-5.7, abs=3 if frames < 1000 else 0.1)


def test_no_length_below_a_block_fails(noise):
    wave = noise(0.4, channels=2)

    found = [_loudness_lufs(wave[:, :frames]) for frames in range(1, 19_200, 7)]

    assert np.isfinite(found).all()


def test_same_samples_in_another_format_are_a_duplicate(prepared, tmp_path, noise):
    folder = tmp_path / "twice"
    folder.mkdir()
    soundfile.write(folder / "a.wav", noise(2).T, 48000, subtype="PCM_16")
    wave, rate = soundfile.read(folder / "a.wav")
    soundfile.write(folder / "b.flac", wave, rate, subtype="PCM_24")
    soundfile.write(folder / "c.wav", np.stack([wave, wave], 1), rate, subtype="PCM_16")

    index = prepared(folder)

    assert index.drops == {"duplicate": 1}
    files = [clip.meta.source_file for clip in evaluation_clips(index.root, "train")]
    assert files == ["a.wav", "c.wav"]
    (line,) = (index.root / "dropped.jsonl").read_text().splitlines()
    assert json.loads(line)["name"] == "b.flac"


def test_impossible_share_of_clipping_is_refused():
    with pytest.raises(UsageError, match="max-clipping"):
        Settings(max_clipping=2)
