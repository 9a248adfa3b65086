"""What has to be known of a whole recording before its first window is restored?"""

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from audiosr.restore.recording import SampleSource, blocks_of
from audiosr.restore.samples import OPPOSED, SILENT, Samples


@dataclass(frozen=True)
class Survey:
    """Figures over the whole length of every channel."""

    mean: Samples
    """`(C, 1)`."""
    peak: Samples
    """Greatest distance from the mean, `(C, 1)`."""
    sounding: NDArray[np.bool_]
    """Which channels hold more than a constant, `(C,)`."""
    products: NDArray[np.float64]
    """Sums of products of any two channels without their means, `(C, C)`."""
    power: NDArray[np.float64]
    """Mean square of each channel over each second, `(seconds, C)`."""

    def polarity(self, channels: list[int]) -> Samples:
        """`polarity_of` some channels, `(n, 1)`: -1 where one opposes the first of them."""
        own = np.diag(self.products)[channels]
        common = self.products[channels[0], channels]
        correlation = common / np.maximum(np.sqrt(own * own[0]), 1e-30)
        return np.where(correlation < OPPOSED, -1, 1).astype(np.float32)[:, None]

    def quiet_second(self, channels: list[int], start: float, stop: float) -> float:
        """A second between two times at which some channels are quiet, but not silent.

        A tenth of the seconds are quieter.
        """
        power = (self.power[:, channels] / np.square(self.peak[channels, 0], dtype=np.float64)).sum(
            1
        )
        power = power[int(start) : max(int(start) + 1, math.ceil(stop))]
        heard = np.flatnonzero(power > SILENT**2 * power.max(initial=0))
        if not len(heard):
            return start
        order = heard[np.argsort(power[heard])]
        return int(start) + 0.5 + float(order[len(order) // 10])


def survey(recording: SampleSource) -> Survey:
    """Read a recording from its beginning to its end, second by second."""
    channels, samples = recording.channels, max(1, recording.samples)
    total = np.zeros(channels)
    products = np.zeros((channels, channels))
    low, high = np.full(channels, np.inf), np.full(channels, -np.inf)
    power = []
    for block in blocks_of(recording, recording.rate):
        wide = block.astype(np.float64)
        total += wide.sum(1)
        square = wide @ wide.T
        products += square
        low, high = np.minimum(low, block.min(1)), np.maximum(high, block.max(1))
        power.append(np.diag(square) / block.shape[1])
    mean = (total / samples).astype(np.float32)
    peak = np.maximum(high - mean, mean - low)
    loudest = np.maximum(np.abs(low), np.abs(high))
    return Survey(
        mean=mean[:, None],
        peak=peak.astype(np.float32)[:, None],
        sounding=peak > np.maximum(SILENT * loudest, 1e-30),
        products=products - np.outer(total, total) / samples,
        power=np.array(power).reshape(-1, channels) - np.square(total / samples),
    )
