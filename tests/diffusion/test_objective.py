"""Noise, velocity and clean latent convert into each other without loss."""

import pytest
import torch

from audiosr.diffusion.objective import add_noise, noise_from_v, velocity, x0_from_v


@pytest.fixture
def pair():
    generator = torch.Generator().manual_seed(0)
    return torch.randn(5, 3, 4, 2, generator=generator), torch.randn(
        5, 3, 4, 2, generator=generator
    )


def test_velocity_gives_back_latent_and_noise_at_every_level(pair):
    x0, noise = pair
    abar = torch.tensor([0.0, 1e-6, 0.5, 0.99996, 1.0])

    x_t, v = add_noise(x0, noise, abar), velocity(x0, noise, abar)

    torch.testing.assert_close(x0_from_v(x_t, v, abar), x0)
    torch.testing.assert_close(noise_from_v(x_t, v, abar), noise)


def test_without_signal_the_velocity_is_the_negated_latent(pair):
    x0, noise = pair
    abar = torch.zeros(5)

    assert torch.equal(add_noise(x0, noise, abar), noise)
    assert torch.equal(velocity(x0, noise, abar), -x0)


def test_each_sample_has_its_own_level(pair):
    x0, noise = pair
    abar = torch.tensor([0.1, 0.3, 0.5, 0.7, 0.9])

    x_t = add_noise(x0, noise, abar)

    torch.testing.assert_close(x_t[3], 0.7**0.5 * x0[3] + 0.3**0.5 * noise[3])
