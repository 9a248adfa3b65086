"""The signal-to-noise ratio below the cutoff sees that band alone."""

import pytest
import torch
from torchmetrics.audio import ScaleInvariantSignalDistortionRatio

from audiosr.metrics.snr import WaveformRatios, snr_below_cutoff_db

RATE = 48000


def tone(hz, amplitude=0.5, samples=RATE):
    return amplitude * torch.sin(2 * torch.pi * hz * torch.arange(samples).double() / RATE)


def test_an_error_below_the_cutoff_counts_by_its_power():
    snr = snr_below_cutoff_db(tone(1000) + tone(2000, 0.005), tone(1000), 4000.0, RATE)

    assert snr.item() == pytest.approx(40, abs=0.01)


def test_what_lies_above_the_cutoff_does_not_count():
    snr = snr_below_cutoff_db(tone(1000) + tone(9123.4), tone(1000), 4000.0, RATE)

    assert snr.item() > 100


def test_each_clip_has_its_own_cutoff():
    estimate = torch.stack([tone(1000) + tone(6000, 0.05)] * 2)
    reference = torch.stack([tone(1000)] * 2)

    snr = snr_below_cutoff_db(estimate, reference, torch.tensor([4000.0, 8000.0]), RATE)

    assert snr[0] > 100
    assert snr[1].item() == pytest.approx(20, abs=0.01)


def test_equal_signals_have_no_noise():
    assert snr_below_cutoff_db(tone(500), tone(500), 4000.0, RATE).item() == float("inf")


def test_noise_over_silence_is_minus_infinity():
    snr = snr_below_cutoff_db(tone(500), torch.zeros(RATE), 4000.0, RATE)

    assert snr.item() == -float("inf")


def test_different_shapes_are_refused():
    with pytest.raises(ValueError, match="cannot compare"):
        snr_below_cutoff_db(tone(500), tone(500, samples=100), 4000.0, RATE)


def test_ratios_of_the_waveform_are_those_of_torchmetrics():
    estimate, target = torch.stack([tone(1000) + tone(2000, 0.05)] * 2), tone(1000)[None]
    metric = WaveformRatios()

    metric.update(0.5 * estimate, target)

    expected = ScaleInvariantSignalDistortionRatio()(0.5 * estimate, target.expand(2, -1))
    found = metric.compute()
    assert found["si_sdr_db"].item() == pytest.approx(expected.item(), abs=1e-3)
    assert found["si_sdr_db"].item() == pytest.approx(20, abs=0.1)
    assert found["snr_db"].item() < 7


def test_a_silent_target_has_no_ratio():
    metric = WaveformRatios(per_clip=True)
    metric.update(tone(1000)[None], torch.zeros(1, RATE))
    assert metric.compute()["si_sdr_db"].isnan().all()
