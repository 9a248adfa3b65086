"""Under which conditions is a system measured?"""

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any, Literal

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from audiosr.audio.io import RATE
from audiosr.errors import UsageError
from audiosr.evaluation.bandlimit import BandLimit, ZeroPhase
from audiosr.metrics.spectrum import bin_hz, magnitude_spectrogram

STEP = 2.0**-15
"""A step of 16 bits. A clip that never leaves it is silence."""

_N_FFT = 2048
_ROUNDING = 3 * STEP**2 / 12 * (3 / 8 * _N_FFT)
"""Mean power of a bin of `_N_FFT` samples (Hann) that holds the rounding to 16 bits, dithered."""


@dataclass(frozen=True)
class Protocol:
    """How inputs are made from references, what a system is told, and what is compared.

    The defaults are those of the AudioSR paper at test time (2309.07314, section 4).
    """

    name: str = "paper"
    """What it is called in tables."""
    cutoffs_hz: tuple[float, ...] = (4000, 8000, 12000)
    """Low-pass edges in Hz."""
    lowpass: BandLimit = field(default_factory=ZeroPhase)
    """What makes the inputs."""
    channels: Literal["mean", "first"] = "mean"
    """What becomes of several channels: their mean, or the first alone (as the release does)."""
    peak: float | None = None
    """Largest sample that references are brought to; None keeps their levels."""
    cutoff_given: bool = True
    """Whether a system is told the cutoff; if not, it has to find it."""
    source_limit: bool = True
    """Whether outputs end where the source could not go on: at half of the rate it was stored at. A
    file of 44.1 kHz is empty above 22.05 kHz, which no system sees in a low-passed input, and LSD
    counts those bins (8 % of them) like any others. The same limit holds for every system."""
    align_gain: bool = False
    """Whether each output is brought to the reference's level before it is compared: by the gain of
    the smallest squared difference. Most metrics count a wrong level as an error."""
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
        if self.channels not in ("mean", "first"):
            raise UsageError(f"protocol.channels={self.channels}: choose mean or first")
        if self.peak is not None and not self.peak > 0:
            raise UsageError(
                f"protocol.peak={self.peak:g}: a level above 0, or null to keep levels"
            )
        if not 0 < self.confidence < 1 or self.resamples < 1:
            raise UsageError("an interval needs 0 < confidence < 1 and resamples of at least 1")

    def mono(self, wave: NDArray[np.float32]) -> NDArray[np.float32]:
        """The one channel (T,) of a reference (C, T) that is evaluated."""
        mono = wave[0] if self.channels == "first" else wave.mean(axis=0, dtype=np.float32)
        level = np.abs(mono).max(initial=0)
        return mono if self.peak is None or level == 0 else mono * np.float32(self.peak / level)

    def unfit(self, wave: NDArray[np.float32]) -> str | None:
        """Why nothing can be judged by a reference (C, T), or None."""
        if np.abs(wave).max(initial=0) <= STEP:
            return "silence"
        power = np.mean(np.square(wave, dtype=np.float64))
        if np.mean(np.square(self.mono(wave), dtype=np.float64)) < 1e-6 * power:
            return (
                "its first channel is silent"
                if self.channels == "first"
                else "its channels cancel in the mix to mono"
            )
        return None

    def empty_above(self, mono: NDArray[np.float32], source_rate: int) -> dict[float, str]:
        """The cutoffs above which a reference (T,) holds nothing to be judged, and why."""
        wave = torch.from_numpy(mono)[None]
        frames = magnitude_spectrogram(wave, _N_FFT, _N_FFT // 4)[0].square_()
        whole = frames[:, 2:-2]  # mirrored ends have a kink, which is heard in every bin
        power = (whole if whole.shape[1] else frames).mean(-1)
        hz = bin_hz(_N_FFT, RATE, power.device)
        empty = {}
        for cutoff in self.cutoffs_hz:
            above = power[hz > cutoff + 4 * RATE / _N_FFT]  # clear of the window's main lobe
            if source_rate / 2 <= cutoff:
                empty[cutoff] = f"stored at {source_rate} Hz, it holds nothing above {cutoff:g} Hz"
            elif not len(above) or above.mean() < _ROUNDING:
                empty[cutoff] = f"it holds nothing above {cutoff:g} Hz but rounding"
        return empty

    def degrade(
        self, reference: Tensor, cutoffs_hz: Sequence[float] | None = None
    ) -> tuple[Tensor, Tensor]:
        """Low-pass one reference at every cutoff, each in float64 on its own.

        Args:
            reference: waveform (1, 1, T) at `RATE`.
            cutoffs_hz: some of the protocol's cutoffs; all of them by default.

        Returns:
            The inputs (B, 1, T), float32, and their cutoffs in Hz (B,), on the reference's device.
        """
        cutoffs = self.cutoffs_hz if cutoffs_hz is None else cutoffs_hz
        wave = reference[0, 0].double().cpu().numpy()
        low = np.stack([self.lowpass(wave, cutoff, RATE) for cutoff in cutoffs])
        inputs = torch.from_numpy(low.astype(np.float32)[:, None]).to(reference.device)
        return inputs, torch.tensor(cutoffs, dtype=torch.float32, device=reference.device)

    def compared(self, outputs: Tensor, reference: Tensor) -> Tensor:
        """Outputs (B, T) as metrics see them: at the reference's (1, T) level, if so chosen."""
        if not self.align_gain:
            return outputs
        inner = (outputs.double() * reference).sum(-1, keepdim=True)
        gain = inner / outputs.double().square().sum(-1, keepdim=True).clamp_min(1e-20)
        return outputs * gain.to(outputs)

    def limit_hz(self, source_rate: int) -> float | None:
        """Where outputs end in Hz for a source of that rate; None where they may fill the band."""
        return source_rate / 2 if self.source_limit and source_rate < RATE else None

    def card(self) -> dict[str, Any]:
        """The conditions as plain values: what `ProtocolCard` takes of them."""
        return {
            "name": self.name,
            "rate": RATE,
            "cutoffs_hz": self.cutoffs_hz,
            "lowpass": self.lowpass.card(),
            "cutoff_given": self.cutoff_given,
            "source_limit": self.source_limit,
            "channels": {"mean": "mean of the channels", "first": "first channel"}[self.channels],
            "level": "kept" if self.peak is None else f"peak brought to {self.peak:g}",
            "gain": "aligned to the reference" if self.align_gain else "kept",
            "signal": "mono, float32 in memory",
            "headline": self.headline,
            "interval": {
                "method": "percentile bootstrap over files, within domains",
                "confidence": self.confidence,
                "resamples": self.resamples,
            },
        }
