"""What lies in a folder of shards? `index.json` says it, and the tar headers say where.

A folder holds `SPLIT/DOMAIN-000000.tar` in the WebDataset layout: a clip is the members
`KEY.flac` and `KEY.json`. The index counts them, so that a clip can be drawn by number without
opening any shard.
"""

import json
import os
import tarfile
import uuid
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field, fields
from pathlib import Path, PurePosixPath
from typing import Any

from audiosr.errors import DataError

SCHEMA = 1
"""Version of the layout of `index.json`."""

NAME = "index.json"

AUDIO_MEMBERS = (".flac", ".wav", ".ogg", ".mp3")
"""Endings of the members that are decoded as audio; beside them only `.json` is read."""


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
class Member:
    """Where one clip lies in its shard."""

    key: str
    audio: tuple[int, int]
    """Offset and size in bytes of the encoded audio."""
    meta: tuple[int, int]
    """The same of the JSON."""


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
        """Read `root/index.json`.

        Raises:
            DataError: no index there, not one of ours, of another version, or naming a path
                outside.
        """
        root = Path(root)
        path = root / NAME
        try:
            text = json.loads(path.read_text(encoding="utf-8"))
        except (FileNotFoundError, NotADirectoryError) as error:
            raise DataError(
                f"no shards at {root}: run `make demo` or "
                f"`python -m data_prep folder --source DIR --out {root}`"
            ) from error
        except (OSError, ValueError) as error:
            raise DataError(f"{path} cannot be read ({error}); prepare the shards again") from error
        try:
            if text["schema"] != SCHEMA:
                raise DataError(
                    f"{path} has schema {text['schema']}, this version reads {SCHEMA}; "
                    "prepare the shards again"
                )
            splits = {
                split: {
                    domain: tuple(_shard(entry) for entry in entries)
                    for domain, entries in domains.items()
                }
                for split, domains in text["splits"].items()
            }
            return cls(root, splits, str(text["recipe"]), str(text["command"]), dict(text["drops"]))
        except (KeyError, TypeError, ValueError, AttributeError) as error:
            raise DataError(
                f"{path} is not an index of shards ({type(error).__name__}: {error}); "
                "prepare the shards again"
            ) from error

    def save(self) -> None:
        """Write `root/index.json` under a temporary name, then rename it."""
        content: dict[str, Any] = {
            "schema": SCHEMA,
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
        partial = self.root / f".{NAME}-{uuid.uuid4().hex[:8]}.partial"
        with partial.open("w", encoding="utf-8") as file:
            json.dump(content, file, indent=1, ensure_ascii=False)
            file.flush()
            os.fsync(file.fileno())
        partial.replace(self.root / NAME)

    def domains(self, split: str) -> Mapping[str, Sequence[Shard]]:
        """Domains of `split` that hold clips, sorted by name.

        Raises:
            DataError: there is no clip in the split.
        """
        found = {
            domain: shards
            for domain, shards in sorted(self.splits.get(split, {}).items())
            if sum(shard.clips for shard in shards)
        }
        if not found:
            held = ", ".join(sorted(self.splits)) or "nothing"
            raise DataError(f"{self.root / NAME} has no clips for split {split}; it holds {held}")
        return found

    def clips(self, split: str) -> int:
        """Number of clips in `split`; 0 where there is no such split."""
        domains = self.splits.get(split, {})
        return sum(shard.clips for shards in domains.values() for shard in shards)


def members(path: Path) -> list[Member]:
    """The clips of a shard in its order: every key that has both audio and JSON.

    Only headers are read. Nothing is unpacked, so names that point outside do no harm; links and
    members with other endings are passed over. Where a broken shard ends early, the clips before
    that are returned.

    Raises:
        OSError: the shard cannot be opened.
    """
    audio: dict[str, tuple[int, int]] = {}
    meta: dict[str, tuple[int, int]] = {}
    size = path.stat().st_size
    try:
        with tarfile.open(path, "r:") as tar:
            for entry in tar:
                name, end = PurePosixPath(entry.name), entry.offset_data + entry.size
                if not entry.isreg() or end > size:
                    continue
                place = (entry.offset_data, entry.size)
                if name.suffix in AUDIO_MEMBERS:
                    audio.setdefault(str(name.with_suffix("")), place)
                elif name.suffix == ".json":
                    meta.setdefault(str(name.with_suffix("")), place)
    except (tarfile.TarError, EOFError, ValueError, OverflowError):
        pass  # what a broken header says; the shard ends here
    return [Member(key, place, meta[key]) for key, place in audio.items() if key in meta]


def _shard(entry: Mapping[str, Any]) -> Shard:
    shard = Shard(**{f.name: f.type(entry[f.name]) for f in fields(Shard)})  # pyright: ignore
    name = PurePosixPath(shard.name)
    if name.is_absolute() or ".." in name.parts:
        raise ValueError(f"shard name {shard.name!r} is not a path below the folder")
    if shard.clips < 0:
        raise ValueError(f"shard {shard.name} with {shard.clips} clips")
    return shard
