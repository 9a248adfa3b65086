"""Any folder of audio files.

A folder DIR/train, DIR/valid or DIR/test gives the split, the folder below it the domain:
DIR/train/speech/NAME.wav. Without such folders each file is put into a split by the hash of its
name.

The source of a file is what stands before "__" in its name, else the folder that it lies in, else
DIR. Its licence is the one in its own tags, unless --licence names one for all.
"""

from argparse import ArgumentParser, Namespace
from collections.abc import Iterator
from pathlib import Path

from audiosr.audio.io import expand
from audiosr.errors import UsageError
from data_prep.clips import Drop, Item
from data_prep.corpora import split_by_hash

SPLITS = ("train", "valid", "test")


def add_arguments(parser: ArgumentParser) -> None:
    """The options of this recipe."""
    parser.add_argument("--source", metavar="DIR", type=Path, required=True, help="folder of audio")
    parser.add_argument(
        "--domain",
        default="audio",
        help="domain of files that lie in no domain folder (default: %(default)s)",
    )
    parser.add_argument("--licence", help="licence of all files (default: what their tags say)")
    for split in ("valid", "test"):
        parser.add_argument(
            f"--{split}-fraction",
            metavar="PART",
            type=float,
            default=0.05,
            help=f"without split folders, part of the files that goes to {split} (default: 0.05)",
        )


def items(args: Namespace) -> Iterator[Item | Drop]:
    """The audio files below `args.source`, by name."""
    root: Path = args.source
    if not root.is_dir():
        raise UsageError(f"--source {root} is not a folder")
    if "/" in args.domain or not args.domain:
        raise UsageError(f"--domain {args.domain!r} is not a name")
    if (
        min(args.valid_fraction, args.test_fraction) < 0
        or args.valid_fraction + args.test_fraction > 1
    ):
        raise UsageError(
            "--valid-fraction and --test-fraction must be at least 0 and at most 1 together"
        )
    by_folder = any((root / split).is_dir() for split in SPLITS)
    for path in expand(root):
        name = path.relative_to(root).as_posix()
        folders = list(path.relative_to(root).parts[:-1])
        domain = args.domain
        if by_folder:
            split = folders.pop(0) if folders else ""
            if split not in SPLITS:
                yield Drop(name, "outside train, valid, test")
                continue
            domain = folders.pop(0) if folders else domain
        else:
            split = split_by_hash(name, valid=args.valid_fraction, test=args.test_fraction)
        head, mark, _ = path.stem.partition("__")
        source = head if mark and head else folders[-1] if folders else root.resolve().name
        yield Item(path, name, split, domain, source, args.licence)
