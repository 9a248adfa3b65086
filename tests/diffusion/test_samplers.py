"""Samplers against a Gaussian target, whose optimal denoiser and flow are known in closed form."""

import itertools
import math

import pytest
import torch

from audiosr.diffusion.samplers import ddim, dpm_solver_pp_2m, dpm_solver_pp_3m, heun
from audiosr.diffusion.schedule import (
    cosine_alphas_cumprod,
    released_timesteps,
    trailing_timesteps,
)

MEAN, STD = 0.7, 0.5
ABAR = cosine_alphas_cumprod()
SAMPLERS = [ddim, dpm_solver_pp_2m, dpm_solver_pp_3m, heun]


def gaussian_velocity(x, t):
    """Optimal velocity for data drawn from N(MEAN, STD^2)."""
    abar = ABAR.double()[t].reshape(-1, *[1] * (x.ndim - 1))
    a, b = abar.sqrt(), (1 - abar).sqrt()
    x0 = MEAN + STD**2 * a * (x - a * MEAN) / (a**2 * STD**2 + b**2)
    noise = b * (x - a * MEAN) / (a**2 * STD**2 + b**2)
    return a * noise - b * x0


def flow(x, t):
    """Where the probability flow carries noise `x` that starts at timestep `t`."""
    abar = ABAR[t].item()
    return MEAN + STD * (x - math.sqrt(abar) * MEAN) / math.sqrt(abar * STD**2 + 1 - abar)


@pytest.fixture
def noise():
    return torch.randn(4, 2, 3, 5, generator=torch.Generator().manual_seed(1), dtype=torch.float64)


def error(sampler, noise, steps):
    x = sampler(gaussian_velocity, noise, trailing_timesteps(steps), ABAR)
    return (x - flow(noise, 999)).abs().max().item()


def orders(sampler, noise):
    """Orders of convergence between 15, 30, 60 and 120 even steps from timestep 940 to 100."""
    errors = []
    for steps in (15, 30, 60, 120):
        visited = []
        sampler(
            gaussian_velocity,
            noise,
            torch.linspace(940, 100, steps + 1).round().long(),
            ABAR,
            callback=lambda index, t, x, x0, visited=visited: visited.append(x),
        )
        a, b = ABAR[940].item(), ABAR[100].item()
        z = (noise - math.sqrt(a) * MEAN) / math.sqrt(a * STD**2 + 1 - a)
        exact = math.sqrt(b) * MEAN + math.sqrt(b * STD**2 + 1 - b) * z
        errors.append((visited[-2] - exact).abs().max().item())
    return [math.log2(e / f) for e, f in itertools.pairwise(errors)]


def test_many_steps_arrive_where_the_flow_leads(noise):
    assert error(ddim, noise, 1000) < 5e-3
    for sampler in SAMPLERS[1:]:
        assert error(sampler, noise, 1000) < 2e-4


def test_ddim_is_of_first_order(noise):
    assert all(0.8 < order < 1.3 for order in orders(ddim, noise)), orders(ddim, noise)


@pytest.mark.parametrize(
    ("sampler", "low", "high"),
    [(dpm_solver_pp_2m, 1.6, 2.6), (dpm_solver_pp_3m, 2.4, 3.8), (heun, 1.7, 2.6)],
)
def test_others_are_of_their_order(noise, sampler, low, high):
    assert all(low < order < high for order in orders(sampler, noise)), orders(sampler, noise)


@pytest.mark.parametrize("steps", [8, 10, 16, 25, 50])
def test_dpm_solver_beats_ddim_from_zero_signal_at_few_steps(noise, steps):
    assert error(dpm_solver_pp_2m, noise, steps) < 0.5 * error(ddim, noise, steps)


@pytest.mark.parametrize("sampler", SAMPLERS)
def test_one_step_from_pure_noise_is_the_negated_velocity(sampler, noise):
    x = sampler(lambda x, t: 0.25 * x + 2, noise, trailing_timesteps(1), ABAR)

    torch.testing.assert_close(x, -(0.25 * noise + 2))


@pytest.mark.parametrize("sampler", SAMPLERS)
@pytest.mark.parametrize("spacing", [trailing_timesteps, released_timesteps])
@pytest.mark.parametrize("steps", [1, 2, 3, 7, 36, 300, 1000])
def test_every_step_count_stays_finite_and_ends_clean(sampler, spacing, steps, noise):
    seen = []

    x = sampler(
        gaussian_velocity,
        noise.float(),
        spacing(steps),
        ABAR,
        callback=lambda index, t, x, x0: seen.append((index, t, x, x0)),
    )

    assert torch.isfinite(x).all()
    assert [s[0] for s in seen] == list(range(len(spacing(steps))))
    assert [s[1] for s in seen] == spacing(steps).tolist()
    torch.testing.assert_close(x, seen[-1][3])
    assert torch.equal(x, seen[-1][2])


def test_full_eta_draws_from_the_target():
    generator = torch.Generator().manual_seed(3)
    noise = torch.randn(20000, 1, generator=generator)

    x = ddim(
        lambda x, t: gaussian_velocity(x.double(), t),
        noise,
        trailing_timesteps(250),
        ABAR,
        eta=1.0,
        generator=generator,
    )

    assert x.mean().item() == pytest.approx(MEAN, abs=0.02)
    assert x.std().item() == pytest.approx(STD, rel=0.03)
    assert abs(torch.corrcoef(torch.stack([x[:, 0], noise[:, 0]]))[0, 1]) < 0.3


def test_same_generator_seed_same_result(noise):
    def run(seed):
        generator = torch.Generator().manual_seed(seed)
        t = trailing_timesteps(5)
        return ddim(gaussian_velocity, noise, t, ABAR, eta=1.0, generator=generator)

    assert torch.equal(run(5), run(5))
    assert not torch.equal(run(5), run(6))


def released_sigma(t, t_next):
    """Noise of a released step: eta 1, from timestep `t` to `t_next`."""
    abar, end = ABAR.double()[t], ABAR.double()[t_next]
    return ((1 - end) / (1 - abar) * (1 - abar / end)).sqrt()


def test_released_ddim_is_reached_by_arguments(noise):
    """Released spacing, eta 1, ending at abar[0]: noise enters after every step, the last too."""
    draws = [torch.full_like(noise, float(i)) for i in range(10)]
    timesteps = released_timesteps(10)
    queue = iter(draws)

    x = ddim(
        gaussian_velocity,
        noise,
        timesteps,
        ABAR,
        eta=1.0,
        noise=lambda x: next(queue),
        last_alpha=ABAR[0].item(),
    )

    expected = noise
    for t, t_next, draw in zip(timesteps, [*timesteps[1:], 0], draws, strict=True):
        abar, end, sigma = ABAR.double()[t], ABAR.double()[t_next], released_sigma(t, t_next)
        v = gaussian_velocity(expected, t.expand(4))
        x0 = abar.sqrt() * expected - (1 - abar).sqrt() * v
        direction = abar.sqrt() * v + (1 - abar).sqrt() * expected
        kept = (1 - end - sigma**2).sqrt()
        expected = end.sqrt() * x0 + kept * direction + sigma * draw
    torch.testing.assert_close(x, expected)
    # Read from a run of the AudioSR release with 10 steps.
    assert released_sigma(1, 0).item() == pytest.approx(0.00466843, rel=1e-4)
    assert released_sigma(101, 1).item() == pytest.approx(0.00933721, rel=1e-4)
    assert released_sigma(201, 101).item() == pytest.approx(0.14644665, rel=1e-4)


@pytest.mark.parametrize("sampler", SAMPLERS)
@pytest.mark.parametrize("timesteps", [[], [1, 2], [5, 5], [3, -1]])
def test_unordered_timesteps_are_refused(sampler, timesteps, noise):
    with pytest.raises(ValueError, match="descending"):
        sampler(gaussian_velocity, noise, torch.tensor(timesteps, dtype=torch.long), ABAR)
