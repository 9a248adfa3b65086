"""Does a posterior sample, clamp and measure itself as a Gaussian should?"""

import torch
from hypothesis import given
from hypothesis import strategies as st
from torch.distributions import Normal, kl_divergence

from audiosr.networks.gaussian import DiagonalGaussian


def posterior(*shape: int) -> DiagonalGaussian:
    return DiagonalGaussian(torch.randn(shape), torch.randn(shape))


def test_mode_is_the_mean():
    gaussian = posterior(2, 16, 3, 4)

    assert torch.equal(gaussian.mode(), gaussian.mean)


def test_extreme_variances_are_clamped():
    gaussian = DiagonalGaussian(torch.zeros(2), torch.tensor([-100.0, 100.0]))

    assert gaussian.logvar.tolist() == [-30.0, 20.0]


def test_divergence_is_that_from_the_standard_normal():
    gaussian = posterior(2, 16, 3, 4)

    want = kl_divergence(Normal(gaussian.mean, gaussian.std), Normal(0.0, 1.0))

    torch.testing.assert_close(gaussian.kl(), want)


@given(st.floats(-3, 3), st.floats(-4, 2))
def test_divergence_is_never_negative(mean: float, logvar: float):
    gaussian = DiagonalGaussian(torch.tensor(mean), torch.tensor(logvar))

    assert gaussian.kl() >= -1e-6


def test_samples_have_the_mean_and_the_spread():
    gaussian = DiagonalGaussian(torch.full((100_000,), 2.0), torch.full((100_000,), -1.0))

    sample = gaussian.sample(torch.Generator().manual_seed(0))

    assert abs(sample.mean() - 2.0) < 0.01
    assert abs(sample.std() - gaussian.std[0]) < 0.01


def test_a_generator_decides_the_sample():
    gaussian = posterior(1, 16, 3, 4)

    first = gaussian.sample(torch.Generator().manual_seed(1))
    torch.rand(1)  # the global state plays no part
    second = gaussian.sample(torch.Generator().manual_seed(1))

    assert torch.equal(first, second)
    assert not torch.equal(first, gaussian.sample(torch.Generator().manual_seed(2)))
