"""Free speech, music and effects out of Debian packages: the open corpus for anyone.

The table debian.tsv beside this module names the packages, which of their files are taken, and
the split of each source. They are fetched with `apt-get download`, which checks them, and
unpacked below --cache; nothing is installed and no root is needed. The whole list is 5.2 GB
to fetch and 12 GB unpacked and gives about 13 hours of train; --max-package-mb 300 leaves out the
two largest.

Files below 5.12 s, single words and single hits, are joined with others of their source to clips
of up to 10 s, words only with words of the same speaker.
"""

import hashlib
import json
from argparse import ArgumentParser, Namespace
from collections import defaultdict
from collections.abc import Iterable, Iterator
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path

import av

from audiosr.errors import DataError, UsageError
from audiosr.files import atomic_path
from data_prep.clips import Drop, Item
from data_prep.fetch.download import kept_folder, say
from data_prep.recipes.debian.licences import Copyright
from data_prep.recipes.debian.packages import (
    Package,
    PackageSource,
    audio_files,
    extract,
    fetch_package,
    read_table,
)
from data_prep.recipes.debian.pieces import PackagePiece, group, join, joined_seconds, measure_file
from data_prep.workers import pool

_TABLE = Path(__file__).with_name("debian.tsv")

_MEASURE = 4
"""Raise with any change of what `measure` finds, so that what was measured before is not used."""

_LEAST_SECONDS = 1.0
_FIRST = {"test": 0, "valid": 1, "train": 2}
"""Of two files with the same content the one in the first of these splits is kept."""


@dataclass(frozen=True)
class Unit:
    """A long file, or several short ones that make one clip."""

    name: str
    pieces: tuple[PackagePiece, ...]
    seconds: float

    @property
    def path(self) -> Path:
        """The long file itself."""
        return Path(self.pieces[0].path)


def add_arguments(parser: ArgumentParser) -> None:
    """The options of this recipe."""
    parser.add_argument(
        "--cache",
        metavar="DIR",
        type=Path,
        help="packages and what is made of them are kept here (default: ~/.cache/audiosr/debian)",
    )
    for name, default, split in (("max", 30.0, "train"), ("eval", 2.0, "valid and test")):
        parser.add_argument(
            f"--{name}-minutes-per-source",
            metavar="MIN",
            type=float,
            default=default,
            help=f"at most so much of one source goes into {split} (default: %(default)g)",
        )
    parser.add_argument(
        "--max-package-mb", metavar="MB", type=float, help="larger packages are not fetched"
    )


def items(args: Namespace) -> Iterator[Item | Drop]:
    """Fetch the packages of the table and give what they hold, source by source."""
    if min(args.max_minutes_per_source, args.eval_minutes_per_source) <= 0:
        raise UsageError("the minutes per source must be above 0")
    cache = kept_folder(args.cache, "debian")
    sources = [
        source
        for source in sorted(read_table(_TABLE), key=lambda source: _FIRST[source.split])
        if args.max_package_mb is None or source.megabytes <= args.max_package_mb
    ]
    if not sources:
        raise UsageError(f"--max-package-mb {args.max_package_mb:g} leaves no package of the list")
    packages, missing = _fetch_all(sources, cache)
    yield from missing
    sources = [source for source in sources if source.package in packages]
    copyrights = {name: Copyright.load(one.root, name) for name, one in packages.items()}
    look = partial(_measured, cache=cache, min_bandwidth=args.min_bandwidth)
    # Processes of this machine, where the packages lie, whatever --engine cuts the clips.
    with pool("processes", args.workers) as run:
        say(f"measuring the files of {len(sources)} sources")
        tasks = [(source, packages[source.package]) for source in sources]
        found = [list(pieces) for pieces in run(look, tasks)]
        kept: list[tuple[PackageSource, Unit, float | None]] = []
        seen: dict[str, str] = {}
        for source, pieces in zip(sources, found, strict=True):
            units: list[Unit] = []
            for unit in _units(source, pieces, seen):
                if isinstance(unit, Drop):
                    yield unit
                else:
                    units.append(unit)
            train = source.split == "train"
            minutes = args.max_minutes_per_source if train else args.eval_minutes_per_source
            for unit, seconds in limited(units, minutes * 60, args.clip_seconds):
                if seconds == 0:
                    yield Drop(unit.name, "over the source's minutes", f"{unit.seconds:.1f} s")
                else:
                    kept.append((source, unit, seconds))
        joined = [unit for _, unit, _ in kept if unit.pieces[0].short]
        say(f"joining short files to {len(joined)} clips")
        for made in run(partial(_join, cache), joined):
            list(made)
    for source, unit, seconds in kept:
        path = _place(cache, unit) if unit.pieces[0].short else unit.path
        of = partial(copyrights[source.package].of, known=source.licence)
        prefix = f"{source.package}/"
        licences = sorted({of(piece.name.removeprefix(prefix)) for piece in unit.pieces})
        licence = " and ".join(licences)
        yield Item(path, unit.name, source.split, source.domain, source.source, licence, seconds)


def limited(
    units: Iterable[Unit], limit: float, clip_seconds: float
) -> Iterator[tuple[Unit, float | None]]:
    """Choose `limit` seconds: each unit with how much of it is used (None: all, 0: nothing).

    Long files are shortened alike, to whole clips, so that many are heard; where not every one
    can give a clip, those whose names hash lowest do.
    """
    units = list(units)
    rest, level = limit, clip_seconds
    lengths = sorted(unit.seconds for unit in units)
    for at, length in enumerate(lengths):
        level = rest / (len(lengths) - at)
        if length > level:
            break
        rest -= length
    else:
        level = max(lengths, default=0)
    level = max(1, -(-level // clip_seconds)) * clip_seconds
    rest = limit
    for unit in sorted(units, key=lambda unit: hashlib.sha256(unit.name.encode()).digest()):
        use = min(unit.seconds, level, rest)
        if use < _LEAST_SECONDS or (unit.pieces[0].short and use < unit.seconds):
            yield unit, 0
            continue
        rest -= use
        yield unit, None if use == unit.seconds else use


def _fetch_all(sources: list[PackageSource], cache: Path) -> tuple[dict[str, Package], list[Drop]]:
    wanted = {source.package: source for source in sources}
    say(f"{len(wanted)} packages, {sum(one.megabytes for one in wanted.values()):.0f} MB to fetch")
    packages: dict[str, Package] = {}
    missing = []
    for number, (name, source) in enumerate(sorted(wanted.items()), start=1):
        say(f"[{number}/{len(wanted)}] {name} ({source.megabytes:.0f} MB)", passing=True)
        package = fetch_package(name, source.version, cache)
        if package is None:
            say(f"{name} is not in the archive that apt knows; it is left out")
            missing.append(Drop(name, "package missing", f"{source.version} was wanted"))
            continue
        if package.version != source.version:
            say(f"{name}: {package.version} is taken, the list was made from {source.version}")
        packages[name] = package
    if not packages:
        raise DataError("apt knows none of the packages; run `apt-get update` (Debian, main)")
    return packages, missing


def _measured(
    found: tuple[PackageSource, Package], *, cache: Path, min_bandwidth: float
) -> list[PackagePiece]:
    """The files of one source; what was measured in an earlier run is read from the cache."""
    source, package = found
    task = [_MEASURE, str(cache), av.ffmpeg_version_info, package.key, min_bandwidth]
    task += [asdict(source)]
    digest = hashlib.sha256(json.dumps(task).encode()).hexdigest()
    record = cache / "measured" / f"{source.source}-{digest[:12]}.json"
    if record.exists():
        return [PackagePiece(**one) for one in json.loads(record.read_text(encoding="utf-8"))]
    files = list(audio_files(package.root, source.files))
    members: dict[Path, list[str]] = defaultdict(list)
    for _, path, member in files:
        if member is not None:
            members[path].append(member)
    folder = cache / "members" / package.key
    places = {path: extract(path, names, folder / path.name) for path, names in members.items()}
    pieces = [
        measure_file(
            f"{source.package}/{name}",
            path if member is None else places[path][member],
            speech=source.domain == "speech",
            min_bandwidth=min_bandwidth,
        )
        for name, path, member in files
    ]
    with atomic_path(record) as partial_record:
        partial_record.write_text(json.dumps([asdict(piece) for piece in pieces]), encoding="utf-8")
    return pieces


def _units(
    source: PackageSource, pieces: list[PackagePiece], seen: dict[str, str]
) -> Iterator[Unit | Drop]:
    short = []
    for piece in pieces:
        first = seen.setdefault(piece.digest, piece.name) if piece.short else piece.name
        if piece.reason:
            yield Drop(piece.name, piece.reason, piece.detail)
        elif first != piece.name:
            yield Drop(piece.name, "duplicate", f"same content as {first}")
        elif piece.short:
            short.append(piece)
        else:
            yield Unit(piece.name, (piece,), piece.seconds)
    for members in group(short, by_folder=source.join == "folder"):
        digest = hashlib.sha256("".join(piece.digest for piece in members).encode()).hexdigest()
        name = f"{source.package}/joined/{source.source}-{digest[:16]}.flac"
        if (seconds := joined_seconds(members)) < _LEAST_SECONDS:
            for piece in members:
                yield Drop(piece.name, "too short", f"{seconds:.3f} s with all that it may join")
        else:
            yield Unit(name, tuple(members), seconds)


def _place(cache: Path, unit: Unit) -> Path:
    return cache / "joined" / unit.name.replace("/joined/", "/")


def _join(cache: Path, unit: Unit) -> list[Path]:
    path = _place(cache, unit)
    join(unit.pieces, path)
    return [path]
