"""Which corpus becomes which shards? `python -m data_prep RECIPE --source DIR --out DIR`."""

import shlex
import sys
from argparse import ArgumentParser, Namespace, RawDescriptionHelpFormatter, _ArgumentGroup
from collections.abc import Sequence
from importlib import import_module
from io import TextIOWrapper
from pathlib import Path
from pkgutil import iter_modules
from types import ModuleType
from typing import NoReturn

from rich.console import Console
from rich.table import Table

from audiosr.errors import UsageError, report
from audiosr.shards.index import Index
from data_prep import recipes
from data_prep.clips import Settings
from data_prep.engine import prepare
from data_prep.parts import merge
from data_prep.report import contents_table
from data_prep.sources import Part
from data_prep.staging import DROPPED, REPORT_HTML
from data_prep.workers import ENGINES

_DESCRIPTION = """\
Cut a corpus of audio files into clips at 48 kHz and write them as WebDataset shards of FLAC.
 OUT/SPLIT/DOMAIN-000000.tar holds KEY.flac and KEY.json for each clip; OUT/index.json says what
there is, OUT/dropped.jsonl what was left out and why: broken, too short, silent, clipped, low
bandwidth, duplicate. OUT/report.html shows both. The same command again goes on with a run that was
killed."""

_MERGE = """\
Join the parts of a job, or several corpora, into one folder of shards.
Each DIR holds shards, or folders of shards. They stay as they are. Of clips with the same samples
one is kept, in the order test, valid, train."""


class _Parser(ArgumentParser):
    def error(self, message: str) -> NoReturn:
        raise UsageError(f"{message}; `{self.prog} --help` lists the options")


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command line `argv`, by default that of the process; returns the exit code."""
    if isinstance(sys.stdout, TextIOWrapper):
        sys.stdout.reconfigure(errors="backslashreplace")  # paths need not be Unicode
    argv = list(sys.argv[1:] if argv is None else argv)
    own = [name for name in argv[:1] if "." in name and not name.startswith("-")]
    args = _parser(own).parse_args(argv)
    command = shlex.join(["python", "-m", "data_prep", *argv])
    summarise(args.run(args, command))
    return 0


def summarise(index: Index) -> None:
    """Print what was written and what was left out."""
    console = Console()
    table = Table("split", "domain", title=str(index.root))
    for column in ("clips", "minutes", "shards", "MB"):
        table.add_column(column, justify="right")
    for row in contents_table(index):
        minutes, megabytes = f"{60 * row['hours']:.1f}", f"{row['bytes'] / 1e6:.1f}"
        numbers = str(row["clips"]), minutes, str(row["shards"]), megabytes
        table.add_row(row["split"], row["domain"], *numbers)
    console.print(table)
    if index.drops:
        counts = ", ".join(f"{count} {reason}" for reason, count in index.drops.items())
        console.print(f"left out: {counts} (listed in {index.root / DROPPED})", soft_wrap=True)
    console.print(f"report: {index.root / REPORT_HTML}", soft_wrap=True)


def _prepare(args: Namespace, command: str) -> Index:
    settings = Settings(
        clip_seconds=args.clip_seconds,
        min_seconds=args.min_seconds,
        min_bandwidth=args.min_bandwidth,
        max_clipping=args.max_clipping,
        shard_mb=args.shard_mb,
    )
    return prepare(
        args.items(args),
        args.out,
        settings,
        recipe=args.recipe,
        command=command,
        workers=args.workers,
        engine=args.engine,
        part=Part.parse(args.part) if args.part else None,
        overwrite=args.overwrite,
    )


def _merge(args: Namespace, command: str) -> Index:
    return merge(args.folders, args.out, command=command, overwrite=args.overwrite)


def _parser(own: Sequence[str]) -> ArgumentParser:
    parser = _Parser(
        "python -m data_prep", description=_DESCRIPTION, formatter_class=RawDescriptionHelpFormatter
    )
    commands = parser.add_subparsers(metavar="RECIPE", dest="recipe", required=True)
    ours = {one.name: f"{recipes.__name__}.{one.name}" for one in iter_modules(recipes.__path__)}
    for name, module in (ours | {name: name for name in own}).items():
        recipe = _import(module)
        text = str(recipe.__doc__)
        command = commands.add_parser(
            name,
            help=text.partition("\n")[0],
            description=text,
            formatter_class=RawDescriptionHelpFormatter,
        )
        recipe.add_arguments(command)
        _add_common(command)
        command.set_defaults(run=_prepare, items=recipe.items)
    command = commands.add_parser(
        "merge",
        help=_MERGE.partition("\n")[0],
        description=_MERGE,
        formatter_class=RawDescriptionHelpFormatter,
    )
    command.add_argument("out", metavar="OUT", type=Path, help="folder for the shards")
    command.add_argument("folders", metavar="DIR", type=Path, nargs="+", help="what is joined")
    _add_overwrite(command)
    command.set_defaults(run=_merge)
    return parser


def _import(name: str) -> ModuleType:
    try:
        return import_module(name)
    except ModuleNotFoundError as error:
        raise UsageError(
            f"no recipe {name}: {error}; the folder of your own must be in PYTHONPATH"
        ) from error


def _add_common(parser: ArgumentParser) -> None:
    default = Settings()
    group = parser.add_argument_group("shards")
    group.add_argument(
        "--out", metavar="DIR", type=Path, required=True, help="folder for the shards"
    )
    for name, unit, text in (
        ("clip_seconds", "S", "longer files are cut into clips of this length"),
        ("min_seconds", "S", "shorter clips are left out"),
        ("min_bandwidth", "HZ", "clips without content up to this frequency are left out"),
        ("max_clipping", "SHARE", "clips with more of their samples at full scale are left out"),
        ("shard_mb", "MB", "size at which a shard is closed"),
    ):
        group.add_argument(
            f"--{name.replace('_', '-')}",
            metavar=unit,
            type=float,
            default=getattr(default, name),
            help=f"{text} (default: %(default)g)",
        )
    group.add_argument(
        "--part",
        metavar="I/N",
        help="do share I of N, from 1, of the files; `merge` joins the folders of all shares",
    )
    group.add_argument(
        "--engine",
        choices=ENGINES,
        default=ENGINES[0],
        help="what does the work; either gives the same shards (default: %(default)s)",
    )
    group.add_argument(
        "--workers",
        metavar="N",
        type=int,
        help="pieces of work at a time; any number gives the same shards (default: one per core)",
    )
    _add_overwrite(group)


def _add_overwrite(parser: ArgumentParser | _ArgumentGroup) -> None:
    parser.add_argument("--overwrite", action="store_true", help="replace shards that are there")


if __name__ == "__main__":
    sys.exit(report(main))
