"""Where in a recording does its edge change, and which edge holds in between?"""

import itertools
import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import scipy.signal
from numpy.typing import NDArray

from audiosr.audio.edge import GUESS, Edge, find_edges
from audiosr.restore.edges import LEAST_EDGE_HZ, channel_edges, tell_edges
from audiosr.restore.recording import SampleSource, excerpt
from audiosr.restore.samples import Samples

_MOVED = 1.5
"""An edge that differs by less than this factor from the one before has not moved: windows of 2 s
are less exact than a whole recording, and a crossover that wanders is heard."""

_WINDOW_SECONDS, _STEP_SECONDS = 2.0, 1.0
_FRAME_SECONDS, _HOP_SECONDS = 0.04, 0.01
_SEARCHED_SECONDS = 1.5
"""A change is looked for so far on both sides of the windows between which it was seen."""


@dataclass(frozen=True)
class Stretch:
    """A part of a recording in which the edge of each channel stays where it is."""

    start: float
    """Seconds."""
    end: float
    edges: Sequence[Edge]
    """Of every channel."""


def follow_channels(recording: SampleSource) -> list[Stretch]:
    """The stretches of a recording, common to all its channels; one where no edge moves."""
    rate, seconds = recording.rate, recording.samples / recording.rate
    times, octaves = _tracked(recording)
    runs = _runs(octaves)
    changes = [0.0]
    for before, after in itertools.pairwise(runs):
        low, high = sorted(
            float(np.median(octaves[run.start : run.stop])) for run in (before, after)
        )
        first = max(changes[-1], times[before.stop - 1] - _SEARCHED_SECONDS)
        last = min(seconds, times[after.start] + _SEARCHED_SECONDS)
        searched = recording.read(int(first * rate), int(last * rate))
        changes.append(first + _change(searched, rate, 2**low, 2**high))
    changes.append(seconds)
    spans = [span for span in itertools.pairwise(changes) if span[0] < span[1]]
    return [
        Stretch(
            start,
            end,
            channel_edges(excerpt(recording, round(start * rate), round(end * rate)), rate),
        )
        for start, end in spans
    ]


def tell_stretches(stretches: Sequence[Stretch], full_band_hz: float) -> str:
    """`tell_edges` for each stretch, with its time where there are several."""
    if len(stretches) == 1:
        return tell_edges(stretches[0].edges, full_band_hz)
    return "; ".join(
        f"from {each.start:.2f} s {tell_edges(each.edges, full_band_hz)}" for each in stretches
    )


def _tracked(recording: SampleSource) -> tuple[list[float], NDArray[np.float64]]:
    """Middles of windows in seconds, and the mean logarithm (base 2) of the channels' edges there.

    Where a channel is not sure or silent, its edge of the window before goes on.
    """
    rate = recording.rate
    width, step = round(_WINDOW_SECONDS * rate), round(_STEP_SECONDS * rate)
    times, edges = [], []
    for start in range(0, max(1, recording.samples - width + step), step):
        stop = min(start + width, recording.samples)
        times.append((start + stop) / 2 / rate)
        edges.append(find_edges(recording.read(start, stop), rate))
    tracks = []
    for channel in zip(*edges, strict=True):
        octaves = np.array([math.log2(max(edge.hz, 1.0)) for edge in channel])
        sure = [edge.hz > LEAST_EDGE_HZ and edge.confidence >= GUESS for edge in channel]
        if any(sure):
            known = np.flatnonzero(sure)
            index = np.arange(len(octaves))
            latest = known[np.maximum(np.searchsorted(known, index, side="right") - 1, 0)]
            tracks.append(octaves[latest])
    return times, np.mean(tracks, axis=0) if tracks else np.zeros(len(times))


def _runs(octaves: NDArray[np.float64]) -> list[range]:
    """Windows in a row whose edges are one edge.

    A single window, which may hold both sides of a change, begins none.
    """
    runs = [range(0, 1)]
    for index in range(1, len(octaves)):
        run = runs[-1]
        here = float(np.median(octaves[run.start : run.stop]))
        if all(abs(edge - here) > math.log2(_MOVED) for edge in octaves[index : index + 2]) and (
            index + 1 < len(octaves)
        ):
            runs.append(range(index, index + 1))
        else:
            runs[-1] = range(run.start, index + 1)
    return runs


def _change(wave: Samples, rate: int, low_hz: float, high_hz: float) -> float:
    """When, in seconds, the band between two edges comes or goes in `wave (C, T)`.

    The split of the band's level in dB into two parts with the least squared deviation from their
    means.
    """
    hop = round(_HOP_SECONDS * rate)
    width = round(_FRAME_SECONDS * rate)
    hz, _, spectra = scipy.signal.stft(wave, rate, nperseg=width, noverlap=width - hop)
    band = (hz > low_hz * 1.1) & (hz < max(high_hz * 0.95, low_hz * 1.2))
    power = np.square(np.abs(spectra[:, band])).sum((0, 1))
    level = 10 * np.log10(power + 1e-9 * power.max() + 1e-30)
    total = (level - level.mean()).cumsum()[:-1]
    count = np.arange(1, len(level))
    between = np.square(total) / (count * (len(level) - count))
    return (int(between.argmax()) + 1) * hop / rate
