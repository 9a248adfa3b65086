"""How does the paper degrade a clip: by which low-pass, drawn how?"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray

from audiosr.audio.lowpass import FAMILIES, Family, Lowpass, apply_lowpass
from audiosr.degrade.twins import Degraded
from audiosr.errors import UsageError


@dataclass(frozen=True)
class PaperDegradation:
    """Low-pass simulation of the paper (arXiv 2309.07314, section 4).

    Cutoff uniform in a range, family uniform over a list, order a uniform integer. Zero phase.
    """

    rate: int = 48_000
    """Sampling rate of the clips in Hz."""
    cutoff_hz: Sequence[float] = (2_000.0, 16_000.0)
    """Lowest and highest cutoff in Hz."""
    families: Sequence[Family] = ("cheby1", "ellip", "butter", "boxcar")
    """Families to draw from; the paper's four."""
    orders: Sequence[int] = (2, 10)
    """Lowest and highest order, both included."""

    def __post_init__(self) -> None:
        low, high = self.cutoff_hz
        if not 0 < low <= high <= self.rate / 2:
            raise UsageError(
                f"degrade.cutoff_hz from {low:g} to {high:g} does not fit a rate of {self.rate} "
                "Hz; keep 0 < lowest <= highest <= rate / 2"
            )
        if not 1 <= self.orders[0] <= self.orders[1] <= 20:
            raise UsageError(
                f"degrade.orders {list(self.orders)} must be [lowest, highest] within 1 to 20"
            )
        if not self.families or set(self.families) - set(FAMILIES):
            raise UsageError(
                f"degrade.families {list(self.families)} must name some of {', '.join(FAMILIES)}"
            )

    def draw(self, generator: np.random.Generator) -> Lowpass:
        """Draw a filter."""
        cutoff, family, order = generator.random(3)
        low, high = self.cutoff_hz
        return Lowpass(
            family=self.families[int(family * len(self.families))],
            cutoff_hz=float(low + (high - low) * cutoff),
            order=self.orders[0] + int(order * (self.orders[1] - self.orders[0] + 1)),
        )

    def __call__(self, wave: NDArray[np.float32], generator: np.random.Generator) -> Degraded:
        """Run `wave (T,)` through a filter that is drawn for it."""
        filter = self.draw(generator)
        return Degraded(self.filter(wave, filter), filter.cutoff_hz, str(filter))

    def filter(self, wave: NDArray[np.float32], filter: Lowpass) -> NDArray[np.float32]:
        """Run `wave (T,)` through this filter."""
        return apply_lowpass(torch.from_numpy(wave)[None, None], [filter], self.rate)[0, 0].numpy()
