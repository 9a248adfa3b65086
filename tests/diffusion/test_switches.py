"""Do the samplers arrive, whatever is predicted, under whatever schedule and from wherever?"""

import itertools
import math

import pytest
import torch
from torch import Tensor

from audiosr.diffusion.objective import (
    PredictClean,
    PredictFlow,
    PredictNoise,
    PredictVelocity,
    add_noise,
    x0_from_v,
)
from audiosr.diffusion.samplers import ddim, dpm_solver_pp_2m
from audiosr.diffusion.schedule import (
    cosine_alphas_cumprod,
    linear_alphas_cumprod,
    rectified_alphas_cumprod,
    shifted_alphas_cumprod,
    sigmoid_alphas_cumprod,
    trailing_timesteps,
)
from audiosr.diffusion.start import FromCondition, FromNoise
from audiosr.diffusion.weighting import EvenWeight, MinSNRWeight
from audiosr.errors import UsageError
from audiosr.model import DiffusionSettings, Model

OBJECTIVES = {"v": PredictVelocity, "noise": PredictNoise, "x0": PredictClean, "flow": PredictFlow}
SCHEDULES = {
    "cosine": cosine_alphas_cumprod,
    "linear": linear_alphas_cumprod,
    "linear_zero": lambda: linear_alphas_cumprod(zero_terminal=True),
    "sigmoid": sigmoid_alphas_cumprod,
    "shifted": shifted_alphas_cumprod,
    "rectified": rectified_alphas_cumprod,
}


def latents(count: int, seed: int) -> Tensor:
    return torch.randn(count, 2, 3, 4, generator=torch.Generator().manual_seed(seed))


@pytest.fixture
def x0() -> Tensor:
    return latents(5, 0)


@pytest.fixture
def noise() -> Tensor:
    return latents(5, 1)


@pytest.mark.parametrize("name", OBJECTIVES)
def test_an_exact_prediction_gives_back_the_latent(name: str, x0: Tensor, noise: Tensor) -> None:
    objective = OBJECTIVES[name]()
    abar = torch.tensor([1e-3 if objective.needs_signal else 0.0, 0.1, 0.5, 0.9, 0.9999])
    x_t = add_noise(x0, noise, abar)

    v = objective.velocity(objective.target(x0, noise, abar), x_t, abar)

    torch.testing.assert_close(x0_from_v(x_t, v, abar), x0, atol=1e-4, rtol=1e-4)


@pytest.mark.parametrize("name", OBJECTIVES)
def test_an_error_of_the_prediction_reaches_the_latent_as_it_is_said(
    name: str, x0: Tensor, noise: Tensor
) -> None:
    objective = OBJECTIVES[name]()
    abar = torch.tensor([0.01, 0.1, 0.5, 0.9, 0.99])
    x_t = add_noise(x0, noise, abar)

    v = objective.velocity(objective.target(x0, noise, abar) + 1, x_t, abar)

    error = (x0_from_v(x_t, v, abar) - x0).square().mean((1, 2, 3))
    torch.testing.assert_close(error, objective.x0_error(abar), atol=1e-4, rtol=1e-3)


def test_a_flow_is_shown_the_straight_line(x0: Tensor, noise: Tensor) -> None:
    abar = rectified_alphas_cumprod(5)
    s = torch.arange(1, 6)[:, None, None, None] / 5

    shown = PredictFlow().shown(add_noise(x0, noise, abar), abar)

    torch.testing.assert_close(shown, (1 - s) * x0 + s * noise)


@pytest.mark.parametrize("sampler", [ddim, dpm_solver_pp_2m])
@pytest.mark.parametrize(
    ("name", "schedule"),
    [
        pair
        for pair in itertools.product(OBJECTIVES, SCHEDULES)
        if pair[0] != "noise" or pair[1] == "linear"
    ],
)
def test_every_sampler_arrives_with_every_objective_and_schedule(
    sampler, name: str, schedule: str, x0: Tensor, noise: Tensor
) -> None:
    """A denoiser that knows the one latent there is leads there in any number of steps."""
    table, objective = SCHEDULES[schedule](), OBJECTIVES[name]()

    def denoise(x: Tensor, t: Tensor) -> Tensor:
        abar = table[t]
        a, b = (part[:, None, None, None] for part in (abar.sqrt(), (1 - abar).sqrt()))
        return objective.velocity(objective.target(x0, (x - a * x0) / b, abar), x, abar)

    for steps in (1, 4):
        x = sampler(denoise, noise, trailing_timesteps(steps), table)
        torch.testing.assert_close(x, x0, atol=2e-3, rtol=1e-3)


@pytest.mark.parametrize("name", SCHEDULES)
def test_a_schedule_takes_the_signal_away_step_by_step(name: str) -> None:
    table = SCHEDULES[name]()

    assert table.dtype == torch.float32
    assert table.shape == (1000,)
    assert 0.99 < table[0] < 1
    assert (table.diff() < 0).all()
    assert (table[-1] == 0) == (name != "linear")


def test_schedules_have_their_papers_values() -> None:
    # Ho et al.: "L_T ~ 0", an SNR of exp(-10) at the end; the first share of noise is 1e-4.
    linear = linear_alphas_cumprod()
    assert linear[0].item() == pytest.approx(1 - 1e-4, rel=1e-6)
    assert linear[-1].item() == pytest.approx(4.0e-5, rel=0.02)
    # Lin et al., algorithm 1 keeps the first timestep and takes out the last.
    zero = linear_alphas_cumprod(zero_terminal=True)
    assert zero[0].item() == pytest.approx(linear[0].item(), rel=1e-6)
    # By symmetry half of the signal is left in the middle of the sigmoid.
    assert sigmoid_alphas_cumprod()[499].item() == pytest.approx(0.5, abs=1e-3)
    cosine, shifted = cosine_alphas_cumprod()[:-1], shifted_alphas_cumprod(ratio=0.5)[:-1]
    moved = (shifted.logit() - cosine.logit())[10:900]
    torch.testing.assert_close(moved, torch.full_like(moved, 2 * math.log(0.5)), atol=1e-3, rtol=0)
    # In the middle of the line signal and noise are equal.
    assert rectified_alphas_cumprod()[499] == 0.5


def test_min_snr_counts_the_error_of_the_latent_up_to_gamma() -> None:
    abar = torch.tensor([0.1, 0.5, 0.9, 0.99])
    capped = torch.tensor([1 / 9, 1.0, 5.0, 5.0])  # min(SNR, 5)
    snr = torch.tensor([1 / 9, 1.0, 9.0, 99.0])

    torch.testing.assert_close(MinSNRWeight(5.0)(abar, PredictClean()), capped)
    torch.testing.assert_close(MinSNRWeight(5.0)(abar, PredictNoise()), capped / snr)
    torch.testing.assert_close(MinSNRWeight(5.0)(abar, PredictVelocity()), capped / (snr + 1))
    assert MinSNRWeight(5.0)(torch.zeros(1), PredictVelocity()) == 0
    assert torch.equal(EvenWeight()(abar, PredictNoise()), torch.ones(4))


def test_a_bridge_starts_about_the_condition(noise: Tensor) -> None:
    condition = torch.cat([latents(5, 2), latents(5, 3)], 1)

    end = FromCondition(sigma=0.25)(noise, condition)

    torch.testing.assert_close(end, condition[:, :2] + 0.25 * noise)
    assert torch.equal(FromNoise()(noise, condition), noise)
    with pytest.raises(UsageError, match=r"start\.sigma=-1"):
        FromCondition(sigma=-1)


def test_noise_cannot_be_predicted_from_a_schedule_without_signal() -> None:
    with pytest.raises(UsageError, match="schedule=linear"):
        Model(
            diffusion=DiffusionSettings(
                objective={"_target_": "audiosr.diffusion.objective.PredictNoise"}
            )
        )
