"""How do the figures of single clips become a metric of torchmetrics?"""

from abc import abstractmethod
from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor
from torchmetrics import Metric

LENGTH_TOLERANCE = 100
"""Signals whose lengths differ by fewer samples are cut to the shorter (ssr_eval, metrics.py)."""


class ClipMetric(Metric):
    """One or several figures of each clip, and their means over clips, batches and ranks.

    A figure that a clip does not have is NaN and left out of the mean.

    Args:
        names: what the figures are called, in the order of their columns.
        per_clip: `compute` and `forward` give the figures `(N,)` of all clips, or of those of the
            call, in the place of their means `()`.
        settings: those of every torchmetrics metric.
    """

    is_differentiable = False
    full_state_update = False

    rows: list[Tensor]
    totals: Tensor
    counts: Tensor

    def __init__(self, names: Sequence[str], *, per_clip: bool = False, **settings: Any) -> None:
        super().__init__(**settings)
        self.names = tuple(names)
        self.per_clip = per_clip
        if per_clip:
            self.add_state("rows", [], dist_reduce_fx="cat")
        else:
            zeros = torch.zeros(len(self.names), dtype=torch.float64)
            self.add_state("totals", zeros, dist_reduce_fx="sum")
            self.add_state("counts", zeros.clone(), dist_reduce_fx="sum")

    @abstractmethod
    def update(self, *args: Any, **kwargs: Any) -> None:
        """Add clips: estimates `(B, 1, T)` or `(B, T)`, targets of that shape or one for all."""

    @abstractmethod
    def describe(self) -> dict[str, Any]:
        """What the figures are, as plain values for a protocol card: name -> description."""

    def add(self, *columns: Tensor) -> None:
        """Add the figures of clips, one column `(B,)` for each name."""
        values = torch.stack([column.double() for column in columns], 1)
        if self.per_clip:
            self.rows.append(values)
            return
        known = ~values.isnan()
        self.totals += values.nan_to_num(0.0, torch.inf, -torch.inf).sum(0)
        self.counts += known.sum(0)

    def compute(self) -> dict[str, Tensor]:
        """The figures by name: means `()`, or `(N,)` where they are kept per clip."""
        if not self.per_clip:
            return dict(zip(self.names, (self.totals / self.counts).float(), strict=True))
        rows = self.rows if isinstance(self.rows, Tensor) else torch.cat(self.rows)
        return dict(zip(self.names, rows.unbind(1), strict=True))


def paired(estimate: Tensor, target: Tensor) -> tuple[Tensor, Tensor]:
    """Waveforms `(B, T)` and `(B, T)` or `(1, T)` in float64, cut to the shorter.

    Args:
        estimate: `(B, 1, T)`, `(B, T)` or `(T,)`.
        target: the same, or one for all; lengths differ by less than `LENGTH_TOLERANCE` samples.

    Raises:
        ValueError: shapes that do not fit each other.
    """
    estimate, target = (wave.reshape(-1, wave.shape[-1]) for wave in (estimate, target))
    excess = abs(estimate.shape[-1] - target.shape[-1])
    if len(target) not in (1, len(estimate)) or excess >= LENGTH_TOLERANCE:
        raise ValueError(f"cannot compare {tuple(estimate.shape)} with {tuple(target.shape)}")
    samples = min(estimate.shape[-1], target.shape[-1])
    # Not on a processor without float64: its rounding is within reach of an unclamped logarithm.
    device = "cpu" if estimate.device.type == "mps" else estimate.device
    estimate, target = (w[..., :samples].to(device, torch.float64) for w in (estimate, target))
    return estimate, target


def per_row(value: float | Tensor, like: Tensor) -> Tensor:
    """One number, or `(B,)`, as float64 `(1, 1)` or `(B, 1)` on the device of `like`."""
    return torch.as_tensor(value, device=like.device, dtype=torch.float64).reshape(-1, 1)
