"""Where do the shards of one or several corpora lie, here or elsewhere?"""

import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from audiosr.errors import DataError, UsageError
from audiosr.shards.cache import Cache, default_folder
from audiosr.shards.index import INDEX_NAME, Index, Shard
from audiosr.shards.remote import Missing, is_local, joined, plain, refused

Root = str | os.PathLike[str]

_LARGEST_INDEX = 1 << 28
"""Bytes of an index that is fetched; one of a million shards has less."""


@dataclass(frozen=True)
class Place:
    """A shard and where it lies."""

    shard: Shard
    root: str
    location: str
    """Path, URL or `pipe:COMMAND`."""

    @property
    def local(self) -> bool:
        """Whether it can be read as it lies."""
        return is_local(self.location)


@dataclass(frozen=True)
class Corpus:
    """One or several folders of shards, joined: the shards of one domain stand together."""

    roots: tuple[str, ...]
    indexes: tuple[Index, ...]
    cache: Cache | None = None
    """Where remote shards are fetched to."""

    @classmethod
    def open(
        cls,
        root: Root | Sequence[Root],
        *,
        cache: Root | None = None,
        cache_gb: float = 100.0,
        allow_pipe: bool = False,
    ) -> "Corpus":
        """Read the index of each root.

        Args:
            root: folder, URL, or a list of them.
            cache: folder for what is fetched; by default that of `audiosr.shards.cache`.
            cache_gb: its largest size in 10^9 bytes.
            allow_pipe: follow `pipe:` and `file:`.

        Raises:
            DataError: no index at a root, or one that cannot be used.
            UsageError: a root that may not be followed.
        """
        given = [root] if isinstance(root, str | os.PathLike) else list(root)
        if not given:
            raise UsageError("data.root is an empty list: give a folder or a URL of shards")
        roots = [os.fspath(one) for one in given]
        for one in roots:
            if reason := refused(one, allow_pipe):
                raise UsageError(f"data.root={one} {reason}")
        folder = Path(cache) if cache is not None else default_folder()
        store = Cache(folder.expanduser(), limit_bytes=cache_gb * 1e9)
        roots = [plain(one) for one in roots]
        indexes = [_index(one, store, allow_pipe) for one in roots]
        return cls(tuple(roots), tuple(indexes), store)

    @classmethod
    def of(cls, index: Index) -> "Corpus":
        """The folder of one index that has been read."""
        return cls((str(index.root),), (index,))

    @property
    def where(self) -> str:
        """The roots, for messages."""
        return " + ".join(self.roots)

    def clips(self, split: str) -> int:
        """Number of clips in `split`; 0 where there is no such split."""
        return sum(index.clips(split) for index in self.indexes)

    def domains(self, split: str) -> Mapping[str, Sequence[Place]]:
        """Domains of `split`, sorted by name, with the shards that hold clips, root by root.

        Raises:
            DataError: there is no clip in the split.
        """
        found: dict[str, list[Place]] = {}
        for root, index in zip(self.roots, self.indexes, strict=True):
            for domain, shards in index.splits.get(split, {}).items():
                places = [Place(s, root, joined(root, s.name)) for s in shards if s.clips]
                if places:
                    found.setdefault(domain, []).extend(places)
        if not found:
            held = ", ".join(sorted({s for index in self.indexes for s in index.splits}))
            raise DataError(
                f"{self.where} has no clips for split {split}; it holds {held or 'nothing'}"
            )
        return dict(sorted(found.items()))

    def path(self, place: Place) -> Path:
        """The shard as a local file.

        Raises:
            OSError: there is no such shard.
            Missing: the same of a remote one, or it is not what the index says.
            DataError: it cannot be fetched now.
        """
        if place.local or self.cache is None:
            return Path(place.location)
        return self.cache.path(place.location, place.shard.bytes, place.shard.sha256)

    def keep(self, shards: int) -> None:
        """Hold so many remote shards at a time against deletion."""
        if self.cache is not None:
            self.cache.handles = shards

    def want(self, places: Sequence[Place]) -> None:
        """Have remote shards fetched in the background, in this order."""
        remote = [(p.location, p.shard.bytes, p.shard.sha256) for p in places if not p.local]
        if remote and self.cache is not None:
            self.cache.want(remote)


def _index(root: str, cache: Cache, allow_pipe: bool) -> Index:
    if is_local(root):
        return Index.load(root, allow_pipe=allow_pipe)
    try:
        content = cache.text(joined(root, INDEX_NAME), _LARGEST_INDEX)
    except Missing as error:
        raise DataError(
            f"no shards at {root}: {INDEX_NAME} {error}; "
            "copy there what `python -m data_prep` has made"
        ) from error
    name = f"{root.rstrip('/')}/{INDEX_NAME}"
    return Index.parse(content, Path(root), name, allow_pipe=allow_pipe)
