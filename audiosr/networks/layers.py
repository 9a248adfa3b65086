"""Which layers do several networks share?"""

import math
from collections.abc import Callable
from typing import Any, TypeVar, cast

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.utils.checkpoint import checkpoint

Module = TypeVar("Module", bound=nn.Module)


class ExactParts(nn.Module):
    """A network parts of which stay in float32 when `network.to(torch.bfloat16)` rounds the rest.

    What writes a waveform, a log-mel or a latent must not be rounded: the high band lies tens of
    decibels under the low band, and bfloat16's noise some 50 under the samples that it rounds.
    Such parts are run without autocast, on their own dtype.
    """

    exact: tuple[str, ...] = ()
    """How the names of the tensors of these parts begin."""

    def _apply(self, fn: Callable[[Tensor], Tensor], recurse: bool = True) -> Any:
        # Bound before `fn` rounds them; `fn` alone knows the device.
        kept = {name: tensor.data for name, tensor in self._exact_tensors()}
        super()._apply(fn, recurse)
        for name, tensor in self._exact_tensors():
            if tensor.dtype in (torch.bfloat16, torch.float16):
                tensor.data = kept[name].to(tensor.device)
        return self

    def _exact_tensors(self) -> list[tuple[str, Tensor]]:
        tensors = [*self.named_parameters(), *self.named_buffers()]
        return [(name, tensor) for name, tensor in tensors if name.startswith(self.exact)]


class GroupNorm(nn.GroupNorm):
    """Group norm of 32 groups that computes in float32 and gives back the dtype it was given.

    Sums over a group of a long clip lose their digits in bfloat16; autocast keeps group norms in
    float32 on some devices only.
    """

    def __init__(self, channels: int, *, eps: float) -> None:
        super().__init__(32, channels, eps=eps)

    def forward(self, input: Tensor) -> Tensor:
        """Normalise `(B, C, ...)`."""
        with torch.autocast(input.device.type, enabled=False):
            y = F.group_norm(
                input.float(), self.num_groups, self.weight.float(), self.bias.float(), self.eps
            )
        return y.to(input.dtype)


class Upsample(nn.Module):
    """Double both axes by repetition, then smooth."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.conv = nn.Conv2d(channels, channels, 3, padding=1)

    def forward(self, x: Tensor) -> Tensor:
        """Map `(B, C, T, F)` to `(B, C, 2 T, 2 F)`."""
        return self.conv(F.interpolate(x, scale_factor=2.0, mode="nearest"))


def in_own_precision(layer: nn.Module, x: Tensor) -> Tensor:
    """What `layer` makes of `x` in the dtype of its weights, under autocast too."""
    with torch.autocast(x.device.type, enabled=False):
        return layer(x.to(next(layer.parameters()).dtype))


def zero_init(module: Module) -> Module:
    """Set the parameters of `module` to zero, so that the branch it ends adds nothing at first."""
    for parameter in module.parameters():
        nn.init.zeros_(parameter)
    return module


def run_checkpointed(block: nn.Module, x: Tensor) -> Tensor:
    """`block(x)`, of which the backward pass keeps `x` alone and computes the rest once more.

    (Chen et al., arXiv 1604.06174.)
    """
    if torch.is_grad_enabled():
        return cast(Tensor, checkpoint(block, x, use_reentrant=False))
    return block(x)


def timestep_embedding(timesteps: Tensor, size: int) -> Tensor:
    """Cosines, then sines, of `timesteps (B,)` at size/2 frequencies: `(B, size)`, float32.

    Frequencies fall geometrically from 1 towards 1e-4 (Ho et al., arXiv 2006.11239; the order is
    the AudioSR release's, diffusionmodules/util.py).
    """
    half = size // 2
    index = torch.arange(half, device=timesteps.device, dtype=torch.float32)
    angles = timesteps.float()[:, None] * torch.exp(-math.log(10000.0) / half * index)
    return torch.cat([angles.cos(), angles.sin()], dim=1)
