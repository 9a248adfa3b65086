"""A Frechet distance between sets of clips, on any embedding."""

import pytest
import torch

from audiosr.metrics.frechet import FrechetDistance, MelStatistics, frechet_distance


class Samples:
    """A wave is its own embedding."""

    name = "samples"
    dimensions = 3

    def __call__(self, wave: torch.Tensor) -> torch.Tensor:
        return wave[:, 0]


def test_distance_of_gaussians_on_a_diagonal_is_known():
    mean, variance = torch.tensor([1.0, 2.0]).double(), torch.tensor([4.0, 9.0]).double()
    other, spread = torch.tensor([0.0, 0.0]).double(), torch.tensor([1.0, 1.0]).double()
    found = frechet_distance(mean, variance.diag(), other, spread.diag())
    assert found.item() == pytest.approx(1 + 4 + (2 - 1) ** 2 + (3 - 1) ** 2)


def test_the_metric_sees_sets_and_not_batches():
    generator = torch.Generator().manual_seed(0)
    one, two = torch.randn(400, 1, 3, generator=generator), torch.randn(400, 1, 3) + 2
    metric = FrechetDistance(Samples())
    for part in (slice(0, 100), slice(100, 400)):
        metric.update(one[part], two[part])
    expected = frechet_distance(
        one[:, 0].mean(0).double(), one[:, 0].T.cov(), two[:, 0].mean(0).double(), two[:, 0].T.cov()
    )
    assert metric.compute().item() == pytest.approx(expected.item(), rel=1e-3)


def test_mel_statistics_tell_a_dull_set_from_a_bright_one():
    generator = torch.Generator().manual_seed(0)
    bright = 0.1 * torch.randn(4, 1, 96_000, generator=generator)
    spectrum = torch.fft.rfft(bright)
    spectrum[..., 8000:] = 0
    dull = torch.fft.irfft(spectrum, 96_000)
    near, far = (FrechetDistance(MelStatistics()) for _ in range(2))
    near.update(bright[:2], bright[2:])
    far.update(dull[:2], bright[2:])
    assert far.compute() > 10 * near.compute()
    assert MelStatistics()(bright[:1, :, :1000]).shape == (1, 128)


def test_a_single_embedding_has_no_distance():
    metric = FrechetDistance(MelStatistics())
    metric.update(torch.zeros(1, 1, 100), torch.zeros(1, 1, 100))
    assert metric.compute().isnan()
