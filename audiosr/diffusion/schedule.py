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


def linear_alphas_cumprod(
    timesteps: int = 1000,
    *,
    first: float = 1e-4,
    last: float = 0.02,
    zero_terminal: bool = False,
) -> Tensor:
    """Signal power where the share of noise grows evenly (Ho et al., arXiv 2006.11239, 4).

    Args:
        timesteps: how many.
        first: share of noise that the first of 1,000 timesteps adds.
        last: share that the last of 1,000 adds; with other counts shares are in proportion.
        zero_terminal: rescale so that no signal is left at the end (arXiv 2305.08891, algorithm 1).

    Returns:
        `(timesteps,)` float32, strictly decreasing.
    """
    betas = torch.linspace(first, last, timesteps, dtype=torch.float64) * (1000 / timesteps)
    abar = (1 - betas.clamp(max=0.999)).cumprod(0)
    if zero_terminal:
        root = abar.sqrt()
        abar = ((root - root[-1]) * root[0] / (root[0] - root[-1])).square()
    return abar.float()


def sigmoid_alphas_cumprod(
    timesteps: int = 1000, *, start: float = -3.0, end: float = 3.0, tau: float = 1.0
) -> Tensor:
    """Signal power along a sigmoid (Jabri et al., 2212.11972; Chen, 2301.10972, algorithm 1).

    `abar = (S(end) - S(start + u (end - start))) / (S(end) - S(start))` with
    `S(z) = 1 / (1 + exp(-z / tau))`. No signal is left at the end.

    Returns:
        `(timesteps,)` float32, strictly decreasing to 0.
    """
    ends = torch.tensor([start, end], dtype=torch.float64)
    low, high = (ends / tau).sigmoid()
    z = start + _ends_of_steps(timesteps) * (end - start)
    return ((high - (z / tau).sigmoid()) / (high - low)).float()


def shifted_alphas_cumprod(timesteps: int = 1000, *, ratio: float = 0.5) -> Tensor:
    """The cosine schedule with its log-SNR moved by `2 ln ratio` (Hoogeboom et al., 2301.11093).

    Their section 3.1: neighbours that say the same average noise away, so that signals with more
    of them need more noise for the same difficulty.

    Args:
        timesteps: how many.
        ratio: below 1 for more noise at every timestep, above 1 for less.

    Returns:
        `(timesteps,)` float32, strictly decreasing to 0.
    """
    abar = (1 - cosine_betas(timesteps)).cumprod(0)
    return (abar * ratio**2 / (abar * ratio**2 + 1 - abar)).float()


def rectified_alphas_cumprod(timesteps: int = 1000) -> Tensor:
    """Signal power of a rectified flow whose share of noise `s` is even in time (2209.03003).

    `abar = (1 - s)^2 / ((1 - s)^2 + s^2)`: the line's mixture, brought to unit power.

    Returns:
        `(timesteps,)` float32, strictly decreasing to 0.
    """
    s = _ends_of_steps(timesteps)
    return ((1 - s).square() / ((1 - s).square() + s.square())).float()


def _ends_of_steps(timesteps: int) -> Tensor:
    """Where timesteps end in [0, 1], so that the last is 1, `(timesteps,)` float64."""
    return torch.arange(1, timesteps + 1, dtype=torch.float64) / timesteps


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
