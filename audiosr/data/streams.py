"""Which clips make up batch n where the shards are streamed?

The worker processes of all ranks are parts that read shards of their own; batch n of a rank comes
from the part (rank, n modulo workers), so it is a function of seed, n, ranks and workers. A part is
where it was asked last; asked for another place it begins anew and passes over what lies before.
"""

import math
from collections.abc import Sequence
from dataclasses import KW_ONLY, dataclass

import numpy as np
from numpy.typing import NDArray
from torch.utils.data import get_worker_info

from audiosr.data.batches import DrawnCrop, TrainDraws
from audiosr.errors import DataError
from audiosr.shards.clip import ShardClip
from audiosr.shards.stream import EndlessClips, StreamReader

_TRIES = 100


@dataclass(eq=False)
class TrainStream(TrainDraws):
    """Batches of clips in the order of streams, one for each domain.

    A clip that cannot be used is replaced by the next one that can, which comes again in its own
    place, so that what follows stays where it is. With `min_bandwidth_hz` clips with less are left
    out of the stream.
    """

    reader: StreamReader
    _: KW_ONLY
    shuffle: int
    """Encoded clips that each worker holds at most, divided among the domains by weight."""

    def __post_init__(self) -> None:
        super().__post_init__()
        self._next: tuple[int, int] | None = None
        """Part and batch of it that its streams stand before."""
        self._streams: dict[str, EndlessClips] = {}
        self._domains = np.random.default_rng()

    def clips(self, step: int, numbers: Sequence[int]) -> list[ShardClip]:
        """As `TrainDraws` says."""
        info = get_worker_info()
        workers = info.num_workers if info else 1
        part, turn = self.rank * workers + step % workers, step // workers
        if self._next != (part, turn):
            self._open(part, self.ranks * workers, turn * self.batch_size)
        self._next = None  # where an error ends it in the middle
        clips = [self._draw(number) for number in numbers]
        self._next = part, turn + 1
        return clips

    def _open(self, part: int, parts: int, before: int) -> None:
        """Put the streams of `part` where they stand after `before` clips."""
        self._domains = np.random.default_rng([self.seed, part])
        drawn = np.bincount(self._drawn(before), minlength=len(self.weights))
        self._streams = {
            domain: EndlessClips(
                self.reader,
                domain,
                seed=self.seed,
                part=part,
                parts=parts,
                shuffle=max(1, math.floor(self.shuffle * self.weights[domain])),
                start=int(start),
                min_bandwidth_hz=self.min_bandwidth_hz,
            )
            for domain, start in zip(self.weights, drawn, strict=True)
        }

    def _drawn(self, count: int) -> NDArray[np.int64]:
        """Numbers of the domains of the next `count` clips."""
        edges = np.cumsum([*self.weights.values()])[:-1]
        return np.searchsorted(edges, self._domains.random(count), side="right")

    def _draw(self, number: int) -> ShardClip:
        domain = list(self.weights)[int(self._drawn(1)[0])]
        stream = self._streams[domain]
        for ahead in range(_TRIES):
            raw = stream.peek(ahead)
            crop = DrawnCrop(self.crop_samples, np.random.default_rng([self.seed, number, ahead]))
            found = raw and self.reader.decode(domain, raw, crop.range, crop.sounds)
            if found is not None:
                stream.advance()
                return crop.normalised(found)
        raise DataError(f"{_TRIES} clips of {domain} in a row from {self.where} are all bad")
