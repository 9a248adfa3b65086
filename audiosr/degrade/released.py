"""How does the AudioSR release degrade a clip: through which chain?"""

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
import torch
from numpy.typing import NDArray

from audiosr.audio.lowpass import Family, Lowpass
from audiosr.audio.released import lowpass_chain
from audiosr.degrade.paper import PaperDegradation
from audiosr.errors import UsageError


@dataclass(frozen=True)
class ReleasedDegradation(PaperDegradation):
    """Low-pass simulation of the AudioSR release (lowpass.py): its families and its chain.

    Forward and backward, resampled down to twice the cutoff and back, forward and backward again;
    cutoffs in whole Hz.
    """

    families: Sequence[Family] = ("cheby1", "ellip", "butter", "bessel")
    """Families to draw from; the release's four."""

    def __post_init__(self) -> None:
        super().__post_init__()
        low, high = self.cutoff_hz
        if low < 100 or high > self.rate / 2 - 1:
            raise UsageError(
                f"degrade.cutoff_hz from {low:g} to {high:g}: the released chain takes 100 Hz to "
                "1 Hz below half of the rate"
            )
        if self.orders[0] < 2 or self.orders[1] > 10 or "boxcar" in self.families:
            raise UsageError(
                "the released chain has orders from 2 to 10 and no boxcar; "
                "correct degrade.orders or degrade.families, or choose degrade=paper"
            )

    def draw(self, generator: np.random.Generator) -> Lowpass:
        """Draw a filter, its cutoff cut to whole Hz."""
        drawn = super().draw(generator)
        return replace(drawn, cutoff_hz=float(int(drawn.cutoff_hz)))

    def filter(self, wave: NDArray[np.float32], filter: Lowpass) -> NDArray[np.float32]:
        """Run `wave (T,)` through the chain with this filter."""
        return lowpass_chain(
            torch.from_numpy(wave),
            cutoff_hz=filter.cutoff_hz,
            order=filter.order,
            family=filter.family,
            rate=self.rate,
        ).numpy()
