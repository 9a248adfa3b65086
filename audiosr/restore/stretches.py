"""How are the parts of a recording joined that were restored up to different edges?"""

import math
from collections.abc import Sequence

import numpy as np

from audiosr.restore.samples import Samples
from audiosr.restore.stream import Emit

FADE_SECONDS, AROUND_SECONDS = 0.1, 1.0
"""Length of the cross-fade where an edge changes, and what is restored beyond it."""


class Fader:
    """Takes parts that overlap, one after the other, and gives the whole to `emit`.

    The weights of two parts are raised cosines that sum to 1.

    Args:
        changes: when, in seconds, one part ends and the next begins.
        samples: length of the whole.
        rate: of the samples, in Hz.
        emit: takes the whole, in its order.
    """

    def __init__(self, changes: Sequence[float], samples: int, rate: int, emit: Emit) -> None:
        self._bounds = [0, *(round(change * rate) for change in changes), samples]
        self._half, self._around = round(FADE_SECONDS / 2 * rate), round(AROUND_SECONDS * rate)
        self._emit = emit
        self._done = 0
        self._pending = np.zeros((0, 0), np.float32)

    def span(self, index: int) -> tuple[int, int]:
        """The samples that a part must hold."""
        first = 0 if index == 0 else self._bounds[index] - self._around
        last = index + 2 == len(self._bounds)
        stop = self._bounds[-1] if last else self._bounds[index + 1] + self._around
        return max(0, first), min(stop, self._bounds[-1])

    def taker(self, index: int) -> Emit:
        """Takes the samples of a part, in their order."""
        place = self.span(index)[0]

        def take(wave: Samples) -> None:
            nonlocal place
            self._take(index, place, wave)
            place += wave.shape[1]

        return take

    def _take(self, index: int, place: int, wave: Samples) -> None:
        """Add what of a part belongs to the whole, and give away what nothing more comes to."""
        last = index + 2 == len(self._bounds)
        if index == 0 and last:
            self._emit(wave)
            return
        new = max(0, self._done - place)
        start, stop = place + new - self._done, place + wave.shape[1] - self._done
        if start >= stop:
            return
        missing = max(0, stop - self._pending.shape[1])
        self._pending = np.pad(self._pending.reshape(len(wave), -1), ((0, 0), (0, missing)))
        times = np.arange(place + new, place + wave.shape[1])
        weight = self._begun(index, times) - self._begun(index + 1, times)
        self._pending[:, start:stop] += weight * wave[:, new:]
        end = self._bounds[-1] if last else self._bounds[index + 1] - self._half
        ready = min(end, place + wave.shape[1]) - self._done
        if ready > 0:
            self._emit(self._pending[:, :ready])
            self._pending = self._pending[:, ready:].copy()
            self._done += ready

    def _begun(self, index: int, times: Samples) -> Samples:
        """How far part `index` has begun at some samples, 0 to 1."""
        if index == 0:
            return np.ones(len(times), np.float32)
        if index + 1 == len(self._bounds):
            return np.zeros(len(times), np.float32)
        place = np.clip((times - self._bounds[index]) / (2 * self._half) + 0.5, 0, 1)
        return (0.5 - 0.5 * np.cos(math.pi * place)).astype(np.float32)
