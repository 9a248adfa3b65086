"""Is the U-Net the released one, at any width and size?"""

from typing import Any

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from audiosr.networks.unet import UNet
from tests.golden import recipe
from tests.networks import released


@pytest.fixture(scope="module")
def golden() -> UNet:
    """The U-Net of the golden numbers."""
    network = UNet(channels=32, multipliers=(1, 1, 2, 3), head_channels=16)
    recipe.load_weights(network, "model.diffusion_model.")
    return network.requires_grad_(False)


def small(*, checkpointing: bool = False) -> UNet:
    """A U-Net of two levels whose output is not zero."""
    network = UNet(
        channels=32,
        multipliers=(1, 2),
        blocks=1,
        attention_rates=(2,),
        checkpointing=checkpointing,
    )
    recipe.load_weights(network, "model.diffusion_model.")
    return network


def test_names_and_shapes_are_the_released_ones():
    with torch.device("meta"):
        network = UNet()

    assert released.summary(network, "unet") == released.names("unet")


@pytest.mark.parametrize(
    ("key", "timesteps", "steps", "seeds"),
    [
        ("b1_t1_cond", [1], 16, (31, 41)),
        ("b2_tmixed_cond", [981, 1], 16, (32, 42)),
        ("h24_t251_cond", [251], 24, (50, 51)),
    ],
)
def test_predicts_as_released(
    golden: UNet, key: str, timesteps: list[int], steps: int, seeds: tuple[int, int]
):
    x, condition = (released.noise(seed, len(timesteps), 16, steps, 32) for seed in seeds)

    v = golden(x, torch.tensor(timesteps), recipe.SCALE_FACTOR * condition)

    assert released.golden_error(v, f"unet_{key}") < 1e-4


def test_predicts_as_released_under_the_null_condition(golden: UNet):
    x = released.noise(31, 1, 16, 16, 32)
    condition = torch.full_like(x, recipe.SCALE_FACTOR * recipe.NULL_CONDITION)

    v = golden(x, torch.tensor([981]), condition)

    assert released.golden_error(v, "unet_b1_t981_null") < 1e-4


def test_a_new_one_predicts_exactly_zero():
    network = UNet(channels=32, multipliers=(1, 1, 1, 1), blocks=1)
    x, condition = torch.randn(2, 2, 16, 8, 8)

    v = network(x, torch.tensor([0, 999]), condition)

    assert v.abs().max() == 0


@given(st.integers(1, 2), st.integers(1, 3), st.integers(2, 3), st.sampled_from([4, 16, 32]))
@settings(max_examples=5)
def test_output_has_the_shape_of_the_noisy_latent(
    batch: int, steps: int, bands: int, condition_channels: int
):
    network = UNet(channels=32, multipliers=(1, 1), blocks=1, condition_channels=condition_channels)
    x = torch.randn(batch, 16, 2 * steps, 2 * bands)
    condition = torch.randn(batch, condition_channels, 2 * steps, 2 * bands)

    assert network(x, torch.zeros(batch, dtype=torch.long), condition).shape == x.shape


def test_a_length_that_does_not_fit_is_refused_with_the_sizes(golden: UNet):
    x = torch.zeros(1, 16, 12, 32)

    with pytest.raises(ValueError, match=r"12 steps and 32 bands.*multiple of 64 .* has 96"):
        golden(x, torch.tensor([1]), x)


def test_every_sample_hears_its_own_timestep_and_condition():
    network = small()
    x, condition = torch.randn(2, 3, 16, 4, 4)
    timesteps = torch.tensor([5, 500, 900])

    together = network(x, timesteps, condition)
    alone = torch.cat(
        [network(x[i : i + 1], timesteps[i : i + 1], condition[i : i + 1]) for i in range(3)]
    )

    torch.testing.assert_close(together, alone, rtol=1e-4, atol=1e-5)
    assert not torch.allclose(network(x, timesteps.flip(0), condition), together, atol=1e-3)
    assert not torch.allclose(network(x, timesteps, condition.flip(0)), together, atol=1e-3)


def test_checkpointing_changes_no_gradient():
    plain, thrifty = small(), small(checkpointing=True)
    x, condition = torch.randn(2, 1, 16, 4, 4)

    for network in (plain, thrifty):
        network(x, torch.tensor([300]), condition).square().sum().backward()

    for one, other in zip(plain.parameters(), thrifty.parameters(), strict=True):
        torch.testing.assert_close(one.grad, other.grad)


def test_memory_format_changes_no_result(golden: UNet):
    x, condition = (released.noise(seed, 1, 16, 8, 8) for seed in (1, 2))
    want = golden(x, torch.tensor([501]), condition)

    last = UNet(channels=32, multipliers=(1, 1, 2, 3), head_channels=16).requires_grad_(False)
    last.load_state_dict(golden.state_dict())
    layout: dict[str, Any] = {"memory_format": torch.channels_last}  # torch's types lack it
    last = last.to(**layout)

    assert released.relative_error(last(x, torch.tensor([501]), condition), want) < 1e-5


def test_bfloat16_stays_close_and_gives_the_dtype_of_the_latent(golden: UNet):
    x, condition = (released.noise(seed, 1, 16, 16, 32) for seed in (31, 41))
    want = golden(x, torch.tensor([501]), condition)

    with torch.autocast("cpu", torch.bfloat16):
        got = golden(x, torch.tensor([501]), condition)

    assert got.dtype == torch.float32
    assert released.relative_error(got, want) < 0.05
