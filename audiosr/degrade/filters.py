"""How is a full-band batch degraded on the fly, each clip by a low-pass of its own?"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

import torch
from torch import Tensor

from audiosr.audio import lowpass
from audiosr.audio.lowpass import FAMILIES, Family, Lowpass
from audiosr.degrade import released
from audiosr.errors import UsageError


class Degraded(NamedTuple):
    """What became of a batch."""

    waveform: Tensor
    """Band-limited (B, 1, T), float32, in time with the originals."""
    cutoff_hz: Tensor
    """Up to where each clip still holds its content, in Hz (B,), float32."""
    chain: list[str]
    """What was done to each of B clips, such as "cheby1 8 4000 Hz" or "mp3 64 kbit/s"."""


@dataclass(frozen=True)
class Degrade:
    """Low-pass simulation of the paper (arXiv 2309.07314, section 4).

    Cutoff uniform in a range, family uniform over a list, order a uniform integer; drawn per clip
    from the generator alone, so one seed means one set of filters on every device. Zero phase.
    """

    rate: int = 48_000
    """Sampling rate of the batch in Hz."""
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

    def draw(self, n: int, generator: torch.Generator) -> list[Lowpass]:
        """Draw `n` filters; a CPU generator spares a GPU the wait for the numbers."""
        low, high = self.cutoff_hz
        chance = torch.rand(n, 3, generator=generator, device=generator.device, dtype=torch.float64)
        return [
            Lowpass(
                family=self.families[int(family * len(self.families))],
                cutoff_hz=low + (high - low) * cutoff,
                order=self.orders[0] + int(order * (self.orders[1] - self.orders[0] + 1)),
            )
            for cutoff, family, order in chance.tolist()
        ]

    def __call__(self, waveform: Tensor, generator: torch.Generator) -> Degraded:
        """Degrade waveforms (B, 1, T) on their device."""
        filters = self.draw(len(waveform), generator)
        cutoff_hz = torch.tensor([f.cutoff_hz for f in filters], dtype=torch.float32)
        chain = [str(f) for f in filters]
        return Degraded(self.filter(waveform, filters), cutoff_hz.to(waveform.device), chain)

    def filter(self, waveform: Tensor, filters: Sequence[Lowpass]) -> Tensor:
        """Run each waveform of (B, 1, T) through its filter."""
        return lowpass.apply_lowpass(waveform, filters, self.rate)


@dataclass(frozen=True)
class Released(Degrade):
    """Low-pass simulation of the AudioSR release (lowpass.py): its families and its chain.

    Forward and backward, resampled down to twice the cutoff and back, forward and backward again;
    cutoffs in whole Hz.
    """

    families: Sequence[Family] = ("cheby1", "ellip", "butter", "bessel")
    """Families to draw from; the release's four."""

    def __post_init__(self) -> None:
        super().__post_init__()
        low, high = self.cutoff_hz
        if low < 100 or high > self.rate / 2 - 1 or self.rate % 2:
            raise UsageError(
                f"degrade.cutoff_hz from {low:g} to {high:g}: the released chain takes 100 Hz to "
                "1 Hz below half of an even rate"
            )
        if self.orders[0] < 2 or self.orders[1] > 10 or "boxcar" in self.families:
            raise UsageError(
                "the released chain has orders from 2 to 10 and no boxcar; "
                "correct degrade.orders or degrade.families, or choose degrade=paper"
            )

    def draw(self, n: int, generator: torch.Generator) -> list[Lowpass]:
        """Draw `n` filters, as `Degrade` does, cut to whole Hz."""
        drawn = super().draw(n, generator)
        return [Lowpass(f.family, float(int(f.cutoff_hz)), f.order) for f in drawn]

    def filter(self, waveform: Tensor, filters: Sequence[Lowpass]) -> Tensor:
        """Run each waveform of (B, 1, T) through the chain with its filter."""
        return released.lowpass_chain_batch(waveform, filters, self.rate)
