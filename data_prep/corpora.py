"""What do the recipes of published corpora share? Where they lie, what is missing, what counts."""

import hashlib
from argparse import ArgumentParser, Namespace
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from audiosr.errors import UsageError
from data_prep.clips import Drop, Item
from data_prep.fetch import download
from data_prep.fetch.download import Archive, fetch, say
from data_prep.fetch.unpack import unpack

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


@dataclass(frozen=True)
class PublishedCorpus:
    """What is known of a corpus before any of it is there."""

    page: str
    """Where a person gets it."""
    holds: Sequence[str]
    """What it has at its top (globs)."""
    files: Mapping[str, int]
    """Numbers that are published, by split."""
    archives: Sequence[Archive] = ()
    """What `--download` fetches and unpacks, where something is missing."""

    def locate(self, args: Namespace) -> Path:
        """The folder, `args.source` or one below it, that holds all that the corpus has at its top.

        Args:
            args: with `source` and, where the corpus may be fetched, `download`.

        Raises:
            UsageError: it is not there; says what to fetch and where to put it.
        """
        if (root := _root(args.source, self.holds)) is not None:
            return root
        if self.archives and args.download:
            for archive in self.archives:
                unpack(fetch(archive, args.source), args.source)
            if (root := _root(args.source, self.holds)) is not None:
                return root
        way = "or give --download" if self.archives else "it has to be asked for there"
        raise UsageError(
            f"{args.source} holds no {' and no '.join(self.holds)}; fetch the corpus from "
            f"{self.page} and unpack it into {args.source} ({way})"
        )

    def count(self, found: Iterable[Item | Drop], *, each: int = 1) -> Iterator[Item | Drop]:
        """Pass on what a recipe finds; tell at the end which split has fewer files than published.

        More than published is counted by the index like all else.

        Args:
            found: what the recipe finds.
            each: files taken for each that is published: a mixture and its stems are several.
        """
        counts: Counter[str] = Counter()
        for one in found:
            if isinstance(one, Item):
                counts[one.split] += 1
            yield one
        for split, published in self.files.items():
            if counts[split] < published * each:
                say(
                    f"warning: {split} has {counts[split]} files where {published * each} are "
                    "published; the corpus is not whole"
                )


def training_split(source: str, valid_fraction: float, *, test_fraction: float = 0.0) -> str:
    """Split of a source that no published list names, by its hash.

    Raises:
        UsageError: `--valid-fraction` leaves less than nothing for train.
    """
    if not 0 <= valid_fraction <= 1 - test_fraction:
        raise UsageError(
            f"--valid-fraction {valid_fraction:g} is not between 0 and {1 - test_fraction:g}"
        )
    return split_by_hash(source, valid=valid_fraction, test=test_fraction)


def split_by_hash(name: str, *, valid: float, test: float) -> str:
    """The split of a source by its name alone, so that what is added later moves nothing."""
    place = place_by_hash(name)
    return "test" if place < test else "valid" if place < test + valid else "train"


def place_by_hash(name: str) -> float:
    """A number from 0 to 1 that depends on the name alone; `split_by_hash` cuts the range."""
    digest = hashlib.sha256(name.encode("utf-8", "surrogateescape")).digest()
    return int.from_bytes(digest[:8], "big") / 2**64


def _root(source: Path, holds: Sequence[str]) -> Path | None:
    if not source.is_dir():
        return None
    for folder in [source, *sorted(one for one in source.iterdir() if one.is_dir())]:
        if all(next(folder.glob(glob), None) for glob in holds):
            return folder
    return None
