"""Under which conditions is a system measured?"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from audiosr.audio import lowpass
from audiosr.audio.io import RATE
from audiosr.audio.lowpass import Family, Lowpass
from audiosr.errors import UsageError
from audiosr.metrics.lsd import LSDPreset, nuwave2, ssr_eval

PRESETS: dict[str, LSDPreset] = {preset.name: preset for preset in (nuwave2, ssr_eval)}
"""The definitions of LSD that are always computed."""

METRICS = (
    *(f"{band}_{preset}" for preset in PRESETS for band in ("lsd", "lsd_hf", "lsd_lf")),
    "snr_below_cutoff_db",
)
"""Names of the metrics, in the order of the tables."""

_FORMULAS = {
    "nuwave2": "difference of log10 of the power, clamped at 1e-8",
    "ssr_eval": "log10 of the power ratio; 1e-12 added to it and to the estimate's magnitude",
}


@dataclass(frozen=True)
class Protocol:
    """How inputs are made from references, what a system is told, and what is computed.

    The defaults are those of the AudioSR paper at test time (2309.07314, section 4): an order-8
    Chebyshev I low-pass; forward and backward, hence without delay.
    """

    cutoffs_hz: tuple[float, ...] = (4000, 8000, 12000)
    """Low-pass edges in Hz."""
    family: Family = "cheby1"
    """Family of the low-pass."""
    order: int = 8
    """Order of one pass of the low-pass; two are made."""
    cutoff_given: bool = True
    """Whether a system is told the cutoff; if not, it has to find it."""
    source_limit: bool = True
    """Whether outputs end where the source could not go on: at half of the rate it was stored at. A
    file of 44.1 kHz is empty above 22.05 kHz, which no system sees in a low-passed input, and LSD
    counts those bins (8 % of them) like any others. The same limit holds for every system."""
    headline: str = "lsd_nuwave2"
    """Metric of the main table and of the ratios."""
    confidence: float = 0.95
    """Share of the bootstrap means inside an interval."""
    resamples: int = 1000
    """Bootstrap draws for an interval."""

    def __post_init__(self) -> None:
        given: Any = self.cutoffs_hz
        cutoffs = tuple(given) if isinstance(given, Sequence) else (given,)
        object.__setattr__(self, "cutoffs_hz", cutoffs)
        if not cutoffs:
            raise UsageError("no cutoffs to evaluate at: give cutoffs=[4000,8000,12000]")
        if len(set(cutoffs)) < len(cutoffs):
            raise UsageError(f"a cutoff is named twice in {list(cutoffs)}: name each once")
        for cutoff in cutoffs:
            if not 500 <= cutoff < RATE / 2:
                raise UsageError(
                    f"cutoff {cutoff:g} is outside 500-23999: cutoffs are in Hz, 4 kHz is 4000"
                )
        self._filters()
        if self.headline not in METRICS:
            raise UsageError(
                f"no metric {self.headline} to head the table: choose from {', '.join(METRICS)}"
            )
        if not 0 < self.confidence < 1 or self.resamples < 1:
            raise UsageError("an interval needs 0 < confidence < 1 and resamples of at least 1")

    def degrade(self, reference: Tensor) -> tuple[Tensor, Tensor]:
        """Low-pass one reference at every cutoff.

        Args:
            reference: waveform (1, 1, T) at `RATE`.

        Returns:
            The inputs (B, 1, T) and their cutoffs in Hz (B,), B the number of cutoffs.
        """
        filters = self._filters()
        low = lowpass.apply_lowpass(reference.expand(len(filters), -1, -1), filters, RATE)
        return low, torch.tensor(self.cutoffs_hz, dtype=torch.float32, device=low.device)

    def _filters(self) -> list[Lowpass]:
        return [Lowpass(self.family, cutoff, self.order) for cutoff in self.cutoffs_hz]

    def limit_hz(self, source_rate: int) -> float | None:
        """Where outputs end in Hz for a source of that rate; None where they may fill the band."""
        return source_rate / 2 if self.source_limit and source_rate < RATE else None

    def card(self) -> dict[str, Any]:
        """All that has to be known to repeat the figures, as plain values."""
        return {
            "rate": RATE,
            "cutoffs_hz": list(self.cutoffs_hz),
            "lowpass": {
                "family": self.family,
                "order": self.order,
                "ripple_db": lowpass.RIPPLE_DB,
                "passes": "forward and backward (zero phase)",
            },
            "cutoff_given": self.cutoff_given,
            "source_limit": self.source_limit,
            "signal": "mono, float32 in memory, level kept",
            "metrics": {
                **{f"lsd_{name}": _describe(preset) for name, preset in PRESETS.items()},
                "lsd_hf, lsd_lf": "the same over the bins above and below the cutoff",
                "snr_below_cutoff_db": "output against the low-passed input, below the cutoff",
            },
            "headline": self.headline,
            "interval": {
                "method": "percentile bootstrap over files, within domains",
                "confidence": self.confidence,
                "resamples": self.resamples,
            },
        }


def _describe(preset: LSDPreset) -> dict[str, Any]:
    n_fft, hop = preset.frame(RATE)
    return {
        "n_fft": n_fft,
        "hop": hop,
        "window": "hann",
        "padding": preset.pad_mode,
        "distance": _FORMULAS[preset.name],
        "pooling": "root of the mean square over bins, mean over frames",
    }
