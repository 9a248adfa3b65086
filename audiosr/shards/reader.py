"""How does one clip come out of shards, whole or as a crop, and what if it cannot?

Shards are read at random places: tar members are stored one after the other, so a clip costs one
read, and the system's page cache keeps a small corpus in memory. Nothing is unpacked, run or
unpickled.
"""

import os
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from zlib import crc32

import numpy as np
from numpy.typing import NDArray

from audiosr.shards.clip import (
    LARGEST_BYTES,
    LARGEST_JSON,
    Crop,
    check_bandwidth,
    check_sha256,
    decode,
)
from audiosr.shards.corpus import Corpus, Place, Root
from audiosr.shards.index import Index
from audiosr.shards.ledger import BadClip, Ledger
from audiosr.shards.members import Member, contents
from audiosr.shards.meta import Meta
from audiosr.shards.remote import Missing


@dataclass(frozen=True)
class ShardClip:
    """A clip, or a crop of one."""

    key: str
    domain: str
    wave: NDArray[np.float32]
    """Samples (C, T) at `RATE`, full scale 1.0."""
    meta: Meta

    @property
    def bandwidth_hz(self) -> float:
        """Frequency in Hz up to which the clip has content."""
        return self.meta.bandwidth_hz


class Reader:
    """Random access to the clips of one split by (domain, number).

    Args:
        corpus: the shards, or the index of one folder of them.
        split: of the index.
        max_bad_fraction: of the split's clips, above which reading ends.
        check_every: one clip in so many, by its key, has its bandwidth measured against its JSON
            when it is first read. What is cheap to compare is compared for every clip.
    """

    def __init__(
        self,
        corpus: Corpus | Index,
        split: str,
        max_bad_fraction: float = 0.01,
        *,
        check_every: int = 1,
    ) -> None:
        self.corpus = Corpus.of(corpus) if isinstance(corpus, Index) else corpus
        self.split = split
        self.check_every = check_every
        self.domains = self.corpus.domains(split)
        self.ledger = Ledger(
            f"{self.corpus.where}/{split}", self.corpus.clips(split), max_bad_fraction
        )
        self.starts = {
            domain: np.cumsum([0, *(place.shard.clips for place in places)])
            for domain, places in self.domains.items()
        }
        self._members: dict[str, list[Member]] = {}
        self._checked: set[str] = set()

    def clips(self, domain: str) -> int:
        """Number of clips of `domain` by the index."""
        return int(self.starts[domain][-1])

    def read(
        self,
        domain: str,
        number: int,
        crop: Crop | None = None,
        good: Callable[[NDArray[np.float32]], bool] | None = None,
    ) -> ShardClip | None:
        """Clip `number` of `domain`, or None where it cannot be used; the ledger then says why.

        Args:
            domain: one of `domains`.
            number: 0 to `clips(domain)` - 1.
            crop: what is decoded, as for `decode`.
            good: asks for another crop, as for `decode`.

        Raises:
            DataError: too many clips of the split are bad, or a remote shard cannot be fetched.
        """
        place, member = self._find(domain, number)
        if member is None or (name := self._name(place, member.key)) in self.ledger.reasons:
            return None
        try:
            audio = self._bytes(place, member.audio, LARGEST_BYTES)
            meta = Meta.parse(self._bytes(place, member.meta, LARGEST_JSON))
            self._check(name, audio, meta)
            return ShardClip(member.key, domain, decode(audio, crop, good, meta), meta)
        except BadClip as error:
            self.ledger.add(name, str(error))
            return None

    def bandwidth_hz(self, domain: str, number: int) -> float | None:
        """What the clip's JSON says, without a look at the audio; None where it says nothing.

        Raises:
            DataError: as for `read`.
        """
        place, member = self._find(domain, number)
        if member is None:
            return None
        try:
            meta = Meta.parse(self._bytes(place, member.meta, LARGEST_JSON))
        except BadClip:
            return None
        return meta.bandwidth_hz

    def want(self, domain: str, shards: Sequence[int]) -> None:
        """Have shards of `domain` fetched in the background, where they are remote."""
        self.corpus.want([self.domains[domain][shard] for shard in shards])

    def _find(self, domain: str, number: int) -> tuple[Place, Member | None]:
        starts = self.starts[domain]
        which = int(np.searchsorted(starts, number, side="right")) - 1
        place, within = self.domains[domain][which], number - int(starts[which])
        found = self._table(place)
        return place, found[within] if within < len(found) else None

    def _table(self, place: Place) -> list[Member]:
        if place.location not in self._members:
            shard = place.shard
            found, reason, noted = [], "shard cut short or changed", 0
            try:
                listed = contents(self.corpus.path(place))
                found, noted = listed.clips, len(listed.unusable)
                self.ledger.pass_over(shard.name, listed.foreign)
                for key, why in listed.unusable.items():
                    self.ledger.add(self._name(place, key), why)
            except (OSError, Missing) as error:
                why = getattr(error, "strerror", None) or error
                reason = f"shard cannot be opened: {why}"
            # Noted first: after the ledger has raised, nothing of the shard counts as read.
            if len(found) + noted < shard.clips:
                self.ledger.add(self._name(place), reason, shard.clips - len(found) - noted)
            self._members[place.location] = found
        return self._members[place.location]

    def _name(self, place: Place, key: str = "") -> str:
        """What a clip, or a whole shard, is called in the ledger; keys may repeat among shards."""
        root = "" if len(self.corpus.roots) == 1 else f"{place.root}: "
        return f"{root}{place.shard.name}" + (f": {key}" if key else "")

    def _bytes(self, place: Place, where: tuple[int, int], most: int) -> bytes:
        offset, size = where
        if size > most:
            raise BadClip("member is too large")
        try:
            path: Path = self.corpus.path(place)
            with path.open("rb") as file:
                file.seek(offset)
                return file.read(size)
        except (OSError, Missing) as error:
            why = getattr(error, "strerror", None) or error
            raise BadClip(f"shard cannot be read: {why}") from error

    def _check(self, name: str, audio: bytes, meta: Meta) -> None:
        if name in self._checked:
            return
        check_sha256(audio, meta)
        if crc32(name.encode("utf-8", "surrogateescape")) % self.check_every == 0:
            check_bandwidth(audio, meta)
        self._checked.add(name)


def evaluation_clips(
    root: Root | Sequence[Root],
    split: str,
    *,
    max_bad_fraction: float = 0.01,
    rank: int = 0,
    ranks: int = 1,
    cache: str | os.PathLike[str] | None = None,
) -> Iterator[ShardClip]:
    """Every clip of `split` once and whole, in the order of domains, shards and members.

    Of several ranks each has a run of them, equal in length give or take one, so that each clip is
    read by one rank and each shard by as few as can be.

    Raises:
        DataError: no shards at `root`, no such split, or too many bad clips of the split.
    """
    reader = Reader(Corpus.open(root, cache=cache), split, max_bad_fraction)
    total = reader.ledger.total
    first, last = total * rank // ranks, total * (rank + 1) // ranks
    number = 0
    for domain in reader.domains:
        for within in range(max(0, first - number), min(reader.clips(domain), last - number)):
            clip = reader.read(domain, within)
            if clip is not None:
                yield clip
        number += reader.clips(domain)
