"""Up to which frequency does a recording hold content?"""

import numpy as np
import scipy.ndimage
import torch
from einops import rearrange
from numpy.typing import NDArray
from torch import Tensor

Waveform = NDArray[np.floating]
Spectrum = NDArray[np.float64]

_RESOLUTION = 23.4375
"""Hz per bin of the long-term spectrum, about: 2048 points at 48 kHz."""

_BLACKMAN_HARRIS = (0.35875, -0.48829, 0.14128, -0.01168)
"""Four terms, side lobes at -92 dB (Harris 1978)."""

_NOISE_BANDWIDTH = 2.0044
"""Equivalent noise bandwidth of that window in bins (Harris 1978)."""

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


def long_term_spectrum(wave: Waveform, rate: int) -> tuple[Spectrum, float]:
    """Level per bin in dB re a full-scale sine (n_fft // 2 + 1,), and the width of a bin in Hz.

    Power of Blackman-Harris frames with half overlap, averaged over the clip (C, T) without its
    mean; in every bin the loudest channel counts.
    """
    n_fft = 2 ** round(np.log2(rate / _RESOLUTION))
    width = min(n_fft, wave.shape[1])
    phase = 2 * np.pi * np.arange(width) / width
    window = sum((a * np.cos(k * phase) for k, a in enumerate(_BLACKMAN_HARRIS)), np.zeros(width))
    power = np.zeros(n_fft // 2 + 1)
    for channel in wave:
        frames = np.lib.stride_tricks.sliding_window_view(channel, width)[:: n_fft // 2]
        total = np.zeros_like(power)
        for start in range(0, len(frames), 256):
            block = (frames[start : start + 256] - channel.mean()) * window
            total += (np.abs(np.fft.rfft(block, n_fft)) ** 2).sum(0)
        power = np.maximum(power, total / len(frames) / (window.sum() / 2) ** 2)
    return 10 * np.log10(power + 1e-20), rate / n_fft


def effective_bandwidth(wave: Waveform, rate: int) -> float:
    """Frequency in Hz up to which a recording holds content, whatever its sampling rate says.

    From the long-term spectrum, smoothed: the lower of the highest frequency that is present and of
    the edge of a cut, as low-pass filters, codecs and resamplers leave it. Filters that fall by
    less than about 80 dB per octave leave no edge, nor do resamplers without a filter (linear
    interpolation), whose images look like content. Silence gives 0, content up to Nyquist
    rate / 2.

    Args:
        wave: samples (C, T), full scale 1.0.
        rate: their sampling rate in Hz.
    """
    if wave.shape[1] == 0:
        return 0.0
    spectrum, hz = long_term_spectrum(wave, rate)
    reach = max(1, round(_SMOOTHING / hz))
    power = scipy.ndimage.uniform_filter1d(10 ** (spectrum / 10), 2 * reach + 1, mode="nearest")
    level = 10 * np.log10(np.maximum(power, 1e-20))
    # Per bin 5 dB above the white noise of 16-bit samples with triangular dither.
    quiet = 10 * np.log10(2.0**-32 * 2 * _NOISE_BANDWIDTH / (len(level) - 1)) + 5
    if level.max() < quiet:
        return 0.0
    top = _highest_present(level, hz, quiet)
    return float(min(top, _cut(level, hz, quiet)) * hz)


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
