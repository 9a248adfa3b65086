"""Is the vocoder the released one, without its delay?"""

from typing import Any, Literal

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from audiosr.networks.hifigan import HiFiGAN
from tests.golden import recipe
from tests.networks import released

PREFIX = "first_stage_model.vocoder."
DELAY = 16  # samples by which the released vocoder is late
REACH = 2400  # samples within which the edges of a clip are felt


@pytest.fixture(scope="module")
def late() -> HiFiGAN:
    """The vocoder of the golden numbers."""
    network = HiFiGAN(channels=64, timing="released")
    recipe.load_weights(network, PREFIX)
    return network.requires_grad_(False)


@pytest.fixture(scope="module")
def aligned() -> HiFiGAN:
    """The same weights without the delay."""
    network = HiFiGAN(channels=64)
    recipe.load_weights(network, PREFIX)
    return network.requires_grad_(False)


def centre_of_influence(timing: Literal["aligned", "released"]) -> float:
    """Samples from a frame's centre to that of what it changes, with every kernel flat."""
    network = HiFiGAN(channels=32, kernels=(3, 7), timing=timing)
    frame = 12  # further from both edges than any kernel reaches
    for parameter in network.parameters():
        torch.nn.init.constant_(parameter, 0.0 if parameter.ndim == 1 else 1 / parameter[0].numel())
    mel = torch.zeros(1, 1, 2 * frame + 1, 256)
    mel[:, :, frame] = 1e-6  # far from the bends of the tanh
    with torch.no_grad():
        wave = network(mel).double().flatten()
    return float((wave * torch.arange(len(wave))).sum() / wave.sum() - (480 * frame + 239.5))


def test_names_and_shapes_are_the_released_ones():
    with torch.device("meta"):
        network = HiFiGAN()

    assert released.summary(network, "vocoder") == released.names("vocoder")


def test_released_timing_sounds_as_released(late: HiFiGAN):
    wave = late(released.mels(62, 63, frames=17))

    assert wave.shape == (2, 1, 480 * 17 + DELAY)
    assert released.golden_error(wave, "vocoder_b_wave") < 1e-4


def test_longer_clips_sound_as_released(late: HiFiGAN):
    assert released.golden_error(late(released.mels(61, frames=40)), "vocoder_a_wave") < 1e-4


def test_aligned_is_the_released_one_advanced(late: HiFiGAN, aligned: HiFiGAN):
    mel = released.mels(62, frames=17)

    got, want = aligned(mel), late(mel)[..., DELAY:]

    assert got.shape == want.shape == (1, 1, 480 * 17)
    inner = slice(REACH, -REACH)
    assert released.relative_error(got[..., inner], want[..., inner]) < 1e-5
    assert released.relative_error(got[..., inner], want[..., REACH + 1 : -REACH + 1]) > 0.1


def test_a_frame_is_heard_at_its_place():
    # An even kernel cannot be centred on five samples: half a sample at 3 kHz is 8 at 48 kHz.
    assert centre_of_influence("aligned") == pytest.approx(-8, abs=0.1)
    assert centre_of_influence("released") == pytest.approx(-8 + DELAY, abs=0.1)


@given(st.integers(1, 2), st.integers(1, 5))
@settings(max_examples=6)
def test_every_frame_becomes_480_samples(batch: int, frames: int):
    network = HiFiGAN(channels=32, kernels=(3,), dilations=(1,))

    wave = network(torch.randn(batch, 1, frames, 256) - 5)

    assert wave.shape == (batch, 1, 480 * frames)
    assert wave.abs().max() <= 1


def test_every_weight_learns_from_the_start():
    network = HiFiGAN(channels=32)

    network(released.mels(1, frames=8)).square().mean().backward()

    for name, parameter in network.named_parameters():
        assert parameter.grad is not None
        assert parameter.grad.abs().max() > 1e-9, name


def test_bfloat16_stays_close_and_gives_float32(aligned: HiFiGAN):
    mel = released.mels(62, frames=6)
    want = aligned(mel)

    with torch.autocast("cpu", torch.bfloat16):
        got = aligned(mel)

    assert got.dtype == torch.float32
    assert released.relative_error(got, want) < 0.1


def test_an_unknown_timing_is_refused():
    timing: Any = "early"

    with pytest.raises(ValueError, match="it must be 'aligned' or 'released'"):
        HiFiGAN(channels=32, timing=timing)
