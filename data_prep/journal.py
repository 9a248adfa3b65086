"""What has a run done already that was killed? A line on the disk for each shard says it.

A line is written when its shard is on the disk, and is on the disk itself before the next shard is
begun. So whatever is listed is whole, and what is not listed is made again.
"""

import hashlib
import json
import os
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import av
import numpy as np
import soundfile
import soxr

from audiosr.files import atomic_path
from audiosr.shards.index import Shard
from data_prep.clips import Drop, Item, Settings

JOURNAL_NAME = "journal.jsonl"

_SCHEMA = 3
"""Raise with any change of what is measured or how clips are cut, so that no run mixes both."""


@dataclass(frozen=True)
class Entry:
    """A finished shard and all that was decided up to it since the one before."""

    split: str
    domain: str
    shard: Shard
    clips: Sequence[Mapping[str, Any]]
    """Facts of the clips in it (`engine.facts`)."""
    drops: Sequence[Drop]
    position: tuple[int, int]
    """Where to go on: number of the file, and of the outcome in it."""

    @classmethod
    def parse(cls, line: str) -> "Entry":
        """Read what `line` wrote; raises ValueError, KeyError or TypeError for anything else."""
        content = json.loads(line)
        shard, drops = Shard(**content["shard"]), [Drop(**drop) for drop in content["drops"]]
        task, outcome = content["position"]
        clips = [dict(clip) for clip in content["clips"]]
        return cls(content["split"], content["domain"], shard, clips, drops, (task, outcome))

    def line(self) -> str:
        """One line of JSON."""
        return json.dumps(asdict(self))


class Journal:
    """The finished shards of a run that is under way in a folder.

    Args:
        folder: where the shards are built.
        job: fingerprint of the work. A journal of other work is thrown away with its shards.
    """

    def __init__(self, folder: Path, job: str) -> None:
        self.path = folder / JOURNAL_NAME
        self.entries: list[Entry] = []
        """The shards so far, without their clips, which are many: see `clips`."""
        head = json.dumps({"schema": _SCHEMA, "job": job})
        # Written anew, since the last line may be cut short.
        with atomic_path(self.path) as partial, partial.open("w", encoding="utf-8") as file:
            file.write(head + "\n")
            for entry in _whole(self.path, head, folder):
                file.write(entry.line() + "\n")
                self.entries.append(replace(entry, clips=()))
        others = _others(folder, {entry.shard.name for entry in self.entries})
        self.discarded = bool(others) and not self.entries
        """Whether all that was found in the folder was of no use."""
        for path in others:
            path.unlink()
        self._file = self.path.open("a", encoding="utf-8")
        self._sync()

    @property
    def position(self) -> tuple[int, int]:
        """Where the work goes on."""
        return self.entries[-1].position if self.entries else (0, 0)

    def append(self, entry: Entry) -> None:
        """Add a shard that is on the disk; the line is there too when this returns."""
        self._file.write(entry.line() + "\n")
        self._sync()
        self.entries.append(replace(entry, clips=()))

    def clips(self) -> Iterator[Mapping[str, Any]]:
        """Facts of all clips in the finished shards, in their order."""
        with self.path.open(encoding="utf-8") as file:
            next(file)
            for line in file:
                yield from Entry.parse(line).clips

    def __enter__(self) -> "Journal":
        return self

    def __exit__(self, *error: object) -> None:
        self._file.close()

    def _sync(self) -> None:
        self._file.flush()
        os.fsync(self._file.fileno())


def fingerprint(
    files: Sequence[Item], settings: Settings, recipe: str, *, times: bool, part: str = ""
) -> str:
    """Hash of what decides the bytes of the shards.

    Args:
        files: all files of the job, in their order.
        settings: how they are cut.
        recipe: its name.
        times: whether the files' times of change count, which a copy on another machine may not
            share, and the versions of the libraries that decode, resample and encode.
        part: which share of the files is done.
    """
    digest = hashlib.sha256()

    def add(*values: object) -> None:
        digest.update(json.dumps([str(value) for value in values]).encode() + b"\n")

    add(_SCHEMA, recipe, part)
    for name, value in asdict(settings).items():
        add(name, float(value))
    if times:
        add(av.ffmpeg_version_info, soxr.__version__)
        add(soundfile.__libsndfile_version__, np.__version__)
    for item in files:
        try:
            found = item.path.stat()
            state = (found.st_size, found.st_mtime_ns if times else "")
        except OSError:
            state = ("missing", "")
        add(item.name, item.split, item.domain, item.source, item.licence, item.seconds, *state)
    return digest.hexdigest()


def _whole(path: Path, head: str, folder: Path) -> Iterator[Entry]:
    """Entries after the line `head`, up to one that is cut short or whose shard is not there."""
    try:
        with path.open(encoding="utf-8") as file:
            if file.readline().rstrip("\n") != head:
                return
            for line in file:
                entry = Entry.parse(line)
                if (folder / entry.shard.name).stat().st_size != entry.shard.bytes:
                    return
                yield entry
    except (ValueError, KeyError, TypeError, OSError):
        return


def _others(folder: Path, keep: set[str]) -> list[Path]:
    shards = sorted(folder.rglob("*.tar"))
    return [path for path in shards if path.relative_to(folder).as_posix() not in keep]
