"""Which shards do one or several roots stand for, and how are they to be read?

A folder with an index is read at random places. What lies behind a URL, what a pattern names, and a
folder of tar files without an index is streamed.
"""

import os
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from audiosr.errors import DataError, UsageError
from audiosr.shards.index import INDEX_NAME, Index, by_split
from audiosr.shards.locations import (
    expand_pattern,
    fetch_small,
    is_pattern,
    is_remote,
    is_threaded,
    joined,
    refuse,
)

Root = str | os.PathLike[str]
"""Folder, URL or pattern of shards."""

_LARGEST_INDEX = 1 << 28
"""Bytes of an index that is fetched; one of a million shards has less."""

_SPLITS = {
    **dict.fromkeys(("train", "training"), "train"),
    **dict.fromkeys(("valid", "validation", "validate", "val", "dev"), "valid"),
    **dict.fromkeys(("test", "eval", "evaluation"), "test"),
}

_NUMBER = re.compile(r"[-_.]*\d+(-of-\d+)?$")
"""What the names of the shards of a set differ in."""


@dataclass(frozen=True)
class Place:
    """A shard and where it lies."""

    location: str
    """Path or URL."""
    name: str
    """In messages and in the ledger."""
    clips: int | None
    """By the index; None where there is none."""


@dataclass(frozen=True)
class Corpus:
    """One or several folders of shards, joined: the shards of one domain stand together."""

    where: str
    """The roots, for messages."""
    splits: Mapping[str, Mapping[str, Sequence[Place]]]
    """Split to domain to its shards, root by root."""
    streamed: bool
    """Whether some shards cannot be read at random places."""
    cache: str | None = None
    """Folder where remote shards are kept."""
    threaded: bool = False
    """Whether threads are at work in a process that has looked for the shards."""

    @classmethod
    def open(
        cls, root: Root | Sequence[Root], *, cache: Root | None = None, domain: str | None = None
    ) -> "Corpus":
        """Read the index of each root, or find its shards where it has none.

        Args:
            root: folder, URL, pattern of shards, or a list of them.
            cache: folder where remote shards are kept; None: they are read from afar each time.
            domain: of all clips of roots without an index; by default the shard's name tells it.

        Raises:
            DataError: no shards at a root, or an index that cannot be used.
            UsageError: a root that is not followed.
        """
        given = [root] if isinstance(root, str | os.PathLike) else list(root)
        if not given:
            raise UsageError("data.root is an empty list: give a folder or a URL of shards")
        roots = [os.fspath(one) for one in given]
        found: list[tuple[tuple[str, str], Place]] = []
        streamed = False
        for one in roots:
            refuse(one)
            index = _index(one)
            streamed |= index is None or is_remote(one)
            prefix = f"{one}: " if len(roots) > 1 else ""
            found += _unlisted(one, domain) if index is None else _listed(one, index, prefix)
        kept = None if cache is None else os.fspath(cache)
        threaded = any(map(is_threaded, roots))
        return cls(" + ".join(roots), by_split(found), streamed, kept, threaded)

    @classmethod
    def of(cls, index: Index) -> "Corpus":
        """The folder of one index that has been read."""
        root = str(index.root)
        return cls(root, by_split(_listed(root, index, "")), streamed=False)

    def clips(self, split: str) -> int | None:
        """Number of clips in `split`, 0 where there is no such split; None where nobody counted."""
        counts = [p.clips for places in self.splits.get(split, {}).values() for p in places]
        return None if None in counts else sum(count for count in counts if count)

    def domains(self, split: str) -> Mapping[str, Sequence[Place]]:
        """Domains of `split`, sorted by name, with the shards that hold clips, root by root.

        Raises:
            DataError: there is no clip in the split.
        """
        if not (found := self.splits.get(split)):
            held = ", ".join(sorted(self.splits)) or "nothing"
            raise DataError(f"{self.where} has no clips for split {split}; it holds {held}")
        return dict(sorted(found.items()))


def _index(root: str) -> Index | None:
    if is_pattern(root):
        return None
    if not is_remote(root):
        there = (Path(root) / INDEX_NAME).exists()
        return Index.load(root) if there or not any(Path(root).rglob("*.tar")) else None
    location = joined(root, INDEX_NAME)
    try:
        return Index.parse(fetch_small(location, _LARGEST_INDEX), Path(root), location)
    except FileNotFoundError as error:
        raise DataError(
            f"no shards at {root}: {INDEX_NAME} not found; copy there what `python -m data_prep` "
            f"has made, or name the shards, such as {joined(root, 'speech-{000000..000123}.tar')}"
        ) from error


def _listed(root: str, index: Index, prefix: str) -> list[tuple[tuple[str, str], Place]]:
    return [
        ((split, domain), Place(joined(root, shard.name), prefix + shard.name, shard.clips))
        for split, domains in index.splits.items()
        for domain, shards in domains.items()
        for shard in shards
        if shard.clips
    ]


def _unlisted(root: str, domain: str | None) -> list[tuple[tuple[str, str], Place]]:
    tars = expand_pattern(root) if is_pattern(root) else sorted(map(str, Path(root).rglob("*.tar")))
    return [(_told_by_name(name, domain), Place(name, name, None)) for name in tars]


def _told_by_name(location: str, domain: str | None) -> tuple[str, str]:
    """Split and domain of a shard, by its name without number, else by its folder's."""
    parts = re.split(r"[/\\]", location)
    folder, name = "".join(parts[-2:-1]), _NUMBER.sub("", parts[-1].removesuffix(".tar"))
    words = [word for word in re.split(r"[-_.]", name) if word]
    splits = [_SPLITS[word.lower()] for word in [*words, folder] if word.lower() in _SPLITS]
    told = "-".join(word for word in words if word.lower() not in _SPLITS)
    if not told and folder.lower() not in _SPLITS:
        told = folder
    return splits[0] if splits else "train", domain or told or "audio"
