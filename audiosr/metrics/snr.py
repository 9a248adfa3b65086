"""Was what the input held left untouched below the cutoff, and how right is the whole wave?"""

import math
from typing import Any

import torch
from torch import Tensor
from torchmetrics.functional.audio import (
    scale_invariant_signal_distortion_ratio,
    signal_noise_ratio,
)

from audiosr.metrics.clip import ClipMetric, paired, per_row

TAPER = 1024
"""Samples faded at both ends, so that content above the cutoff does not leak below it."""

CEILING_DB = 120.0
"""What equal signals count: float32 samples resolve no more, and JSON has no infinity."""


def snr_below_cutoff_db(
    estimate: Tensor, reference: Tensor, cutoff_hz: float | Tensor, rate: int
) -> Tensor:
    """Signal-to-noise ratio of the spectrum below a cutoff, `10 log10(sum |R|^2 / sum |E - R|^2)`.

    Args:
        estimate: waveforms `(B, T)` or `(T,)`.
        reference: what they should equal below the cutoff, same shape.
        cutoff_hz: one frequency or `(B,)`; the sums run over the frequencies below it.
        rate: sampling rate in Hz.

    Returns:
        `(B,)` in dB; plus infinity for equal signals, minus infinity for a difference from silence.
    """
    if estimate.shape != reference.shape:
        raise ValueError(f"cannot compare {tuple(estimate.shape)} with {tuple(reference.shape)}")
    estimate, reference = paired(estimate, reference)
    samples, device = reference.shape[-1], reference.device
    ramp = min(TAPER, samples // 2)
    taper = torch.ones(samples, dtype=torch.float64, device=device)
    fade = (torch.arange(ramp, device=device) + 0.5).mul(math.pi / 2 / max(ramp, 1)).sin().square()
    taper[:ramp] *= fade
    taper[samples - ramp :] *= fade.flip(0)
    hz = torch.fft.rfftfreq(samples, 1 / rate, dtype=torch.float64, device=device)
    below = hz < per_row(cutoff_hz, reference)

    def power(wave: Tensor) -> Tensor:
        return (torch.fft.rfft(wave * taper).abs().square() * below).sum(-1)

    signal, noise = power(reference), power(estimate - reference)
    ratio = torch.where(noise > 0, signal / noise, math.inf)
    return (10 * ratio.log10()).float()


class SnrBelowCutoff(ClipMetric):
    """Output against the low-passed input below the cutoff: was the recording kept?"""

    higher_is_better = True

    def __init__(self, *, rate: int = 48_000, **settings: Any) -> None:
        self.rate = rate
        super().__init__(("snr_below_cutoff_db",), **settings)

    def update(
        self, estimate: Tensor, target: Tensor, cutoff_hz: float | Tensor, low: Tensor
    ) -> None:
        """Add clips `(B, 1, T)` with their cutoff and the low-passed inputs, the same shape."""
        snr = snr_below_cutoff_db(estimate, low, cutoff_hz, self.rate)
        self.add(snr.clamp(-CEILING_DB, CEILING_DB))

    def describe(self) -> dict[str, Any]:
        """For a protocol card."""
        return {self.names[0]: "output against the low-passed input, below the cutoff"}


class WaveformRatios(ClipMetric):
    """SI-SDR and SNR of the waveform, as torchmetrics computes them, in dB.

    Both compare phases: a system that draws its own high band gains nothing by a right envelope.
    A silent target has no ratio.
    """

    higher_is_better = True

    def __init__(self, **settings: Any) -> None:
        super().__init__(("si_sdr_db", "snr_db"), **settings)

    def update(self, estimate: Tensor, target: Tensor) -> None:
        """Add clips `(B, 1, T)` or `(B, T)`."""
        estimate, target = paired(estimate, target)
        target = target.expand_as(estimate)
        silent = target.square().sum(-1) == 0
        for_each = (scale_invariant_signal_distortion_ratio, signal_noise_ratio)
        found = [ratio(estimate, target).clamp(-CEILING_DB, CEILING_DB) for ratio in for_each]
        self.add(*(ratio.masked_fill(silent, math.nan) for ratio in found))

    def describe(self) -> dict[str, Any]:
        """For a protocol card."""
        return {"si_sdr_db, snr_db": "scale-invariant SDR and SNR of the waveform (torchmetrics)"}
