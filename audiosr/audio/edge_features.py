"""What in the spectrum of a recording tells where its band ends?"""

import math
from dataclasses import dataclass

import numpy as np
import scipy.ndimage
from numpy.typing import NDArray

from audiosr.audio.cutoff import NOISE_BANDWIDTH

Values = NDArray[np.float32]

BANDS = 256
"""Bands that are looked at, from 0 Hz on; those above the Nyquist frequency are empty."""

EDGE_FEATURES = 18
"""Numbers per band."""

BELOW_NYQUIST = 14
"""Which of them is 1 below the Nyquist frequency and 0 above it."""

LEVEL_FEATURES = 8
"""As many of them, the first ones, are levels in 20 dB."""

MEASURED = 13
"""As many of them, the first ones, are measured per band; the others say where and of what."""

_RESOLUTION_HZ = 24_000 / 1024
_BINS = 4
"""Bins per band, which is 93.75 Hz wide at 48 kHz and within 1.5 % of that elsewhere."""

_PEAK = 0.5
"""To which recordings are brought before they are measured."""

_BLACKMAN_HARRIS = (0.35875, -0.48829, 0.14128, -0.01168)
"""Four terms, side lobes at -92 dB (Harris 1978)."""

_QUICK = frozenset(2**a * 3**b * 5**c for a in range(1, 14) for b in range(9) for c in range(6))
"""Even lengths without large prime factors."""

_FRAMES = 2_000
"""Longer recordings are looked at in as many frames, evenly spread."""

LEVEL_RANGE_DB = 130.0
"""What lies further below the loudest band counts as nothing."""

_PERCENTILES = (5, 15, 30, 50, 70, 85, 95)
"""Of the frames' levels in a band: the low ones are its floor, the high ones its content; clicks
and jingles lie above all of them."""

_MEDIAN = _PERCENTILES.index(50)
_STEP_SAMPLES = 200_000
_MIRROR_FRAMES = 400
_MIRROR_BINS = (20, 64)
"""A mirror image is looked for over so many bins on both sides: a near and a wide look."""


@dataclass(frozen=True)
class EdgeFeatures:
    """What the network sees of one channel."""

    values: Values
    """(EDGE_FEATURES, BANDS)."""
    band_hz: float
    """Width of a band in Hz."""
    bands: int
    """How many of the bands lie below the Nyquist frequency."""
    level: NDArray[np.float64]
    """Mean level per bin of `band_hz / 4` Hz up to Nyquist, in dB re a full-scale sine."""

    @property
    def bin_hz(self) -> float:
        """Width of a bin of `level` in Hz."""
        return self.band_hz / _BINS


def edge_features(wave: NDArray[np.floating], rate: int) -> EdgeFeatures:
    """Statistics over time of one channel `(T,)`, T above 0, per band.

    In this order: levels at seven percentiles of the frames and of their mean power, all re the
    loudest band; how the level goes along with that of the whole frame and with that of the bands
    below; how far the spectrum above a band mirrors the one below it, near and wide, as the images
    of resampling without a filter do; the level over the noise of rounding, if samples lie on a
    grid; then frequency, validity, and for all bands alike the number of distinct sample values,
    the share of samples at the peak, and the number of frames. Level and constant of a recording
    change nothing.
    """
    wave = np.asarray(wave, np.float32)
    wave = wave - np.float32(wave.mean(dtype=np.float64))
    peak = float(np.abs(wave).max())
    gain = _PEAK / peak if peak > 0 else 1.0  # what is added to each power below is of one level
    power, bin_hz = _power((wave * gain).astype(np.float32), rate)
    level = 10 * np.log10(power.mean(0, dtype=np.float64) / gain**2 + 1e-20)
    total = power.sum(1)
    heard = total > 1e-11 * total.max()
    if heard.sum() > 1:  # what is digital silence says nothing
        power, total = power[heard], total[heard]
    bands = min(BANDS, (power.shape[1] - 1) // _BINS)
    banded = power[:, : bands * _BINS].reshape(len(power), bands, _BINS).mean(2)
    frames = _decibels(banded)
    ranks = np.percentile(frames, _PERCENTILES, axis=0)
    loudest = float(ranks[-1].max())
    frames = np.maximum(frames, loudest - LEVEL_RANGE_DB)
    step, distinct = _grid(wave)
    rounding = 10 * np.log10(
        (gain * step) ** 2 / 12 * 2 * NOISE_BANDWIDTH / (power.shape[1] - 1) + 1e-20
    )
    hz = (np.arange(BANDS) + 0.5) * _BINS * bin_hz

    values = np.zeros((EDGE_FEATURES, BANDS), np.float32)
    seen = values[:, :bands]
    seen[:7] = np.maximum(ranks - loudest, -LEVEL_RANGE_DB) / 20
    seen[7] = np.maximum(_decibels(banded.mean(0)) - loudest, -LEVEL_RANGE_DB) / 20
    seen[8] = _correlation(frames, np.repeat(_decibels(total)[:, None], bands, axis=1))
    seen[9] = _correlation(frames, _below(frames))
    mirrored = _mirrored(power)[:, : bands * _BINS]
    seen[10:12] = mirrored.reshape(2, bands, _BINS).max(2)
    seen[12] = np.clip(ranks[_MEDIAN] - rounding, -20, 60) / 20
    values[13] = np.log2(hz / 2_000) / 3
    seen[BELOW_NYQUIST] = 1
    values[15] = np.log2(distinct + 1) / 10
    values[16] = min(100 * float((np.abs(wave) >= 0.999 * peak).mean()), 3)
    values[17] = np.log10(len(power)) / 2
    return EdgeFeatures(values, _BINS * bin_hz, bands, level)


def _power(wave: Values, rate: int) -> tuple[Values, float]:
    """Power (frames, bins) re a full-scale sine of Blackman-Harris frames, and the bin's width."""
    n_fft = _fast_length(rate / _RESOLUTION_HZ)
    wave = np.pad(wave, (0, max(0, n_fft - len(wave))))
    phase = 2 * np.pi * np.arange(n_fft) / n_fft
    window = sum((a * np.cos(k * phase) for k, a in enumerate(_BLACKMAN_HARRIS)), np.zeros(n_fft))
    window = (window / (window.sum() / 2)).astype(np.float32)
    hop = max(n_fft // 2, (len(wave) - n_fft) // _FRAMES + 1)
    frames = np.lib.stride_tricks.sliding_window_view(wave, n_fft)[::hop]
    power = np.empty((len(frames), n_fft // 2 + 1), np.float32)
    for start in range(0, len(frames), 256):
        spectrum = np.fft.rfft(frames[start : start + 256] * window, axis=1)
        power[start : start + 256] = np.square(np.abs(spectrum))
    return power, rate / n_fft


def _fast_length(samples: float) -> int:
    """The even length nearest to `samples` for which the FFT is quick, if one is within 1.5 %."""
    near = range(2 * math.ceil(samples * 0.985 / 2), int(samples * 1.015) + 2, 2)
    quick = [n for n in near if n in _QUICK]
    return min(quick or [2 * round(samples / 2)], key=lambda n: abs(n - samples))


def _decibels(power: NDArray[np.floating]) -> NDArray[np.floating]:
    return 10 * np.log10(power + 1e-20)


def _correlation(a: NDArray[np.floating], b: NDArray[np.floating]) -> NDArray[np.floating]:
    """Of the columns of two arrays (frames, bands), per band."""
    a, b = a - a.mean(0), b - b.mean(0)
    return (a * b).sum(0) / np.sqrt((a * a).sum(0) * (b * b).sum(0) + 1e-6)


def _below(frames: NDArray[np.floating]) -> NDArray[np.floating]:
    """Mean level (frames, bands) of the seven bands that lie 4 to 10 below each."""
    total = np.cumsum(np.pad(frames, ((0, 0), (1, 0))), axis=1)
    band = np.arange(frames.shape[1])
    low, high = np.maximum(band - 10, 0), np.maximum(band - 3, 1)
    return (total[:, high] - total[:, low]) / (high - low)


def _mirrored(power: Values) -> Values:
    """How far the spectrum is mirrored at each bin, (2, bins), from 0 to 1: near and wide.

    A correlation over loud frames and bins of what stands out locally: where a sample is held or
    joined by a line, every detail below the old Nyquist frequency comes back above it, in the same
    frame; in sounds it does not. A mirror may also stand between two bins.
    """
    if len(power) > _MIRROR_FRAMES:
        loud = np.argsort(power.sum(1))[-_MIRROR_FRAMES:]
        power = power[np.sort(loud)]
    level = 10 * np.log10(power + power.max() * 1e-13 + 1e-30)
    detail = level - scipy.ndimage.uniform_filter1d(level, 17, axis=1)
    detail = np.clip(detail - detail.mean(0), -12, 12)
    bins, reach = detail.shape[1], max(_MIRROR_BINS) + 1
    padded = np.pad(detail, ((0, 0), (reach, reach))).astype(np.float32)
    square = np.square(padded).sum(0)
    found = np.zeros((2, bins), np.float32)
    for between in (0, 1):
        common, below, above = np.zeros(bins), np.zeros(bins), np.zeros(bins)
        for distance in range(2, reach):
            low = slice(reach - distance, reach - distance + bins)
            high = slice(reach + distance + between, reach + distance + between + bins)
            common += np.einsum("tb,tb->b", padded[:, low], padded[:, high])
            below, above = below + square[low], above + square[high]
            if distance in _MIRROR_BINS:
                row = found[_MIRROR_BINS.index(distance)]
                np.maximum(row, common / np.sqrt(below * above + 1e-3), out=row)
    return found


def _grid(wave: Values) -> tuple[float, int]:
    """The step of which sample values are multiples, 0 if of none, and how many values there are.

    From a part in the middle of long recordings.
    """
    start = max(0, (len(wave) - _STEP_SAMPLES) // 2)
    values = np.unique(wave[start : start + _STEP_SAMPLES])
    if len(values) < 3:
        return 0.0, len(values)
    gaps = np.diff(values.astype(np.float64))
    step = float(gaps.min())
    small = gaps[gaps < 50 * step] / step
    whole = float((np.abs(small - np.round(small)) < 0.08).mean())
    exact = step > 3e-7 * float(np.abs(values).max())  # float32 itself is a grid
    return (step if exact and whole > 0.95 else 0.0), len(values)
