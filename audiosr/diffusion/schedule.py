"""How much of the signal is left at each timestep, and which timesteps does a sampler visit?"""

import math

import torch
from torch import Tensor


def cosine_alphas_cumprod(timesteps: int = 1000, s: float = 0.008) -> Tensor:
    """Cumulated signal power `abar` of the cosine schedule, without clipping.

    With `f(u) = cos^2((u + s) / (1 + s) * pi / 2)` (Nichol and Dhariwal, arXiv 2102.09672, eq. 17)
    `abar[i] = f((i + 1) / timesteps) / f(0)`. The betas are not clipped at 0.999, so the last entry
    is exactly 0: zero terminal SNR (Lin et al., arXiv 2305.08891), as in the AudioSR release.

    Returns:
        `(timesteps,)` float32, strictly decreasing from just below 1 to 0.
    """
    u = torch.arange(timesteps + 1, dtype=torch.float64) / timesteps
    f = torch.cos((u + s) / (1 + s) * math.pi / 2).square()
    betas = 1 - f[1:] / f[:-1]
    return (1 - betas).cumprod(0).float()


def trailing_timesteps(steps: int, total: int = 1000) -> Tensor:
    """Timesteps evenly spaced from the last one down ("trailing", arXiv 2305.08891, table 2).

    Returns:
        `(steps,)` int64, strictly descending, first entry `total - 1`; `steps` in 1..`total`.
    """
    _check(steps, total)
    ends = torch.arange(steps, 0, -1, dtype=torch.float64) * total / steps
    return ends.round().long() - 1


def released_timesteps(steps: int, total: int = 1000) -> Tensor:
    """Timesteps of the AudioSR release: even spacing that starts at 1 and stays below the end.

    The release takes `1 + j * (total // steps)` for every j that fits, which meets the asked count
    only where `steps` divides `total`; elsewhere it runs more steps or leaves the table. Here the
    spacing is `total / steps`: the same list where the release meets the count, and the asked
    count everywhere.

    Returns:
        `(steps,)` int64, strictly descending; `steps` in 1..`total`.
    """
    _check(steps, total)
    j = torch.arange(steps - 1, -1, -1)
    return j if steps == total else 1 + j * total // steps


def _check(steps: int, total: int) -> None:
    if not 1 <= steps <= total:
        raise ValueError(f"{steps} sampling steps: must lie in 1..{total}")
