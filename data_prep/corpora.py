"""What do the recipes of published corpora share? Where they lie, what is missing, what counts."""

from argparse import ArgumentParser, Namespace
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path

from audiosr.errors import UsageError
from data_prep.clips import Drop, Item
from data_prep.fetch import download
from data_prep.fetch.download import Archive, say
from data_prep.recipes.folder import split_by_hash

VALID_FRACTION = 0.02
"""Part of the training sources that goes to valid where a corpus has no split for that."""


def add_arguments(parser: ArgumentParser, *, archives: bool, valid: bool = False) -> None:
    """`--source`, and what the corpus allows: `--download`, `--valid-fraction`."""
    parser.add_argument(
        "--source", metavar="DIR", type=Path, required=True, help="folder that holds the corpus"
    )
    if archives:
        download.add_arguments(parser)
    if valid:
        parser.add_argument(
            "--valid-fraction",
            metavar="PART",
            type=float,
            default=VALID_FRACTION,
            help="part of the training sources (speakers, artists, uploaders) that goes to valid, "
            "by the hash of the name (default: %(default)g)",
        )


def located(
    args: Namespace, *, holds: Sequence[str], page: str, archives: Sequence[Archive] = ()
) -> Path:
    """The folder, `args.source` or one below it, that holds all paths of `holds` (globs).

    Args:
        args: with `source` and, where the corpus may be fetched, `download`.
        holds: what the corpus has at its top.
        page: where a person gets it.
        archives: what `--download` fetches and unpacks, where something is missing.

    Raises:
        UsageError: it is not there; says what to fetch and where to put it.
    """
    if (root := _root(args.source, holds)) is not None:
        return root
    if archives and args.download:
        for archive in archives:
            download.unpack(download.fetch(archive, args.source), args.source)
        if (root := _root(args.source, holds)) is not None:
            return root
    way = "or give --download" if archives else "it has to be asked for there"
    raise UsageError(
        f"{args.source} holds no {' and no '.join(holds)}; fetch the corpus from {page} and "
        f"unpack it into {args.source} ({way})"
    )


def counted(found: Iterable[Item | Drop], expected: Mapping[str, int]) -> Iterator[Item | Drop]:
    """Pass on what a recipe finds, and tell at the end which split has fewer files than published.

    More than published is counted by the index like all else.
    """
    counts: Counter[str] = Counter()
    for one in found:
        if isinstance(one, Item):
            counts[one.split] += 1
        yield one
    for split, number in expected.items():
        if counts[split] < number:
            say(
                f"warning: {split} has {counts[split]} files where {number} are published; "
                "the corpus is not whole"
            )


def training_split(source: str, valid_fraction: float, *, test_fraction: float = 0.0) -> str:
    """Split of a source that no published list names, by its hash."""
    if not 0 <= valid_fraction <= 1 - test_fraction:
        raise UsageError(
            f"--valid-fraction {valid_fraction:g} is not between 0 and {1 - test_fraction:g}"
        )
    return split_by_hash(source, valid=valid_fraction, test=test_fraction)


def _root(source: Path, holds: Sequence[str]) -> Path | None:
    if not source.is_dir():
        return None
    for folder in [source, *sorted(one for one in source.iterdir() if one.is_dir())]:
        if all(next(folder.glob(glob), None) for glob in holds):
            return folder
    return None
