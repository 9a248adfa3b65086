"""Up to which frequency does a spectrum reach, by plain rules?"""

import numpy as np
import scipy.ndimage
import torch
from einops import rearrange
from numpy.typing import NDArray
from torch import Tensor

Spectrum = NDArray[np.float64]

NOISE_BANDWIDTH = 2.0044
"""Equivalent noise bandwidth of the four-term Blackman-Harris window in bins (Harris 1978)."""

_SMOOTHING = 100.0
"""Half the width in Hz over which power is averaged: harmonics of speech run into each other."""

_LINE = 800.0
"""What stands out over less than this width in Hz is a line (whistle, pilot tone), not a band."""

_RANGE_DB = 90.0
"""What lies further below the peak of the spectrum does not count as content."""

_HOLE = 2_000.0
"""Least width in Hz of the emptiness after which nothing counts as content any more."""

_LOWEST_CUT = 1_000.0
"""Below this frequency in Hz a steep fall is the end of a bass note rather than of a band."""

_CUT_DB = 25.0
"""A cut falls by this much, within a tenth of its frequency. Natural spectra, also those of single
notes once lines are left out, fall by less."""

_DEPTH_DB = 55.0
"""A fifth above a cut everything is this far below the peak."""

_EDGE_DB = 6.0
"""The edge of a cut is where the level leaves that of the band below it by this much."""

_FALL_DB = 12.0
"""What falls by this much within the last tenth of the band is missing there."""


def rolloff(wave: Tensor, rate: int, fraction: float = 0.99) -> Tensor:
    """Spectral roll-off of whole clips in Hz, (B,): the paper's cutoff (arXiv 2309.07314).

    The lowest bin of the magnitude STFT (2048 / 512, Hann, centred), summed over time, up to which
    `fraction` of the sum over frequency lies. Silence gives 0.

    Args:
        wave: waveforms (B, 1, T).
        rate: their sampling rate in Hz.
        fraction: 0 to 1.
    """
    mono = rearrange(wave.float(), "b 1 t -> b t")
    window = torch.hann_window(2048, device=wave.device)
    spectrum = torch.stft(mono, 2048, 512, window=window, pad_mode="constant", return_complex=True)
    energy = spectrum.abs().double().sum(-1).cumsum(-1)
    return (energy < fraction * energy[:, -1:]).sum(-1) * (rate / 2048)


def cumulative_magnitude(magnitude: Tensor, fraction: float = 0.985) -> Tensor:
    """Cutoff bins (...) of the AudioSR release (utils.py) for magnitudes (..., frames, bins).

    The highest bin at which the magnitude, summed over time and over the bins up to it, is still
    below `fraction` of the total; 0 where no bin is. On band-limited clips it lies under the edge.
    """
    energy = magnitude.double().sum(-2).cumsum(-1)
    return ((energy < fraction * energy[..., -1:]).sum(-1) - 1).clamp_min(0)


def edge_over_silence(level: Spectrum, bin_hz: float) -> float:
    """Frequency in Hz up to which a recording holds content if nothing covers what is above it.

    The lower of the highest frequency that is present and of the edge of a cut, as low-pass
    filters, codecs and resamplers leave it over digital silence. Filters that fall by less than
    about 80 dB per octave leave no edge, nor does anything under noise. Silence gives 0, content up
    to Nyquist the last bin.

    Args:
        level: long-term level per bin in dB re a full-scale sine (bins,), up to Nyquist, through
            a window of the noise bandwidth `NOISE_BANDWIDTH`.
        bin_hz: width of a bin in Hz, about 23.4.
    """
    level, quiet = _smoothed(level, bin_hz)
    if level.max() < quiet:
        return 0.0
    top = _highest_present(level, bin_hz, quiet)
    return float(min(top, _cut(level, bin_hz, quiet)) * bin_hz)


def highest_present(level: Spectrum, bin_hz: float) -> float:
    """The highest frequency in Hz that is present at all, cover or content; as above."""
    level, quiet = _smoothed(level, bin_hz)
    return _highest_present(level, bin_hz, quiet) * bin_hz if level.max() >= quiet else 0.0


def falls_at(level: Spectrum, bin_hz: float, start_hz: float) -> float:
    """Where in Hz, from `start_hz` on, a spectrum falls by `_FALL_DB` for good; else its end.

    What filters take of the band below the Nyquist frequency of a recording. `level` as above; the
    fall is from the mean over the twentieth below `start_hz`.
    """
    band, _ = _smoothed(level, bin_hz)
    start = int(start_hz / bin_hz)
    held = band[start:] >= band[int(0.95 * start) : start].mean() - _FALL_DB
    return float((start + np.flatnonzero(held)[-1]) * bin_hz) if held.any() else start_hz


def _smoothed(level: Spectrum, hz: float) -> tuple[Spectrum, float]:
    """`level` with its power averaged, and the level below which nothing counts."""
    reach = max(1, round(_SMOOTHING / hz))
    power = scipy.ndimage.uniform_filter1d(10 ** (level / 10), 2 * reach + 1, mode="nearest")
    # Per bin 5 dB above the white noise of 16-bit samples with triangular dither.
    quiet = 10 * np.log10(2.0**-32 * 2 * NOISE_BANDWIDTH / (len(level) - 1)) + 5
    return 10 * np.log10(np.maximum(power, 1e-20)), float(quiet)


def _highest_present(level: Spectrum, hz: float, quiet: float) -> int:
    """The last bin above the threshold, going up from the peak to the first hole.

    Above a hole of 2 kHz and half an octave lie images of bad resampling and whistles.
    """
    peak = int(level.argmax())
    present = np.flatnonzero(level >= max(quiet, level[peak] - _RANGE_DB))
    present = present[present >= peak]
    holes = np.diff(present) * hz > np.maximum(_HOLE, present[:-1] * hz / 2)
    return int(present[holes.argmax()] if holes.any() else present[-1])


def _cut(level: Spectrum, hz: float, quiet: float) -> int:
    """The last bin before the lowest cut, or the last bin of all."""
    last = len(level) - 1
    # An opening takes the lines away and leaves the edges of bands where they are.
    band = scipy.ndimage.grey_opening(level, max(1, int(_LINE / hz)), mode="nearest")
    band = np.maximum(band, quiet - 10)
    start = np.arange(int(_LOWEST_CUT / hz), last - 3)
    gap = np.maximum(150, np.minimum(start * hz / 10, (last - start) * hz / 2)) / hz
    after = start + np.ceil(gap).astype(int)
    start, after = start[after < last], after[after < last]
    width = np.minimum(start, (np.maximum(400, start * hz / 5) / hz).astype(int))
    total = np.concatenate([[0], band.cumsum()])
    before = (total[start] - total[start - width]) / width
    highest_from = np.maximum.accumulate(band[::-1])[::-1]
    deep = np.minimum(start + (np.maximum(600, start * hz / 5) / hz).astype(int), last - 1)
    falls = highest_from[after] <= before - _CUT_DB
    falls &= highest_from[np.maximum(after, deep)] <= band.max() - _DEPTH_DB
    if not falls.any():
        return last
    first = int(falls.argmax())
    return _edge(band[: after[first] + 1], int(start[first]), before[first], hz)


def _edge(band: Spectrum, start: int, plateau: float, hz: float) -> int:
    """The last bin from `start` on that holds the level of the band right below it.

    That level falls towards the edge by itself, so it is taken anew below each guess of the edge.
    """
    edge = start
    for _ in range(4):
        held = np.flatnonzero(band[start:] >= plateau - _EDGE_DB)
        edge = start + int(held[-1]) if len(held) else start
        width = max(300, edge * hz / 25) / hz
        low = max(0, int(edge - width))
        plateau = band[low : max(low + 1, int(edge - 0.3 * width))].mean()
    return edge
