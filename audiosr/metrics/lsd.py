"""How far apart are two spectra in decades: the log-spectral distance, under named definitions?

Published LSD figures differ mostly by their definition, so every figure carries the name of its
preset. All take the root of the mean square over frequency, then the mean over frames, and are
sensitive to level.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor
from torchmetrics import Metric

LENGTH_TOLERANCE = 100
"""Signals whose lengths differ by fewer samples are cut to the shorter (ssr_eval, metrics.py)."""


@dataclass(frozen=True)
class LSDPreset:
    """One definition of the distance.

    Attributes:
        name: what the figure is called in tables.
        frame: from the rate in Hz to FFT length and hop in samples (Hann window of that length).
        pad_mode: how the centred frames continue the signal beyond its ends.
        log_ratio: from the magnitudes of target and estimate to the difference in decades of power.
    """

    name: str
    frame: Callable[[int], tuple[int, int]]
    pad_mode: str
    log_ratio: Callable[[Tensor, Tensor], Tensor]


class LSD(NamedTuple):
    """Distance per clip `(B,)` over all bins, below the cutoff and from the cutoff up."""

    full: Tensor
    lf: Tensor | None
    hf: Tensor | None


def _clamped_ratio(target: Tensor, estimate: Tensor) -> Tensor:
    def log_power(magnitude: Tensor) -> Tensor:
        return magnitude.square().clamp_min(1e-8).log10()

    return log_power(target) - log_power(estimate)


def _open_ratio(target: Tensor, estimate: Tensor) -> Tensor:
    return (target.square() / (estimate + 1e-12).square() + 1e-12).log10()


nuwave2 = LSDPreset("nuwave2", lambda rate: (2048, 512), "reflect", _clamped_ratio)
"""NU-Wave 2 (arXiv 2206.08545), also used by AP-BWE and AERO: power clamped at 1e-8."""

ssr_eval = LSDPreset(
    "ssr_eval",
    lambda rate: (int(2048 / (44100 / rate)), int(rate / 100)),
    "constant",
    _open_ratio,
)
"""NVSR's ssr_eval (metrics.py), used for AudioSR: no clamp, a silent target bin counts 12."""


def log_spectral_distance(
    estimate: Tensor,
    target: Tensor,
    preset: LSDPreset = nuwave2,
    cutoff_hz: float | Tensor | None = None,
    *,
    rate: int = 48_000,
) -> LSD:
    """Log-spectral distance of `estimate` to `target`, per clip.

    Args:
        estimate: waveforms `(B, T)` or `(T,)`, full scale 1.0.
        target: what they should be, of the same shape, or one for all of them (lengths may differ
            by less than `LENGTH_TOLERANCE` samples).
        preset: the definition.
        cutoff_hz: one frequency, or `(B,)`, at which the bins are split into `lf` and `hf`.
        rate: sampling rate in Hz.

    Raises:
        ValueError: shapes that do not fit each other.
    """
    estimate, target = (wave.reshape(-1, wave.shape[-1]) for wave in (estimate, target))
    excess = abs(estimate.shape[-1] - target.shape[-1])
    if len(target) not in (1, len(estimate)) or excess >= LENGTH_TOLERANCE:
        raise ValueError(f"cannot compare {tuple(estimate.shape)} with {tuple(target.shape)}")
    samples = min(estimate.shape[-1], target.shape[-1])
    n_fft, hop = preset.frame(rate)

    def magnitude(wave: Tensor) -> Tensor:
        # The rounding of a float32 FFT is within reach of an unclamped logarithm.
        device = "cpu" if wave.device.type == "mps" else wave.device
        wave = wave[..., :samples].to(device, torch.float64)
        if preset.pad_mode == "reflect":
            wave = F.pad(wave, (0, max(0, n_fft // 2 + 1 - samples)))
        window = torch.hann_window(n_fft, dtype=wave.dtype, device=device)
        stft = torch.stft(
            wave, n_fft, hop, window=window, pad_mode=preset.pad_mode, return_complex=True
        )
        return stft.abs()

    with torch.autocast(estimate.device.type, enabled=False):
        squared = preset.log_ratio(
            magnitude(target), magnitude(estimate)
        ).square()  # (B, bins, frames)
    full = squared.mean(1).sqrt().mean(-1).float()
    if cutoff_hz is None:
        return LSD(full, None, None)
    hz = torch.arange(n_fft // 2 + 1, device=squared.device, dtype=torch.float64) * rate / n_fft
    cutoff = torch.as_tensor(cutoff_hz, device=squared.device, dtype=torch.float64).reshape(-1, 1)
    high = (hz >= cutoff).to(squared).expand(len(squared), -1).unsqueeze(-1)

    def band(mask: Tensor) -> Tensor:
        mean = (squared * mask).sum(1) / mask.sum(1)
        return mean.sqrt().mean(-1).float()

    return LSD(full, band(1 - high), band(high))


class LogSpectralDistance(Metric):
    """Mean log-spectral distance over clips, in all bins and split at each clip's cutoff."""

    is_differentiable = False
    higher_is_better = False
    full_state_update = False

    totals: Tensor
    count: Tensor

    def __init__(self, preset: LSDPreset = nuwave2, *, rate: int = 48_000, **settings: Any) -> None:
        """`settings` are those of every torchmetrics metric."""
        super().__init__(**settings)
        self.preset = preset
        self.rate = rate
        self.add_state("totals", torch.zeros(3, dtype=torch.float64), dist_reduce_fx="sum")
        self.add_state("count", torch.zeros((), dtype=torch.long), dist_reduce_fx="sum")

    def update(self, estimate: Tensor, target: Tensor, cutoff_hz: float | Tensor) -> None:
        """Add clips `(B, 1, T)` or `(B, T)` with their cutoff in Hz, one or `(B,)`."""
        distances = log_spectral_distance(estimate, target, self.preset, cutoff_hz, rate=self.rate)
        sums = [values.sum() for values in distances if values is not None]
        self.totals += torch.stack(sums).to(self.totals)
        self.count += len(distances.full)

    def compute(self) -> dict[str, Tensor]:
        """Means over all clips: `lsd`, `lsd_lf`, `lsd_hf`."""
        means = (self.totals / self.count).float()
        return dict(zip(("lsd", "lsd_lf", "lsd_hf"), means, strict=True))
