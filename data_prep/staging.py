"""Where are shards built, and how do they take the place of those of an earlier run?

In a hidden folder inside the one they are for, which one run at a time may use. It outlives a run
that is killed, so that the next one goes on from it.
"""

import itertools
import os
import shutil
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

from audiosr.errors import DataError, UsageError
from audiosr.files import locked
from audiosr.shards.index import INDEX_NAME, Index, Shard
from data_prep.workers import SPOOL

CLIPS = "clips.jsonl"
"""Beside the index: a line for each clip with what was measured, in the order of the shards."""

DROPPED = "dropped.jsonl"
"""Beside the index: a line for each thing left out, with `name`, `reason` and `detail`."""

REPORT_JSON = "report.json"
REPORT_HTML = "report.html"

BUILDING = ".building"
"""Name of the folder inside the one for the shards in which they are built."""


def refuse_to_replace(out: Path, overwrite: bool) -> None:
    """Raise `UsageError` where there are shards that must stay, or where there cannot be any."""
    try:
        there = (out / INDEX_NAME).exists()
    except OSError as error:  # a name too long, a folder that may not be entered
        raise _cannot_be_made(out, error) from error
    if there and not overwrite:
        raise UsageError(f"{out} holds shards already; choose another --out or give --overwrite")


@contextmanager
def staging(out: Path) -> Iterator[Path]:
    """The folder inside `out` where shards are built, locked against other runs.

    Raises:
        UsageError: the folder cannot be made, or another run is at work there.
        DataError: what is done in the `with` block fails for lack of room or access.
    """
    folder = out / BUILDING
    with ExitStack() as held:
        try:
            folder.mkdir(parents=True, exist_ok=True)
            held.enter_context(locked(folder / ".lock", wait=False))
        except BlockingIOError as error:
            raise UsageError(
                f"another run is writing to {out}; wait for it or choose another --out"
            ) from error
        except OSError as error:
            raise _cannot_be_made(out, error) from error
        for left in folder.glob(f"{SPOOL}*"):
            discard(left)
        try:
            yield folder
        except OSError as error:
            raise DataError(
                f"{out} cannot be written ({error}); make room or give access, then give the same "
                "command again"
            ) from error


def _cannot_be_made(out: Path, error: OSError) -> UsageError:
    return UsageError(f"{out} cannot be made ({error.strerror or error}); choose another --out")


def discard(folder: Path) -> None:
    """Remove the folder of `staging` with all in it."""
    shutil.rmtree(folder, ignore_errors=True)


def publish(folder: Path, index: Index) -> None:
    """Replace the shards of an earlier run by the new ones; while it lasts there is no index.

    A run that is killed in here can be done again: a shard keeps its name in `folder` until all are
    in place, and so does the index that is replaced.
    """
    before = folder / "replaced"
    if (index.root / INDEX_NAME).exists():
        before.mkdir(exist_ok=True)
        (index.root / INDEX_NAME).replace(before / INDEX_NAME)
    new = [shard.name for shard in shards(index)]
    for name in [DROPPED, CLIPS, REPORT_JSON, REPORT_HTML, *new]:
        target = index.root / name
        target.parent.mkdir(parents=True, exist_ok=True)
        if not link(folder / name, target):
            (folder / name).replace(target)
    if (before / INDEX_NAME).exists():
        for name in {shard.name for shard in shards(Index.load(before))} - set(new):
            (index.root / name).unlink(missing_ok=True)
    index.save()
    discard(folder)


def link(source: Path, target: Path) -> bool:
    """Give a file a second name in place of what has it; False where the file system cannot."""
    partial = target.with_name(f".{target.name}.partial")
    partial.unlink(missing_ok=True)
    try:
        os.link(source, partial)
    except OSError:
        return False
    partial.replace(target)
    partial.unlink(missing_ok=True)  # it stays where both are the same file
    return True


def shards(index: Index) -> Iterator[Shard]:
    """All shards of an index."""
    for domains in index.splits.values():
        yield from itertools.chain.from_iterable(domains.values())


def stem(split: str, domain: str, part: int | None = None) -> str:
    """What the names of the shards of a split and domain start with."""
    return f"{split}/{domain}-p{part:04d}" if part else f"{split}/{domain}"
