"""Is what is heard or measured kept from bfloat16, under autocast and in rounded weights?"""

import copy
from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from audiosr.audio.mel import LogMel
from audiosr.metrics.lsd import log_spectral_distance
from audiosr.networks.autoencoder import Autoencoder
from audiosr.networks.discriminators import (
    PatchDiscriminator,
    PeriodDiscriminator,
    SpectrogramDiscriminator,
)
from audiosr.networks.frame_denoiser import FrameDenoiser
from audiosr.networks.hifigan import HiFiGAN
from audiosr.networks.linear_prior import LinearPrior, LinearPriorDenoiser
from audiosr.networks.patch_autoencoder import PatchAutoencoder
from audiosr.networks.unet import UNet
from audiosr.networks.vocos import Vocos
from tests.golden import recipe
from tests.networks import released

LATENT = (1, 16, 8, 32)


def _patch_autoencoder() -> PatchAutoencoder:
    network = PatchAutoencoder(width=16, blocks=1)
    network.fit(released.mels(1, frames=64))
    return network


def _prior_denoiser() -> LinearPriorDenoiser:
    network = FrameDenoiser(channels=32, blocks=1, condition_channels=32)
    nn.init.normal_(network.out.weight, std=0.1)
    denoiser = LinearPriorDenoiser(network, LinearPrior(512, context=0))
    denoiser.fit(released.noise(1, *LATENT), released.noise(2, *LATENT))
    return denoiser


def _unet() -> UNet:
    network = UNet(channels=32, multipliers=(1, 1), blocks=1, attention_rates=(2,))
    nn.init.normal_(network.out[2].get_parameter("weight"), std=0.1)
    return network


def _denoised(network: Any) -> Tensor:
    x, condition = released.noise(1, *LATENT), released.noise(2, *LATENT)
    return network(x, torch.tensor([500]), condition)


NETWORKS: dict[str, tuple[Callable[[], nn.Module], Callable[[Any], Tensor]]] = {
    "HiFiGAN": (lambda: HiFiGAN(channels=32), lambda n: n(released.mels(1, frames=8))),
    "Vocos": (lambda: Vocos(channels=32, blocks=1), lambda n: n(released.mels(1, frames=8))),
    "Autoencoder": (
        lambda: Autoencoder(channels=32, multipliers=(1, 1, 1, 1), blocks=1),
        lambda n: n.decode(released.noise(1, *LATENT)),
    ),
    "moments": (
        lambda: Autoencoder(channels=32, multipliers=(1, 1, 1, 1), blocks=1),
        lambda n: n.encode(released.mels(1, frames=16)).mean,
    ),
    "PatchAutoencoder": (_patch_autoencoder, lambda n: n.decode(released.noise(1, *LATENT))),
    "patch moments": (_patch_autoencoder, lambda n: n.encode(released.mels(1, frames=16)).mean),
    "UNet": (_unet, _denoised),
    "LinearPriorDenoiser": (_prior_denoiser, _denoised),
    "PatchDiscriminator": (
        lambda: PatchDiscriminator(channels=4),
        lambda n: n(released.mels(1, frames=32)),
    ),
    "SpectrogramDiscriminator": (
        lambda: SpectrogramDiscriminator(n_fft=512, hop=128, channels=4),
        lambda n: n(released.noise(1, 1, 1, 4800))[0],
    ),
    "PeriodDiscriminator": (
        lambda: PeriodDiscriminator(period=3, channels=4),
        lambda n: n(released.noise(1, 1, 1, 4800))[0],
    ),
}


@pytest.fixture(params=[*NETWORKS])
def case(request: pytest.FixtureRequest) -> tuple[nn.Module, Callable[[Any], Tensor]]:
    """A network in evaluation mode, and what is asked of it."""
    build, ask = NETWORKS[request.param]
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(5)
        return build().eval().requires_grad_(False), ask


def _rounded(x: Tensor) -> float:
    """Share of the values that have no more digits than bfloat16 holds."""
    return float((x.bfloat16().float() == x.float()).float().mean())


@pytest.mark.parametrize("how", ["autocast", "weights"])
def test_what_comes_out_is_close_and_has_more_digits_than_bfloat16(case: Any, how: str):
    network, ask = case
    want = ask(network)

    if how == "weights":
        got = ask(copy.deepcopy(network).to(torch.bfloat16))
    else:
        with torch.autocast("cpu", torch.bfloat16):
            got = ask(network)

    assert got.dtype == torch.float32
    assert _rounded(got) < 0.1
    assert released.relative_error(got, want) < 0.1


@pytest.mark.parametrize("how", ["autocast", "weights"])
def test_a_quiet_high_band_survives_under_a_loud_low_one(how: str):
    network = HiFiGAN(channels=64)
    recipe.load_weights(network, "first_stage_model.vocoder.")
    network.requires_grad_(False)
    network.conv_post.weight *= 0.003  # what varies is small ...
    network.conv_post.get_parameter("bias").fill_(0.25)  # ... beside what is loud
    mel = released.mels(62, frames=24)
    want = network(mel)[:, 0]

    if how == "weights":
        got = network.to(torch.bfloat16)(mel)[:, 0]
    else:
        with torch.autocast("cpu", torch.bfloat16):
            got = network(mel)[:, 0]

    assert log_spectral_distance(got.float(), want).full.max() < 0.1


@pytest.mark.parametrize("how", ["autocast", "weights"])
def test_the_last_two_stages_before_the_waveform_are_not_rounded(how: str):
    network = HiFiGAN(channels=32).requires_grad_(False)
    seen: list[torch.dtype] = []
    for block in network.resblocks:  # four of each of five stages
        block.register_forward_hook(lambda block, inputs, output: seen.append(output.dtype))

    if how == "weights":
        network.to(torch.bfloat16)
    with torch.autocast("cpu", torch.bfloat16, enabled=how == "autocast"):
        network(released.mels(1, frames=4))

    assert seen == [torch.bfloat16] * 12 + [torch.float32] * 8


def test_the_first_layer_of_a_judge_of_waveforms_sees_the_high_band():
    network = PeriodDiscriminator(period=2, channels=4).requires_grad_(False)
    loud = torch.full((1, 1, 4800), 0.25)
    quiet = 2e-4 * released.noise(1, 1, 1, 4800)  # under half a step of bfloat16 at 0.25
    want = network(loud + quiet)[1][0] - network(loud)[1][0]

    with torch.autocast("cpu", torch.bfloat16):
        got = network(loud + quiet)[1][0] - network(loud)[1][0]

    assert released.relative_error(got, want) < 0.01


def test_parts_in_float32_keep_their_values_and_come_back_from_bfloat16():
    network = Vocos(channels=32, blocks=1)
    before = {name: value.clone() for name, value in network.state_dict().items()}

    network.to(torch.bfloat16)

    after = network.state_dict()
    assert after["magnitude.weight"].dtype == torch.float32
    assert torch.equal(after["magnitude.weight"], before["magnitude.weight"])
    assert after["embed.weight"].dtype == torch.bfloat16
    assert network.to(torch.float64).offset.dtype == torch.float64
    mel = LogMel()(0.1 * torch.randn(1, 1, 4800))
    assert network.float()(mel).dtype == torch.float32
