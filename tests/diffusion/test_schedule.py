"""The noise schedule and the timesteps that samplers visit."""

import math

import pytest
import torch

from audiosr.diffusion.schedule import (
    cosine_alphas_cumprod,
    released_timesteps,
    trailing_timesteps,
)


def test_cosine_schedule_has_the_released_values():
    abar = cosine_alphas_cumprod()

    released = {0: 0.9999587, 1: 0.9999126, 21: 0.997971, 501: 0.490727, 961: 3.50304e-3}
    released |= {981: 7.86715e-4, 991: 1.55433e-4, 996: 2.18588e-5}
    assert abar.dtype == torch.float32
    for t, value in released.items():
        assert abar[t].item() == pytest.approx(value, rel=1e-5)


def test_cosine_schedule_ends_without_signal():
    abar = cosine_alphas_cumprod()

    assert abar[-1] == 0
    assert (abar.diff() < 0).all()


def test_cosine_schedule_is_not_clipped():
    abar = cosine_alphas_cumprod().double()

    assert 1 - abar[998] / abar[997] == pytest.approx(0.749999, rel=1e-4)


def test_every_step_count_is_met_without_repeats():
    for steps in range(1, 1001):
        t = trailing_timesteps(steps)
        assert t.dtype == torch.long
        assert t.shape == (steps,)
        assert (t.diff() < 0).all()
        assert t[0] == 999
        assert t[-1] >= 0


def test_trailing_spacing_starts_at_the_last_timestep_and_is_even():
    for steps in (1, 3, 8, 10, 50, 333, 1000):
        t = trailing_timesteps(steps)
        assert t[0] == 999
        if steps > 1:
            assert (t.diff() + 1000 / steps).abs().max() <= 1
    assert trailing_timesteps(4).tolist() == [999, 749, 499, 249]
    assert trailing_timesteps(3).tolist() == [999, 666, 332]


def test_released_spacing_is_the_release_s_own_and_meets_the_count_where_that_crashes():
    crashes = 0
    for steps in range(1, 1001):
        # AudioSR release, latent_diffusion/modules/diffusionmodules/util.py
        ascending = [1 + t for t in range(0, 1000, 1000 // steps)]
        t = released_timesteps(steps)
        assert t.dtype == torch.long
        if ascending[-1] < 1000:
            assert t.flip(0).tolist() == ascending
        else:
            crashes += 1
            assert t.shape == (steps,)
            assert (t.diff() < 0).all()
            assert 0 <= t[-1] <= t[0] <= 999
    assert crashes == 599
    assert len(released_timesteps(30)) == 31


@pytest.mark.parametrize("spacing", [trailing_timesteps, released_timesteps])
@pytest.mark.parametrize("steps", [0, -1, 1001])
def test_impossible_step_counts_are_refused(spacing, steps):
    with pytest.raises(ValueError, match="1000"):
        spacing(steps)


def test_a_shorter_schedule_ends_at_zero_too():
    abar = cosine_alphas_cumprod(50)

    assert abar.shape == (50,)
    assert abar[-1] == 0
    expected = math.cos((0.5 + 0.008) / 1.008 * math.pi / 2) ** 2
    assert abar[24].item() == pytest.approx(expected / math.cos(0.008 / 1.008 * math.pi / 2) ** 2)
