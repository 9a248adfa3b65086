"""Does the prior say what a regression can know, and does the denoiser around it stay exact?"""

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from audiosr.diffusion.objective import (
    Objective,
    PredictClean,
    PredictFlow,
    PredictNoise,
    add_noise,
    velocity,
    x0_from_v,
)
from audiosr.diffusion.schedule import linear_alphas_cumprod
from audiosr.networks.frame_denoiser import FrameDenoiser
from audiosr.networks.linear_prior import LinearPrior, LinearPriorDenoiser

CHANNELS, BANDS = 2, 4
SIZE = CHANNELS * BANDS


def latents(batch: int, frames: int) -> Tensor:
    return torch.randn(batch, CHANNELS, frames, BANDS)


def neighbours(condition: Tensor, weight: Tensor, bias: Tensor) -> Tensor:
    """The affine map of the frame before, the frame and the frame after, edges repeated."""
    frames = condition.permute(0, 2, 1, 3).flatten(2)
    first, last = frames[:, :1], frames[:, -1:]
    before, after = torch.cat([first, frames[:, :-1]], 1), torch.cat([frames[:, 1:], last], 1)
    y = torch.cat([before, frames, after], 2) @ weight + bias
    return y.unflatten(2, (CHANNELS, BANDS)).permute(0, 2, 1, 3)


@pytest.fixture
def prior() -> LinearPrior:
    """A prior that says something."""
    prior = LinearPrior(SIZE)
    prior.weight.normal_()
    prior.bias.normal_()
    return prior


def around(prior: LinearPrior) -> LinearPriorDenoiser:
    """An untrained denoiser around `prior`."""
    network = FrameDenoiser(
        latent_channels=CHANNELS,
        condition_channels=2 * CHANNELS,
        bands=BANDS,
        channels=16,
        blocks=1,
    )
    return LinearPriorDenoiser(network, prior)


class Oracle(nn.Module):
    """Knows the deviation and its noise, and so its v; keeps what it was shown."""

    def __init__(self, deviation: Tensor, noise: Tensor, abar: Tensor) -> None:
        super().__init__()
        self.v = velocity(deviation, noise, abar)
        self.seen: tuple[Tensor, Tensor, Tensor]

    def forward(self, x: Tensor, timesteps: Tensor, condition: Tensor) -> Tensor:
        self.seen = (x, timesteps, condition)
        return self.v


def test_ridge_recovers_a_known_map():
    weight, bias = torch.randn(3 * SIZE, SIZE), torch.randn(SIZE)
    condition = 2 * latents(8, 60) + 1
    latent = neighbours(condition, weight, bias)
    prior = LinearPrior(SIZE)

    prior.fit(condition, latent, ridge=1e-8)

    torch.testing.assert_close(prior.weight[0], weight, atol=1e-3, rtol=0)
    torch.testing.assert_close(prior.bias[0], bias, atol=1e-2, rtol=0)
    unseen = latents(2, 7)
    torch.testing.assert_close(
        prior(unseen), neighbours(unseen, weight, bias), atol=1e-2, rtol=1e-3
    )


@pytest.mark.parametrize("noise", [0.5, 2.0])
def test_what_is_left_over_on_unseen_clips_is_what_is_not_linear(noise: float):
    condition = latents(32, 200)
    latent = condition + noise * torch.randn_like(condition) + 3
    denoiser = around(LinearPrior(SIZE))

    denoiser.fit(condition[16:], latent[16:])
    left = denoiser.left_over(condition[:16], latent[:16])

    assert float(left.std()) == pytest.approx(noise, rel=0.05)


def test_the_ridge_shrinks_and_knows_no_unit():
    condition = latents(4, 50)
    latent = condition + torch.randn_like(condition)
    free, held, scaled = LinearPrior(SIZE), LinearPrior(SIZE), LinearPrior(SIZE)

    free.fit(condition, latent, ridge=1e-8)
    held.fit(condition, latent, ridge=1.0)
    scaled.fit(7 * condition, 7 * latent, ridge=1.0)

    assert held.weight.norm() < 0.7 * free.weight.norm()
    torch.testing.assert_close(scaled.weight, held.weight, atol=1e-4, rtol=0)


def test_more_unknowns_than_frames_stay_finite():
    prior = LinearPrior(SIZE)

    prior.fit(latents(1, 3), latents(1, 3))

    assert prior.weight.isfinite().all()


@pytest.mark.parametrize("context", [0, 1, 3])
def test_a_frame_is_predicted_from_its_context_alone(context: int):
    prior = LinearPrior(SIZE, context=context)
    prior.weight.normal_()
    condition = latents(1, 20)
    changed = condition.clone()
    changed[:, :, 10] += 1

    touched = (prior(changed) - prior(condition)).abs().sum((0, 1, 3)).nonzero().flatten()

    assert touched.tolist() == list(range(10 - context, 10 + context + 1))


def told(condition: Tensor, cutoff: float) -> Tensor:
    """The condition, and that the clips' content is in the first `cutoff` bands."""
    plane = 2 * (cutoff - torch.arange(BANDS)).clamp(0, 1) - 1
    return torch.cat([condition, plane.expand(len(condition), 1, condition.shape[2], -1)], 1)


def test_each_range_of_cutoffs_has_its_own_map_and_between_two_is_their_blend():
    narrow, wide = latents(32, 40), latents(32, 40)
    prior = LinearPrior(SIZE, knots=[1, 3])

    prior.fit(torch.cat([told(narrow, 1), told(wide, 3)]), torch.cat([-narrow, 2 * wide]), ridge=0)

    unseen = latents(1, 8)
    for cutoff, factor in ((0.5, -1), (1, -1), (1.5, -0.25), (2.5, 1.25), (3, 2), (4, 2)):
        predicted = prior(told(unseen, cutoff))
        torch.testing.assert_close(predicted, factor * unseen, atol=1e-3, rtol=0)


def test_a_cutoff_that_no_clip_has_is_given_the_common_map():
    condition = latents(4, 50)
    prior, common = LinearPrior(SIZE, knots=[1, 2, 3]), LinearPrior(SIZE)

    prior.fit(told(condition, 1.25), condition, ridge=0.1)

    common.fit(condition, condition, ridge=0.1)
    torch.testing.assert_close(prior.weight[2], common.weight[0])
    torch.testing.assert_close(prior.bias[2], common.bias[0])
    # The first, and a little the second, have seen clips: they stand nearer to the truth.
    errors = [(prior(told(condition, cutoff)) - condition).norm() for cutoff in (1, 2, 3)]
    assert errors[0] < errors[1] < errors[2]


@pytest.mark.parametrize("frames", [1, 2, 9])
def test_any_length_has_a_prior_in_float32(prior: LinearPrior, frames: int):
    with torch.autocast("cpu", torch.bfloat16):
        predicted = prior(latents(2, frames).bfloat16())

    assert predicted.shape == (2, CHANNELS, frames, BANDS)
    assert predicted.dtype == torch.float32


def test_an_untrained_denoiser_predicts_the_prior_from_pure_noise(prior: LinearPrior):
    denoiser = around(prior)
    x, condition = latents(2, 9), latents(2, 9)
    last = torch.tensor([999, 999])

    with torch.no_grad():
        v = denoiser(x, last, condition)

    x0 = x0_from_v(x, v, denoiser.abar[last][:, None, None, None])
    torch.testing.assert_close(x0, prior(condition), atol=1e-4, rtol=0)


def test_v_is_that_of_the_deviation_less_the_priors_share(prior: LinearPrior):
    timesteps = torch.tensor([0, 123, 500, 998, 999])
    denoiser = around(prior)
    abar = denoiser.abar[timesteps][:, None, None, None]
    condition, deviation, noise = (latents(5, 6) for _ in range(3))
    mu = prior(condition)
    oracle = Oracle(deviation, noise, abar)
    denoiser.network = oracle

    v = denoiser(add_noise(mu + deviation, noise, abar), timesteps, condition)

    torch.testing.assert_close(v, velocity(deviation, noise, abar) - (1 - abar).sqrt() * mu)
    torch.testing.assert_close(v, velocity(mu + deviation, noise, abar), atol=1e-5, rtol=1e-5)
    x, times, told = oracle.seen
    torch.testing.assert_close(x, add_noise(deviation, noise, abar), atol=1e-5, rtol=1e-5)
    assert torch.equal(times, timesteps)
    torch.testing.assert_close(told, torch.cat([condition, mu], 1))


@pytest.mark.parametrize("objective", [PredictNoise(), PredictClean(), PredictFlow()])
def test_the_prior_is_taken_out_of_every_objective(prior: LinearPrior, objective: Objective):
    table = linear_alphas_cumprod()
    timesteps = torch.tensor([0, 123, 500, 998, 999])
    denoiser = around(prior)
    denoiser.follow(table, objective)
    abar = table[timesteps]
    condition, deviation, noise = (latents(5, 6) for _ in range(3))
    mu = prior(condition)
    oracle = Oracle(deviation, noise, abar)
    oracle.v = objective.target(deviation, noise, abar)
    denoiser.network = oracle

    shown = objective.shown(add_noise(mu + deviation, noise, abar), abar)
    predicted = denoiser(shown, timesteps, condition)

    wanted = objective.target(mu + deviation, noise, abar)
    torch.testing.assert_close(predicted, wanted, atol=1e-5, rtol=1e-5)
    seen = objective.shown(add_noise(deviation, noise, abar), abar)
    torch.testing.assert_close(oracle.seen[0], seen, atol=1e-5, rtol=1e-5)


def test_the_fit_is_in_the_state_and_the_schedule_is_not(prior: LinearPrior):
    denoiser, other = around(prior), around(LinearPrior(SIZE))
    state = denoiser.state_dict()

    assert {"prior.weight", "prior.bias"} <= state.keys()
    assert "abar" not in state
    other.load_state_dict(state)
    inputs = latents(1, 5), torch.tensor([700]), latents(1, 5)
    assert torch.equal(other(*inputs), denoiser(*inputs))


def test_only_the_network_is_trained(prior: LinearPrior):
    denoiser = around(prior)
    names = [name for name, _ in denoiser.named_parameters()]

    assert names
    assert all(name.startswith("network.") for name in names)
    denoiser(latents(1, 5), torch.tensor([10]), latents(1, 5)).square().mean().backward()
    gradient = denoiser.get_submodule("network.out").weight.grad
    assert isinstance(gradient, Tensor)
    assert gradient.any()


def test_the_denoiser_fits_its_prior():
    condition = latents(8, 60)
    denoiser = around(LinearPrior(SIZE))

    denoiser.fit(condition, 0.5 * condition)

    assert F.mse_loss(denoiser.prior(condition), 0.5 * condition) < 1e-3
