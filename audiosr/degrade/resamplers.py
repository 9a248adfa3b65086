"""What is left of a waveform after a trip through a lower sampling rate, good or bad?

In the frequency domain: a kernel before the samples are taken, the spectrum repeated at every
multiple of the lower rate (which folds back what lay above half of it), and a kernel that joins
the samples again. Nothing is delayed.
"""

import math
from dataclasses import dataclass
from functools import lru_cache
from typing import Literal

import numpy as np
import scipy.signal
import torch
import torch.nn.functional as F
from torch import Tensor

from audiosr.errors import UsageError

KernelShape = Literal["sinc", "linear", "nearest", "none"]

KernelWindow = str | tuple[str, float]
"""A window as `scipy.signal.get_window` names it."""

_STEPS = 16_384
"""Table entries per unit of frequency; linear between them, errors stay below 1e-5."""

_SLOPE = 8.0
"""A sinc of n lobes leaves nothing from (0.5 + 8 / n) times the lower rate on."""

_TOP = 24
"""The tables end at this many times the lower rate."""

_FINE = 64
"""Samples of a kernel between two of the lower rate, for its table."""


@dataclass(frozen=True)
class Kernel:
    """How samples are taken, or joined."""

    shape: KernelShape
    """Windowed sinc, straight lines, steps (centred, so without delay), or samples as they are.

    Lines and steps are drawn in continuous time; what they hold above the Nyquist frequency of the
    higher rate is lost, as in a converter.
    """
    lobes: int = 10
    """Of a sinc: zero crossings on each side. Few let much fold back."""
    window: KernelWindow = ("kaiser", 5.0)
    """Of a sinc. The defaults are those of `scipy.signal.resample_poly`."""

    def __post_init__(self) -> None:
        if self.shape not in ("sinc", "linear", "nearest", "none") or self.lobes < 1:
            raise UsageError(
                f"no resampling kernel {self.shape!r} of {self.lobes} lobes; choose sinc, linear, "
                "nearest or none, and 1 lobe or more"
            )


POLYPHASE = Kernel("sinc")
"""The kernel of `scipy.signal.resample_poly`."""


@lru_cache(maxsize=64)
def _table(kernel: Kernel, finest: int) -> Tensor:
    """Response of a windowed sinc at 0, 1 / _STEPS, ..., _TOP times the lower rate.

    Its taps lie at `finest` times the lower rate, around which its response repeats.
    """
    half = kernel.lobes * finest
    window = scipy.signal.get_window(kernel.window, 2 * half + 1, fftbins=False)
    taps = np.sinc(np.arange(-half, half + 1) / finest) * window
    circle = np.zeros(_STEPS * finest)
    circle[: half + 1], circle[-half:] = taps[half:], taps[:half]
    gains = np.fft.fft(circle / taps.sum()).real
    return torch.from_numpy(np.resize(gains, _TOP * _STEPS + 2).astype(np.float32))


def _response(kernel: Kernel, frequency: Tensor, finest: int) -> Tensor:
    """Real gain of a kernel at frequencies in units of the lower rate, float32.

    Resamplers hold the taps of a sinc at the least common multiple of both rates, `finest` times
    the lower one; from `_FINE` on it makes no difference where.
    """
    if kernel.shape == "none":
        return torch.ones_like(frequency)
    if kernel.shape != "sinc":
        return torch.sinc(frequency) ** (2 if kernel.shape == "linear" else 1)
    table = _table(kernel, min(finest, _FINE)).to(frequency.device)
    place = (frequency * _STEPS).clamp_max(_TOP * _STEPS)
    below = place.long()
    return torch.lerp(table[below], table[below + 1], place - below)


def _gains(kernel: Kernel, bins: int, period: int, finest: int, device: torch.device) -> Tensor:
    """`_response` at 0, 1 / period, ... times the lower rate, (bins,)."""
    # A kernel of n lobes bends its response over 1 / n of the lower rate; errors of straight lines
    # between a few values stay below 1e-5.
    every = max(1, period // (512 * kernel.lobes))
    few = torch.arange(-(-(bins - 1) // every) + 1, device=device) * (every / period)
    size = (len(few) - 1) * every + 1
    gains = _response(kernel, few, finest)[None, None]
    return F.interpolate(gains, size, mode="linear", align_corners=True)[0, 0, :bins]


def _fold(spectrum: Tensor, period: int, nyquist: int) -> Tensor:
    """Spectrum (bins,) of a signal, sampled at the rate of bin `period`: (period,).

    The spectrum and its mirror image at negative frequencies, summed over all shifts by multiples
    of `period`, where it repeats.
    """
    bins = len(spectrum)
    padded = spectrum.new_zeros(-(-bins // period) * period)
    padded[:bins] = spectrum
    # Both ends of a whole spectrum are their own mirror images and must not count twice.
    padded[0] /= 2
    if bins == nyquist + 1:
        padded[nyquist] /= 2
    once = padded.view(-1, period).sum(0)
    return once + once.conj().flip(0).roll(1)


def fold_spectrum(spectrum: Tensor, low: int, rate: int, down: Kernel, up: Kernel) -> Tensor:
    """Spectrum (n_fft // 2 + 1,) after the samples were taken and joined again at the rate `low`.

    Args:
        spectrum: of the signal at `rate`; n_fft is even, and `low` falls on a bin: n_fft a multiple
            of `rate` does for every whole Hz.
        low: the lower rate in Hz.
        rate: the rate in Hz.
        down: applied before the samples are taken.
        up: applied to the samples.
    """
    nyquist = len(spectrum) - 1
    n_fft = 2 * nyquist
    period = low * n_fft // rate
    finest = rate // math.gcd(low, rate)

    def reach(kernel: Kernel) -> int:
        """First bin from which a kernel leaves nothing."""
        if kernel.shape != "sinc":
            return nyquist + 1
        # Above half the rate of its taps there is nothing new.
        half = finest * period // 2
        return min(n_fft, half, math.ceil((0.5 + _SLOPE / kernel.lobes) * period)) + 1

    last = max(reach(down), reach(up))
    if last > nyquist + 1:
        # A kernel over samples sees their spectrum's mirror image above the Nyquist frequency.
        spectrum = torch.cat([spectrum, spectrum[:-1].conj().flip(0)])
    gain = _gains(down, last, period, finest, spectrum.device)
    taken = _fold((spectrum[:last] * gain)[: reach(down)], period, nyquist)
    if up != down:
        gain = _gains(up, last, period, finest, spectrum.device)
    joined = taken.repeat(-(-last // period))[:last] * gain
    out = spectrum.new_zeros(nyquist + 1)
    inside = joined[: min(nyquist + 1, reach(up))]
    out[: len(inside)] = inside
    if reach(up) > nyquist + 1:
        # What it leaves up there folds back in turn.
        beyond = joined[nyquist : reach(up)].conj().flip(0)
        out[nyquist + 1 - len(beyond) :] += beyond
    return out
