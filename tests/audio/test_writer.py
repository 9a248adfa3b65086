"""Is a file written in blocks whole, dithered where it is rounded, and does it keep its tags?"""

import numpy as np
import pytest
import soundfile

from audiosr.audio.decode import open_audio
from audiosr.audio.writer import audio_writer


def test_blocks_are_one_file(tmp_path, noise):
    wave = noise(0.5, channels=2)

    with audio_writer(tmp_path / "x.wav", 48000, 2) as writer:
        writer.write(wave[:, :1000])
        writer.write(wave[:, 1000:])
        assert not (tmp_path / "x.wav").exists()

    np.testing.assert_array_equal(soundfile.read(tmp_path / "x.wav", dtype="float32")[0].T, wave)
    assert writer.peak == np.abs(wave).max()


def test_what_fails_leaves_no_file(tmp_path, noise):
    def fail() -> None:
        with audio_writer(tmp_path / "x.flac", 48000, 1) as writer:
            writer.write(noise(0.1))
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        fail()

    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("subtype", ["PCM_16", "PCM_24", "PCM_U8"])
def test_rounding_shifts_nothing_and_clips_at_full_scale(tmp_path, noise, subtype):
    wave = np.append(noise(1.0), [[2.0, -2.0]], axis=1)

    with audio_writer(tmp_path / "x.wav", 48000, 1, subtype=subtype) as writer:
        writer.write(wave)

    step = {"PCM_16": 2.0**-15, "PCM_24": 2.0**-23, "PCM_U8": 2.0**-7}[subtype]
    written, _ = soundfile.read(tmp_path / "x.wav")
    assert written[-2:].tolist() == [1 - step, -1]
    error = written[:-2] - wave[0, :-2]
    assert np.abs(error).max() <= 0.5 * step * 1.001
    assert abs(error.mean()) < 0.02 * step


def test_rounding_is_dithered_and_silence_is_not(tmp_path):
    tone = (0.4 * 2.0**-15 * np.sin(0.1 * np.arange(48000))).astype(np.float32)[None]
    wave = np.concatenate([tone, np.zeros_like(tone)], axis=1)

    for name, dither in (("plain", False), ("dithered", True)):
        with audio_writer(
            tmp_path / f"{name}.wav", 48000, 1, subtype="PCM_16", dither=dither
        ) as writer:
            writer.write(wave)

    plain, dithered = (soundfile.read(tmp_path / f"{n}.wav")[0] for n in ("plain", "dithered"))
    assert not plain.any()
    assert not dithered[48000:].any()
    assert np.dot(dithered[:48000], tone[0]) / np.dot(tone[0], tone[0]) == pytest.approx(1, abs=0.1)


@pytest.mark.parametrize("suffix", ["wav", "flac", "ogg", "aiff"])
def test_tags_are_kept_where_there_is_a_place_for_them(tmp_path, noise, suffix):
    tags = {"title": "Ständchen", "ARTIST": "someone", "encoder": "Lavf"}

    path = tmp_path / f"x.{suffix}"
    with audio_writer(path, 48000, 1, tags=tags) as writer:
        writer.write(noise(0.1))

    with open_audio(path) as reader:
        assert reader.tags["title"] == "Ständchen"
        assert suffix == "aiff" or reader.tags["artist"] == "someone"
