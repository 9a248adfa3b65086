"""How do the files of a recipe become shards, on all cores and the same on any number?

`prepare` is a chain of generators: files, clips, shards, journal; at the end the lists and the
index.
"""

import itertools
import json
import time
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any, TypeVar

from rich.console import Console

from audiosr.errors import DataError
from audiosr.progress import progress_bars
from audiosr.shards.index import Index, Shard, by_split
from audiosr.shards.writer import EncodedClip, ShardWriter
from data_prep import report
from data_prep.clips import Drop, Item, Settings, cut
from data_prep.journal import Entry, Journal, fingerprint
from data_prep.listing import ListedClip
from data_prep.sources import Part
from data_prep.staging import (
    BUILDING,
    CLIPS,
    DROPPED,
    discard,
    publish,
    refuse_to_replace,
    staging,
    stem,
)
from data_prep.workers import Run, pool

_SPLITS = ("test", "valid", "train")

_T = TypeVar("_T")


def prepare(
    items: Iterable[Item | Drop],
    out: Path,
    settings: Settings,
    *,
    recipe: str,
    command: str,
    workers: int | None,
    engine: str = "processes",
    part: Part | None = None,
    overwrite: bool = False,
) -> Index:
    """Write the shards, the lists of clips and of what was left out, the report, last the index.

    Shards are built in a hidden folder inside `out` and put in place when all are whole, so a run
    that fails leaves what was there. One that is killed leaves its finished shards in that folder;
    the same work goes on from them, to the same bytes. Where the samples of two clips are the same,
    the first in the order test, valid, train, then by domain and name, is kept.

    Args:
        items: the files of the corpus; a `Drop` is counted with the others.
        out: folder for the shards.
        settings: lengths, thresholds, size of a shard.
        recipe: for the index.
        command: for the index.
        workers: files at a time; None: one per core, 1: all in this process.
        engine: one of `workers.ENGINES`.
        part: which share of the files to do; None: all.
        overwrite: whether shards in `out` are replaced.

    Raises:
        UsageError: there are shards in `out` already, or another run is at work there.
        DataError: no clip is left (a part may be without), a worker died, or `out` is full.
    """
    refuse_to_replace(out, overwrite)
    runner = pool(engine, workers, out / BUILDING)
    found = list(items)
    files = sorted((item for item in found if isinstance(item, Item)), key=_order)
    drops = [drop for drop in found if isinstance(drop, Drop)]
    job = fingerprint(files, settings, recipe, times=True, part=str(part))
    corpus = fingerprint(files, settings, recipe, times=False)
    if part is not None:
        files, drops = part.share(files), part.share(drops)
    with staging(out) as folder:
        with Journal(folder, job) as journal:
            _say_how_it_starts(journal, out)
            resumed = len(journal.entries)
            start = time.monotonic()
            with runner as run, progress_bars() as progress, _Dropped(folder) as dropped:
                dropped.add(drops)
                bar = progress.add_task("cutting files", total=len(files))
                progress.advance(bar, journal.position[0])
                advance = partial(progress.advance, bar)
                clips = _cut(files, journal.position, settings, run, advance)
                clips = _without_repeats(clips, journal)
                dropped.add(drop for entry in journal.entries for drop in entry.drops)
                for entry in dropped.sift(_written(clips, folder, settings, part, journal)):
                    journal.append(entry)
                    dropped.add(entry.drops)
        counts = dict(sorted(dropped.counts.items()))
        placed = (((entry.split, entry.domain), entry.shard) for entry in journal.entries)
        index = Index(out, by_split(placed), recipe, command, counts)
        if not journal.entries and part is None:
            discard(folder)
            said = ", ".join(f"{count} {reason}" for reason, count in counts.items())
            raise DataError(f"no clip is left to write to {out}: {said or 'no audio files'}")
        write_lines(folder / CLIPS, journal.clips())
        made = [entry.shard for entry in journal.entries[resumed:]]
        throughput = report.Throughput(
            seconds=round(time.monotonic() - start, 1),
            clips=sum(shard.clips for shard in made),
            hours=sum(shard.seconds for shard in made) / 3600,
            engine=engine,
            workers=workers,
            resumed_shards=resumed,
        )
        origin = report.Origin(corpus=corpus, part=str(part) if part else None)
        report.write_data_report(folder, index, settings, origin, [throughput])
        publish(folder, index)
    return index


def write_lines(path: Path, lines: Iterable[Mapping[str, Any]]) -> None:
    """Write one JSON object a line."""
    with path.open("w", encoding="utf-8", errors="backslashreplace") as file:
        for line in lines:
            file.write(json.dumps(line, ensure_ascii=False) + "\n")


def order_of_split(split: str) -> tuple[int, str]:
    """Evaluation before training, so that content found twice is kept for the former."""
    return _SPLITS.index(split) if split in _SPLITS else len(_SPLITS), split


class _Dropped:
    """Counts what is left out and lists it in `FOLDER/dropped.jsonl`."""

    def __init__(self, folder: Path) -> None:
        self.counts: Counter[str] = Counter()
        self._file = (folder / DROPPED).open("w", encoding="utf-8", errors="backslashreplace")

    def add(self, drops: Iterable[Drop]) -> None:
        for drop in drops:
            self.counts[drop.reason] += 1
            self._file.write(json.dumps(vars(drop), ensure_ascii=False) + "\n")

    def sift(self, found: Iterable[_T | Drop]) -> Iterator[_T]:
        """What is not a `Drop`, in its order."""
        for one in found:
            if isinstance(one, Drop):
                self.add([one])
            else:
                yield one

    def __enter__(self) -> "_Dropped":
        return self

    def __exit__(self, *error: object) -> None:
        self._file.close()


@dataclass(frozen=True)
class _Outcome:
    """What became of one clip of a file."""

    item: Item
    made: EncodedClip | Drop
    file: int
    """Number of the file."""
    clip: int
    """Number of the outcome in it."""


def _cut(
    files: Sequence[Item],
    begin: tuple[int, int],
    settings: Settings,
    run: Run,
    advance: Callable[[int], None],
) -> Iterator[_Outcome]:
    """The clips of `files` from the position `begin`, in their order."""
    first, _ = begin
    rest = files[first:]
    made = run(partial(cut, settings=settings), rest)
    for number, (item, outcomes) in enumerate(zip(rest, made, strict=True), start=first):
        for count, outcome in enumerate(outcomes):
            if (number, count) >= begin:
                yield _Outcome(item, outcome, number, count)
        advance(1)


def _without_repeats(clips: Iterable[_Outcome], journal: Journal) -> Iterator[_Outcome]:
    """A clip whose samples have come before, in this run or in the journal, becomes a drop."""
    listed = map(ListedClip.parse, journal.clips())
    seen = {clip.meta.samples_sha256: clip.key for clip in listed}
    for one in clips:
        if isinstance(one.made, EncodedClip):
            meta = one.made.meta
            first = seen.setdefault(meta.samples_sha256, one.made.key)
            if first != one.made.key:
                again = Drop(meta.source_file, "duplicate", f"same samples as {first}")
                one = replace(one, made=again)
        yield one


def _written(
    clips: Iterable[_Outcome],
    folder: Path,
    settings: Settings,
    part: Part | None,
    journal: Journal,
) -> Iterator[Entry | Drop]:
    """Write the clips; an entry for each shard that is whole, then the drops after the last."""
    begun = Counter((entry.split, entry.domain) for entry in journal.entries)
    since: list[EncodedClip | Drop] = []
    for place, group in itertools.groupby(clips, lambda one: (one.item.split, one.item.domain)):
        name, limit = stem(*place, part=part.number if part else None), settings.shard_mb * 1e6
        with ShardWriter(folder, name, limit_bytes=limit, number=begun[place]) as writer:
            position = (0, 0)
            for one in group:
                position = (one.file + 1, 0)
                written = None
                if isinstance(one.made, EncodedClip):
                    written = writer.write(one.made)
                    since.append(replace(one.made, audio=b""))
                else:
                    since.append(one.made)
                if written is not None:
                    yield _entry(place, written, since, (one.file, one.clip + 1))
                    since = []
            if shard := writer.close():
                yield _entry(place, shard, since, position)
                since = []
    yield from (one for one in since if isinstance(one, Drop))


def _entry(
    place: tuple[str, str],
    shard: Shard,
    since: Sequence[EncodedClip | Drop],
    position: tuple[int, int],
) -> Entry:
    """What the journal says of a shard, of its clips and of the drops since the shard before."""
    made = [one for one in since if isinstance(one, EncodedClip)]
    clips = [ListedClip(place[0], shard.name, one.key, one.meta).line() for one in made]
    drops = [one for one in since if isinstance(one, Drop)]
    return Entry(*place, shard, clips, drops, position)


def _order(item: Item) -> tuple[int, str, str, str]:
    return *order_of_split(item.split), item.domain, item.name


def _say_how_it_starts(journal: Journal, out: Path) -> None:
    console = Console(stderr=True)
    if journal.entries:
        clips = sum(entry.shard.clips for entry in journal.entries)
        text = f"going on after {len(journal.entries)} shards ({clips} clips) of a broken-off run"
        console.print(text, soft_wrap=True)
    elif journal.discarded:
        text = f"the broken-off run in {out} had other files or settings; starting afresh"
        console.print(text, soft_wrap=True)
