"""Which clips are systems measured on?"""

import hashlib
import os
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from audiosr.audio import io
from audiosr.audio.io import RATE
from audiosr.errors import AudioFileError, AudioSRError, UsageError
from audiosr.evaluation.results import Failure
from audiosr.files import file_hash
from audiosr.shards.corpus import Corpus
from audiosr.shards.index import INDEX_NAME
from audiosr.shards.reader import NumberedClips, open_reader


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


@dataclass(frozen=True)
class Selection:
    """Which clips of a benchmark are taken."""

    domains: tuple[str, ...] | None = None
    """Names; None for all."""
    limit: int | None = None
    """At most so many of each domain, at even distances in its list; None for all."""

    def __post_init__(self) -> None:
        if self.limit is not None and self.limit < 1:
            raise UsageError(f"benchmark.limit={self.limit}: take at least 1 clip of each domain")

    def take(self, entries: Sequence[UnreadClip]) -> list[UnreadClip]:
        """The chosen entries, in their order.

        Raises:
            UsageError: a domain that is not there.
        """
        held = Counter(entry.domain for entry in entries)
        if unknown := set(self.domains or ()) - set(held):
            raise UsageError(
                f"benchmark.domains names {', '.join(sorted(unknown))}: "
                f"there are {', '.join(sorted(held))}"
            )
        chosen = {
            (domain, number * count // most)
            for domain, count in held.items()
            if self.domains is None or domain in self.domains
            for most in [min(count, self.limit or count)]
            for number in range(most)
        }
        met: Counter[str] = Counter()
        taken = []
        for entry in entries:
            if (entry.domain, met[entry.domain]) in chosen:
                taken.append(entry)
            met[entry.domain] += 1
        return taken

    def __str__(self) -> str:
        chosen = [] if self.domains is None else [f"the domains {', '.join(self.domains)}"]
        chosen += [] if self.limit is None else [f"at most {self.limit} clips of each domain"]
        return ", ".join(chosen) or "whole"


class Benchmark:
    """Clips in an order that does not change; those that cannot be read come as failures.

    Attributes:
        name: what it is called in results and reports.
        root: where it lies, a path or a URL.
        entries: the clips that were chosen, not yet read.
    """

    def __init__(
        self,
        name: str,
        root: str | os.PathLike[str],
        entries: Sequence[UnreadClip],
        part: Selection,
        about: Mapping[str, Any],
    ) -> None:
        """Choose `part` of `entries`; `about` says where they come from.

        Raises:
            UsageError: `part` names what is not there.
        """
        self.name, self.root, self.part = name, root, part
        self.about = {**about, "listed": len(entries)}
        self.entries = part.take(entries)

    def __len__(self) -> int:
        return len(self.entries)

    def __iter__(self) -> Iterator[ReferenceClip | Failure]:
        return (entry.read() for entry in self.entries)

    def card(self) -> dict[str, Any]:
        """Source, part and the hash of the list of clips that were chosen, as plain values."""
        return {
            **self.about,
            "part": str(self.part),
            "clips": len(self.entries),
            "list_sha256": list_hash(f"{entry.domain}/{entry.key}" for entry in self.entries),
        }


class Shards(Benchmark):
    """A split of shards, here or behind a URL."""

    def __init__(
        self,
        root: str | os.PathLike[str],
        *,
        split: str,
        name: str,
        domains: Sequence[str] | None = None,
        limit: int | None = None,
    ) -> None:
        """Count the clips.

        Raises:
            DataError: no shards at `root`, or no such split.
            UsageError: a domain that is not there.
        """
        # Every bad clip is listed, so the reader itself need not stop at any number of them.
        reader = open_reader(Corpus.open(root), split, max_bad_fraction=1.0)
        about = {"source": f"split {split} of shards"}
        if (index := Path(root) / INDEX_NAME).is_file():
            about["index_sha256"] = file_hash(index)
        entries = [
            _shard_entry(reader, domain, number)
            for domain in reader.domains
            for number in range(reader.clips(domain))
        ]
        super().__init__(name, os.fspath(root), entries, as_selection(domains, limit), about)


class Folder(Benchmark):
    """Every audio file below a folder; the first folder level is the domain, if there is one."""

    def __init__(
        self,
        root: str | os.PathLike[str] | None,
        *,
        name: str,
        domains: Sequence[str] | None = None,
        limit: int | None = None,
    ) -> None:
        """Find the files.

        Raises:
            AudioFileError: `root` does not exist or holds no audio file.
            UsageError: no folder is given, or a domain that is not there.
        """
        if root is None:
            raise UsageError("no folder of references: give benchmark.root=DIR")
        root = Path(root)
        files = [path.relative_to(root).as_posix() for path in io.expand(root)]
        alone = root.resolve().name
        super().__init__(
            name,
            root,
            [
                file_entry(root, key, key.partition("/")[0] if "/" in key else alone)
                for key in files
            ],
            as_selection(domains, limit),
            {"source": "a folder of audio files"},
        )


class Joint(Benchmark):
    """Several benchmarks in one table; each is a domain of it."""

    def __init__(self, parts: Sequence[Benchmark]) -> None:
        """Join what has been chosen of each."""
        self.parts = tuple(parts)
        entries = [_moved(entry, part.name) for part in parts for entry in part.entries]
        name = "+".join(part.name for part in self.parts)
        roots = ", ".join(str(part.root) for part in self.parts)
        super().__init__(name, roots, entries, Selection(), {})

    def card(self) -> dict[str, Any]:
        """The card of each, and one hash over all."""
        return {**super().card(), "parts": {part.name: part.card() for part in self.parts}}


def open_benchmark(
    *,
    name: str,
    parts: Mapping[str, Callable[..., Benchmark]],
    root: str | None = None,
    domains: Sequence[str] | None = None,
    limit: int | None = None,
) -> Benchmark:
    """What `conf/benchmark` describes: one benchmark, or several as one.

    Args:
        name: of the results.
        parts: what makes each benchmark, by its name.
        root: in the place of the root of a single one.
        domains: in the place of the domains of a single one.
        limit: in the place of the limit of each.

    Raises:
        AudioSRError: one is not there.
        UsageError: contradictions.
    """
    single = {"root": root, "domains": domains}
    if len(parts) > 1 and (given := [key for key, value in single.items() if value is not None]):
        raise UsageError(
            f"benchmark.{given[0]} is that of a single benchmark: of several give "
            + " ".join(f"benchmark.parts.{part}.{given[0]}=..." for part in parts)
        )
    changes = {key: v for key, v in {**single, "limit": limit}.items() if v is not None}
    if len(parts) == 1:
        (make,) = parts.values()
        return make(name=name, **changes)
    return Joint([_make_part(part, make, changes) for part, make in parts.items()])


def _make_part(part: str, make: Callable[..., Benchmark], changes: Mapping[str, Any]) -> Benchmark:
    """One of several benchmarks; where it is not there, the error names the key of its own root."""
    try:
        return make(name=part, **changes)
    except AudioSRError as error:
        own = str(error).replace("benchmark.root=", f"benchmark.parts.{part}.root=")
        raise type(error)(own) from error


def joined_name(domain: str, key: str) -> str:
    """Domain and key as one name; a key that starts with its domain is one already."""
    return key if key.startswith(f"{domain}/") else f"{domain}/{key}"


def as_selection(domains: Sequence[str] | None, limit: int | None) -> Selection:
    """What `benchmark.domains` (a name or several) and `benchmark.limit` choose."""
    names = (domains,) if isinstance(domains, str) else domains
    return Selection(None if names is None else tuple(map(str, names)), limit)


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


def _printable(name: str) -> str:
    """What goes into tables and JSON: file names need not be Unicode."""
    return os.fsencode(name).decode("utf-8", "backslashreplace")


def _shard_entry(reader: NumberedClips, domain: str, number: int) -> UnreadClip:
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


def _moved(entry: UnreadClip, domain: str) -> UnreadClip:
    """`entry` as one of `domain`, its own domain before its key."""

    def read() -> ReferenceClip | Failure:
        clip = entry.read()
        if isinstance(clip, Failure):
            return replace(clip, key=f"{domain}: {clip.key}")
        return replace(clip, key=clip.name, domain=domain)

    return UnreadClip(joined_name(entry.domain, entry.key), domain, read)
