"""How is an average over training of any length made afterwards, from a few that were kept?

Karras et al., arXiv 2312.02696, section 3 and appendix C: an average of the weights with the
profile tau^gamma over the steps tau up to now is exact in one running value, and a profile that
nobody kept is very nearly a weighted sum of snapshots of two that were.
"""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch
from safetensors import safe_open
from torch import Tensor

from audiosr.errors import UsageError

KEPT_WIDTHS = (0.05, 0.1)
"""Widths of the averages that are kept (section 3.1)."""

WIDEST = 12**-0.5
"""The width at which all steps weigh alike."""


def exponent(width: float) -> float:
    """The gamma of a profile with standard deviation `width`, a share of the steps done.

    The positive root of width^2 = (gamma + 1) / ((gamma + 2)^2 (gamma + 3)).

    Raises:
        UsageError: `width` is not above 0 and below `WIDEST`.
    """
    if not 0 < width < WIDEST:
        raise UsageError(f"an average's width is between 0 and {WIDEST:.3f}, not {width:g}")
    square = width**-2
    return float(np.roots([1, 7, 16 - square, 12 - square]).real.max())


def decay(step: int, gamma: float) -> float:
    """What is left of the average when step number `step`, from 1, is added."""
    return (1 - 1 / step) ** (gamma + 1)


def mixing_weights(kept: Sequence[tuple[int, float]], step: int, gamma: float) -> list[float]:
    """Weights of the snapshots whose sum is nearest to the profile gamma at `step`.

    Args:
        kept: step and gamma of each snapshot.
        step: where the wanted average ends.
        gamma: its exponent.
    """
    ends, gammas = np.array([[*kept, (step, gamma)]], np.float64)[0].T
    products = _inner(ends[:, None], gammas[:, None], ends[None], gammas[None])
    return list(np.linalg.lstsq(products[:-1, :-1], products[:-1, -1], rcond=None)[0])


def mixed_average(folder: Path, width: float, step: int | None = None) -> dict[str, Tensor]:
    """The average of `width` that ends at a step, of the snapshots in a folder; float32.

    Args:
        folder: holds `step=N.safetensors`, tensors under `WIDTH/NAME`.
        width: of the wanted average.
        step: one of a snapshot; None: the last.

    Raises:
        UsageError: no snapshot there, none of that step, or `width` out of range.
    """
    steps = sorted(int(path.stem.split("=")[1]) for path in folder.glob("step=*.safetensors"))
    if not steps:
        raise UsageError(f"{folder} holds no averages: a run keeps them with ema_snapshots=STEPS")
    end = steps[-1] if step is None else step
    if end not in steps:
        there = ", ".join(map(str, steps))
        raise UsageError(f"{folder} has no averages of step {end}; there are {there}")
    kept = [(one, wide) for one in steps if one <= end for wide in KEPT_WIDTHS]
    gammas = [(one, exponent(wide)) for one, wide in kept]
    total: dict[str, Tensor] = {}
    for (one, wide), share in zip(kept, mixing_weights(gammas, end, exponent(width)), strict=True):
        with safe_open(folder / f"step={one}.safetensors", "pt") as file:
            prefix = f"{wide:g}/"
            for key in file.keys():  # noqa: SIM118  not a mapping
                if key.startswith(prefix):
                    value = share * file.get_tensor(key).double()
                    name = key.removeprefix(prefix)
                    total[name] = total[name] + value if name in total else value
    return {name: value.to(torch.float32) for name, value in total.items()}


def _inner(
    end: np.ndarray, gamma: np.ndarray, other_end: np.ndarray, other_gamma: np.ndarray
) -> np.ndarray:
    """Integral over all steps of the product of two profiles, in logarithms."""
    both = gamma + other_gamma + 1
    return np.exp(
        np.log((gamma + 1) * (other_gamma + 1) / both)
        + both * np.log(np.minimum(end, other_end))
        - (gamma + 1) * np.log(end)
        - (other_gamma + 1) * np.log(other_end)
    )
