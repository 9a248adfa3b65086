"""Up to which frequency does a recording hold content, and how sure is that?"""

import math
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray

from audiosr.audio.cutoff import falls_at, highest_present
from audiosr.audio.edge_features import edge_features
from audiosr.audio.edge_net import edge_shares, load_edge_net

Wave = NDArray[np.floating]

NEAR = 0.1
"""An edge is found where the answer is within this part of it: the answer is the middle of the
neighbourhood that holds the most probability."""

_PEAK = 0.5
"""Peak at which the noise of 16 bits counts as silence."""

FULL = 0.95
"""From this part of the Nyquist frequency on, or of 24 kHz if that is lower, nothing is missing."""

_LAST_TENTH = 0.9

SURE = 0.8
"""Least probability of that for an answer that says so."""

GUESS = 0.5
"""An answer that is less sure than this is a guess."""


@dataclass(frozen=True)
class Edge:
    """Where the band of a channel ends."""

    hz: float
    """0 for silence, the Nyquist frequency where content goes on up to it."""
    confidence: float
    """Probability that the true edge lies within a tenth of `hz`."""


def find_edges(wave: Wave, rate: int) -> list[Edge]:
    """The edge of every channel of `wave (C, T)`, full scale 1.0, each for itself."""
    return [find_edge(channel, rate) for channel in wave]


def find_edge(wave: Wave, rate: int) -> Edge:
    """The edge of one channel `(T,)`, full scale 1.0.

    A small network reads it from statistics of the spectrum over time (`edge_features`), so that
    neither clicks nor a floor of noise above the edge count as content. What lies 90 dB below the
    peak of the spectrum is never content; above 24 kHz that rule alone decides.
    """
    if len(wave) == 0:
        return Edge(0.0, 1.0)
    features = edge_features(wave, rate)
    if highest_present(features.level, features.bin_hz) == 0:
        return Edge(0.0, 1.0)
    gain_db = 20 * math.log10(_PEAK / float(np.abs(wave - wave.mean()).max()))
    top = min(highest_present(features.level + gain_db, features.bin_hz), rate / 2)
    if rate < 48_000:  # above its Nyquist frequency something is missing, so that the seam counts
        top = min(top, falls_at(features.level, features.bin_hz, _LAST_TENTH * rate / 2))
    shares = edge_shares(load_edge_net(), torch.from_numpy(features.values)[None])[0].numpy()
    full = int(FULL * min(rate / 2, 24_000) / features.band_hz)
    if (complete := float(shares[full : features.bands].sum())) >= SURE:
        return Edge(top, complete)
    edge = _likeliest(shares[:full], features.band_hz)
    return edge if edge.hz < top else Edge(top, edge.confidence)


def follow_edge(
    wave: Wave, rate: int, *, window_seconds: float = 2.0, step_seconds: float = 1.0
) -> list[tuple[float, Edge]]:
    """The edge along time of one channel `(T,)`, where it moves: a tape that was patched together.

    Returns:
        The middle of each window in seconds and its edge; at least one.
    """
    width, step = round(window_seconds * rate), max(1, round(step_seconds * rate))
    starts = range(0, max(1, len(wave) - width + step), step)
    pieces = [(start, wave[start : start + width]) for start in starts]
    return [((start + len(piece) / 2) / rate, find_edge(piece, rate)) for start, piece in pieces]


def widest_edge(wave: Wave, rate: int) -> Edge:
    """The edge of the channel of `wave (C, T)` that reaches highest."""
    return max(find_edges(wave, rate), key=lambda edge: edge.hz)


def effective_bandwidth(wave: Wave, rate: int) -> float:
    """Frequency in Hz up to which `wave (C, T)` holds content, of the widest channel."""
    return widest_edge(wave, rate).hz


def _likeliest(shares: NDArray[np.floating], band_hz: float) -> Edge:
    """The edge within whose neighbourhood most of the probability `shares (bands,)` lies."""
    middle = (np.arange(len(shares), dtype=np.float64) + 0.5) * band_hz
    first, last = _within(middle, NEAR, band_hz, len(shares))
    total = np.concatenate([[0.0], shares.cumsum(dtype=np.float64)])
    best = int((total[last] - total[first]).argmax())
    window = slice(first[best], last[best])
    weight = np.maximum(shares[window].astype(np.float64), 1e-12)
    hz = float((weight * middle[window]).sum() / weight.sum())
    first, last = _within(np.array([hz]), NEAR, band_hz, len(shares))
    return Edge(hz, float(total[last[0]] - total[first[0]]))


def _within(
    hz: NDArray[np.float64], part: float, band_hz: float, bands: int
) -> tuple[NDArray[np.intp], NDArray[np.intp]]:
    """The first band and the one after the last that lie within `part` of each frequency."""
    first = np.floor(hz * (1 - part) / band_hz).astype(np.intp)
    last = np.ceil(hz * (1 + part) / band_hz).astype(np.intp)
    return first, np.minimum(np.maximum(last, first + 1), bands)
