"""Which tensors does a released checkpoint hold, and which networks of ours do they fill?

Names and tables are those of the AudioSR release (LatentDiffusion's state dict).
"""

from collections.abc import Mapping
from dataclasses import dataclass
from itertools import count
from typing import Any

import torch
from torch import Tensor

from audiosr.audio.mel import MelSettings
from audiosr.checkpoints.files import listed
from audiosr.diffusion.schedule import cosine_betas
from audiosr.errors import AudioSRError
from audiosr.networks.build import build_network

TensorShape = tuple[int, ...]

PREFIXES = {
    "denoiser": "model.diffusion_model.",
    "autoencoder": "first_stage_model.",
    "vocoder": "first_stage_model.vocoder.",
}
"""What the names of a network's tensors begin with in a released checkpoint."""
CLASSES = {
    "denoiser": "audiosr.networks.unet.UNet",
    "autoencoder": "audiosr.networks.autoencoder.Autoencoder",
    "vocoder": "audiosr.networks.hifigan.HiFiGAN",
}
"""Which of our networks each of the three is."""
SCALE = "scale_factor"
"""Name of the factor by which latents are multiplied."""
NULL_VALUE = -11.4981
"""Every element of the condition that stands for none (AudioSR release, encoders/modules.py)."""
FEATURES = MelSettings()
TIMESTEPS = 1000
HEAD_CHANNELS = 32
"""Width of the denoiser's attention heads, which no shape tells."""

_FIRST_STAGE, _COPY = "first_stage_model.", "cond_stage_models.0.vae."
_CLAP = "clap."
_EMA = {"model_ema.decay": torch.tensor(0.9999), "model_ema.num_updates": torch.tensor(0).int()}


@dataclass(frozen=True)
class Layout:
    """Where everything in a checkpoint belongs.

    Attributes:
        networks: class and arguments of each network.
        used: for each network its tensors, own name to shape.
    """

    networks: dict[str, dict[str, Any]]
    used: dict[str, dict[str, TensorShape]]

    @property
    def weights(self) -> dict[str, TensorShape]:
        """Shapes of the networks' tensors by their names in the checkpoint."""
        return {
            PREFIXES[network] + name: shape
            for network, tensors in self.used.items()
            for name, shape in tensors.items()
        }

    @property
    def copies(self) -> dict[str, str]:
        """The conditioner's copy of the autoencoder and vocoder: its names, to the originals'."""
        return {
            _COPY + name.removeprefix(_FIRST_STAGE): name
            for name in self.weights
            if name.startswith(_FIRST_STAGE)
        }

    @property
    def averages(self) -> dict[str, str]:
        """The moving average of the denoiser: its names, to those of the weights it averages."""
        return {
            ema_name(name): name for name in self.weights if name.startswith(PREFIXES["denoiser"])
        }


def ema_name(name: str) -> str:
    """Under which name the release keeps the average of the parameter `name` (its ema.py)."""
    return "model_ema." + name.removeprefix("model.").replace(".", "")


def schedule_tables() -> dict[str, Tensor]:
    """The tables that the release keeps beside its weights `(1000,)`, float32 (its ddpm.py)."""
    betas = cosine_betas(TIMESTEPS)
    alphas = 1 - betas
    abar = alphas.cumprod(0)
    before = torch.cat([torch.ones(1).double(), abar[:-1]])
    variance = betas * (1 - before) / (1 - abar)
    recip = 1 / (abar + 1e-10)
    tables = {
        "betas": betas,
        "alphas_cumprod": abar,
        "alphas_cumprod_prev": before,
        "sqrt_alphas_cumprod": abar.sqrt(),
        "sqrt_one_minus_alphas_cumprod": (1 - abar).sqrt(),
        "log_one_minus_alphas_cumprod": (1 - abar).log(),
        "sqrt_recip_alphas_cumprod": recip.sqrt(),
        "sqrt_recipm1_alphas_cumprod": (recip - 1).sqrt(),
        "posterior_variance": variance,
        "posterior_log_variance_clipped": variance.clamp(min=1e-20).log(),
        "posterior_mean_coef1": betas * before.sqrt() / (1 - abar),
        "posterior_mean_coef2": (1 - before) * alphas.sqrt() / (1 - abar),
    }
    return {name: table.float() for name, table in tables.items()}


def off_schedule(name: str, table: Tensor) -> float:
    """Largest deviation of the table `name` (1000,) from ours; above 1 it is another.

    The reciprocals' last entry divides by a power of zero, and earlier releases had no guard there.
    """
    ours = schedule_tables()[name].double()
    table = table.double()
    if "recip" in name:
        ours, table = ours[:-1], table[:-1]
    deviation = (table - ours).abs() / (1e-6 + 1e-4 * ours.abs())
    return float(deviation.nan_to_num(torch.inf).max())


def fill_in(layout: Layout) -> dict[str, Tensor]:
    """What a checkpoint holds besides weights, as a fresh one has it."""
    return {"logvar": torch.zeros(TIMESTEPS), **schedule_tables(), **_EMA}


def account(shapes: Mapping[str, TensorShape], *, ema: bool, head_channels: int) -> Layout:
    """Find the widths of the networks and the place of every tensor.

    Args:
        shapes: name to shape, for every tensor of the checkpoint.
        ema: whether the denoiser's average must be there.
        head_channels: width of the denoiser's attention heads.

    Raises:
        AudioSRError: tensors that are missing, mis-shaped or unknown; lists them.
    """
    layout = _nearest(shapes, head_channels)
    extras = {name: tuple(value.shape) for name, value in fill_in(layout).items()}
    wanted = {**layout.weights, SCALE: ()}
    averages = {ema: layout.weights[name] for ema, name in layout.averages.items()}
    # Files without these groups are known; a group that is there is there whole.
    groups = [
        {copy: layout.weights[name] for copy, name in layout.copies.items()},
        averages | {name: extras.pop(name) for name in _EMA},
        extras,
    ]
    for group in groups:
        if group.keys() & shapes.keys() or (ema and averages.keys() <= group.keys()):
            wanted |= group
    missing = [name for name in wanted if name not in shapes]
    unknown = [name for name in shapes if name not in wanted and not name.startswith(_CLAP)]
    other = [
        f"{name} {_text(shapes[name])} instead of {_text(shape)}"
        for name, shape in wanted.items()
        if name in shapes and shapes[name] != shape
    ]
    faults = {"missing": missing, "of another shape": other, "unknown": unknown}
    if any(faults.values()):
        raise AudioSRError(
            "; ".join(f"{len(f)} {kind}: {listed(f)}" for kind, f in faults.items() if f)
        )
    return layout


def specs(shapes: Mapping[str, TensorShape], head_channels: int) -> dict[str, dict[str, Any]]:
    """Class and arguments of each network, from the shapes of its tensors.

    Shapes do not show the width of the attention heads, nor the vocoder's dilations, which are
    taken as 1, 3, 5 and so on.

    Raises:
        KeyError: a tensor that tells a width is not there.
    """
    unet, first, vocoder = (PREFIXES[n] for n in ("denoiser", "autoencoder", "vocoder"))

    # U-Net: the first block is the input convolution; a step down starts each further level.
    channels = shapes[f"{unet}time_embed.0.weight"][1]
    latent = shapes[f"{unet}out.2.weight"][0]
    widths, blocks, rates = [0], 0, []
    for i in count(1):
        if f"{unet}input_blocks.{i}.0.op.weight" in shapes:
            widths.append(0)
        elif width := shapes.get(f"{unet}input_blocks.{i}.0.out_layers.3.bias"):
            widths[-1] = width[0] // channels
            blocks += len(widths) == 1
            rate = 2 ** (len(widths) - 1)
            if f"{unet}input_blocks.{i}.1.norm.weight" in shapes and rate not in rates:
                rates.append(rate)
        else:
            break

    wide = shapes[f"{first}encoder.conv_in.weight"][0]
    down = f"{first}encoder.down."
    levels = _run(shapes, down + "{}.block.0.conv1.bias")
    stages = _run(shapes, f"{vocoder}ups.{{}}.weight")
    resblocks = _run(shapes, f"{vocoder}resblocks.{{}}.convs1.0.weight")
    rounds = _run(shapes, f"{vocoder}resblocks.0.convs1.{{}}.weight")
    if not (blocks and levels and stages and resblocks and rounds):
        raise KeyError("a network has none of its blocks")
    return {
        "autoencoder": {
            "_target_": CLASSES["autoencoder"],
            "channels": wide,
            "multipliers": [width[0] // wide for width in levels],
            "blocks": len(_run(shapes, down + "0.block.{}.conv1.bias")),
            "latent_channels": shapes[f"{first}post_quant_conv.weight"][0],
        },
        "denoiser": {
            "_target_": CLASSES["denoiser"],
            "latent_channels": latent,
            "condition_channels": shapes[f"{unet}input_blocks.0.0.weight"][1] - latent,
            "channels": channels,
            "multipliers": widths,
            "blocks": blocks,
            "attention_rates": rates,
            "head_channels": head_channels,
        },
        "vocoder": {
            "_target_": CLASSES["vocoder"],
            "n_mels": shapes[f"{vocoder}conv_pre.weight"][1],
            "channels": shapes[f"{vocoder}conv_pre.weight"][0],
            "rates": [shape[2] // 2 for shape in stages],
            "kernels": [shape[2] for shape in resblocks[: -(-len(resblocks) // len(stages))]],
            "dilations": [2 * i + 1 for i in range(len(rounds))],
            "timing": "aligned",
        },
    }


def own_shapes(spec: dict[str, Any]) -> dict[str, TensorShape]:
    """Name to shape of a network's tensors, without making it."""
    with torch.device("meta"):
        return {
            name: tuple(value.shape) for name, value in build_network(spec).state_dict().items()
        }


def _nearest(shapes: Mapping[str, TensorShape], head_channels: int) -> Layout:
    """The released widths or those that the shapes tell, whichever fits more tensors.

    So a damaged checkpoint of the released widths is compared with these.
    """
    candidates = [{name: {"_target_": target} for name, target in CLASSES.items()}]
    try:
        candidates.append(specs(shapes, head_channels))
        layouts = [Layout(c, {n: own_shapes(s) for n, s in c.items()}) for c in candidates]
    except (KeyError, IndexError, ValueError, RuntimeError, ZeroDivisionError):
        layouts = [Layout(candidates[0], {n: own_shapes(s) for n, s in candidates[0].items()})]
    return max(
        reversed(layouts),
        key=lambda layout: sum(shapes.get(n) == s for n, s in layout.weights.items()),
    )


def _run(shapes: Mapping[str, TensorShape], pattern: str) -> list[TensorShape]:
    """Shapes of `pattern` filled with 0, 1, 2 and so on, up to the first that is not there."""
    found: list[TensorShape] = []
    while (shape := shapes.get(pattern.format(len(found)))) is not None:
        found.append(shape)
    return found


def _text(shape: TensorShape) -> str:
    return "x".join(map(str, shape)) or "scalar"
