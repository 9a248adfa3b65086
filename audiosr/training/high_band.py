"""What does validation measure of the high band beside a distance, which rewards smoothing?"""

import math

import torch
from torch import Tensor

from audiosr.audio.mel import MelSettings, band_centres

HIGH_HZ = 8000.0
"""Where the high band begins for stages that restore all bands."""


def bands_below(cutoff_hz: Tensor, settings: MelSettings) -> Tensor:
    """Mel bands whose centres lie below each of `cutoff_hz (B,)`: the first above, `(B,)`."""
    centres = band_centres(settings).to(cutoff_hz)
    return (centres < cutoff_hz[:, None]).sum(1)


def high_band_errors(estimate: Tensor, target: Tensor, first: Tensor) -> tuple[Tensor, Tensor]:
    """How far energy and liveliness of the high band are from the target's, per clip `(B,)`, in dB.

    The first is the magnitude of the error of the energy. The second is the variance over time of
    the log-mel about each band's mean, against the target's: below 0 dB where it is smoothed.

    Args:
        estimate: natural-log mel `(B, 1, T, F)`.
        target: of that shape.
        first: lowest band that counts, `(B,)`.
    """
    bands = torch.arange(target.shape[-1], device=target.device)
    weights = (bands >= first[:, None].to(bands.device))[:, None, None].to(target)

    def energy(mel: Tensor) -> Tensor:
        return ((2 * mel).exp() * weights).sum((1, 2, 3))

    def variance(mel: Tensor) -> Tensor:
        return ((mel - mel.mean(2, keepdim=True)).square() * weights).sum((1, 2, 3))

    def decibels(measure: Tensor, reference: Tensor, least: float) -> Tensor:
        ratio = measure.clamp_min(least) / reference.clamp_min(least)
        return 10 / math.log(10) * ratio.log()

    estimate, target = estimate.float(), target.float()
    return (
        decibels(energy(estimate), energy(target), 1e-8).abs(),
        decibels(variance(estimate), variance(target), 1e-3),
    )
