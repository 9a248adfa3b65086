"""Which command turns released checkpoints into model folders, and back?

python -m audiosr.checkpoints.released import pytorch_model.bin FOLDER
python -m audiosr.checkpoints.released export FOLDER pytorch_model.bin
"""

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from audiosr.checkpoints.convert import EXPORT_DTYPES, export_released, import_released
from audiosr.checkpoints.files import work
from audiosr.checkpoints.layout import HEAD_CHANNELS
from audiosr.errors import AudioSRError, report
from audiosr.progress import progress_bar


def main(argv: Sequence[str] | None = None) -> int:
    """Run a subcommand and return the exit code."""
    parser = argparse.ArgumentParser(
        prog="python -m audiosr.checkpoints.released",
        description="Released AudioSR checkpoints to model folders, and back.",
    )
    commands = parser.add_subparsers(required=True, metavar="COMMAND")
    importing = commands.add_parser("import", help="checkpoint to model folder")
    importing.set_defaults(run=_import)
    exporting = commands.add_parser("export", help="model folder to checkpoint")
    exporting.set_defaults(run=_export)
    for command, source, out in (
        (importing, "pytorch_model.bin", "model folder to write"),
        (exporting, "model folder", "checkpoint to write"),
    ):
        command.add_argument("source", metavar="SOURCE", type=Path, help=source)
        command.add_argument("out", metavar="OUT", type=Path, help=out)
        command.add_argument("--overwrite", action="store_true", help="replace OUT if it exists")
    importing.add_argument(
        "--dtype",
        choices=EXPORT_DTYPES,
        default="float32",
        help="of the weights (default: %(default)s)",
    )
    importing.add_argument("--ema", action="store_true", help="take the moving average")
    importing.add_argument(
        "--drop-unused",
        action="store_true",
        help="leave out what restoring does not use; an export is then no exact copy",
    )
    importing.add_argument(
        "--head-channels",
        type=int,
        default=HEAD_CHANNELS,
        metavar="N",
        help="width of the denoiser's attention heads (default: %(default)s, as released)",
    )
    arguments = parser.parse_args(argv)
    return report(lambda: arguments.run(arguments))


def _import(arguments: argparse.Namespace) -> None:
    _check_free(arguments)
    with progress_bar("importing", work(arguments.source), of_bytes=True) as progress:
        import_released(
            arguments.source,
            arguments.out,
            dtype=EXPORT_DTYPES[arguments.dtype],
            ema=arguments.ema,
            keep_unused=not arguments.drop_unused,
            head_channels=arguments.head_channels,
            progress=progress,
        )
    _say_size(arguments.out, *arguments.out.iterdir())


def _export(arguments: argparse.Namespace) -> None:
    _check_free(arguments)
    total = sum(file.stat().st_size for file in arguments.source.glob("*.safetensors"))
    with progress_bar("exporting", total, of_bytes=True) as progress:
        export_released(arguments.source, arguments.out, progress=progress)
    _say_size(arguments.out, arguments.out)


def _check_free(arguments: argparse.Namespace) -> None:
    out = arguments.out
    if out.exists() and not arguments.overwrite:
        raise AudioSRError(f"{out} exists: add --overwrite or name another")
    if arguments.run is _import and out.exists() and not (out / "model.yaml").is_file():
        raise AudioSRError(f"{out} exists and is no model folder: name another")
    if arguments.run is _export and out.is_dir():
        raise AudioSRError(f"{out} is a folder: name a file")


def _say_size(out: Path, *files: Any) -> None:
    print(f"{out}: {sum(file.stat().st_size for file in files) / 1e9:.2f} GB")


if __name__ == "__main__":
    sys.exit(main())
