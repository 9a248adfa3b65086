"""Which layers do several networks share?"""

import math
from typing import TypeVar

import torch
import torch.nn.functional as F
from torch import Tensor, nn

Module = TypeVar("Module", bound=nn.Module)


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


def zero_init(module: Module) -> Module:
    """Set the parameters of `module` to zero, so that the branch it ends adds nothing at first."""
    for parameter in module.parameters():
        nn.init.zeros_(parameter)
    return module


def timestep_embedding(timesteps: Tensor, size: int) -> Tensor:
    """Cosines, then sines, of `timesteps (B,)` at size/2 frequencies: `(B, size)`, float32.

    Frequencies fall geometrically from 1 towards 1e-4 (Ho et al., arXiv 2006.11239; the order is
    the AudioSR release's, diffusionmodules/util.py).
    """
    half = size // 2
    index = torch.arange(half, device=timesteps.device, dtype=torch.float32)
    angles = timesteps.float()[:, None] * torch.exp(-math.log(10000.0) / half * index)
    return torch.cat([angles.cos(), angles.sin()], dim=1)
