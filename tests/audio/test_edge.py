"""Is the edge of a recording found where it is, however the recording was spoilt?"""

from collections.abc import Callable

import numpy as np
import pytest
import scipy.signal
import soxr

from audiosr.audio.edge import (
    FULL,
    NEAR,
    SURE,
    effective_bandwidth,
    find_edge,
    find_edges,
    follow_edge,
)
from audiosr.audio.edge_features import BANDS, edge_features

RATE = 48_000
EDGE = 4_000


def voice(seconds: float = 3.0, seed: int = 0) -> np.ndarray:
    """Like speech (T,): gliding harmonics that fall with frequency, hissing bursts, syllables."""
    time = np.arange(int(RATE * seconds)) / RATE
    rng = np.random.default_rng(seed)
    pitch = 130 * 2 ** (0.3 * np.sin(2 * np.pi * 0.7 * time + seed))
    phase = 2 * np.pi * np.cumsum(pitch) / RATE
    partials = [np.sin(k * phase + rng.uniform(0, 6)) * k**-1.1 for k in range(1, 100)]
    band = scipy.signal.butter(2, [2_000, 20_000], "bandpass", fs=RATE, output="sos")
    hiss = np.asarray(scipy.signal.sosfilt(band, rng.standard_normal(len(time))))
    syllables = np.clip(np.sin(2 * np.pi * 2.6 * time + seed), 0, 1) ** 0.7
    bursts = np.clip(np.sin(2 * np.pi * 2.6 * time + 2 + seed), 0, 1) ** 3
    return at_peak(np.sum(partials, axis=0) * syllables + 0.25 * hiss * bursts)


def at_peak(wave: np.ndarray) -> np.ndarray:
    return 0.5 * wave / np.abs(wave).max()


def limited(hz: float = EDGE, wave: np.ndarray | None = None) -> np.ndarray:
    sections = scipy.signal.cheby1(8, 0.1, hz, fs=RATE, output="sos")
    return at_peak(scipy.signal.sosfiltfilt(sections, voice() if wave is None else wave))


def white(samples: int, seed: int = 1) -> np.ndarray:
    return np.random.default_rng(seed).standard_normal(samples)


def under_white_noise(wave: np.ndarray) -> np.ndarray:
    return wave + 0.01 * wave.std() * white(len(wave))


def under_pink_noise(wave: np.ndarray) -> np.ndarray:
    hz = np.fft.rfftfreq(len(wave), 1 / RATE)
    pink = np.fft.irfft(np.fft.rfft(white(len(wave))) / np.sqrt(np.maximum(hz, 20)), len(wave))
    return wave + 0.02 * wave.std() * pink / pink.std()


def with_a_click(wave: np.ndarray) -> np.ndarray:
    clicked = wave.copy()
    clicked[len(wave) // 2] = 0.9
    return clicked


def with_a_drop_out(wave: np.ndarray) -> np.ndarray:
    dropped, at = wave.copy(), int(np.abs(wave).argmax())
    dropped[at : at + 4_800] = 0
    return dropped


def with_a_jingle(wave: np.ndarray) -> np.ndarray:
    spliced, at = wave.copy(), len(wave) // 2
    spliced[at : at + 5_000] = voice(seed=3)[at : at + 5_000]
    return spliced


def in_8_bits(wave: np.ndarray) -> np.ndarray:
    return np.round(wave * 127) / 127


def quiet_in_16_bits(wave: np.ndarray) -> np.ndarray:
    return np.round(wave * 2**15 * 10 ** (-40 / 20)) / 2**15


def clipped(wave: np.ndarray) -> np.ndarray:
    return np.clip(wave, -0.3, 0.3)


def with_hum_and_noise(wave: np.ndarray) -> np.ndarray:
    time = np.arange(len(wave)) / RATE
    return under_white_noise(wave) + 0.5 * wave.std() * np.sin(2 * np.pi * 50 * time)


def with_a_pilot_tone_and_noise(wave: np.ndarray) -> np.ndarray:
    time = np.arange(len(wave)) / RATE
    return under_white_noise(wave) + 0.03 * wave.std() * np.sin(2 * np.pi * 15_625 * time)


COVERS = (
    under_white_noise,
    under_pink_noise,
    with_a_click,
    with_a_drop_out,
    with_a_jingle,
    in_8_bits,
    quiet_in_16_bits,
    clipped,
    with_hum_and_noise,
    with_a_pilot_tone_and_noise,
)


@pytest.mark.parametrize("cover", COVERS)
def test_what_lies_above_the_edge_is_not_taken_for_content(
    cover: Callable[[np.ndarray], np.ndarray],
):
    found = find_edge(cover(limited()), RATE)

    assert found.hz == pytest.approx(EDGE, rel=NEAR)
    assert found.confidence > 0.5


@pytest.mark.parametrize("how", ["linear", "held", "held unevenly"])
def test_images_of_a_bad_resampler_are_recognised(how: str):
    source = 11_025 if how == "held unevenly" else 16_000
    low = soxr.resample(voice(), RATE, source)
    at = np.arange(len(voice())) * source / RATE
    if how == "linear":
        wave = np.interp(at, np.arange(len(low)), low)
    else:
        wave = low[np.minimum(at.astype(int), len(low) - 1)]

    found = find_edge(wave, RATE)

    assert 0.8 * source / 2 < found.hz < 1.06 * source / 2


def mu_law(wave: np.ndarray) -> np.ndarray:
    code = np.round(np.sign(wave) * np.log1p(255 * np.abs(wave)) / np.log1p(255) * 127) / 127
    return np.sign(code) * np.expm1(np.abs(code) * np.log1p(255)) / 255


@pytest.mark.parametrize("rate", [8_000, 48_000])
def test_a_telephone_call_ends_where_calls_do(rate: int):
    low = soxr.resample(voice(), RATE, 8_000)
    band = scipy.signal.butter(4, [300, 3_400], "bandpass", fs=8_000, output="sos")
    call = mu_law(at_peak(scipy.signal.sosfiltfilt(band, low)))

    found = find_edge(np.repeat(call, rate // 8_000), rate)

    assert 2_900 < found.hz < 3_800


def test_a_slow_slope_has_an_edge_that_can_be_used():
    sections = scipy.signal.butter(6, 3_000, fs=RATE, output="sos")
    slope = np.asarray(scipy.signal.sosfilt(sections, voice()))

    found = find_edge(slope + 3e-3 * slope.std() * white(len(slope)), RATE)

    assert 2_400 < found.hz < 5_500


@pytest.mark.parametrize("cover", [lambda wave: wave, with_a_click, with_a_drop_out, clipped])
def test_a_full_band_is_full_and_sure(cover: Callable[[np.ndarray], np.ndarray]):
    # Bursts of hiss up to 24 kHz: what content up there sounds like.
    rng = np.random.default_rng(5)
    gate = np.clip(np.sin(2 * np.pi * 2.6 * np.arange(3 * RATE) / RATE), 0, 1)
    wave = at_peak(voice() + 0.1 * gate * rng.standard_normal(3 * RATE))

    found = find_edge(cover(wave), RATE)

    assert found.hz >= FULL * RATE / 2
    assert found.confidence >= SURE


@pytest.mark.parametrize("rate", [16_000, 22_050, 32_000])
def test_below_a_low_nyquist_frequency_the_band_ends_where_it_falls(rate: int):
    edge = 0.955 * rate / 2
    wave = soxr.resample(limited(edge), RATE, rate, quality="VHQ")
    whole = white(2 * rate)

    assert find_edge(wave, rate).hz == pytest.approx(edge, rel=0.02)
    assert find_edge(whole, rate).hz > 0.99 * rate / 2


def test_every_channel_has_an_edge_of_its_own():
    wave = under_white_noise(np.concatenate([limited(4_000), limited(8_000)])).reshape(2, -1)

    low, high = find_edges(wave, RATE)

    assert low.hz == pytest.approx(4_000, rel=NEAR)
    assert high.hz == pytest.approx(8_000, rel=NEAR)
    assert effective_bandwidth(wave, RATE) == high.hz


def test_an_edge_that_moves_is_followed():
    wave = np.concatenate([limited(4_000), limited(9_000)])

    track = follow_edge(under_white_noise(wave), RATE)

    seconds = np.array([at for at, _ in track])
    hz = np.array([edge.hz for _, edge in track])
    assert hz[seconds < 2.1] == pytest.approx(4_000, rel=NEAR)
    assert hz[seconds > 3.9] == pytest.approx(9_000, rel=NEAR)


@pytest.mark.parametrize("gain", [1.0, 0.01])
def test_level_and_constant_change_nothing(gain: float):
    wave = under_white_noise(limited())

    assert find_edge(gain * wave + 0.2, RATE).hz == pytest.approx(
        find_edge(wave, RATE).hz, rel=0.02
    )


@pytest.mark.parametrize("samples", [0, 1, 100, 3_000])
@pytest.mark.parametrize("rate", [4_000, 8_000, 44_100, 192_000])
def test_any_length_at_any_rate_has_an_edge_below_nyquist(samples: int, rate: int):
    found = find_edge(white(samples), rate)

    assert 0 <= found.hz <= rate / 2
    assert 0 <= found.confidence <= 1


@pytest.mark.parametrize("rate", [8_000, 11_025, 16_000, 44_100, 48_000, 96_000])
def test_bands_are_as_wide_at_every_rate(rate: int):
    features = edge_features(white(rate), rate)

    assert features.band_hz == pytest.approx(93.75, rel=0.015)
    assert features.bands == min(BANDS, int(rate / 2 / features.band_hz))


@pytest.mark.parametrize("cover", [with_a_click, with_a_jingle])
def test_a_click_or_a_jingle_is_above_every_order_statistic(
    cover: Callable[[np.ndarray], np.ndarray],
):
    wave = under_white_noise(limited(wave=voice(5.0)))
    plain, spoilt = (edge_features(each, RATE).values[:7] for each in (wave, cover(wave)))

    decibels = 20 * np.abs(spoilt - plain)

    assert decibels.mean() < 0.5
    assert decibels.max() < 6


def test_a_mirror_is_seen_where_samples_are_held_and_nowhere_else():
    held = np.repeat(white(RATE // 6), 6)

    near, wide = edge_features(held, RATE).values[10:12]
    other = edge_features(white(RATE), RATE).values[10:12]

    place = round(4_000 / 93.75)
    assert min(near[place - 1 : place + 1].max(), wide[place - 1 : place + 1].max()) > 0.85
    assert other.max() < 0.3
