"""How is a recording of any length read at any place, without holding all of it in memory?"""

import math
import tempfile
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import IO, Protocol

import numpy as np

from audiosr.restore.samples import Samples

HELD_BYTES = 32 << 20
"""A decoded file that is larger than this is kept on the disk."""

EXCERPT_VALUES = 1 << 25
"""Samples, over all channels, from which the edges and the noise of a recording are read."""

_PIECE_SECONDS, _FADE_SECONDS = 10.0, 0.02
_MARGIN = 1024
"""Samples at either rate beyond which a resampler is not heard."""


class SampleSource(Protocol):
    """Samples that can be read at any place."""

    @property
    def rate(self) -> int:
        """Sampling rate in Hz."""
        ...

    @property
    def channels(self) -> int:
        """How many there are."""
        ...

    @property
    def samples(self) -> int:
        """Length of each channel."""
        ...

    def read(self, start: int, stop: int) -> Samples:
        """Samples `(C, stop - start)`, float32, for 0 <= start <= stop <= `samples`."""
        ...


class ArrayRecording:
    """A recording `(C, T)` that is in memory."""

    def __init__(self, wave: Samples, rate: int) -> None:
        self._wave, self.rate = wave, rate
        self.channels, self.samples = wave.shape

    def read(self, start: int, stop: int) -> Samples:
        """Samples `(C, stop - start)`."""
        return self._wave[:, start:stop]


class SpooledRecording:
    """A recording that is decoded once, into memory or, if it is long, into a file without a name.

    The file is gone with the process, however that ends. Use it as a context.

    Args:
        rate: sampling rate in Hz.
        channels: how many.
        folder: where the file goes.
    """

    def __init__(self, rate: int, channels: int, folder: Path) -> None:
        self.rate, self.channels, self.samples = rate, channels, 0
        self._folder = folder
        self._held: list[Samples] = []
        self._file: IO[bytes] | None = None
        self._open = ExitStack()

    def __enter__(self) -> "SpooledRecording":
        return self

    def __exit__(self, *_: object) -> None:
        self._held = []
        self._open.close()

    def append(self, block: Samples) -> None:
        """Add samples `(C, n)` at the end."""
        self.samples += block.shape[1]
        self._held.append(block)
        if self._file is not None or self.samples * self.channels * 4 > HELD_BYTES:
            if self._file is None:
                self._folder.mkdir(parents=True, exist_ok=True)
                self._file = self._open.enter_context(_unnamed_file(self._folder))
            for held in self._held:
                self._file.write(np.ascontiguousarray(held.T, np.float32).tobytes())
            self._held = []

    def read(self, start: int, stop: int) -> Samples:
        """Samples `(C, stop - start)`."""
        if self._file is None:
            if len(self._held) > 1:
                self._held = [np.concatenate(self._held, axis=1)]
            whole = self._held[0] if self._held else np.zeros((self.channels, 0), np.float32)
            return whole[:, start:stop]
        self._file.seek(4 * self.channels * start)
        data = self._file.read(4 * self.channels * (stop - start))
        return np.frombuffer(data, np.float32).reshape(-1, self.channels).T


class MidSide:
    """Half the sum and half the difference of two channels, in the place of left and right."""

    channels = 2

    def __init__(self, recording: SampleSource) -> None:
        self._recording = recording
        self.rate, self.samples = recording.rate, recording.samples

    def read(self, start: int, stop: int) -> Samples:
        """Middle and side `(2, stop - start)`."""
        left, right = self._recording.read(start, stop)
        return np.stack([0.5 * (left + right), 0.5 * (left - right)])

    @staticmethod
    def undo(wave: Samples) -> Samples:
        """Left and right of middle and side `(2, n)`."""
        middle, side = wave
        return np.stack([middle + side, middle - side])


class FirstChannels:
    """Some of the channels of a recording."""

    def __init__(self, recording: SampleSource, chosen: slice) -> None:
        self._recording, self._chosen = recording, chosen
        self.rate, self.samples = recording.rate, recording.samples
        self.channels = len(range(recording.channels)[chosen])

    def read(self, start: int, stop: int) -> Samples:
        """Samples `(C, stop - start)`."""
        return self._recording.read(start, stop)[self._chosen]


class ResampledSource:
    """A recording at another rate, the same wherever it is read.

    Every part is resampled with its surroundings, from a sample on that both rates share.

    Args:
        recording: at its own rate.
        rate: wanted, in Hz.
        constant: mean of each channel `(C, 1)`, which passes unchanged up to both ends.
        resample: `(wave, rate_in, rate_out) -> wave`.
    """

    def __init__(
        self,
        recording: SampleSource,
        rate: int,
        constant: Samples,
        resample: Callable[[Samples, int, int], Samples],
    ) -> None:
        self._recording, self._constant, self._resample = recording, constant, resample
        self.rate, self.channels = rate, recording.channels
        self.samples = round(recording.samples * rate / recording.rate)

    def read(self, start: int, stop: int) -> Samples:
        """Samples `(C, stop - start)` at the new rate."""
        rate_in, source = self._recording.rate, self._recording
        if rate_in == self.rate:
            return source.read(start, stop).copy()
        step_in = rate_in // math.gcd(rate_in, self.rate)
        step_out = step_in * self.rate // rate_in
        margin = _MARGIN * max(1, math.ceil(rate_in / self.rate))
        units = max(0, start // step_out - math.ceil(margin / step_in))
        first = units * step_in
        last = min(source.samples, math.ceil(stop * rate_in / self.rate) + margin)
        wave = source.read(first, last) - self._constant
        out = self._resample(wave, rate_in, self.rate)
        offset = start - units * step_out
        return out[:, offset : offset + stop - start] + self._constant


def _unnamed_file(folder: Path) -> IO[bytes]:
    return tempfile.TemporaryFile(dir=folder)


def blocks_of(recording: SampleSource, size: int = 1 << 18) -> Iterator[Samples]:
    """The samples `(C, n)` of a recording from its beginning to its end."""
    for start in range(0, recording.samples, size):
        yield recording.read(start, min(recording.samples, start + size))


def excerpt(recording: SampleSource, start: int = 0, stop: int | None = None) -> Samples:
    """Samples `(C, n)` that stand for the part from `start` to `stop`: all of it, if it is short.

    Of a long one pieces of 10 s, evenly spread and faded at both ends.
    """
    stop = recording.samples if stop is None else stop
    most = EXCERPT_VALUES // recording.channels
    if stop - start <= most:
        return recording.read(start, stop)
    length = round(_PIECE_SECONDS * recording.rate)
    count = max(1, most // length)
    fade = np.hanning(2 * round(_FADE_SECONDS * recording.rate) + 2).astype(np.float32)[1:-1]
    out = np.empty((recording.channels, count * length), np.float32)
    for index, place in enumerate(np.linspace(start, stop - length, count).astype(int).tolist()):
        piece = out[:, index * length : (index + 1) * length]
        piece[:] = recording.read(place, place + length)
        piece[:, : len(fade) // 2] *= fade[: len(fade) // 2]
        piece[:, -(len(fade) // 2) :] *= fade[len(fade) // 2 :]
    return out
