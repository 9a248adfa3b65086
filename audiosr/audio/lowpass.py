"""How is a batch low-passed without delay, each clip by a filter of its own?"""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Literal, cast, get_args

import numpy as np
import scipy.fft
import scipy.signal
import torch
from numpy.typing import NDArray
from torch import Tensor

from audiosr.errors import UsageError

Family = Literal["cheby1", "ellip", "butter", "boxcar", "bessel"]
"""The first four are the paper's (arXiv 2309.07314); the release has Bessel in place of boxcar."""

FAMILIES: tuple[Family, ...] = get_args(Family)

RIPPLE_DB = 0.1
"""Pass-band ripple of one pass of Chebyshev I and elliptic (AudioSR release, lowpass.py)."""

STOP_DB = 60.0
"""Stop-band attenuation of one pass of elliptic filters (AudioSR release, lowpass.py)."""

_CACHED = 1 << 16
"""Numbers that a processor works on at a time."""

MARGIN = 4096
"""Samples by which a clip is continued at both ends, so that they do not ring into each other."""


@dataclass(frozen=True)
class Lowpass:
    """A low-pass that is run forward and backward: zero phase, twice the attenuation in dB."""

    family: Family
    """Which magnitude response; "boxcar" is a brick wall, without an order."""
    cutoff_hz: float
    """Edge in Hz as scipy.signal has it for the family; from 0.999 of Nyquist on nothing is cut."""
    order: int = 8
    """Order of one pass."""

    def __post_init__(self) -> None:
        if self.family not in FAMILIES:
            raise UsageError(
                f"no low-pass family {self.family!r}; choose one of {', '.join(FAMILIES)}"
            )
        if not self.cutoff_hz > 0 or not 1 <= self.order <= 20:
            raise UsageError(
                f"low-pass at {self.cutoff_hz:g} Hz of order {self.order} cannot be built; "
                "give a cutoff above 0 Hz and an order from 1 to 20"
            )

    def __str__(self) -> str:
        order = "" if self.family == "boxcar" else f"{self.order} "
        return f"{self.family} {order}{self.cutoff_hz:.0f} Hz"


@lru_cache
def prototype(
    family: Family, order: int
) -> tuple[NDArray[np.complex128], NDArray[np.complex128], float]:
    """Zeros, poles and gain of one pass as an analogue filter with its edge at 1 rad/s."""
    design = {
        "butter": lambda: scipy.signal.buttap(order),
        "cheby1": lambda: scipy.signal.cheb1ap(order, RIPPLE_DB),
        "ellip": lambda: scipy.signal.ellipap(order, RIPPLE_DB, STOP_DB),
        "bessel": lambda: scipy.signal.besselap(order, norm="phase"),
    }
    zeros, poles, gain = design[family]()
    return np.asarray(zeros, complex), np.asarray(poles, complex), float(gain)


@lru_cache
def _factors(family: Family, order: int) -> NDArray[np.float64]:
    """|H|^2 of one pass over x = (frequency / cutoff)^2 as a product of factors, one a row, (n, 6).

    The factor (v, z, u, a, b, c) is (v (x - z)^2 + 1 - v) / (u (x - a)^2 + b x + c), with v and u
    0 or 1 but for the gain: squares and positive terms only, so that nothing cancels in float32
    beside a sharp edge. The bilinear transform with prewarping carries an analogue prototype's
    response over frequency to that of the digital filter over tan(w / 2) without changing its
    values, so the prototype is all that is needed of scipy's design.
    """
    zeros, poles, gain = prototype(family, order)
    notches = sorted(np.abs(zeros[zeros.imag > 0]) ** 2)
    upper = sorted(poles[poles.imag >= 0], key=lambda pole: pole.imag)
    # The pole pairs nearest to the edge, last here, take the nearest notches; a real pole has none.
    notches = [None] * (len(upper) - len(notches)) + notches[::-1]
    rows = []
    for pole, notch in zip(upper, notches, strict=True):
        above = (0.0, 0.0) if notch is None else (1.0, notch)
        pair = (1.0, abs(pole) ** 2, 4 * pole.real**2, 0.0)
        rows.append(above + (pair if pole.imag > 0 else (0.0, 0.0, 1.0, pole.real**2)))
    table = np.array(rows)
    table[:, [2, 4, 5]] /= gain ** (2 / len(rows))
    return table


def _keeps_all(filter: Lowpass, rate: int) -> bool:
    return filter.cutoff_hz >= 0.999 * rate / 2


def gains(filters: Sequence[Lowpass], n_fft: int, rate: int, device: torch.device | str) -> Tensor:
    """Zero-phase gains (B, n_fft // 2 + 1) of the filters, float32."""
    curves = [f.family != "boxcar" and not _keeps_all(f, rate) for f in filters]
    walls = [f.family == "boxcar" and not _keeps_all(f, rate) for f in filters]
    factors = [
        _factors(f.family, f.order) if curve else np.empty((0, 6))
        for f, curve in zip(filters, curves, strict=True)
    ]
    rows = np.zeros((max(map(len, factors)), len(filters), 6, 1), np.float32)
    rows[:, :, 5] = 1
    for index, table in enumerate(factors):
        rows[: len(table), index, :, 0] = table
    last = [
        math.floor(f.cutoff_hz * n_fft / rate) if wall else n_fft
        for f, wall in zip(filters, walls, strict=True)
    ]
    edge = [math.tan(math.pi * min(f.cutoff_hz / rate, 0.4999)) ** -2 for f in filters]
    bins, tangent = _bins(n_fft, device)
    # The limit keeps squares finite.
    x = (torch.tensor(edge, device=device)[:, None] * tangent).clamp_max(1e12)
    gain = (bins <= torch.tensor(last, device=device)[:, None]).float()
    # On a processor in parts that stay in its cache: this takes as long as the FFT otherwise.
    width = max(1, _CACHED // len(filters)) if gain.device.type == "cpu" else len(bins)
    parts = list(zip(gain.split(width, 1), x.split(width, 1), strict=True))
    for factor, row in zip(torch.from_numpy(rows).to(device), rows, strict=True):
        v, z, u, a, b, c = factor.unbind(1)
        for part, at in parts:
            if row[:, 0].any():
                part *= (at - z).square_().mul_(v).add_(1 - v)
            part /= (at - a).square_().mul_(u).addcmul_(b, at).add_(c)
    return gain


@lru_cache(maxsize=4)
def _bins(n_fft: int, device: torch.device | str) -> tuple[Tensor, Tensor]:
    """Numbers of the bins (n_fft // 2 + 1,) and tan(w / 2)^2 there, float32."""
    bins = torch.arange(n_fft // 2 + 1, device=device, dtype=torch.float32)
    step = math.pi / n_fft
    # As a quotient of sines it is exact at Nyquist too.
    return bins, ((step * bins).sin() / (step * (n_fft / 2 - bins)).sin()).square()


def response(filter: Lowpass, n_fft: int, rate: int) -> Tensor:
    """Gain of the forward-backward filter, |H|^2 of scipy's design, (n_fft // 2 + 1,) float32.

    Bin k is the frequency k * rate / n_fft. "boxcar" is 1 up to the cutoff and 0 above.
    """
    return gains([filter], n_fft, rate, "cpu")[0]


def in_frequency(wave: Tensor, change: Callable[[Tensor, int], Tensor], unit: int = 1) -> Tensor:
    """Change the spectra of waveforms (B, 1, T) without wrap-around; float32, same length.

    Both ends are continued oddly (mirrored through the end point, so neither value nor slope
    jumps) and faded out over `MARGIN` samples: no click at the ends, nothing wraps around.

    Args:
        wave: waveforms (B, 1, T).
        change: from spectra (B, n_fft // 2 + 1), which it may overwrite, and the length of the FFT
            to new spectra.
        unit: the length of the FFT is a multiple of this, and a fast one.
    """
    samples = wave.shape[-1]
    if samples == 0:
        return wave.float()
    with torch.autocast(wave.device.type, enabled=False):
        wave = wave.float()
        margin = min(MARGIN, samples - 1)
        fade = torch.linspace(0, math.pi / 2, margin + 2, device=wave.device)[1:-1].sin().square()
        before = (2 * wave[..., :1] - wave[..., 1 : margin + 1].flip(-1)) * fade
        after = (2 * wave[..., -1:] - wave[..., samples - margin - 1 : -1].flip(-1)) * fade.flip(0)
        units = math.ceil((samples + 2 * MARGIN) / unit)
        n_fft = unit * cast(int, scipy.fft.next_fast_len(units, True))
        # What comes before the clip lies at the end of the circle: sample 0 stays at time 0.
        rest = wave.new_zeros(*wave.shape[:-1], n_fft - samples - 2 * margin)
        circle = torch.cat([wave, after, rest, before], -1)[:, 0]
        if circle.requires_grad or circle.device.type != "cpu":
            changed = torch.fft.irfft(change(torch.fft.rfft(circle), n_fft), n_fft)
        else:  # scipy's is two to three times as fast as the MKL's, for any length
            spectrum = torch.from_numpy(scipy.fft.rfft(circle.numpy(), overwrite_x=True))
            result = scipy.fft.irfft(change(spectrum, n_fft).numpy(), n_fft, overwrite_x=True)
            changed = torch.from_numpy(result)
        return changed[:, None, :samples]


def zero_phase(wave: Tensor, gains: Callable[[int], Tensor]) -> Tensor:
    """Multiply the spectrum of waveforms (B, 1, T) by real gains; float32, no delay, same length.

    Args:
        wave: waveforms (B, 1, T).
        gains: from the length of the FFT, a fast one, to the gains (B, n_fft // 2 + 1).
    """
    return in_frequency(wave, lambda spectrum, n_fft: spectrum.mul_(gains(n_fft)))


def apply_lowpass(wave: Tensor, filters: Sequence[Lowpass], rate: int) -> Tensor:
    """Filter waveforms (B, 1, T), each by its own low-pass, on their device; float32 (B, 1, T).

    Away from the ends equal to `scipy.signal.sosfiltfilt`. A cutoff from 0.999 of Nyquist on
    changes nothing.
    """
    if len(filters) != len(wave):
        raise ValueError(f"{len(filters)} filters for a batch of {len(wave)}")
    return zero_phase(wave, lambda n_fft: gains(filters, n_fft, rate, wave.device))
