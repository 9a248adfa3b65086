"""Which clips are systems measured on?"""

import os
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from audiosr.audio import io
from audiosr.errors import AudioSRError, UsageError
from audiosr.evaluation.clips import (
    ReferenceClip,
    UnreadClip,
    file_entry,
    list_hash,
    moved_entry,
    shard_entry,
)
from audiosr.evaluation.results import Failure
from audiosr.files import file_hash
from audiosr.shards.corpus import Corpus
from audiosr.shards.index import INDEX_NAME
from audiosr.shards.reader import open_reader


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
        about: Mapping[str, Any],
        domains: Sequence[str] | None = None,
        limit: int | None = None,
    ) -> None:
        """Choose `domains` (a name or several) and up to `limit` of each out of `entries`.

        `about` says where they come from.

        Raises:
            UsageError: a domain that is not there.
        """
        names = (domains,) if isinstance(domains, str) else domains
        self.part = Selection(None if names is None else tuple(map(str, names)), limit)
        self.name, self.root = name, root
        self.about = {**about, "listed": len(entries)}
        self.entries = self.part.take(entries)

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
            shard_entry(reader, domain, number)
            for domain in reader.domains
            for number in range(reader.clips(domain))
        ]
        super().__init__(name, os.fspath(root), entries, about, domains, limit)


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
        entries = [
            file_entry(root, key, key.partition("/")[0] if "/" in key else alone) for key in files
        ]
        about = {"source": "a folder of audio files"}
        super().__init__(name, root, entries, about, domains, limit)


class Joint(Benchmark):
    """Several benchmarks in one table; each is a domain of it."""

    def __init__(self, parts: Sequence[Benchmark]) -> None:
        """Join what has been chosen of each."""
        self.parts = tuple(parts)
        entries = [moved_entry(entry, part.name) for part in parts for entry in part.entries]
        name = "+".join(part.name for part in self.parts)
        roots = ", ".join(str(part.root) for part in self.parts)
        super().__init__(name, roots, entries, {})

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
