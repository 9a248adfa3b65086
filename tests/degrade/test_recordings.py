"""Are recordings made as people have them, and is what is said of their edge true?"""

from collections.abc import Callable

import numpy as np
import pytest
import scipy.signal

from audiosr.audio.io import RATE
from audiosr.degrade import band_ends
from audiosr.degrade.band_ends import draw_band_end, resample_up
from audiosr.degrade.recordings import coloured_noise, draw_recording


def noise(seconds: float = 1.0, rate: int = RATE) -> np.ndarray:
    return 0.1 * np.random.default_rng(0).standard_normal(int(seconds * rate))


def level_db(wave: np.ndarray, rate: int, low_hz: float, high_hz: float) -> float:
    hz, power = scipy.signal.welch(wave, rate, nperseg=2048)
    return 10 * np.log10(power[(hz >= low_hz) & (hz <= high_hz)].mean() + 1e-20)


@pytest.mark.parametrize("seed", range(24))
def test_the_band_of_noise_ends_where_it_is_said(seed: int):
    ended = draw_band_end(noise(), RATE / 2, np.random.default_rng(seed))
    low, high, nyquist = ended.low_hz, ended.high_hz, ended.rate / 2

    assert 0 < low < high <= nyquist * 1.06
    # Images and the noise of telephone codecs lie above the edge.
    clean = not any(
        how in ended.kind for how in ("linear", "hold", "nearest", "telephone", "order")
    )
    if clean and 1.3 * high < nyquist:
        below = level_db(ended.wave, ended.rate, 0.5 * low, 0.9 * low)
        assert level_db(ended.wave, ended.rate, 1.3 * high, nyquist) < below - 20


def test_every_way_to_end_a_band_is_drawn():
    rng = np.random.default_rng(0)
    shares = [share for share, _ in band_ends._KINDS.values()]
    drawn = {draw_band_end(noise(0.2), RATE / 2, rng).kind.split()[0] for _ in range(60)}

    assert sum(shares) == pytest.approx(1)
    assert {"full", "telephone", "order", "mp3"} <= drawn


@pytest.mark.parametrize(
    "how", ["LQ", "HQ", "polyphase", "linear", "hold", "nearest", "short sinc"]
)
def test_a_slow_tone_comes_through_every_resampler(how: str):
    rate, to = 8_000, 44_100
    tone = np.sin(2 * np.pi * 100 * np.arange(rate) / rate)

    raised = resample_up(tone, rate, to, how, to)

    expected = np.sin(2 * np.pi * 100 * np.arange(to) / to)
    assert len(raised) == to
    assert np.abs(raised - expected)[2_000:-2_000].max() < 0.1


def test_a_recording_depends_on_clip_and_generator_alone():
    clip = noise(2.0).astype(np.float32)
    first = draw_recording(clip, RATE / 2, np.random.default_rng(3))
    again = draw_recording(clip, RATE / 2, np.random.default_rng(3))
    other = draw_recording(clip, RATE / 2, np.random.default_rng(4))

    np.testing.assert_array_equal(first.wave, again.wave)
    assert (first.kind, first.low_hz, first.high_hz) == (again.kind, again.low_hz, again.high_hz)
    assert first.kind != other.kind


@pytest.mark.parametrize("seed", range(16))
def test_every_recording_can_be_used(seed: int, chord: Callable[..., np.ndarray]):
    clip = chord(2.0)[0]

    recording = draw_recording(clip, RATE / 2, np.random.default_rng(seed))

    assert recording.wave.dtype == np.float32
    assert np.isfinite(recording.wave).all()
    assert np.abs(recording.wave).max() > 0
    assert 0 <= recording.low_hz < recording.high_hz <= recording.rate / 2


def test_noise_that_covers_the_edge_makes_lower_answers_right():
    """A clip that falls by 12 dB per octave is heard up to where it meets the noise."""
    hz = np.fft.rfftfreq(2 * RATE, 1 / RATE)
    white = np.fft.rfft(np.random.default_rng(1).standard_normal(2 * RATE))
    clip = np.fft.irfft(white / np.maximum(hz, 100) ** 2, 2 * RATE).astype(np.float32)

    drawn = [draw_recording(clip, RATE / 2, np.random.default_rng(seed)) for seed in range(60)]

    covered = [r for r in drawn if "noise at" in r.kind and "noise alone" not in r.kind]
    bare = [r for r in drawn if r.kind == "full band"]
    assert min(r.low_hz / r.high_hz for r in covered) < 0.5
    assert all(r.low_hz > 0.85 * r.high_hz for r in bare)


def test_noise_has_its_slope():
    slopes = []
    for seed in range(30):
        made = coloured_noise(RATE, RATE, np.random.default_rng(seed))
        assert made.std() == pytest.approx(1, rel=0.05)
        slopes.append(level_db(made, RATE, 8_000, 16_000) - level_db(made, RATE, 500, 1_000))

    assert max(slopes) > -1
    assert min(slopes) < -9
