"""Is what the input still held left untouched below the cutoff?"""

import math

import torch
from torch import Tensor

TAPER = 1024
"""Samples faded at both ends, so that content above the cutoff does not leak below it."""


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
    samples = reference.shape[-1]
    device = "cpu" if reference.device.type == "mps" else reference.device
    ramp = min(TAPER, samples // 2)
    taper = torch.ones(samples, dtype=torch.float64, device=device)
    fade = (torch.arange(ramp, device=device) + 0.5).mul(math.pi / 2 / max(ramp, 1)).sin().square()
    taper[:ramp] *= fade
    taper[samples - ramp :] *= fade.flip(0)
    hz = torch.fft.rfftfreq(samples, 1 / rate, dtype=torch.float64, device=device)
    cutoff = torch.as_tensor(cutoff_hz, device=device, dtype=torch.float64).reshape(-1, 1)

    def power(wave: Tensor) -> Tensor:
        spectrum = torch.fft.rfft(wave.reshape(-1, samples) * taper)
        return (spectrum.abs().square() * (hz < cutoff)).sum(-1)

    estimate, reference = (x.to(device, torch.float64) for x in (estimate, reference))
    signal, noise = power(reference), power(estimate - reference)
    ratio = torch.where(noise > 0, signal / noise, math.inf)
    return (10 * ratio.log10()).float()
