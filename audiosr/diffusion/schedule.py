"""How much of the signal is left at each timestep, and which timesteps does a sampler visit?"""

import math

import torch
from torch import Tensor


def cosine_betas(timesteps: int = 1000, s: float = 0.008) -> Tensor:
    """Share of noise that each timestep adds in the cosine schedule, without clipping.

    With `f(u) = cos^2((u + s) / (1 + s) * pi / 2)` (Nichol and Dhariwal, arXiv 2102.09672, eq. 17)
    `beta[i] = 1 - f((i + 1) / timesteps) / f(i / timesteps)`.

    Returns:
        `(timesteps,)` float64, in (0, 1]; the last entry is 1.
    """
    u = torch.arange(timesteps + 1, dtype=torch.float64) / timesteps
    f = torch.cos((u + s) / (1 + s) * math.pi / 2).square()
    return 1 - f[1:] / f[:-1]


def cosine_alphas_cumprod(timesteps: int = 1000, s: float = 0.008) -> Tensor:
    """Cumulated signal power `abar` of the cosine schedule, the product of `1 - cosine_betas`.

    The betas are not clipped at 0.999, so the last entry is exactly 0: zero terminal SNR (Lin et
    al., arXiv 2305.08891), as in the AudioSR release.

    Returns:
        `(timesteps,)` float32, strictly decreasing from just below 1 to 0.
    """
    return (1 - cosine_betas(timesteps, s)).cumprod(0).float()


def trailing_timesteps(steps: int, total: int = 1000) -> Tensor:
    """Timesteps evenly spaced from the last one down ("trailing", arXiv 2305.08891, table 2).

    Returns:
        `(steps,)` int64, strictly descending, first entry `total - 1`; `steps` in 1..`total`.
    """
    _check(steps, total)
    ends = torch.arange(steps, 0, -1, dtype=torch.float64) * total / steps
    return ends.round().long() - 1


def released_timesteps(steps: int, total: int = 1000) -> Tensor:
    """Timesteps of the AudioSR release: every `total // steps`-th from 1 on (util.py).

    That list, wherever the release runs. Its length is `steps` only where that divides `total`: 30
    asked of 1000 are 31, 60 are 63. For counts at which the release leaves the table and crashes
    (300 of 1000, and all above 500) the spacing is `total / steps`, and the count is met.

    Returns:
        int64, strictly descending; `steps` in 1..`total`.
    """
    _check(steps, total)
    ascending = torch.arange(1, total + 1, total // steps)
    if ascending[-1] < total:
        return ascending.flip(0)
    j = torch.arange(steps - 1, -1, -1)
    return j if steps == total else 1 + j * total // steps


def _check(steps: int, total: int) -> None:
    if not 1 <= steps <= total:
        raise ValueError(f"{steps} sampling steps: must lie in 1..{total}")
