"""Are files read, written and found as they are, and unusable ones refused in a sentence?"""

import os
from collections.abc import Callable
from io import BytesIO
from pathlib import Path

import numpy as np
import pytest
import soundfile
from hypothesis import given
from hypothesis import strategies as st

from audiosr.audio import io
from audiosr.errors import AudioFileError

Noise = Callable[..., np.ndarray]
AudioFile = Callable[..., Path]


@pytest.mark.parametrize("name", ["a.wav", "a.flac", "a.aiff", "a.caf", "a.w64", "a.WAV"])
@pytest.mark.parametrize("channels", [1, 2, 6])
def test_what_is_written_is_read_back(tmp_path: Path, noise: Noise, name: str, channels: int):
    wave = noise(0.1, rate=44100, channels=channels)

    io.write_audio(tmp_path / name, wave, 44100)
    back, rate = io.read_audio(tmp_path / name)

    assert rate == 44100
    assert back.dtype == np.float32
    assert back.shape == wave.shape
    assert np.abs(back - wave).max() < 2**-22


@pytest.mark.parametrize("name", ["a.mp3", "a.ogg", "a.opus"])
def test_lossy_formats_are_written_and_read(tmp_path: Path, noise: Noise, name: str):
    wave = noise(1.0)

    io.write_audio(tmp_path / name, wave, 48000)
    back, rate = io.read_audio(tmp_path / name)

    assert rate == 48000
    assert abs(back.shape[1] - 48000) < 2500
    assert back.std() == pytest.approx(wave.std(), rel=0.2)


@pytest.mark.parametrize(("subtype", "step"), [("PCM_16", 2**-15), ("PCM_24", 2**-23)])
def test_the_sample_format_can_be_chosen(tmp_path: Path, noise: Noise, subtype: str, step: float):
    io.write_audio(tmp_path / "a.wav", noise(0.1), 48000, subtype)

    assert soundfile.info(tmp_path / "a.wav").subtype == subtype
    assert np.abs(io.read_audio(tmp_path / "a.wav")[0] - noise(0.1)).max() <= step


def test_integer_formats_clip_instead_of_wrapping(tmp_path: Path):
    io.write_audio(tmp_path / "a.wav", np.array([[1.5, -1.5]], np.float32), 48000, "PCM_16")

    assert io.read_audio(tmp_path / "a.wav")[0][0] == pytest.approx([1, -1], abs=1e-4)


def test_bytes_and_open_files_are_read(audio_file: AudioFile, noise: Noise):
    content = audio_file("a.flac", noise(0.1)).read_bytes()

    for source in (content, BytesIO(content)):
        assert io.read_audio(source)[0].shape == (1, 4800)


def test_long_files_are_read_whole(audio_file: AudioFile, noise: Noise):
    wave = noise(13.0)

    back, _ = io.read_audio(audio_file("a.wav", wave, subtype="FLOAT"))

    assert np.array_equal(back, wave)


def test_writing_replaces_a_file_and_leaves_nothing_else(tmp_path: Path, noise: Noise):
    path = tmp_path / "made" / "a.wav"
    io.write_audio(path, noise(0.2), 48000)

    io.write_audio(path, noise(0.1), 48000)

    assert io.read_audio(path)[0].shape == (1, 4800)
    assert os.listdir(path.parent) == ["a.wav"]


def test_a_failed_write_leaves_the_old_file(tmp_path: Path, noise: Noise):
    path = tmp_path / "a.wav"
    io.write_audio(path, noise(0.1), 48000)

    with pytest.raises(AudioFileError):
        io.write_audio(path, noise(0.1), -1)

    assert io.read_audio(path)[0].shape == (1, 4800)
    assert os.listdir(tmp_path) == ["a.wav"]


@pytest.mark.parametrize(
    ("name", "subtype", "words"),
    [
        ("a.txt", None, "audio suffix"),
        ("a", None, "audio suffix"),
        ("a.raw", None, "audio suffix"),
        ("a.flac", "FLOAT", "FLAC does not hold FLOAT; choose one of .*PCM_16"),
    ],
)
def test_formats_that_cannot_be_are_refused(
    tmp_path: Path, noise: Noise, name: str, subtype: str | None, words: str
):
    with pytest.raises(AudioFileError, match=words):
        io.write_audio(tmp_path / name, noise(0.1), 48000, subtype)


def test_a_missing_file_is_named(tmp_path: Path):
    with pytest.raises(AudioFileError, match=r"nothing\.wav does not exist"):
        io.read_audio(tmp_path / "nothing.wav")


def test_a_folder_is_not_a_file(tmp_path: Path):
    with pytest.raises(AudioFileError, match="not a file"):
        io.read_audio(tmp_path)


def test_an_empty_file_is_refused(tmp_path: Path):
    (tmp_path / "a.wav").touch()

    with pytest.raises(AudioFileError, match="empty"):
        io.read_audio(tmp_path / "a.wav")


@pytest.mark.parametrize("name", ["a.wav", "a.raw", "a.mp3", "a.txt"])
def test_text_is_not_audio(tmp_path: Path, name: str):
    (tmp_path / name).write_text("Not a sound.\n" * 40)

    with pytest.raises(AudioFileError, match="not audio"):
        io.read_audio(tmp_path / name)


def test_bytes_that_are_not_audio_are_refused():
    for content in (b"", b"RIFF", b"\0" * 1000):
        with pytest.raises(AudioFileError, match="audio in memory"):
            io.read_audio(content)


def test_a_file_without_samples_is_refused(audio_file: AudioFile):
    with pytest.raises(AudioFileError, match="no samples"):
        io.read_audio(audio_file("a.wav", np.zeros((2, 0))))


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
def test_samples_that_are_no_numbers_are_refused(audio_file: AudioFile, noise: Noise, value: float):
    wave = noise(0.1)
    wave[0, 99] = value

    with pytest.raises(AudioFileError, match="NaN or infinite"):
        io.read_audio(audio_file("a.wav", wave, subtype="FLOAT"))


@pytest.mark.parametrize("rate", [3999, 192001])
def test_rates_out_of_range_are_refused(audio_file: AudioFile, noise: Noise, rate: int):
    with pytest.raises(AudioFileError, match=f"rate of {rate} Hz"):
        io.read_audio(audio_file("a.wav", noise(0.1), rate))


@pytest.mark.parametrize("rate", [4000, 192000])
def test_rates_at_the_limits_are_read(audio_file: AudioFile, noise: Noise, rate: int):
    assert io.read_audio(audio_file("a.wav", noise(0.1), rate))[1] == rate


def test_33_channels_are_too_many_and_32_are_not(audio_file: AudioFile, noise: Noise):
    assert io.read_audio(audio_file("a.wav", noise(0.1, channels=32)))[0].shape == (32, 4800)
    with pytest.raises(AudioFileError, match="33 channels"):
        io.read_audio(audio_file("b.wav", noise(0.1, channels=33)))


def test_a_limit_on_seconds_holds_whatever_the_format(audio_file: AudioFile, noise: Noise):
    for name in ("a.wav", "a.ogg"):
        path = audio_file(name, noise(1.0))

        assert io.read_audio(path, max_seconds=1.0)[0].shape == (1, 48000)
        with pytest.raises(AudioFileError, match=r"longer than 0\.9 s"):
            io.read_audio(path, max_seconds=0.9)


@given(
    samples=st.integers(0, 3000),
    rate_in=st.sampled_from([4000, 8000, 11025, 22050, 44100, 48000, 96000, 192000]),
    rate_out=st.sampled_from([8000, 16000, 44100, 48000]),
    channels=st.sampled_from([1, 2, 33]),
)
def test_resampling_gives_the_exact_length(
    samples: int, rate_in: int, rate_out: int, channels: int
):
    wave = np.ones((channels, samples), np.float32)

    out = io.resample(wave, rate_in, rate_out)

    assert out.shape == (channels, round(samples * rate_out / rate_in))
    assert out.dtype == np.float32


@pytest.mark.parametrize("rate", [8000, 16000, 44100, 96000])
def test_resampling_keeps_a_tone_in_place(rate: int):
    def tone(at: int) -> np.ndarray:
        return (0.5 * np.sin(2 * np.pi * 1000 * np.arange(at) / at)[None]).astype(np.float32)

    out = io.resample(tone(rate), rate, 48000)

    assert np.abs(out - tone(48000))[:, 2400:-2400].max() < 1e-5


def test_resampling_to_the_same_rate_changes_nothing(noise: Noise):
    assert np.array_equal(io.resample(noise(0.1), 48000, 48000), noise(0.1))


def test_a_folder_expands_to_the_audio_below_it(audio_file: AudioFile, noise: Noise):
    first = audio_file("b.wav", noise(0.1))
    second = audio_file("deep/er/a.FLAC", noise(0.1))
    audio_file(".hidden.wav", noise(0.1))
    first.with_name("notes.txt").write_text("no audio")

    assert io.expand(first.parent) == [first, second]


def test_a_pattern_expands_to_the_audio_it_matches(audio_file: AudioFile, noise: Noise):
    first, second = audio_file("a1.wav", noise(0.1)), audio_file("in/a2.wav", noise(0.1))
    first.with_name("a3.txt").write_text("no audio")

    assert io.expand(first.parent / "a*") == [first]
    assert io.expand(f"{first.parent}/**/a?.*") == [first, second]


def test_a_name_with_brackets_is_taken_literally(audio_file: AudioFile, noise: Noise):
    path = audio_file("song [live].wav", noise(0.1))

    assert io.expand(path) == [path]


def test_a_named_file_is_returned_whatever_its_suffix(tmp_path: Path):
    (tmp_path / "tape.xyz").write_text("to be judged on reading")

    assert io.expand(tmp_path / "tape.xyz") == [tmp_path / "tape.xyz"]


def test_nothing_to_expand_is_an_error(tmp_path: Path):
    with pytest.raises(AudioFileError, match="holds no audio file"):
        io.expand(tmp_path)
    with pytest.raises(AudioFileError, match="matches no audio file"):
        io.expand(tmp_path / "missing.wav")
