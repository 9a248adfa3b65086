"""Do plain rules find the edge of a spectrum over silence, and no edge where there is none?"""

from collections.abc import Callable

import numpy as np
import pytest
import soxr
import torch
from hypothesis import given
from hypothesis import strategies as st

from audiosr.audio.cutoff import cumulative_magnitude, edge_over_silence, rolloff
from audiosr.audio.edge_features import edge_features
from audiosr.audio.lowpass import Family, Lowpass, apply_lowpass
from audiosr.audio.mel import LogMel
from tests.audio import released

RATE = 48000
CUTOFFS = released.cases("cutoffs")
EDGES = (2000, 4000, 8000, 12000, 16000)


def plain_edge(wave: np.ndarray, rate: int) -> float:
    """The edge by plain rules of the channel of `wave (C, T)` that reaches highest."""
    spectra = [edge_features(channel, rate) for channel in wave if len(channel)]
    return max((edge_over_silence(each.level, each.bin_hz) for each in spectra), default=0.0)


def coloured(slope: float, seconds: float = 2.0) -> np.ndarray:
    """Noise (1, T) with an amplitude spectrum of 1 / f^slope above 20 Hz, RMS 0.1."""
    samples = int(seconds * RATE)
    spectrum = np.fft.rfft(np.random.default_rng(0).standard_normal(samples))
    hz = np.maximum(np.fft.rfftfreq(samples, 1 / RATE), 20)
    wave = np.fft.irfft(spectrum / hz**slope, samples)
    return (0.1 * wave / wave.std())[None].astype(np.float32)


def lowpassed(wave: np.ndarray, family: Family, cutoff: float, order: int) -> np.ndarray:
    return apply_lowpass(torch.from_numpy(wave)[:, None], [Lowpass(family, cutoff, order)], RATE)[
        :, 0
    ].numpy()


def sixteen_bit(wave: np.ndarray) -> np.ndarray:
    return (np.round(wave * 2**15) / 2**15).astype(np.float32)


def tones(*partials: float, seconds: float = 2.0) -> np.ndarray:
    time = np.arange(int(seconds * RATE)) / RATE
    wave = sum(np.sin(2 * np.pi * hz * time) / (n + 1) for n, hz in enumerate(partials))
    return np.asarray(0.4 * wave)[None].astype(np.float32)


@pytest.mark.parametrize("slope", [0.0, 0.5, 1.0], ids=["white", "1/f", "1/f^2"])
@pytest.mark.parametrize(
    ("family", "order", "below", "above"),
    [
        ("boxcar", 8, 0.02, 0.03),
        ("ellip", 8, 0.02, 0.06),
        ("cheby1", 8, 0.02, 0.08),
        ("butter", 10, 0.02, 0.15),
    ],
)
def test_the_edge_of_filtered_noise_is_found(
    slope: float, family: Family, order: int, below: float, above: float
):
    noise = coloured(slope)
    for cutoff in EDGES:
        low = lowpassed(noise, family, cutoff, order)
        for wave in (low, sixteen_bit(low)):
            found = plain_edge(wave, RATE)

            assert (1 - below) * cutoff < found < (1 + above) * cutoff


@pytest.mark.parametrize("rate", [8000, 16000, 22050, 32000])
def test_the_edge_of_an_upsampled_file_is_found(rate: int, chord: Callable[..., np.ndarray]):
    for wave in (coloured(0.5), coloured(1.0), chord(2.0)):
        narrow = soxr.resample(soxr.resample(wave.T, RATE, rate), rate, RATE).T

        found = plain_edge(sixteen_bit(narrow), RATE)

        assert 0.9 * rate / 2 < found <= 1.01 * rate / 2


@pytest.mark.parametrize("rate", [4000, 8000, 16000, 44100, 48000, 96000, 192000])
def test_full_band_noise_reaches_nyquist(rate: int):
    noise = 0.1 * np.random.default_rng(0).standard_normal((1, 2 * rate))

    assert plain_edge(noise, rate) == pytest.approx(rate / 2)


@pytest.mark.parametrize("slope", [0.0, 0.5, 1.0])
def test_a_natural_slope_is_no_edge(slope: float):
    assert plain_edge(coloured(slope), RATE) == RATE / 2


def test_the_last_partial_of_a_note_is_no_edge_where_breath_goes_on():
    note = tones(*range(1000, 9000, 1000)) + 1e-3 * coloured(0.0)

    assert plain_edge(note, RATE) == RATE / 2


@pytest.mark.parametrize("hz", [40, 60, 110, 220])
def test_a_bass_tone_ends_just_above_its_highest_partial(hz: int):
    wave = tones(hz, 2 * hz, 3 * hz)
    for each in (wave, sixteen_bit(wave), sixteen_bit(0.01 * wave)):
        assert 3 * hz < plain_edge(each, RATE) < 3 * hz + 250


@pytest.mark.parametrize("channels", [1, 2])
def test_silence_has_no_bandwidth(channels: int):
    silence = np.zeros((channels, RATE), np.float32)
    rng = np.random.default_rng(0)
    dither = np.round(rng.random(silence.shape) - rng.random(silence.shape)) / 2**15

    for wave in (silence, silence + 0.3, dither, silence[:, :0], silence[:, :1]):
        assert plain_edge(wave, RATE) == 0.0


def test_the_widest_channel_counts():
    noise = coloured(0.5)

    both = np.concatenate([lowpassed(noise, "ellip", 3000, 8), lowpassed(noise, "ellip", 9000, 8)])

    assert plain_edge(both, RATE) == pytest.approx(9000, rel=0.05)


def test_a_whistle_above_the_edge_does_not_count():
    narrow = lowpassed(coloured(0.5), "cheby1", 8000, 8)

    found = plain_edge(narrow + 0.01 * tones(15625), RATE)

    assert found == pytest.approx(8000, rel=0.08)


def test_hiss_far_below_the_content_does_not_hide_the_edge():
    narrow = lowpassed(coloured(0.5), "cheby1", 8000, 8)

    found = plain_edge(narrow + 1e-4 * coloured(0.0), RATE)

    assert found == pytest.approx(8000, rel=0.08)


@pytest.mark.parametrize("gain", [1.0, 0.1, 0.02])
def test_the_level_of_a_recording_does_not_move_the_edge(gain: float):
    wave = sixteen_bit(gain * lowpassed(coloured(0.5), "cheby1", 4000, 8))

    assert plain_edge(wave, RATE) == pytest.approx(4000, rel=0.08)


@given(samples=st.integers(1, 5000), rate=st.sampled_from([4000, 8000, 44100, 192000]))
def test_any_length_has_a_bandwidth_within_nyquist(samples: int, rate: int):
    wave = np.random.default_rng(samples).standard_normal((2, samples)).astype(np.float32)

    assert 0 <= plain_edge(wave, rate) <= rate / 2 * (1 + 1e-9)


def test_levels_of_the_spectrum_are_relative_to_a_full_scale_sine():
    features = edge_features(2.5 * tones(3000.0)[0], RATE)

    assert features.bin_hz == pytest.approx(23.4375)
    assert features.level.max() == pytest.approx(0, abs=0.1)
    assert abs(features.level.argmax() * features.bin_hz - 3000) < features.bin_hz


@pytest.mark.parametrize("name", CUTOFFS)
def test_the_cutoff_bins_of_the_release_are_met_exactly(name: str):
    case = CUTOFFS[name]
    wave, log_mel = released.wave(case["signal"]), LogMel()
    magnitude = log_mel.magnitude(wave)[..., :1024]

    assert cumulative_magnitude(magnitude).item() == case["stft"]
    assert cumulative_magnitude(magnitude, 0.97).item() == case["stft_0.97"]
    assert cumulative_magnitude(log_mel(wave)[:, 0].exp()).item() == case["mel"]


def test_cutoff_bins_are_found_per_clip():
    magnitude = torch.zeros(2, 3, 10)
    magnitude[0, :, :5] = 1
    magnitude[1, :, :9] = 1

    assert cumulative_magnitude(magnitude).tolist() == [3, 7]


@pytest.mark.parametrize("cutoff", [2000, 4000, 12000])
def test_the_rolloff_lies_a_little_below_the_edge_of_white_noise(cutoff: int):
    low = torch.from_numpy(lowpassed(coloured(0.0), "boxcar", cutoff, 8))[:, None]

    assert rolloff(low, RATE).item() == pytest.approx(0.99 * cutoff, rel=0.01)


def test_the_rolloff_is_found_per_clip_and_is_0_for_silence():
    waves = torch.from_numpy(np.stack([tones(1000.0), tones(9000.0), 0 * tones(1.0)]))

    found = rolloff(waves, RATE)

    assert found.shape == (3,)
    assert found[:2].tolist() == pytest.approx([1000, 9000], abs=150)
    assert found[2] == 0
