"""Do the networks compute what the released ones do, at the tiny and at the released width?"""

import re
from collections.abc import Mapping, Sequence
from functools import cache
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from audiosr.networks.autoencoder import Autoencoder
from audiosr.networks.gaussian import DiagonalGaussian
from audiosr.networks.hifigan import HiFiGAN
from audiosr.networks.layers import timestep_embedding
from audiosr.networks.unet import UNet
from tests.golden import recipe
from tests.golden.cases.case import Arrays, Case, Cases, Folder, same, tensor

TOLERANCE = 1e-4
UNET = "model.diffusion_model."
AUTOENCODER = "first_stage_model."
VOCODER = "first_stage_model.vocoder."
EMBEDDED = (1, 501, 981)
"""The times of `timestep_embedding_*`."""


def unet(folder: Folder, width: str) -> UNet:
    """The released U-Net of "tiny" or "base" width with the recipe's weights."""
    arguments = {}
    if width == "tiny":
        released = folder.config["unet"]
        arguments = {
            "latent_channels": released["out_channels"],
            "condition_channels": released["in_channels"] - released["out_channels"],
            "channels": released["model_channels"],
            "multipliers": released["channel_mult"],
            "blocks": released["num_res_blocks"],
            "attention_rates": released["attention_resolutions"],
            "head_channels": released["num_head_channels"],
        }
    return _filled(UNet(**arguments), UNET)


def autoencoder(folder: Folder, width: str) -> Autoencoder:
    """The released autoencoder of "tiny" or "base" width with the recipe's weights."""
    arguments = {}
    if width == "tiny":
        released = folder.config["autoencoder"]["ddconfig"]
        arguments = {
            "channels": released["ch"],
            "multipliers": released["ch_mult"],
            "blocks": released["num_res_blocks"],
            "latent_channels": released["z_channels"],
        }
    return _filled(Autoencoder(**arguments), AUTOENCODER)


def vocoder(folder: Folder, width: str) -> HiFiGAN:
    """The released vocoder, 16 samples late, of "tiny" or "base" width; the recipe's weights."""
    arguments = {}
    if width == "tiny":
        released = folder.config["vocoder"]
        arguments = {
            "n_mels": released["num_mels"],
            "channels": released["upsample_initial_channel"],
            "rates": released["upsample_rates"],
            "kernels": released["resblock_kernel_sizes"],
            "dilations": released["resblock_dilation_sizes"][0],
        }
    return _filled(HiFiGAN(**arguments, timing="released"), VOCODER)


def latent_numbers(arrays: Arrays) -> tuple[float, float]:
    """Scale of the latent and value of the null condition before it."""
    return float(arrays["scale_factor"]), float(arrays["null_value"])


def unet_cases(folder: Folder, arrays: Arrays) -> Cases:
    """Every `GROUP_tTIME_cond|null`; its inputs are `GROUP_x_seed`, `_cond_seed`, `_shape`."""
    width = _width(arrays)
    network = unet(folder, width)
    yield from _names(folder, width, UNET, network)
    yield from _count(arrays, "params", network)
    scale, null = latent_numbers(arrays)
    for key in arrays:
        match = re.fullmatch(r"(.*?)t(\d+|mixed)_(cond|null)", key)
        if not match:
            continue
        group, time, side = match.groups()
        want = arrays[key]
        shape = arrays.get(f"{group}shape", want.shape)
        x = tensor(recipe.normal(arrays[f"{group}x_seed"], shape))
        times = arrays[f"{group}tmixed"] if time == "mixed" else np.full(shape[0], int(time))
        if side == "cond":
            condition = tensor(recipe.normal(arrays[f"{group}cond_seed"], shape))
        else:
            condition = torch.full_like(x, null)
        timesteps = torch.from_numpy(np.asarray(times, np.int64))
        yield Case(
            f"unet {width} {key}",
            lambda x=x, t=timesteps, c=condition: network(x, t, scale * c),
            want,
            TOLERANCE,
        )
    for key in arrays:
        if match := re.fullmatch(r"timestep_embedding_(\d+)", key):
            times, dim = torch.tensor(EMBEDDED), int(match[1])
            yield Case(
                f"unet {key}",
                lambda times=times, dim=dim: timestep_embedding(times, dim),
                arrays[key],
                TOLERANCE,
            )


def vae_cases(folder: Folder, arrays: Arrays) -> Cases:
    """Every group of `mel_seed(s)` and `frames`: posterior, its sample, decode of its mean."""
    width = _width(arrays)
    network = autoencoder(folder, width)
    yield from _names(folder, width, AUTOENCODER, network)
    yield from _count(arrays, "encoder_params", network.encoder)
    yield from _count(arrays, "decoder_params", network.decoder)
    for group, mel in _mels(arrays).items():

        @cache
        def posterior(mel: Tensor = mel) -> DiagonalGaussian:
            return network.encode(mel)

        def sample(posterior: Any = posterior, seed: str = f"{group}noise_seed") -> Tensor:
            noise = tensor(recipe.normal(arrays[seed], posterior().mean.shape))
            return posterior().mean + posterior().std * noise

        def decoded(posterior: Any = posterior) -> Tensor:
            return network.decode(posterior().mode())

        ours = {
            "mean": lambda posterior=posterior: posterior().mean,
            "logvar": lambda posterior=posterior: posterior().logvar,
            "mode_decode": decoded,
            "sample": sample,
        }
        arrays.known(f"{group}noise_seed")
        for part, got in ours.items():
            if (key := group + part) in arrays:
                yield Case(f"vae {width} {key}", got, arrays[key], TOLERANCE)
    if "z_decode" in arrays:
        z = tensor(recipe.normal(arrays["z_seed"], arrays["z_shape"]))
        yield Case(
            f"vae {width} z_decode", lambda: network.decode(z), arrays["z_decode"], TOLERANCE
        )


def vocoder_cases(folder: Folder, arrays: Arrays) -> Cases:
    """Every group of `mel_seed(s)` and `frames`: the wave of 480 frames + 16 samples."""
    width = _width(arrays)
    network = vocoder(folder, width)
    yield from _names(folder, width, VOCODER, network)
    yield from _count(arrays, "params", network)
    for group, mel in _mels(arrays).items():
        key = f"{group}wave"
        yield Case(f"vocoder {width} {key}", lambda mel=mel: network(mel), arrays[key], TOLERANCE)


def _filled(network: Any, prefix: str) -> Any:
    """The network with the recipe's weights, one tensor at a time: twice the base would not fit."""
    with torch.no_grad():
        for name, value in network.state_dict().items():
            value.copy_(tensor(recipe.tensor(prefix + name, value.shape)))
    return network.eval().requires_grad_(False)


def _width(arrays: Arrays) -> str:
    return "base" if arrays.path.name.startswith("base_") else "tiny"


def _names(folder: Folder, width: str, prefix: str, network: nn.Module) -> Cases:
    """Are names and shapes of all tensors the released ones?"""
    listed = folder.shapes(width, prefix)
    if prefix == AUTOENCODER:
        listed = {name: shape for name, shape in listed.items() if not name.startswith(VOCODER)}
    if listed:
        ours = {prefix + name: value.shape for name, value in network.state_dict().items()}
        yield same(f"names {width} {prefix}*", lambda: _described(ours), _described(listed))


def _described(shapes: Mapping[str, Sequence[int]]) -> list[str]:
    return sorted(f"{name} {'x'.join(map(str, shape))}" for name, shape in shapes.items())


def _count(arrays: Arrays, key: str, network: nn.Module) -> Cases:
    if key in arrays:
        count = sum(parameter.numel() for parameter in network.parameters())
        yield same(f"{arrays.path.stem} {key}", lambda: count, int(arrays[key]))


def _mels(arrays: Arrays) -> dict[str, Tensor]:
    """The log-mel pictures `(B, 1, frames, 256)` by the beginning of their arrays' names."""
    pictures = {}
    for key in arrays:
        if match := re.fullmatch(r"(.*?)mel_seeds?", key):
            seeds, frames = np.atleast_1d(arrays[key]), int(arrays[f"{match[1]}frames"])
            mels = [recipe.meanlike_mel(int(seed), frames) for seed in seeds]
            pictures[match[1]] = tensor(np.stack(mels)[:, None])
    return pictures
