"""Mel and STFT distance, and what tells a blurred high band from a live one."""

import math

import pytest
import torch

from audiosr.metrics.spectral import HighBandEnergy, MelDistance, MultiResolutionDistance

RATE = 48_000


def noise(seed: int, samples: int = RATE) -> torch.Tensor:
    return 0.1 * torch.randn(1, samples, generator=torch.Generator().manual_seed(seed))


def above(wave: torch.Tensor, hz: float, gain: float | torch.Tensor) -> torch.Tensor:
    """`wave` with what lies above `hz` times `gain` (a number or a curve over time)."""
    spectrum = torch.fft.rfft(wave)
    spectrum[:, torch.fft.rfftfreq(wave.shape[-1], 1 / RATE) < hz] = 0
    high = torch.fft.irfft(spectrum, wave.shape[-1])
    return wave - high + gain * high


def test_mel_distance_of_a_gain_is_its_logarithm():
    metric = MelDistance()
    metric.update(2 * noise(0), noise(0))
    assert metric.compute()["mel_distance"].item() == pytest.approx(math.log(2), abs=1e-3)


@pytest.mark.parametrize("metric", [MelDistance(), MultiResolutionDistance()])
def test_equal_clips_and_silence_have_no_distance(metric):
    metric.reset()
    metric.update(torch.cat([noise(0), 0 * noise(0)]), torch.cat([noise(0), 0 * noise(0)]))
    assert next(iter(metric.compute().values())).item() == pytest.approx(0, abs=1e-6)


def test_stft_distance_equals_its_definition():
    estimate, target = noise(1), noise(2)
    expected = 0.0
    for n_fft, hop, width in MultiResolutionDistance.resolutions:
        window = torch.hann_window(width)
        s, e = (
            torch.stft(w, n_fft, hop, width, window, return_complex=True).abs()
            for w in (target, estimate)
        )
        expected += float((s - e).norm() / s.norm() + (s.log() - e.log()).abs().mean())
    metric = MultiResolutionDistance()
    metric.update(estimate, target)
    assert metric.compute()["stft_distance"].item() == pytest.approx(expected / 3, rel=1e-3)


def test_a_dull_high_band_shows_in_energy_and_envelope():
    metric = HighBandEnergy()
    metric.update(above(noise(3), 4000, 0.1), noise(3), 4000.0)
    found = metric.compute()
    assert found["hf_energy_db"].item() == pytest.approx(-20, abs=0.1)
    assert found["hf_envelope_db"].item() == pytest.approx(20, abs=0.1)


def test_energy_at_the_wrong_time_shows_in_the_envelope_alone():
    beats = 1 + 0.9 * torch.sin(2 * math.pi * 4 * torch.arange(RATE) / RATE)
    metric = HighBandEnergy()
    metric.update(above(noise(3), 4000, beats.flip(0)), above(noise(3), 4000, beats), 4000.0)
    found = metric.compute()
    assert abs(found["hf_energy_db"].item()) < 0.5
    assert found["hf_envelope_db"].item() > 5


def test_each_clip_has_its_own_cutoff_and_some_have_no_band_above():
    metric = HighBandEnergy(per_clip=True)
    metric.update(
        above(noise(3), 8000, 0.1).expand(3, -1), noise(3), torch.tensor([2000.0, 8000.0, 17_000.0])
    )
    energy = metric.compute()["hf_energy_db"]
    assert -20 < energy[0] < -1
    assert energy[1].item() == pytest.approx(-20, abs=0.1)
    assert energy[2].isnan()
