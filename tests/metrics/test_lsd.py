"""Log-spectral distance: ssr_eval's figures, NU-Wave 2's definition, the split at the cutoff."""

import json
from pathlib import Path

import numpy as np
import pytest
import torch

from audiosr.metrics.lsd import (
    LogSpectralDistance,
    log_spectral_distance,
    nuwave2,
    ssr_eval,
)
from tests.golden.recipe import signal

GOLDEN = json.loads((Path(__file__).parents[1] / "golden" / "lsd.json").read_text())


def noise(seed, samples=24000, batch=2):
    return 0.1 * torch.randn(batch, samples, generator=torch.Generator().manual_seed(seed))


def wave(spec):
    return torch.from_numpy(np.asarray(signal(spec), dtype=np.float32))


@pytest.mark.parametrize("pair", GOLDEN, ids=lambda pair: f"{pair['rate']}-{pair['name']}")
def test_ssr_eval_preset_equals_ssr_eval(pair):
    estimate, target = wave(pair["estimate"]), wave(pair["target"])
    if pair["lsd"] is None:
        with pytest.raises(ValueError, match="cannot compare"):
            log_spectral_distance(estimate, target, ssr_eval, rate=pair["rate"])
        return

    distance = log_spectral_distance(estimate, target, ssr_eval, rate=pair["rate"])

    assert distance.full.item() == pytest.approx(pair["lsd"], abs=1e-3, rel=1e-3)


def test_nuwave2_preset_equals_its_definition_in_numpy():
    estimate, target = noise(0), noise(1)
    target[:, 12000:] *= 1e-5  # deep under the clamp
    window = 0.5 - 0.5 * np.cos(2 * np.pi * np.arange(2048) / 2048)

    def log_power(x):
        x = np.pad(x.astype(np.float64), 1024, mode="reflect")
        frames = np.lib.stride_tricks.sliding_window_view(x, 2048)[::512] * window
        return np.log10(np.maximum(np.abs(np.fft.rfft(frames)) ** 2, 1e-8))

    expected = [
        np.mean(np.sqrt(np.mean((log_power(t) - log_power(e)) ** 2, axis=1)))
        for t, e in zip(target.numpy(), estimate.numpy(), strict=True)
    ]

    distance = log_spectral_distance(estimate, target, nuwave2)

    np.testing.assert_allclose(distance.full.numpy(), expected, rtol=1e-4)


def test_a_gain_of_ten_is_two_decades_of_power():
    distance = log_spectral_distance(10 * noise(0), noise(0), nuwave2, 8000.0)

    for values in distance:
        assert values is not None
        torch.testing.assert_close(values, torch.full((2,), 2.0).double(), atol=1e-3, rtol=0)


def test_silence_is_no_distance_under_the_clamp():
    silence = torch.zeros(1, 5000)

    assert log_spectral_distance(silence, silence).full.item() == 0
    assert log_spectral_distance(silence, silence, ssr_eval).full.item() == pytest.approx(12)


def test_the_split_sees_a_change_only_on_its_side_of_the_cutoff():
    target = noise(2)
    spectrum = torch.fft.rfft(target)
    hz = torch.fft.rfftfreq(target.shape[-1], 1 / 48000)
    spectrum[:, hz > 6500] *= 0.1
    estimate = torch.fft.irfft(spectrum, target.shape[-1])

    distance = log_spectral_distance(estimate, target, nuwave2, 6000.0)

    assert distance.lf is not None
    assert distance.hf is not None
    assert (distance.lf < 0.02).all()
    assert (distance.hf > 1.8).all()
    assert ((distance.full > distance.lf) & (distance.full < distance.hf)).all()


def test_each_clip_has_its_own_cutoff():
    estimate, target = noise(3), noise(4)

    both = log_spectral_distance(estimate, target, nuwave2, torch.tensor([4000.0, 12000.0]))

    for i, cutoff in enumerate((4000.0, 12000.0)):
        one = log_spectral_distance(estimate[i], target[i], nuwave2, cutoff)
        for values, value in zip(both, one, strict=True):
            assert values is not None
            assert value is not None
            torch.testing.assert_close(values[i : i + 1], value)


@pytest.mark.parametrize("preset", [nuwave2, ssr_eval], ids=lambda preset: preset.name)
@pytest.mark.parametrize("samples", [1, 100, 2000])
def test_short_clips_have_a_distance(preset, samples):
    distance = log_spectral_distance(noise(5, samples), noise(6, samples), preset, 4000.0)

    assert all(torch.isfinite(values).all() for values in distance if values is not None)


def test_different_batches_are_refused():
    with pytest.raises(ValueError, match="cannot compare"):
        log_spectral_distance(noise(0, batch=2), noise(0, batch=3))


def test_the_metric_is_the_mean_over_all_clips_of_all_updates():
    means, rows = LogSpectralDistance(), LogSpectralDistance(per_clip=True)
    estimates, targets, cutoffs = noise(7, batch=5), noise(8, batch=5), torch.full((5,), 4000.0)

    for metric in (means, rows):
        metric.update(estimates[:2].unsqueeze(1), targets[:2].unsqueeze(1), cutoffs[:2])
        metric.update(estimates[2:], targets[2:], 4000.0)

    full, lf, hf = log_spectral_distance(estimates, targets, nuwave2, cutoffs)
    assert lf is not None
    assert hf is not None
    expected = {"lsd_nuwave2": full, "lsd_hf_nuwave2": hf, "lsd_lf_nuwave2": lf}
    torch.testing.assert_close(rows.compute(), expected)
    torch.testing.assert_close(
        means.compute(), {name: values.mean().float() for name, values in expected.items()}
    )
