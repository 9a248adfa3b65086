"""Do codecs leave what they leave, in time and as long as before?"""

import numpy as np
import pytest
import scipy.signal

from audiosr.audio.io import RATE
from audiosr.degrade.codecs import Codec, apply_codec, edge_hz
from audiosr.errors import UsageError


def noise(samples: int) -> np.ndarray:
    return (0.1 * np.random.default_rng(5).standard_normal(samples)).astype(np.float32)


def lag(wave: np.ndarray, reference: np.ndarray) -> int:
    match = scipy.signal.correlate(wave, reference, method="fft")
    return int(match.argmax()) - (len(reference) - 1)


@pytest.mark.parametrize(
    "codec",
    [Codec("mp3", 32), Codec("mp3", 128), Codec("vorbis", 1), Codec("opus", 12)],
    ids=str,
)
def test_a_coded_clip_is_in_time_and_as_long_as_before(codec: Codec):
    wave = noise(24001)

    coded = apply_codec(wave, codec)

    assert coded.shape == wave.shape
    assert coded.dtype == np.float32
    # Opus moves what it speaks of at 12 kbit/s by fractions of a sample.
    assert abs(lag(coded, wave)) <= 1
    assert not np.array_equal(coded, wave)


@pytest.mark.parametrize(
    ("codec", "low", "high"),
    [
        (Codec("mp3", 32), 7_500, 9_000),
        (Codec("mp3", 64), 15_000, 17_500),
        (Codec("mp3", 128), 19_000, 21_000),
        (Codec("vorbis", 0), 15_000, 16_500),
        (Codec("opus", 6), 3_500, 4_500),
    ],
    ids=str,
)
def test_the_edge_is_where_the_codec_cuts(codec: Codec, low: float, high: float):
    assert low < edge_hz(codec) < high

    hz, power = scipy.signal.welch(apply_codec(noise(48000), codec), 48000, nperseg=1024)

    above = power[hz > edge_hz(codec) + 1500]
    assert above.max(initial=0) < 0.01 * np.median(power[hz < edge_hz(codec)])


@pytest.mark.parametrize("samples", [1, 100, 2000])
def test_short_clips_keep_their_length(samples: int):
    assert apply_codec(noise(samples), Codec("mp3", 48)).shape == (samples,)


def test_a_codec_is_named_by_what_it_was_told():
    assert str(Codec("mp3", 64)) == "mp3 64 kbit/s"
    assert str(Codec("vorbis", 3)) == "vorbis quality 3"


@pytest.mark.parametrize("wrong", [("aac", 64), ("mp3", 16), ("vorbis", 11)], ids=str)
def test_settings_that_no_codec_has_are_refused(wrong: tuple):
    with pytest.raises(UsageError):
        Codec(*wrong)


def test_long_clips_do_not_overflow_the_encoder():
    wave = np.zeros(60 * RATE, np.float32)

    assert apply_codec(wave, Codec("vorbis", 0)).shape == wave.shape
