"""What lies in a folder of shards? `index.json` says it, and the tar headers say where.

A folder holds `SPLIT/DOMAIN-000000.tar` in the WebDataset layout: a clip is the members
`KEY.flac` and `KEY.json`. The index counts them, so that a clip can be drawn by number without
opening any shard.
"""

import json
import os
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, field, fields
from pathlib import Path, PurePosixPath
from typing import Any, TypeVar

from audiosr.errors import DataError
from audiosr.files import atomic_path

INDEX_SCHEMA = 1
"""Version of the layout of `index.json`."""

INDEX_NAME = "index.json"

_Shard = TypeVar("_Shard")


@dataclass(frozen=True)
class Shard:
    """One tar file."""

    name: str
    """Path below the folder of the index, with forward slashes."""
    clips: int
    bytes: int
    seconds: float
    sha256: str


@dataclass(frozen=True)
class Index:
    """The contents of `index.json` in the folder `root`."""

    root: Path
    splits: Mapping[str, Mapping[str, Sequence[Shard]]]
    """Split to domain to its shards, in the order of their names."""
    recipe: str = ""
    command: str = ""
    drops: Mapping[str, int] = field(default_factory=dict)
    """Clips and files that were left out, by reason."""

    @classmethod
    def load(cls, root: str | os.PathLike[str]) -> "Index":
        """Read `index.json` in the folder `root`.

        Raises:
            DataError: no index there, not one of ours, of another version, or naming a path
                outside.
        """
        root = Path(root)
        path = root / INDEX_NAME
        try:
            text = path.read_bytes()
        except (FileNotFoundError, NotADirectoryError) as error:
            raise DataError(
                f"no shards at {root}: run `make demo` or "
                f"`python -m data_prep folder --source DIR --out {root}`"
            ) from error
        except OSError as error:
            raise DataError(f"{path} cannot be read ({error}); prepare the shards again") from error
        return cls.parse(text, root, str(path))

    @classmethod
    def parse(cls, text: bytes, root: Path, name: str) -> "Index":
        """The index `text` of the folder `root`, in messages `name`; raises as `load` does."""
        try:
            content = json.loads(text)
        except (ValueError, RecursionError) as error:
            raise DataError(f"{name} cannot be read ({error}); prepare the shards again") from error
        try:
            if content["schema"] != INDEX_SCHEMA:
                raise DataError(
                    f"{name} has schema {content['schema']}, this version reads {INDEX_SCHEMA}; "
                    "prepare the shards again"
                )
            splits = {
                split: {
                    domain: tuple(_shard(entry) for entry in entries)
                    for domain, entries in domains.items()
                }
                for split, domains in content["splits"].items()
            }
            recipe, command = str(content["recipe"]), str(content["command"])
            return cls(root, splits, recipe, command, dict(content["drops"]))
        except (KeyError, TypeError, ValueError, AttributeError, OverflowError) as error:
            raise DataError(
                f"{name} is not an index of shards ({type(error).__name__}: {error}); "
                "prepare the shards again"
            ) from error

    def save(self) -> None:
        """Write `root/index.json` under a temporary name, then rename it."""
        content: dict[str, Any] = {
            "schema": INDEX_SCHEMA,
            "recipe": self.recipe,
            "command": self.command,
            "splits": {
                split: {
                    domain: [asdict(shard) for shard in shards]
                    for domain, shards in domains.items()
                }
                for split, domains in self.splits.items()
            },
            "drops": dict(self.drops),
        }
        with atomic_path(self.root / INDEX_NAME) as partial:
            text = json.dumps(content, indent=1, ensure_ascii=False)
            partial.write_text(text, encoding="utf-8", errors="backslashreplace")

    def clips(self, split: str) -> int:
        """Number of clips in `split`; 0 where there is no such split."""
        domains = self.splits.get(split, {})
        return sum(shard.clips for shards in domains.values() for shard in shards)


def by_split(
    placed: Iterable[tuple[tuple[str, str], _Shard]],
) -> dict[str, dict[str, tuple[_Shard, ...]]]:
    """Split to domain to its shards, in their order, from shards that come with both."""
    splits: dict[str, dict[str, list[_Shard]]] = {}
    for (split, domain), shard in placed:
        splits.setdefault(split, {}).setdefault(domain, []).append(shard)
    return {
        split: {domain: tuple(shards) for domain, shards in domains.items()}
        for split, domains in splits.items()
    }


def _shard(entry: Mapping[str, Any]) -> Shard:
    shard = Shard(**{f.name: f.type(entry[f.name]) for f in fields(Shard)})  # pyright: ignore
    if shard.clips < 0 or shard.bytes < 0:
        raise ValueError(f"shard {shard.name!r} with {shard.clips} clips, {shard.bytes} bytes")
    name = PurePosixPath(shard.name)
    if ":" in shard.name or name.is_absolute() or ".." in name.parts:
        raise ValueError(f"shard name {shard.name!r} is not a path below the folder")
    return shard
