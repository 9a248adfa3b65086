"""How does one clip come out of a folder of shards, whole or as a crop, and what if it cannot?

Shards on a local disk are read at random places: tar members are stored one after the other, so a
clip costs one read, and the system's page cache keeps a small corpus in memory. Nothing is
unpacked, run or unpickled; libsndfile decodes the audio and `json` reads what is said about it.
"""

import json
import logging
import math
import os
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from io import BytesIO
from pathlib import Path
from typing import Any

import numpy as np
import soundfile
from numpy.typing import NDArray

from audiosr.audio.io import CHANNELS
from audiosr.data.index import Index, Member, Shard, members
from audiosr.errors import DataError

RATE = 48_000
"""Sampling rate in Hz of every clip in a shard."""

LONGEST_SECONDS = 600.0
"""Clips are seconds long; what claims to hold more than this in stereo is refused before it is
decoded.
"""

LARGEST_BYTES = 1 << 29
"""Encoded audio above this is refused unread."""

_LOG = logging.getLogger(__name__)


@dataclass(frozen=True)
class Clip:
    """A clip, or a crop of one."""

    key: str
    domain: str
    wave: NDArray[np.float32]
    """Samples (C, T) at `RATE`, full scale 1.0."""
    meta: Mapping[str, Any]
    """The clip's JSON: source, licence, domain, seconds, bandwidth_hz, loudness_lufs, sha256 and
    more.
    """

    @property
    def bandwidth_hz(self) -> float:
        """Frequency in Hz up to which the clip has content."""
        return float(self.meta["bandwidth_hz"])


class BadClip(Exception):
    """A clip that cannot be used; the message is the kind of reason, by which bad clips count."""


@dataclass
class Ledger:
    """Clips that could not be used, each counted once.

    Raises `DataError` with the list as soon as they are more than `max_fraction` of `total`.
    """

    where: str
    """The shards in question, for the message."""
    total: int
    max_fraction: float
    reasons: dict[str, str] = field(default_factory=dict)
    """Name of the clip or shard to the reason."""
    clips: int = 0

    def add(self, name: str, reason: str, clips: int = 1) -> None:
        """Note once that `name`, which stands for `clips` clips, is unusable."""
        if name in self.reasons:
            return
        self.reasons[name] = reason
        self.clips += clips
        _LOG.warning("%s: %s is left out: %s", self.where, name, reason)
        if self.clips > self.max_fraction * self.total:
            names = list(self.reasons)
            more = f" and {len(names) - 20} more" if len(names) > 20 else ""
            counts = ", ".join(f"{count} x {reason}" for reason, count in self.by_reason().items())
            raise DataError(
                f"{self.clips} of {self.total} clips in {self.where} cannot be used, above "
                f"max_bad_fraction={self.max_fraction:g} ({counts}): "
                f"{', '.join(names[:20])}{more}; prepare the shards again"
            )

    def by_reason(self) -> dict[str, int]:
        """Number of names for each reason."""
        found = list(self.reasons.values())
        return {reason: found.count(reason) for reason in sorted(set(found))}


@dataclass
class Reader:
    """Random access to the clips of one split by (domain, number)."""

    index: Index
    split: str
    max_bad_fraction: float = 0.01

    def __post_init__(self) -> None:
        self.domains = self.index.domains(self.split)
        self.ledger = Ledger(
            f"{self.index.root}/{self.split}", self.index.clips(self.split), self.max_bad_fraction
        )
        self.starts = {
            domain: np.cumsum([0, *(shard.clips for shard in shards)])
            for domain, shards in self.domains.items()
        }
        self._members: dict[str, list[Member]] = {}

    def clips(self, domain: str) -> int:
        """Number of clips of `domain` by the index."""
        return int(self.starts[domain][-1])

    def read(
        self,
        domain: str,
        number: int,
        crop: Callable[[int, int], tuple[int, int]] | None = None,
        good: Callable[[NDArray[np.float32]], bool] | None = None,
    ) -> Clip | None:
        """Clip `number` of `domain`, or None where it cannot be used; the ledger then says why.

        Args:
            domain: one of `domains`.
            number: 0 to `clips(domain)` - 1.
            crop: given the clip's channels and samples, the first sample and the number of samples
                to
                decode; the whole clip by default.
            good: asks for another crop, at most ten times, while it is false of the decoded
                samples.

        Raises:
            DataError: too many clips of the split are bad.
        """
        shards, starts = self.domains[domain], self.starts[domain]
        which = int(np.searchsorted(starts, number, side="right")) - 1
        shard, place = shards[which], number - int(starts[which])
        found = self._table(shard)
        if place >= len(found) or found[place].key in self.ledger.reasons:
            return None
        member = found[place]
        try:
            audio, meta = _bytes(self.index.root / shard.name, member)
            wave = decode(audio, crop, good)
            return Clip(member.key, domain, wave, _checked(meta))
        except BadClip as error:
            self.ledger.add(member.key, str(error))
            return None

    def _table(self, shard: Shard) -> list[Member]:
        if shard.name not in self._members:
            try:
                found = members(self.index.root / shard.name)
                reason = "shard cut short or changed"
            except OSError as error:
                found, reason = [], f"shard cannot be opened: {error.strerror or error}"
            # Noted first: after the ledger has raised, nothing of the shard counts as read.
            if len(found) < shard.clips:
                self.ledger.add(shard.name, reason, shard.clips - len(found))
            self._members[shard.name] = found
        return self._members[shard.name]


def decode(
    audio: bytes,
    crop: Callable[[int, int], tuple[int, int]] | None = None,
    good: Callable[[NDArray[np.float32]], bool] | None = None,
) -> NDArray[np.float32]:
    """Samples (C, T) of encoded audio at `RATE`; `crop` and `good` as for `Reader.read`.

    Only the asked samples are decoded, by seeking inside the file.

    Raises:
        BadClip: not audio, another rate, too long, too many channels, broken in the part that is
            read.
    """
    try:
        with soundfile.SoundFile(BytesIO(audio)) as file:
            if file.samplerate != RATE:
                raise BadClip(f"rate is not {RATE} Hz")
            samples = file.frames * file.channels
            if file.channels > CHANNELS or not 0 < samples <= 2 * LONGEST_SECONDS * RATE:
                raise BadClip("no samples, too many or too many channels")
            for _ in range(10):
                start, count = crop(file.channels, file.frames) if crop else (0, file.frames)
                file.seek(start)
                wave = file.read(count, dtype="float32", always_2d=True).T
                if wave.shape[1] < count or not np.isfinite(wave).all():
                    raise BadClip("audio is broken")
                if good is None or good(wave):
                    break
            return np.ascontiguousarray(wave)
    except (soundfile.SoundFileError, TypeError) as error:
        raise BadClip("audio is broken") from error


def evaluation_clips(
    root: str | os.PathLike[str], split: str, *, max_bad_fraction: float = 0.01
) -> Iterator[Clip]:
    """Every clip of `split` once and whole, in the order of domains, shards and members.

    Raises:
        DataError: no shards at `root`, no such split, or too many bad clips.
    """
    reader = Reader(Index.load(root), split, max_bad_fraction)
    for domain in reader.domains:
        for number in range(reader.clips(domain)):
            clip = reader.read(domain, number)
            if clip is not None:
                yield clip


def _bytes(path: Path, member: Member) -> tuple[bytes, bytes]:
    if member.audio[1] > LARGEST_BYTES or member.meta[1] > 1 << 20:
        raise BadClip("member is too large")
    try:
        with path.open("rb") as file:
            parts = []
            for offset, size in (member.audio, member.meta):
                file.seek(offset)
                parts.append(file.read(size))
    except OSError as error:
        raise BadClip(f"shard cannot be read: {error.strerror or error}") from error
    return parts[0], parts[1]


def _checked(meta: bytes) -> dict[str, Any]:
    try:
        content = json.loads(meta)
        bandwidth = float(content["bandwidth_hz"])
        if not (math.isfinite(bandwidth) and 0 <= bandwidth <= RATE / 2):
            raise ValueError(bandwidth)
    except (ValueError, KeyError, TypeError, RecursionError) as error:
        raise BadClip("JSON is broken or lies about the bandwidth") from error
    return content
