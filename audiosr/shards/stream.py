"""How do clips come out of shards that are read from the front alone: far, or without an index?

Clips stay encoded until somebody asks for the samples, so that passing over them is cheap.
"""

import heapq
import itertools
import math
from collections import deque
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import KW_ONLY, dataclass
from functools import partial

import numpy as np
from webdataset.pipeline import DataPipeline

from audiosr.errors import DataError
from audiosr.shards.clip import ClipReader, Crop, Good, ShardClip, measure_bandwidth
from audiosr.shards.corpus import Corpus, Place
from audiosr.shards.ledger import BadClip, Ledger
from audiosr.shards.locations import open_shard
from audiosr.shards.members import Contents, streamed
from audiosr.shards.meta import Meta


@dataclass(frozen=True)
class RawClip:
    """A clip that nobody has looked into."""

    name: str
    """In the ledger."""
    key: str
    audio: bytes
    json: bytes | None

    def bandwidth_hz(self) -> float:
        """What the JSON says, else what is measured; infinite where the clip is broken.

        So a broken clip reaches those who count it.
        """
        try:
            said = Meta() if self.json is None else Meta.parse(self.json)
            if math.isnan(said.bandwidth_hz):
                return measure_bandwidth(self.audio)
            return said.bandwidth_hz
        except BadClip:
            return math.inf


class StreamReader:
    """The clips of one split, streamed; `NumberedClips` for who asks in the order of the numbers.

    Args:
        corpus: the shards.
        split: of the corpus.
        max_bad_fraction: of the split's clips, above which reading ends.
        check_every: as for `ClipReader`.
    """

    def __init__(
        self, corpus: Corpus, split: str, max_bad_fraction: float = 0.01, *, check_every: int = 1
    ) -> None:
        self.domains = corpus.domains(split)
        self.ledger = Ledger(f"{corpus.where}/{split}", corpus.clips(split), max_bad_fraction)
        self._cache = corpus.cache
        self._clip = ClipReader(self.ledger, check_every)
        self._starts: dict[str, list[int]] = {}
        self._open: dict[str, tuple[int, Iterator[RawClip | None]]] = {}

    def clips(self, domain: str) -> int:
        """Number of clips of `domain`; without an index the shards are read once to count."""
        return self._counted(domain)[-1]

    def read(
        self, domain: str, number: int, crop: Crop | None = None, good: Good | None = None
    ) -> ShardClip | None:
        """As `NumberedClips` says; a number below the one before begins from the front again."""
        at, clips = self._open.pop(domain, (math.inf, iter(())))
        if number < at:
            starts = self._counted(domain)
            which = int(np.searchsorted(starts, number, side="right")) - 1
            places = self.domains[domain][which:]
            at, clips = starts[which], itertools.chain.from_iterable(map(self.raw_clips, places))
        for raw in clips:
            at += 1
            if at > number:
                self._open[domain] = int(at), clips
                return None if raw is None else self.decode(domain, raw, crop, good)
        return None

    def decode(
        self, domain: str, raw: RawClip, crop: Crop | None = None, good: Good | None = None
    ) -> ShardClip | None:
        """The clip, or None where it cannot be used, as `ClipReader` says."""
        return self._clip.read(raw.name, raw.key, domain, lambda: (raw.audio, raw.json), crop, good)

    def raw_clips(self, place: Place) -> Iterator[RawClip | None]:
        """The clips of a shard in their order; as many as the index says, None for what is lost.

        Raises:
            DataError: too many clips are bad, or the shard cannot be fetched.
        """
        listed, found, lost = Contents(), 0, "shard cut short or changed"
        expected = place.clips
        try:
            with open_shard(place.location, self._cache) as file:
                clips = streamed(file, listed, needs_json=expected is not None)
                for key, audio, json in itertools.islice(clips, expected):
                    found += 1
                    if expected is None:
                        self.ledger.meet(place.name, found)
                    yield RawClip(f"{place.name}: {key}", key, audio, json)
        except OSError as error:
            lost = f"shard cannot be opened: {error.strerror or 'not found'}"
            expected = expected or 1
        missing = (expected or found) - found
        self.ledger.pass_over(place.name, listed.foreign)
        for key, why in sorted(listed.unusable.items()):
            self.ledger.add(f"{place.name}: {key}", why)
        if missing > len(listed.unusable):
            self.ledger.add(place.name, lost, missing - len(listed.unusable))
        yield from itertools.repeat(None, missing)

    def _counted(self, domain: str) -> list[int]:
        if domain not in self._starts:
            counts = [
                sum(1 for _ in self.raw_clips(place)) if place.clips is None else place.clips
                for place in self.domains[domain]
            ]
            self._starts[domain] = [0, *itertools.accumulate(counts)]
        return self._starts[domain]


@dataclass(eq=False)
class EndlessClips:
    """Clips of one domain without end, for one of several parts that read at a time.

    The shards of each pass stand in a random order, one pass after the other; the parts take
    them in turn, so that each has enough however few there are. Within a part a clip moves up to
    `shuffle` places back. All of it is a function of the seed and of the number of clips before.
    """

    reader: StreamReader
    domain: str
    _: KW_ONLY
    seed: int
    """Of the orders."""
    part: int
    """Which of the parts, from 0."""
    parts: int
    """How many read at a time: ranks x workers."""
    shuffle: int
    """Clips that are held to be shuffled, at most."""
    start: int = 0
    """Clips that have been taken before; they are passed over, whole shards of them unread where an
    index counts them."""
    min_bandwidth_hz: float | None = None
    """Clips with less are left out."""

    def __post_init__(self) -> None:
        self._ahead: deque[RawClip | None] = deque()
        places, seeds = self.reader.domains[self.domain], (self.seed, *self.domain.encode())
        counted = self.min_bandwidth_hz is None and all(p.clips is not None for p in places)
        unread = max(0, self.start - self.shuffle) if counted else 0
        clips = DataPipeline(
            partial(_shards, places, seeds),
            lambda shards: itertools.islice(shards, self.part, None, self.parts),
            partial(self._arrivals, unread=unread),
            partial(_shuffled, seeds=(*seeds, self.part), most=self.shuffle),
        )
        numbered = iter(clips)
        first, clip = next(numbered)
        everything = itertools.chain([(first, clip)], numbered)
        skipped = itertools.islice(everything, self.start - first, None)
        self._clips = (clip for _, clip in skipped)

    def peek(self, ahead: int) -> RawClip | None:
        """The clip that comes after `ahead` others; None where it was lost."""
        while len(self._ahead) <= ahead:
            self._ahead.append(next(self._clips))
        return self._ahead[ahead]

    def advance(self) -> None:
        """Go on to the next clip."""
        self.peek(0)
        self._ahead.popleft()

    def _arrivals(
        self, shards: Iterable[Place], unread: int
    ) -> Iterator[tuple[int, RawClip | None]]:
        """Clips with their numbers; of the first `unread`, whole shards are not opened."""
        number = barren = 0
        for place in shards:
            if number + (place.clips or 0) <= unread and unread:
                number += place.clips or 0
                continue
            empty = True
            for raw in self.reader.raw_clips(place):
                if self.min_bandwidth_hz is None or (
                    raw and raw.bandwidth_hz() >= self.min_bandwidth_hz
                ):
                    empty &= raw is None
                    yield number, raw
                    number += 1
            barren = barren + 1 if empty else 0
            if barren >= len(self.reader.domains[self.domain]):
                raise DataError(self._nothing())

    def _nothing(self) -> str:
        where = f"no clip of {self.domain} in {self.reader.ledger.where}"
        if self.min_bandwidth_hz is None:
            return f"{where} can be used: look at data.root"
        return (
            f"{where} reaches data.min_bandwidth_hz={self.min_bandwidth_hz:g}: lower it, or give "
            "the domain weight 0"
        )


def _shards(places: Sequence[Place], seeds: Sequence[int]) -> Iterator[Place]:
    """The shards of pass after pass."""
    for number in itertools.count():
        order = np.random.default_rng([*seeds, number]).permutation(len(places))
        yield from (places[which] for which in order)


def _shuffled(
    clips: Iterable[tuple[int, RawClip | None]], seeds: Sequence[int], most: int
) -> Iterator[tuple[int, RawClip | None]]:
    """Each clip up to `most` places later than it came, by a draw of its own.

    webdataset's buffer keeps a clip for any time, so that what it holds depends on all clips
    before; here on the last `most`, and a run can be resumed from there. The first number is that
    of the first clip that came.
    """
    held: list[tuple[float, int, RawClip | None]] = []
    out = None
    for number, clip in clips:
        out = number if out is None else out
        delay = np.random.default_rng([*seeds, number]).random() * most
        heapq.heappush(held, (number + delay, number, clip))
        while held and held[0][0] < number + 1:
            yield out, heapq.heappop(held)[2]
            out += 1
