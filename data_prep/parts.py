"""How do the parts of a job, or several corpora, become one folder of shards?

Shards are linked where the file system can, else copied; the parts stay as they are. Only a shard
with clips that an earlier part has too is written again, without them.
"""

import itertools
import math
import shutil
import tarfile
from collections import Counter, defaultdict
from collections.abc import Container, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from audiosr.errors import DataError
from audiosr.shards.index import Index, Shard, by_split
from audiosr.shards.meta import Meta
from audiosr.shards.writer import EncodedClip, ShardWriter, shard_name
from data_prep import report
from data_prep.clips import Drop, Settings
from data_prep.engine import order_of_split, write_lines
from data_prep.listing import ListedClip
from data_prep.sources import ShardFolder, find_roots, read_source, refuse_incomplete
from data_prep.staging import (
    CLIPS,
    DROPPED,
    discard,
    link,
    publish,
    refuse_to_replace,
    staging,
    stem,
)

_Place = tuple[str, str]

_Name = tuple[int, str, str]
"""Number of the source, shard in it and key: a key alone may repeat among the shards of a source,
since two of what was joined to it may each have had, say, a `train/speech/a.wav`.
"""

_Found = tuple[int, ListedClip]
"""Number of the source and a clip in it."""


@dataclass(frozen=True)
class _Joined:
    place: _Place
    source: int
    before: str
    """Name of the shard there."""
    made: Shard


def merge(folders: Sequence[Path], out: Path, *, command: str, overwrite: bool = False) -> Index:
    """Join folders of shards into one, with their lists, drops and reports.

    Of clips with the same samples the first is kept, in the order test, valid, train, then by
    domain and name of file, as one run over all files would have done. The others are left out as
    duplicates.

    Args:
        folders: each a folder of shards, or a folder that holds such folders.
        out: folder for the shards.
        command: for the index.
        overwrite: whether shards in `out` are replaced.

    Raises:
        UsageError: no shards there, parts of a job are missing or given twice, or there are shards
            in `out` already.
        DataError: a folder does not hold what its lists say, or no clip is left.
    """
    refuse_to_replace(out, overwrite)
    sources = [read_source(root) for root in find_roots(folders, out)]
    sources.sort(key=lambda source: (source.corpus, source.part.number if source.part else 0))
    refuse_incomplete(sources)
    try:
        twice = _duplicates(sources)
        with staging(out) as folder:
            for path in folder.rglob("*.tar"):  # of a run that broke off
                path.unlink()
            joined = _join(sources, twice, folder)
            if not joined:
                discard(folder)
                raise DataError(f"no clip is left to write to {out}: the parts hold none")
            drops = Counter({"duplicate": len(twice)} if twice else {})
            for source in sources:
                drops.update(source.index.drops)
            recipe = "+".join(sorted({source.index.recipe for source in sources}))
            splits = by_split((one.place, one.made) for one in joined)
            index = Index(out, splits, recipe, command, dict(sorted(drops.items())))
            write_lines(folder / CLIPS, _clips(sources, joined, twice))
            write_lines(folder / DROPPED, _dropped(sources, twice))
            _report(folder, index, sources)
            publish(folder, index)
    except OSError as error:
        raise DataError(f"the folders cannot be joined: {error}; prepare them again") from error
    return index


def _duplicates(sources: Sequence[ShardFolder]) -> dict[_Name, Drop]:
    """Clips to leave out."""
    first: dict[str, _Found] = {}
    again: list[_Found] = []
    for number, source in enumerate(sources):
        for clip in source.clips():
            found = number, clip
            other = first.setdefault(clip.meta.samples_sha256, found)
            if other is not found:
                kept, left = sorted((other, found), key=_order)
                first[clip.meta.samples_sha256] = kept
                again.append(left)
    return {
        (number, clip.shard, clip.key): Drop(
            clip.meta.source_file,
            "duplicate",
            f"same samples as {first[clip.meta.samples_sha256][1].key}",
        )
        for number, clip in again
    }


def _order(found: _Found) -> tuple[Any, ...]:
    """As the engine orders files; of files with one name, the first folder comes first."""
    number, clip = found
    meta = clip.meta
    split = order_of_split(clip.split)
    return *split, meta.domain, meta.source_file, meta.source_start, number


def _join(sources: Sequence[ShardFolder], twice: Iterable[_Name], folder: Path) -> list[_Joined]:
    """Link, copy or write again every shard into `folder`, numbered anew."""
    left_out: dict[tuple[int, str], set[str]] = defaultdict(set)
    for number, name, key in twice:
        left_out[number, name].add(key)
    joined: list[_Joined] = []
    counts: Counter[_Place] = Counter()
    for place in _places(sources):
        for number, source in enumerate(sources):
            for shard in source.index.splits.get(place[0], {}).get(place[1], ()):
                keys = left_out[number, shard.name]
                if len(keys) == shard.clips:
                    continue
                path, name = source.root / shard.name, stem(*place)
                if keys:
                    made = _without(path, keys, folder, name, counts[place])
                else:
                    made = replace(shard, name=shard_name(name, counts[place]))
                    target = folder / made.name
                    target.parent.mkdir(parents=True, exist_ok=True)
                    if not link(path, target):
                        shutil.copyfile(path, target)
                counts[place] += 1
                joined.append(_Joined(place, number, shard.name, made))
    return joined


def _without(path: Path, keys: set[str], folder: Path, name: str, number: int) -> Shard:
    """Write a shard again without the clips `keys`."""
    with (
        tarfile.open(path, "r:") as tar,
        ShardWriter(folder, name, limit_bytes=math.inf, number=number) as writer,
    ):
        content = {entry.name: entry for entry in tar}
        for entry in content.values():
            key, _, suffix = entry.name.rpartition(".")
            if suffix == "flac" and key not in keys:
                audio = _read(tar, entry)
                meta = _read(tar, content[f"{key}.json"])
                writer.write(EncodedClip(key, audio, Meta.parse(meta)))
        shard = writer.close()
    assert shard is not None
    return shard


def _read(tar: tarfile.TarFile, entry: tarfile.TarInfo) -> bytes:
    file = tar.extractfile(entry)
    assert file is not None
    return file.read()


def _places(sources: Sequence[ShardFolder]) -> list[_Place]:
    found = {
        (s, d) for source in sources for s, domains in source.index.splits.items() for d in domains
    }
    return sorted(found, key=lambda place: (order_of_split(place[0]), place[1]))


def _clips(
    sources: Sequence[ShardFolder], joined: Sequence[_Joined], twice: Container[_Name]
) -> Iterator[Mapping[str, Any]]:
    """Lines of `clips.jsonl`, in the order of the new shards."""
    names = {(one.source, one.before): one.made.name for one in joined}
    for (place, number), _ in itertools.groupby(joined, lambda one: (one.place, one.source)):
        for clip in sources[number].clips():
            here = (clip.split, clip.meta.domain) == place
            if here and (number, clip.shard, clip.key) not in twice:
                yield replace(clip, shard=names[number, clip.shard]).line()


def _dropped(
    sources: Sequence[ShardFolder], twice: Mapping[_Name, Drop]
) -> Iterator[Mapping[str, Any]]:
    for source in sources:
        yield from report.read_lines(source.root / DROPPED)
    yield from (vars(drop) for drop in twice.values())


def _report(folder: Path, index: Index, sources: Sequence[ShardFolder]) -> None:
    settings = sources[0].settings
    alike = settings is not None and all(source.settings == settings for source in sources)
    corpora = {source.corpus for source in sources}
    origin = report.Origin(corpora.pop(), None) if len(corpora) == 1 and "" not in corpora else None
    runs = [report.Throughput(**run) for source in sources for run in source.runs]
    report.write_data_report(
        folder, index, Settings(**settings) if settings and alike else None, origin, runs
    )
