"""Any folder of audio files.

A folder DIR/train, DIR/valid or DIR/test gives the split of what lies below it. The first folder
(below that) is the domain, as `evaluate.py benchmark=folder` has it: DIR/speech/ann/NAME.wav or
DIR/train/speech/ann/NAME.wav. --domain names one domain for all files instead.

The source of a file (a speaker, an artist) is what stands before "__" in its name, else the first
folder below the domain, else the file is a source of its own. Without folders for the splits each
source goes to one as a whole, by the hash of its name. The licence is the one in the file's own
tags, unless --licence names one for all.
"""

import re
from argparse import ArgumentParser, Namespace
from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import replace
from pathlib import Path, PurePosixPath

from audiosr.audio.io import expand
from audiosr.errors import UsageError
from data_prep.clips import Drop, Item
from data_prep.corpora import place_by_hash, split_by_hash

SPLITS = ("train", "valid", "test")
"""Folders that give the split of what lies below them."""

_DOMAIN_BYTES = 100
"""Longer names of folders are cut: the domain becomes a part of the shards' names."""


def add_arguments(parser: ArgumentParser) -> None:
    """The options of this recipe."""
    parser.add_argument("--source", metavar="DIR", type=Path, required=True, help="folder of audio")
    parser.add_argument(
        "--domain",
        help="domain of all files (default: the first folder below DIR or the split, for files "
        "that lie in none the name of DIR)",
    )
    parser.add_argument("--licence", help="licence of all files (default: what their tags say)")
    for split in ("valid", "test"):
        parser.add_argument(
            f"--{split}-fraction",
            metavar="PART",
            type=float,
            default=0.05,
            help=f"without split folders, part of the sources that goes to {split}, at least one "
            "of several (default: 0.05)",
        )


def items(args: Namespace) -> Iterator[Item | Drop]:
    """The audio files below `args.source`, by name."""
    root: Path = args.source
    if not root.is_dir():
        raise UsageError(f"--source {root} is not a folder")
    if args.domain is not None and ("/" in args.domain or not args.domain):
        raise UsageError(f"--domain {args.domain!r} is not a name")
    if (
        min(args.valid_fraction, args.test_fraction) < 0
        or args.valid_fraction + args.test_fraction > 1
    ):
        raise UsageError(
            "--valid-fraction and --test-fraction must be at least 0 and at most 1 together"
        )
    if any((root / split).is_dir() for split in SPLITS):
        for path in expand(root):
            split, *below = path.relative_to(root).parts
            if below and split in SPLITS:
                yield _item(args, path, split, below)
            else:
                yield Drop(path.relative_to(root).as_posix(), "outside train, valid, test")
        return
    found = [_item(args, path, "", path.relative_to(root).parts) for path in expand(root)]
    splits = split_sources(
        {item.source for item in found}, valid=args.valid_fraction, test=args.test_fraction
    )
    yield from (replace(item, split=splits[item.source]) for item in found)


def split_sources(sources: Iterable[str], *, valid: float, test: float) -> dict[str, str]:
    """The split of each source, by the hash of its name.

    Where that leaves a split empty that is to have a part, one of a split with several goes there.
    """
    order = sorted(sources, key=place_by_hash)
    splits = {source: split_by_hash(source, valid=valid, test=test) for source in order}
    if valid + test < 1 and "train" not in splits.values():
        splits[order[-1]] = "train"
    for split, part in (("test", test), ("valid", valid)):
        if part > 0 and split not in splits.values():
            held = Counter(splits.values())
            spare = [source for source in order if held[splits[source]] > 1]
            for source in sorted(spare, key=lambda source: splits[source] != "train")[:1]:
                splits[source] = split
    return splits


def _item(args: Namespace, path: Path, split: str, below: Iterable[str]) -> Item:
    """A file, with the folders and the name that it has below its split."""
    *folders, _ = below
    name = path.relative_to(args.source).as_posix()
    if args.domain is not None:
        domain = args.domain
    else:
        domain = _plain(folders.pop(0) if folders else args.source.resolve().name)
    head, mark, _ = path.stem.partition("__")
    alone = PurePosixPath(name).with_suffix("").as_posix()
    source = head if mark and head else folders[0] if folders else alone
    return Item(path, name, split, domain, source, args.licence)


def _plain(folder: str) -> str:
    """A folder's name as a domain: in Unicode and not too long."""
    name = re.sub(r"[\ud800-\udfff]", "_", folder)
    return name.encode()[:_DOMAIN_BYTES].decode(errors="ignore") or "audio"
