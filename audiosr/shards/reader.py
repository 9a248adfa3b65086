"""How does one clip come out of a folder of shards, whole or as a crop, and what if it cannot?

Shards are read at random places: tar members are stored one after the other, so a clip costs one
read, and the system's page cache keeps a small corpus in memory. Nothing is unpacked, run or
unpickled.
"""

import math
import os
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Protocol

import numpy as np

from audiosr.shards.clip import ClipReader, Crop, Good, ShardClip
from audiosr.shards.corpus import Corpus, Place, Root
from audiosr.shards.index import Index
from audiosr.shards.ledger import BadClip, Ledger
from audiosr.shards.members import Member, contents
from audiosr.shards.meta import Meta
from audiosr.shards.stream import StreamReader


class NumberedClips(Protocol):
    """The clips of one split by (domain, number)."""

    ledger: Ledger

    @property
    def domains(self) -> Mapping[str, Sequence[Place]]:
        """Domains, sorted by name, with their shards."""
        ...

    def clips(self, domain: str) -> int:
        """Number of clips of `domain`."""
        ...

    def read(
        self, domain: str, number: int, crop: Crop | None = None, good: Good | None = None
    ) -> ShardClip | None:
        """Clip `number` of `domain`, or None where it cannot be used; the ledger then says why.

        Args:
            domain: one of `domains`.
            number: 0 to `clips(domain)` - 1.
            crop: what is decoded, as for `decode`.
            good: asks for another crop, as for `decode`.

        Raises:
            DataError: too many clips of the split are bad, or a shard cannot be fetched.
        """
        ...


class Reader:
    """Random access to the clips of local folders, as `NumberedClips` says.

    Args:
        corpus: the shards, or the index of one folder of them.
        split: of the index.
        max_bad_fraction: of the split's clips, above which reading ends.
        check_every: as for `ClipReader`.
    """

    def __init__(
        self,
        corpus: Corpus | Index,
        split: str,
        max_bad_fraction: float = 0.01,
        *,
        check_every: int = 1,
    ) -> None:
        corpus = Corpus.of(corpus) if isinstance(corpus, Index) else corpus
        self.domains = corpus.domains(split)
        self.ledger = Ledger(f"{corpus.where}/{split}", corpus.clips(split), max_bad_fraction)
        self.starts = {
            domain: np.cumsum([0, *(place.clips or 0 for place in places)])
            for domain, places in self.domains.items()
        }
        self._clip = ClipReader(self.ledger, check_every)
        self._members: dict[str, list[Member]] = {}

    def clips(self, domain: str) -> int:
        """Number of clips of `domain` by the index."""
        return int(self.starts[domain][-1])

    def read(
        self, domain: str, number: int, crop: Crop | None = None, good: Good | None = None
    ) -> ShardClip | None:
        """As `NumberedClips` says."""
        place, member = self._find(domain, number)
        if member is None:
            return None

        def members() -> tuple[bytes, bytes]:
            return _read(place, member.audio), _read(place, member.meta)

        name = f"{place.name}: {member.key}"
        return self._clip.read(name, member.key, domain, members, crop, good)

    def bandwidth_hz(self, domain: str, number: int) -> float | None:
        """What the clip's JSON says, without a look at the audio; None where it says nothing.

        Raises:
            DataError: as for `read`.
        """
        place, member = self._find(domain, number)
        if member is None:
            return None
        try:
            said = Meta.parse(_read(place, member.meta)).bandwidth_hz
        except BadClip:
            return None
        return None if math.isnan(said) else said

    def _find(self, domain: str, number: int) -> tuple[Place, Member | None]:
        starts = self.starts[domain]
        which = int(np.searchsorted(starts, number, side="right")) - 1
        place, within = self.domains[domain][which], number - int(starts[which])
        found = self._table(place)
        return place, found[within] if within < len(found) else None

    def _table(self, place: Place) -> list[Member]:
        if place.location not in self._members:
            found, reason, noted = [], "shard cut short or changed", 0
            try:
                listed = contents(Path(place.location))
                found, noted = listed.clips, len(listed.unusable)
                self.ledger.pass_over(place.name, listed.foreign)
                for key, why in sorted(listed.unusable.items()):
                    self.ledger.add(f"{place.name}: {key}", why)
            except OSError as error:
                reason = f"shard cannot be opened: {error.strerror or error}"
            # Noted first: after the ledger has raised, nothing of the shard counts as read.
            if (lost := (place.clips or 0) - len(found) - noted) > 0:
                self.ledger.add(place.name, reason, lost)
            self._members[place.location] = found
        return self._members[place.location]


def open_reader(
    corpus: Corpus, split: str, max_bad_fraction: float = 0.01, *, check_every: int = 1
) -> NumberedClips:
    """What reads `split` of a corpus; quick only in the order of the numbers where it is streamed.

    Raises:
        DataError: there is no clip in the split.
    """
    kind = StreamReader if corpus.streamed else Reader
    return kind(corpus, split, max_bad_fraction, check_every=check_every)


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
    reader = open_reader(Corpus.open(root, cache=cache), split, max_bad_fraction)
    total = sum(map(reader.clips, reader.domains))
    first, last = total * rank // ranks, total * (rank + 1) // ranks
    number = 0
    for domain in reader.domains:
        for within in range(max(0, first - number), min(reader.clips(domain), last - number)):
            clip = reader.read(domain, within)
            if clip is not None:
                yield clip
        number += reader.clips(domain)


def _read(place: Place, where: tuple[int, int]) -> bytes:
    offset, size = where
    try:
        with Path(place.location).open("rb") as file:
            file.seek(offset)
            return file.read(size)
    except OSError as error:
        raise BadClip(f"shard cannot be read: {error.strerror or error}") from error
