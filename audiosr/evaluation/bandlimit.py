"""How is a reference band-limited to make a test input?

Clip by clip and in float64, so that an input does not depend on what is made beside it: LSD without
a floor (`ssr_eval`) measures the rounding that a low-pass leaves above its cutoff.
"""

from dataclasses import asdict, dataclass
from typing import Any
from typing import Protocol as Interface

import numpy as np
import scipy.signal
from numpy.typing import NDArray

from audiosr.audio.lowpass import MARGIN, RIPPLE_DB, STOP_DB, Family, Lowpass
from audiosr.audio.ssr_eval import SSR_EVAL_KINDS, SsrEvalKind, degrade_ssr_eval
from audiosr.errors import UsageError


class BandLimit(Interface):
    """Takes away what lies above a cutoff."""

    def __call__(
        self, wave: NDArray[np.float64], cutoff_hz: float, rate: int
    ) -> NDArray[np.float64]:
        """`wave` (T,) without what lies above `cutoff_hz`, as long and without delay."""
        ...

    def card(self) -> dict[str, Any]:
        """What it does, as plain values."""
        ...


@dataclass(frozen=True)
class ZeroPhase:
    """A filter run forward and backward; AudioSR's test condition is Chebyshev I of order 8.

    Equal to `scipy.signal.sosfiltfilt` with both ends continued by 4096 samples. "boxcar" is a
    brick wall, without an order.
    """

    family: Family = "cheby1"
    """cheby1, ellip, butter, boxcar or bessel."""
    order: int = 8
    """Order of one pass; two are made."""

    def __post_init__(self) -> None:
        Lowpass(self.family, 1000.0, self.order)  # refuses what cannot be designed

    def __call__(
        self, wave: NDArray[np.float64], cutoff_hz: float, rate: int
    ) -> NDArray[np.float64]:
        """`wave` (T,) low-passed."""
        margin = min(MARGIN, len(wave) - 1)
        padded = np.pad(wave, margin, mode="reflect", reflect_type="odd")
        if self.family == "boxcar":
            spectrum = np.fft.rfft(padded)
            spectrum[np.fft.rfftfreq(len(padded), 1 / rate) > cutoff_hz] = 0
            low = np.fft.irfft(spectrum, len(padded))
        else:
            edge = cutoff_hz / (rate / 2)
            sections = scipy.signal.iirfilter(
                self.order, edge, RIPPLE_DB, STOP_DB, "lowpass", ftype=self.family, output="sos"
            )
            low = scipy.signal.sosfiltfilt(sections, padded, padlen=0)
        return low[margin : margin + len(wave)]

    def card(self) -> dict[str, Any]:
        """Family, order, ripple and passes."""
        return {
            **asdict(self),
            "ripple_db": RIPPLE_DB,
            "passes": "forward and backward (zero phase), float64",
        }


@dataclass(frozen=True)
class SsrEvalLowpass:
    """A degradation of ssr_eval, in which NVSR and the AudioSR paper publish their figures."""

    kind: SsrEvalKind = "stft_hard"
    """stft_hard (what the package recommends), subsampling, butter, cheby1, ellip or bessel."""
    order: int = 8
    """Order of the filters."""

    def __post_init__(self) -> None:
        if self.kind not in SSR_EVAL_KINDS:
            raise UsageError(
                f"ssr_eval has no low-pass {self.kind!r}: choose from {', '.join(SSR_EVAL_KINDS)}"
            )

    def __call__(
        self, wave: NDArray[np.float64], cutoff_hz: float, rate: int
    ) -> NDArray[np.float64]:
        """`wave` (T,) degraded."""
        return degrade_ssr_eval(wave, cutoff_hz, rate, kind=self.kind, order=self.order)

    def card(self) -> dict[str, Any]:
        """Kind, order and origin."""
        return {**asdict(self), "package": "ssr_eval at 7129ee8, in float64"}
