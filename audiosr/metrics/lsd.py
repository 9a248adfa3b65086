"""How far apart are two spectra in decades: the log-spectral distance, under named definitions?

Published LSD figures differ mostly by their definition, so every figure carries the name of its
preset. All take the root of the mean square over frequency, then the mean over frames, and are
sensitive to level. What a silent stretch, rounding to 16 bits and a wrong level cost under each is
said at the presets.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
import torch
import torchaudio.functional as AF
from torch import Tensor

from audiosr.metrics.clip import ClipMetric, paired, per_row
from audiosr.metrics.spectrum import bin_hz, magnitude_pairs


@dataclass(frozen=True)
class LSDPreset:
    """One definition of the distance.

    Attributes:
        name: what the figure is called in tables.
        frame: from the rate in Hz to FFT length and hop in samples (Hann window of that length).
        pad_mode: how the centred frames continue the signal beyond its ends.
        log_ratio: from the magnitudes of target and estimate to their difference in decades of
            power.
        distance: `log_ratio` in words, for the protocol card.
        rate: rate in Hz that both signals are brought to; None leaves theirs.
        matched: share of the bins, from the lowest up, in which the estimate's mean magnitude is
            brought to the target's before they are compared; 0 leaves the level.
    """

    name: str
    frame: Callable[[int], tuple[int, int]]
    pad_mode: str
    log_ratio: Callable[[Tensor, Tensor], Tensor]
    distance: str
    rate: int | None = None
    matched: float = 0.0


class LSD(NamedTuple):
    """Distance per clip `(B,)` over all bins, below the cutoff and from the cutoff up."""

    full: Tensor
    lf: Tensor | None
    hf: Tensor | None


def _clamped(power: float) -> Callable[[Tensor, Tensor], Tensor]:
    floor = power**0.5

    def ratio(target: Tensor, estimate: Tensor) -> Tensor:
        decades = _log10_(target.clamp_min(floor))
        return decades.sub_(_log10_(estimate.clamp_min(floor))).mul_(2)

    return ratio


def _open(epsilon: float) -> Callable[[Tensor, Tensor], Tensor]:
    def ratio(target: Tensor, estimate: Tensor) -> Tensor:
        below = estimate + epsilon
        return _log10_(torch.div(target, below, out=below).square_().add_(epsilon))

    return ratio


def _log10_(values: Tensor) -> Tensor:
    """`values.log10_()`; on a processor with AVX-512 NumPy takes less than half of torch's time."""
    if values.device.type == "cpu":
        np.log10(values.numpy(), out=values.numpy())
        return values
    return values.log10_()


nuwave2 = LSDPreset(
    "nuwave2",
    lambda rate: (2048, 512),
    "reflect",
    _clamped(1e-8),
    "difference of log10 of the power, clamped at 1e-8",
)
"""NU-Wave 2 (arXiv 2206.08545), also used by AP-BWE and AERO.

Silence in both counts 0, and a bin is silent below 1e-8 of power. On bursts of pink noise with half
a second at -80 dB, rounding to 16 bits alone costs 0.03, a gain of 0.8 alone 0.18.
"""

ssr_eval = LSDPreset(
    "ssr_eval",
    lambda rate: (int(2048 / (44100 / rate)), int(rate / 100)),
    "constant",
    _open(1e-12),
    "log10 of the power ratio; 1e-12 added to it and to the estimate's magnitude",
)
"""NVSR's ssr_eval (metrics.py), in which the AudioSR paper's figures are.

No clamp: a target bin of digital silence counts 12 even where the estimate is silent too, and
near-silence counts like any other sound: rounding to 16 bits alone costs 1.08 (on the bursts that
`nuwave2` names), and bins that a low-pass has emptied measure the rounding of its output. A gain of
0.8 costs 0.19.
"""

universr = LSDPreset(
    "universr",
    lambda rate: (1024, 256),
    "reflect",
    _clamped(1e-6),
    "difference of log10 of the power, clamped at 1e-6",
)
"""UniverSR (arXiv 2510.00771).

Silence in both counts 0; the high clamp forgives quiet stretches and rounding to 16 bits (0.00). A
gain of 0.8 costs 0.17. Our halves split at the cutoff, theirs at a fixed bin of each rate.
"""

released = LSDPreset(
    "released",
    lambda rate: (2048, 512),
    "constant",
    _open(1e-8),
    "log10 of the power ratio; 1e-8 added to it and to the estimate's magnitude",
    rate=22_050,
    matched=0.1,
)
"""The AudioSR release's note on LSD (example/lsd_calculation_pitfall), at 22.05 kHz.

The output is first scaled to the target's mean magnitude in the lowest tenth of the bins, so a
wrong level costs nothing; nothing above 11 kHz is seen. A silent target bin counts 8, and rounding
to 16 bits costs 0.44.
"""

PRESETS = {preset.name: preset for preset in (nuwave2, ssr_eval, universr, released)}
"""The definitions by name."""


def log_spectral_distance(
    estimate: Tensor,
    target: Tensor,
    preset: LSDPreset = nuwave2,
    cutoff_hz: float | Tensor | None = None,
    *,
    rate: int = 48_000,
) -> LSD:
    """Log-spectral distance of `estimate` to `target`, per clip; float64.

    Args:
        estimate: waveforms `(B, T)` or `(T,)`, full scale 1.0.
        target: what they should be, of the same shape, or one for all of them (lengths may differ
            by less than `LENGTH_TOLERANCE` samples).
        preset: the definition.
        cutoff_hz: one frequency, or `(B,)`, at which the bins are split into `lf` and `hf`. A half
            without bins is NaN.
        rate: sampling rate in Hz.

    Raises:
        ValueError: shapes that do not fit each other.
    """
    estimate, target = paired(estimate, target)
    if preset.rate not in (None, rate):
        estimate, target = (AF.resample(w, rate, preset.rate) for w in (estimate, target))
        rate = preset.rate
    n_fft, hop = preset.frame(rate)
    hz = bin_hz(n_fft, rate, estimate.device)
    bands = [torch.ones_like(hz).expand(len(estimate), -1)]
    if cutoff_hz is not None:
        high = (hz >= per_row(cutoff_hz, estimate)).to(hz).expand(len(estimate), -1)
        bands += [1 - high, high]
    masks = torch.stack(bands, 1)  # (B, 1 or 3, bins)
    masks = masks / masks.sum(-1, keepdim=True)
    done, parts = 0, []
    for found, wanted in magnitude_pairs(estimate, target, n_fft, hop, pad_mode=preset.pad_mode):
        ratio = preset.log_ratio(wanted, _matched(found, wanted, preset.matched))
        rows = masks[done : done + len(found)]
        parts.append((rows @ ratio.square_()).sqrt_().mean(-1))  # of (rows, 1 or 3, frames)
        done += len(found)
    full, *halves = torch.cat(parts).unbind(1)
    return LSD(full, *halves) if halves else LSD(full, None, None)


def _matched(found: Tensor, wanted: Tensor, share: float) -> Tensor:
    """`found` at the mean magnitude of `wanted` in the lowest `share` of the bins; magnitudes."""
    if not share:
        return found
    bins = int(share * found.shape[1])
    levels = [each[:, :bins].mean((1, 2), keepdim=True) for each in (found, wanted)]
    return found * torch.where(levels[0] > 0, levels[1] / levels[0], 1.0)


class LogSpectralDistance(ClipMetric):
    """Log-spectral distance under one definition, in all bins and split at each clip's cutoff.

    Args:
        preset: the definition, or its name.
        rate: sampling rate in Hz.
    """

    higher_is_better = False

    def __init__(
        self, preset: LSDPreset | str = nuwave2, *, rate: int = 48_000, **settings: Any
    ) -> None:
        self.preset = PRESETS[preset] if isinstance(preset, str) else preset
        self.rate = rate
        name = self.preset.name
        super().__init__((f"lsd_{name}", f"lsd_hf_{name}", f"lsd_lf_{name}"), **settings)

    def update(self, estimate: Tensor, target: Tensor, cutoff_hz: float | Tensor) -> None:
        """Add clips `(B, 1, T)` or `(B, T)` with their cutoff in Hz, one or `(B,)`."""
        found = log_spectral_distance(estimate, target, self.preset, cutoff_hz, rate=self.rate)
        assert found.lf is not None
        assert found.hf is not None
        self.add(found.full, found.hf, found.lf)

    def describe(self) -> dict[str, Any]:
        """STFT and distance, for a protocol card."""
        preset = self.preset
        rate = preset.rate or self.rate
        n_fft, hop = preset.frame(rate)
        card = {
            "n_fft": n_fft,
            "hop": hop,
            "rate": rate,
            "window": "hann",
            "padding": preset.pad_mode,
            "distance": preset.distance,
            "pooling": "root of the mean square over bins, mean over frames; float64",
        }
        if preset.matched:
            card["level"] = f"matched in the lowest {preset.matched:.0%} of the bins"
        return {
            self.names[0]: card,
            ", ".join(self.names[1:]): "the same over the bins above and below the cutoff",
        }
