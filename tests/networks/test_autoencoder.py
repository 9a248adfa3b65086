"""Is the autoencoder the released one, at any width and length?"""

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from audiosr.networks.autoencoder import Autoencoder
from tests.golden import recipe
from tests.networks import released


@pytest.fixture(scope="module")
def golden() -> Autoencoder:
    """The autoencoder of the golden numbers."""
    network = Autoencoder(channels=32, multipliers=(1, 1, 2, 3))
    recipe.load_weights(network, "first_stage_model.")
    return network.requires_grad_(False)


@pytest.mark.parametrize("group", ["encoder", "decoder", "quant_conv", "post_quant_conv"])
def test_names_and_shapes_are_the_released_ones(group: str):
    with torch.device("meta"):
        network = Autoencoder()

    assert released.summary(network.get_submodule(group), group) == released.names(group)


def test_encodes_and_decodes_as_released(golden: Autoencoder):
    posterior = golden.encode(released.mels(11, 12, frames=64))

    assert released.golden_error(posterior.mean, "autoencoder_a_mean") < 1e-4
    assert released.golden_error(posterior.logvar, "autoencoder_a_logvar") < 1e-4
    sample = posterior.mean + posterior.std * released.noise(20, *posterior.mean.shape)
    assert released.golden_error(sample, "autoencoder_a_sample") < 1e-4
    mel = golden.decode(posterior.mode())
    assert released.golden_error(mel, "autoencoder_a_mode_decode") < 1e-4


def test_decodes_any_latent_as_released(golden: Autoencoder):
    mel = golden.decode(released.noise(21, 1, 16, 8, 32))

    assert released.golden_error(mel, "autoencoder_z_decode") < 1e-4


def test_encodes_a_length_that_is_no_multiple_as_released(golden: Autoencoder):
    posterior = golden.encode(released.mels(14, frames=100))

    assert released.golden_error(posterior.mean, "autoencoder_odd_mean") < 1e-4
    assert released.golden_error(posterior.logvar, "autoencoder_odd_logvar") < 1e-4


@given(st.integers(1, 2), st.integers(8, 40), st.integers(2, 4))
@settings(max_examples=6)
def test_one_latent_per_eight_frames_and_bands(batch: int, frames: int, eighths: int):
    network = Autoencoder(channels=32, multipliers=(1, 1, 1, 1), blocks=1).eval()

    with torch.no_grad():
        latent = network.encode(torch.randn(batch, 1, frames, 8 * eighths)).mode()
        mel = network.decode(latent)

    assert latent.shape == (batch, network.latent_channels, frames // network.downsample, eighths)
    assert mel.shape == (batch, 1, frames // 8 * 8, 8 * eighths)


def test_bfloat16_stays_close_and_gives_float32(golden: Autoencoder):
    mel = released.mels(11, frames=32)
    want = golden.decode(golden.encode(mel).mode())

    with torch.autocast("cpu", torch.bfloat16):
        got = golden.decode(golden.encode(mel).mode())

    assert got.dtype == torch.float32
    assert released.relative_error(got, want) < 0.05


def test_last_layer_ends_the_decoder():
    network = Autoencoder(channels=32, multipliers=(1, 1), blocks=1)
    mel = network.decode(torch.randn(1, 16, 2, 2))

    (gradient,) = torch.autograd.grad(mel.sum(), network.last_layer)

    assert gradient.shape == (1, 32, 3, 3)
    assert gradient.abs().sum() > 0


def gradients(network: Autoencoder, mel: torch.Tensor) -> tuple[list[torch.Tensor], int]:
    """Gradients of a reconstruction's error, and how many bytes the backward pass kept for them."""
    kept: dict[int, int] = {}

    def keep(tensor: torch.Tensor) -> torch.Tensor:
        kept[tensor.untyped_storage().data_ptr()] = tensor.untyped_storage().nbytes()
        return tensor

    torch.manual_seed(1)
    weights = {p.untyped_storage().data_ptr() for p in network.parameters()}
    with torch.autograd.graph.saved_tensors_hooks(keep, lambda tensor: tensor):
        loss = (network.decode(network.encode(mel).mode()) - mel).abs().mean()
    loss.backward()
    found = [p.grad for p in network.parameters() if p.grad is not None]
    return found, sum(size for place, size in kept.items() if place not in weights)


def test_checkpointing_changes_no_gradient_and_keeps_less():
    mel = torch.randn(1, 1, 64, 64, generator=torch.Generator().manual_seed(0))
    torch.manual_seed(0)
    plain = Autoencoder(channels=32, multipliers=(1, 2), dropout=0.1)
    thrifty = Autoencoder(channels=32, multipliers=(1, 2), dropout=0.1, checkpointing=True)
    thrifty.load_state_dict(plain.state_dict())

    (expected, much), (found, little) = gradients(plain, mel), gradients(thrifty, mel)

    assert len(expected) == len(found) > 50
    assert all(torch.allclose(a, b, atol=1e-7) for a, b in zip(expected, found, strict=True))
    assert little < 0.5 * much
