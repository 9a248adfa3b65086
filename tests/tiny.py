"""Which model do the tests restore with? An untrained one of the smallest networks."""

from dataclasses import replace
from pathlib import Path

import torch

from audiosr.model import FillSettings, LatentSettings, Model
from audiosr.networks.build import build_network
from audiosr.networks.frame_denoiser import FrameDenoiser
from audiosr.networks.patch_autoencoder import PatchAutoencoder

ARCHITECTURES = {
    "autoencoder": {
        "_target_": "audiosr.networks.patch_autoencoder.PatchAutoencoder",
        "width": 16,
        "blocks": 1,
    },
    "denoiser": {
        "_target_": "audiosr.networks.frame_denoiser.FrameDenoiser",
        "channels": 32,
        "blocks": 1,
    },
    "vocoder": {"_target_": "audiosr.networks.vocos.Vocos", "channels": 32, "blocks": 1},
}


def tiny_model(*parts: str) -> Model:
    """A model with `parts` (default: all), the same on every call.

    The autoencoder is fitted to noise, so that it reconstructs levels; the denoiser's zero weights
    are shaken, so that noise and condition reach the result.
    """
    generator = torch.Generator().manual_seed(7)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(7)
        names = parts or tuple(ARCHITECTURES)
        model = Model(
            latent=LatentSettings(scale=0.5, null_value=-4.0),
            architectures={name: ARCHITECTURES[name] for name in names},
            provenance={name: {"run": "tests"} for name in names},
            **{name: build_network(ARCHITECTURES[name]) for name in names},
        )
    if isinstance(model.autoencoder, PatchAutoencoder):
        noise = 0.1 * torch.randn(4, 1, 48000, generator=generator)
        levels = torch.logspace(-3, 0, 4).reshape(4, 1, 1)
        model.autoencoder.fit(model.log_mel(levels * noise)[:, :, :96])
    if isinstance(model.denoiser, FrameDenoiser):
        for parameter in model.denoiser.out.parameters():
            torch.nn.init.normal_(parameter, std=0.2, generator=generator)
    return model.eval()


def reaching_model(bandwidth_hz: float | None) -> Model:
    """A tiny model that is told the bandwidth, by itself `bandwidth_hz`."""
    spec = ARCHITECTURES["denoiser"] | {"condition_channels": 17}
    return replace(
        tiny_model(),
        denoiser=build_network(spec).eval(),
        latent=LatentSettings(0.5, -4.0, condition_on=["bandwidth"]),
        fill=FillSettings(bandwidth_hz=bandwidth_hz),
        architectures=ARCHITECTURES | {"denoiser": spec},
    )


def save_tiny_model(folder: Path, *parts: str) -> Path:
    """The model folder of `tiny_model`."""
    return tiny_model(*parts).save(folder)
