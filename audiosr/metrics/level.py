"""Is the output as loud as it should be?"""

import math
from typing import Any

import numpy as np
import pyloudnorm
import torch
from torch import Tensor

from audiosr.metrics.clip import ClipMetric


class LoudnessDifference(ClipMetric):
    """Integrated loudness of the output minus the target's in LU (ITU-R BS.1770, pyloudnorm).

    Clips shorter than a block of 0.4 s, and silence, have no loudness. The level of what is below
    the cutoff weighs most: a missing high band costs little.

    Args:
        rate: sampling rate in Hz.
    """

    def __init__(self, *, rate: int = 48_000, **settings: Any) -> None:
        super().__init__(("loudness_lu",), **settings)
        self.meter = pyloudnorm.Meter(rate)

    def update(self, estimate: Tensor, target: Tensor) -> None:
        """Add clips `(B, 1, T)` or `(B, T)`, or one target for all."""
        found, wanted = (
            [self._loudness(row) for row in wave.reshape(-1, wave.shape[-1]).double().cpu().numpy()]
            for wave in (estimate, target)
        )
        self.add(torch.tensor(found, device=estimate.device) - torch.tensor(wanted).to(estimate))

    def _loudness(self, wave: np.ndarray) -> float:
        if len(wave) < self.meter.block_size * self.meter.rate or not wave.any():
            return math.nan
        loudness = float(self.meter.integrated_loudness(wave))
        return loudness if math.isfinite(loudness) else math.nan

    def describe(self) -> dict[str, Any]:
        """For a protocol card."""
        return {self.names[0]: "integrated loudness of the output minus the reference's, BS.1770"}
