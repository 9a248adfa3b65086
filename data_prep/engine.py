"""How do the files of a recipe become shards, on all cores and the same on any number?"""

import itertools
import json
import multiprocessing
import shutil
import signal
from collections import Counter, deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import Executor, Future, ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import TypeVar

from rich.console import Console
from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    Progress,
    ProgressColumn,
    Task,
    TextColumn,
    TimeRemainingColumn,
)
from rich.text import Text

from audiosr.data.index import NAME, Index, Shard
from audiosr.errors import DataError, UsageError
from data_prep.clips import Drop, Encoded, Item, Plan, Settings, cut, plan
from data_prep.writer import ShardWriter

DROPPED = "dropped.jsonl"
"""Beside the index: a line for each thing left out, with `name`, `reason` and `detail`."""

_STAGING = ".building"
_T = TypeVar("_T")
_R = TypeVar("_R")


def prepare(
    items: Iterable[Item | Drop],
    out: Path,
    settings: Settings,
    *,
    recipe: str,
    command: str,
    workers: int,
    overwrite: bool = False,
) -> Index:
    """Write the shards, the list of what was left out, and last of all the index.

    Shards are built in a hidden folder inside `out` and moved when all are whole, so a run that
    fails leaves what was there. Where content is the same in two clips, the first in the order
    test, valid, train, then by domain and name, is kept.

    Args:
        items: the files of the corpus; a `Drop` is counted with the others.
        out: folder for the shards.
        settings: lengths, thresholds, size of a shard.
        recipe: for the index.
        command: for the index.
        workers: processes; 1 does all in this one.
        overwrite: whether shards in `out` are replaced.

    Raises:
        UsageError: there are shards in `out` already.
        DataError: no clip is left, or a worker process died.
    """
    if (out / NAME).exists() and not overwrite:
        raise UsageError(f"{out} holds shards already; choose another --out or give --overwrite")
    staging = out / _STAGING
    shutil.rmtree(staging, ignore_errors=True)
    staging.mkdir(parents=True)
    try:
        with _mapper(workers) as run, _progress() as progress, _Dropped(staging) as dropped:
            files = sorted(dropped.sift(items), key=_order)
            plans = run(partial(plan, settings=settings), files)
            plans = progress.track(plans, total=len(files), description="reading headers")
            work = list(itertools.chain.from_iterable(dropped.sift(plans)))
            splits = _write(staging, settings, work, run, progress, dropped)
        drops = dict(sorted(dropped.counts.items()))
        if not splits:
            counts = ", ".join(f"{count} {reason}" for reason, count in drops.items())
            raise DataError(f"no clip is left to write to {out}: {counts or 'no audio files'}")
        index = Index(out, splits, recipe, command, drops)
        _publish(staging, index)
        return index
    except BrokenProcessPool as error:
        raise DataError(
            "a worker process died, out of memory perhaps; try fewer with --workers"
        ) from error
    finally:
        shutil.rmtree(staging, ignore_errors=True)


class _Dropped:
    """Counts what is left out and lists it in `FOLDER/dropped.jsonl`."""

    def __init__(self, folder: Path) -> None:
        self.counts: Counter[str] = Counter()
        self._file = (folder / DROPPED).open("w", encoding="utf-8", errors="backslashreplace")

    def sift(self, found: Iterable[_T | Drop]) -> Iterator[_T]:
        """What is not a `Drop`, in its order."""
        for one in found:
            if isinstance(one, Drop):
                self.counts[one.reason] += 1
                self._file.write(json.dumps(vars(one), ensure_ascii=False) + "\n")
            else:
                yield one

    def __enter__(self) -> "_Dropped":
        return self

    def __exit__(self, *error: object) -> None:
        self._file.close()


def _write(
    folder: Path,
    settings: Settings,
    work: Sequence[Plan],
    run: "_Run",
    progress: Progress,
    dropped: _Dropped,
) -> dict[str, dict[str, tuple[Shard, ...]]]:
    """Cut `work`, which is in the order of its shards; returns those by split and domain."""
    bar = progress.add_task("cutting clips", total=sum(w.last - w.first for w in work))
    splits: dict[str, dict[str, tuple[Shard, ...]]] = {}
    seen: dict[str, str] = {}
    made = zip(work, run(partial(cut, settings=settings), work), strict=True)
    for (split, domain), group in itertools.groupby(made, lambda pair: _place(pair[0].item)):
        limit = settings.shard_mb * 1e6
        with ShardWriter(folder, split=split, domain=domain, limit_bytes=limit) as writer:
            for task, clips in group:
                for clip in dropped.sift(_unless_seen(clip, seen) for clip in clips):
                    writer.write(clip)
                progress.advance(bar, task.last - task.first)
        if writer.shards:
            splits.setdefault(split, {})[domain] = tuple(writer.shards)
    return splits


def _unless_seen(clip: Encoded | Drop, seen: dict[str, str]) -> Encoded | Drop:
    if isinstance(clip, Drop):
        return clip
    first = seen.setdefault(clip.meta["sha256"], clip.key)
    if first == clip.key:
        return clip
    return Drop(clip.meta["source_file"], "duplicate", f"same content as {first}")


def _place(item: Item) -> tuple[str, str]:
    return item.split, item.domain


def _order(item: Item) -> tuple[int, str, str, str]:
    first = ("test", "valid", "train")
    rank = first.index(item.split) if item.split in first else len(first)
    return rank, *_place(item), item.name


def _publish(staging: Path, index: Index) -> None:
    """Replace the shards of an earlier run by the new ones; while it lasts there is no index."""
    old = Index.load(index.root) if (index.root / NAME).exists() else None
    if old is not None:
        (index.root / NAME).unlink()
        for shard in _shards(old):
            (index.root / shard.name).unlink(missing_ok=True)
    for name in [DROPPED, *(shard.name for shard in _shards(index))]:
        target = index.root / name
        target.parent.mkdir(parents=True, exist_ok=True)
        (staging / name).replace(target)
    index.save()


def _shards(index: Index) -> Iterator[Shard]:
    for domains in index.splits.values():
        yield from itertools.chain.from_iterable(domains.values())


_Run = Callable[[Callable[[_T], _R], Iterable[_T]], Iterator[_R]]


@contextmanager
def _mapper(workers: int) -> Iterator[_Run]:
    """A `map` over processes that keeps the order and holds only a few results at a time."""
    if workers == 1:
        yield map
        return
    # Spawned, since a fork would copy the threads' locks of the progress bar and of libraries.
    context = multiprocessing.get_context("spawn")
    # Ctrl-C reaches the workers too; this process answers it for all.
    quiet = {"initializer": signal.signal, "initargs": (signal.SIGINT, signal.SIG_IGN)}
    with ProcessPoolExecutor(workers, mp_context=context, **quiet) as pool:
        try:
            yield partial(_ordered, pool, window=4 * workers)
        except BaseException:
            pool.shutdown(wait=True, cancel_futures=True)
            raise


def _ordered(
    pool: Executor, function: Callable[[_T], _R], tasks: Iterable[_T], *, window: int
) -> Iterator[_R]:
    waiting: deque[Future[_R]] = deque()
    for task in tasks:
        waiting.append(pool.submit(function, task))
        if len(waiting) >= window:
            yield waiting.popleft().result()
    while waiting:
        yield waiting.popleft().result()


class _Rate(ProgressColumn):
    def render(self, task: Task) -> Text:
        return Text(f"{task.speed:.1f}/s" if task.speed else "")


def _progress() -> Progress:
    console = Console(stderr=True)
    return Progress(
        TextColumn("{task.description:16}"),
        BarColumn(),
        MofNCompleteColumn(),
        _Rate(),
        TimeRemainingColumn(),
        console=console,
        disable=not console.is_terminal,
    )
