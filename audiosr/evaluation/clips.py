"""What is a clip of a benchmark, before it is read and after?"""

import hashlib
import os
from collections.abc import Callable, Iterable
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from audiosr.audio import io
from audiosr.audio.io import RATE
from audiosr.errors import AudioFileError
from audiosr.evaluation.results import Failure, joined_name
from audiosr.shards.reader import NumberedClips


@dataclass(frozen=True)
class ReferenceClip:
    """A full-band reference."""

    key: str
    domain: str
    wave: NDArray[np.float32]
    """Samples (C, T) at 48 kHz."""
    source_rate: int
    """Rate in Hz of the recording; nothing above half of it can be in the clip."""

    @property
    def name(self) -> str:
        """Domain and key; the key of a file in a folder starts with its domain already."""
        return joined_name(self.domain, self.key)


@dataclass(frozen=True)
class UnreadClip:
    """A clip before it is read."""

    key: str
    """Unique within its domain."""
    domain: str
    read: Callable[[], ReferenceClip | Failure]


def list_hash(names: Iterable[str]) -> str:
    """Of a list of clips, whatever its order: sha256 of the sorted names, one a line."""
    text = "".join(f"{name}\n" for name in sorted(names))
    return hashlib.sha256(text.encode("utf-8", "surrogateescape")).hexdigest()


def file_entry(root: Path, path: str, domain: str) -> UnreadClip:
    """The file `path` below `root`."""
    key, domain = _printable(path), _printable(domain)

    def read() -> ReferenceClip | Failure:
        try:
            wave, rate = io.read_audio(root / path)
        except AudioFileError as error:
            return Failure(key, _printable(str(error)))
        wave = io.resample(wave, rate, RATE)
        if wave.shape[1] == 0:
            return Failure(
                key, f"{_printable(str(root / path))} is shorter than a sample at {RATE} Hz"
            )
        return ReferenceClip(key, domain, wave, rate)

    return UnreadClip(key, domain, read)


def shard_entry(reader: NumberedClips, domain: str, number: int) -> UnreadClip:
    """The clip `number` of a domain of shards."""

    def read() -> ReferenceClip | Failure:
        known = set(reader.ledger.reasons)
        clip = reader.read(domain, number)
        if clip is None:
            new = [name for name in reader.ledger.reasons if name not in known]
            reason = reader.ledger.reasons[new[-1]] if new else "its shard is not whole"
            return Failure(new[-1] if new else f"{domain}, clip {number}", reason)
        # Keys are unique within a shard alone.
        key = clip.key if len(reader.domains[domain]) == 1 else f"{number}-{clip.key}"
        return ReferenceClip(
            key, domain, clip.wave, clip.meta.source_rate or clip.meta.rate or RATE
        )

    return UnreadClip(f"{number:06d}", domain, read)


def moved_entry(entry: UnreadClip, domain: str) -> UnreadClip:
    """`entry` as one of `domain`, its own domain before its key."""

    def read() -> ReferenceClip | Failure:
        clip = entry.read()
        if isinstance(clip, Failure):
            return replace(clip, key=f"{domain}: {clip.key}")
        return replace(clip, key=clip.name, domain=domain)

    return UnreadClip(joined_name(entry.domain, entry.key), domain, read)


def _printable(name: str) -> str:
    """What goes into tables and JSON: file names need not be Unicode."""
    return os.fsencode(name).decode("utf-8", "backslashreplace")
