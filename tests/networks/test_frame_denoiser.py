"""Does the small denoiser listen to everything that it is told, at any length?"""

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor

from audiosr.networks.frame_denoiser import FrameDenoiser

BLOCKS = 2
REACH = 3 * BLOCKS  # frames


def small(*, shaken: bool = True) -> FrameDenoiser:
    """A denoiser for 3 channels of 4 bands; its weights that start at zero are shaken."""
    network = FrameDenoiser(
        latent_channels=3, condition_channels=5, bands=4, channels=16, blocks=BLOCKS
    ).eval()
    if shaken:
        for parameter in network.parameters():
            if not parameter.any():
                torch.nn.init.normal_(parameter, std=0.3)
    return network.requires_grad_(False)


def noisy(batch: int = 1, frames: int = 12) -> Tensor:
    return torch.randn(batch, 3, frames, 4)


def told(batch: int = 1, frames: int = 12) -> Tensor:
    return torch.randn(batch, 5, frames, 4)


@pytest.fixture(scope="module")
def network() -> FrameDenoiser:
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(5)
        return small()


@given(st.integers(1, 3), st.integers(1, 70))
def test_the_prediction_is_shaped_as_the_latent(network: FrameDenoiser, batch: int, frames: int):
    times = torch.randint(0, 1000, (batch,))

    v = network(noisy(batch, frames), times, told(batch, frames))

    assert v.shape == (batch, 3, frames, 4)
    assert v.isfinite().all()


def test_the_prediction_starts_at_zero():
    v = small(shaken=False)(noisy(), torch.tensor([500]), told())

    assert not v.any()


def test_it_learns_from_the_first_step():
    network = small(shaken=False).requires_grad_(True)

    (network(noisy(), torch.tensor([500]), told()) - 1).square().mean().backward()

    assert network.out.weight.grad is not None
    assert network.out.weight.grad.any()


def test_time_noise_and_condition_all_count(network: FrameDenoiser):
    x, time, condition = noisy(), torch.tensor([300]), told()
    v = network(x, time, condition)

    for other in (
        network(x + 0.5 * noisy(), time, condition),
        network(x, time + 400, condition),
        network(x, time, condition + 0.5 * told()),
    ):
        assert (other - v).norm() > 0.01 * v.norm()


def test_clips_of_a_batch_do_not_mix(network: FrameDenoiser):
    x, times, condition = noisy(3), torch.tensor([0, 500, 999]), told(3)

    together = network(x, times, condition)

    for i in range(3):
        alone = network(x[i : i + 1], times[i : i + 1], condition[i : i + 1])
        torch.testing.assert_close(together[i : i + 1], alone, atol=1e-5, rtol=1e-4)


@pytest.mark.parametrize("shift", [1, 5])
def test_a_shift_in_time_shifts_the_prediction_away_from_the_edges(
    network: FrameDenoiser, shift: int
):
    x, time, condition = noisy(1, 40), torch.tensor([400]), told(1, 40)

    v = network(x, time, condition)
    later = network(x.roll(shift, 2), time, condition.roll(shift, 2))

    inside = slice(REACH + shift, 40 - REACH)
    torch.testing.assert_close(
        later[:, :, inside], v.roll(shift, 2)[:, :, inside], atol=1e-5, rtol=1e-4
    )
    assert (later - v).norm() > 0.1 * v.norm()


@pytest.mark.parametrize("changed", ["noise", "condition"])
def test_each_block_sees_three_frames_further(network: FrameDenoiser, changed: str):
    x, time, condition = noisy(1, 40), torch.tensor([400]), told(1, 40)
    v = network(x, time, condition)

    (x if changed == "noise" else condition)[:, :, 20] += 1
    difference = (network(x, time, condition) - v).abs().sum((0, 1, 3))

    touched = (difference > 1e-6).nonzero().flatten()
    assert (int(touched[0]), int(touched[-1])) == (20 - REACH, 20 + REACH)


def test_every_band_hears_every_band(network: FrameDenoiser):
    x, time, condition = noisy(), torch.tensor([400]), told()
    v = network(x, time, condition)

    x[:, 0, 6, 0] += 1

    difference = (network(x, time, condition) - v).abs()
    assert (difference[0, :, 6] > 1e-6).all()


def test_bfloat16_stays_close_and_gives_float32(network: FrameDenoiser):
    x, time, condition = noisy(), torch.tensor([400]), told()

    with torch.autocast("cpu", torch.bfloat16):
        v = network(x, time, condition)

    assert v.dtype == torch.float32
    want = network(x, time, condition)
    assert (v - want).norm() < 0.05 * want.norm()
