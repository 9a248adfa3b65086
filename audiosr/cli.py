"""What does the command `audiosr` do?

`audiosr restore` is also what `audiosr` does when a flag comes first, as in the released package,
whose flags it takes. `train` and `evaluate` take the overrides of `train.py` and `evaluate.py`.
"""

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import audiosr
from audiosr.errors import AudioFileError, AudioSRError, UsageError, report

if TYPE_CHECKING:
    from omegaconf import DictConfig

RELEASED_SUFFIX = "_AudioSR_Processed_48K"


def main(argv: Sequence[str] | None = None) -> int:
    """Run a subcommand and return the exit code."""
    argv = list(sys.argv[1:] if argv is None else argv)
    passed_on = {"train": train, "evaluate": _evaluate}
    if argv and argv[0] in passed_on:
        return passed_on[argv[0]](argv[1:])
    if argv and argv[0].startswith("-") and argv[0] not in ("-h", "--help", "--version"):
        argv.insert(0, "restore")
    arguments = _parser().parse_args(argv)
    return report(lambda: arguments.run(arguments))


def train(overrides: list[str]) -> int:
    """Compose conf/train.yaml with `overrides`, fetch what `init` names, and train."""
    from audiosr.entry import run_hydra
    from audiosr.training import run

    def main(cfg: "DictConfig") -> None:
        if cfg.init is not None and cfg.resume is None:
            from audiosr.checkpoints.hub import resolve

            cfg.init = str(resolve(str(cfg.init)))
        run.train(cfg, [override for override in overrides if not override.startswith("-")])

    return run_hydra(main, "train", overrides, paths=("init", "resume", "run_dir"))


def _evaluate(overrides: list[str]) -> int:
    from audiosr.entry import run_hydra
    from audiosr.evaluation.run import evaluate

    return run_hydra(evaluate, "evaluate", overrides)


def _restore(arguments: argparse.Namespace) -> None:
    from audiosr.checkpoints.hub import resolve
    from audiosr.restore.files import plan_restore, restore_files
    from audiosr.restore.load import load_restorer
    from audiosr.restore.settings import RestoreSettings, load_profile

    inputs = [*arguments.inputs, *arguments.input_audio_file]
    for name in arguments.input_file_list:
        inputs += _listed(Path(name))
    if not inputs:
        raise UsageError("nothing to restore: name audio files, folders, or -il LIST")
    given = {
        name: getattr(arguments, name) for name in RestoreSettings.names() if name in arguments
    }
    settings = load_profile(arguments.profile, **given)
    todo = plan_restore(inputs, arguments.output, suffix=arguments.suffix)
    restorer = load_restorer(
        resolve(arguments.model), device=arguments.device, dtype=arguments.dtype
    )
    restore_files(restorer, todo, settings, overwrite=arguments.overwrite)


def _listed(path: Path) -> list[str]:
    """The paths in a text file, one a line."""
    try:
        lines = path.read_text(encoding="utf-8").splitlines()
    except (OSError, UnicodeDecodeError) as error:
        raise AudioFileError(f"{path} cannot be read as a list of files: {error}") from error
    return [line.strip() for line in lines if line.strip()]


def _assemble(arguments: argparse.Namespace) -> None:
    from audiosr.checkpoints.hub import resolve
    from audiosr.model import Model

    target = Path(arguments.output)
    if target.exists() and not arguments.overwrite:
        raise AudioSRError(f"{target} exists: add --overwrite or name another folder")
    model = Model.load(resolve(arguments.parts[0]))
    for part in arguments.parts[1:]:
        model = model.merge(Model.load(resolve(part)))
    model.save(target)
    print(f"{target}: {', '.join(model.parts)}")


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="audiosr", description="Restore recordings to full-band 48 kHz; train and evaluate."
    )
    parser.add_argument("--version", action="version", version=audiosr.__version__)
    commands = parser.add_subparsers(required=True, metavar="COMMAND")

    restore = commands.add_parser(
        "restore",
        help="restore audio files (what flags alone do, too)",
        # What is not given keeps the value of the profile.
        argument_default=argparse.SUPPRESS,
    )
    restore.set_defaults(run=_restore)
    add = restore.add_argument
    add("inputs", nargs="*", default=[], metavar="INPUT", help="audio file, folder, quoted pattern")
    add("-i", "--input_audio_file", action="append", default=[], metavar="FILE", help="likewise")
    add(
        *("-il", "--input_file_list"),
        action="append",
        default=[],
        metavar="LIST",
        help="text file with one path a line",
    )
    add(
        *("-o", "--output", "-s", "--save_path"),
        dest="output",
        default="./output",
        metavar="PATH",
        help="folder for the results, or a file for a single input (default: %(default)s)",
    )
    add(
        "--suffix",
        default=RELEASED_SUFFIX,
        help="appended to names in an output folder (default: %(default)s)",
    )
    add("--overwrite", action="store_true", default=False, help="replace files that exist")
    add("--model", default=audiosr.DEFAULT_MODEL, help="model (default: %(default)s)")
    add("-d", "--device", default="auto", help="auto, cpu, cuda, ... (default: %(default)s)")
    add("--dtype", default="float32", help="float32 or bfloat16 (default: %(default)s)")
    add(
        "--profile",
        default="paper",
        help="paper, or released: step by step as the released package (default: %(default)s)",
    )
    add("--steps", "--ddim_steps", dest="steps", type=int, help="sampling steps")
    add(
        *("-gs", "--guidance", "--guidance_scale"),
        dest="guidance",
        type=float,
        help="weight of the condition; 1 is none",
    )
    add("--seed", type=int, help="the same seed gives the same result")
    add("--cutoff", dest="cutoff_hz", type=float, help="edge in Hz; default: measured")
    add("--sampler", help="dpm_solver_pp_2m or ddim")
    add("--spacing", help="trailing or released")
    add("--eta", type=float, help="fresh noise of ddim, 0 to 1")
    add(
        "--output-bandwidth",
        dest="output_bandwidth_hz",
        type=float,
        help="generate nothing above this frequency in Hz",
    )

    assemble = commands.add_parser("assemble", help="join the parts of several model folders")
    assemble.set_defaults(run=_assemble)
    assemble.add_argument("output", metavar="OUT", help="model folder to write")
    assemble.add_argument(
        "parts", nargs="+", metavar="PART", help="model folder; of equal parts the last one counts"
    )
    assemble.add_argument("--overwrite", action="store_true", help="replace OUT if it exists")

    # Listed for the help; `main` hands their arguments on untouched.
    commands.add_parser("train", help="train a stage: overrides of conf/train.yaml")
    commands.add_parser("evaluate", help="run a benchmark: overrides of conf/evaluate.yaml")
    return parser


if __name__ == "__main__":
    sys.exit(main())
