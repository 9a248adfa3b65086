"""What do the commands do? `audiosr`, and through it `train.py`, `evaluate.py` and `infer.py`.

`audiosr restore` is also what `audiosr` does when a flag comes first, as in the released package,
whose flags it takes. `train`, `evaluate` and `infer` take overrides of the files in `conf/`. In one
piece, so that the commands and their flags are read together.
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

# What is heavy is imported in the functions, so that a mistyped key is answered at once.


def main(argv: Sequence[str] | None = None) -> int:
    """Run a subcommand and return the exit code."""
    argv = list(sys.argv[1:] if argv is None else argv)
    if argv and argv[0] in _COMPOSED:
        from audiosr.entry import run_hydra

        work, paths = _COMPOSED[argv[0]]
        return run_hydra(work, argv[0], argv[1:], paths=paths)
    if argv and argv[0].startswith("-") and argv[0] not in ("-h", "--help", "--version"):
        argv.insert(0, "restore")
    return report(lambda: _run(argv))


def _run(argv: Sequence[str]) -> None:
    arguments = _parser().parse_args(argv)
    arguments.run(arguments)


def _train(cfg: "DictConfig", overrides: Sequence[str]) -> float | None:
    """Train a stage; the value that its exported model was chosen by is what a sweep compares."""
    from audiosr.checkpoints.hub import resolve
    from audiosr.training.resolve import resolved
    from audiosr.training.run import train

    metrics, objects = train(resolved(cfg, overrides, find_start=resolve))
    return metrics.get(objects["stage"].monitor)


def _evaluate(cfg: "DictConfig", overrides: Sequence[str]) -> None:
    from audiosr.evaluation.run import evaluate, evaluate_studies, prepare_inputs

    if cfg.inputs is not None:
        prepare_inputs(cfg)
    elif cfg.study:
        evaluate_studies(cfg)
    else:
        evaluate(cfg)


def _infer(cfg: "DictConfig", overrides: Sequence[str]) -> None:
    import torch

    from audiosr.checkpoints.hub import resolve
    from audiosr.restore.files import restore_files
    from audiosr.restore.load import load_restorer
    from audiosr.restore.plan import plan_restore
    from audiosr.restore.settings import RestoreSettings

    for name in ("input", "output", "model"):
        if not cfg[name]:
            raise UsageError(f"{name} is empty: give {name}=PATH")
    for name in ("overwrite", "resume"):
        if not isinstance(cfg[name], bool):
            raise UsageError(f"{name}={cfg[name]}: give true or false")
    if cfg.threads is not None:
        torch.set_num_threads(cfg.threads)
    settings = RestoreSettings(**{name: cfg[name] for name in RestoreSettings.names()})
    todo = plan_restore([cfg.input], cfg.output)
    restorer = load_restorer(
        resolve(cfg.model), device=cfg.device, dtype=cfg.dtype, batch_seconds=cfg.batch_seconds
    )
    restore_files(
        restorer,
        todo,
        settings,
        overwrite=cfg.overwrite,
        resume=cfg.resume,
        subtype=cfg.subtype,
        track=cfg.track,
    )


_COMPOSED = {
    "train": (_train, ("init", "resume", "run_dir")),
    "evaluate": (_evaluate, ("model", "out", "inputs")),
    "infer": (_infer, ("input", "output", "model")),
}
"""Commands that Hydra composes a configuration for, and their keys that hold file names."""


def _restore(arguments: argparse.Namespace) -> None:
    from audiosr.checkpoints.hub import resolve
    from audiosr.restore.files import restore_files
    from audiosr.restore.load import load_restorer
    from audiosr.restore.plan import plan_restore
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
    model = f"audiosr_{arguments.model_name}" if arguments.model_name else arguments.model
    todo = plan_restore(inputs, arguments.output, suffix=arguments.suffix)
    restorer = load_restorer(resolve(model), device=arguments.device, dtype=arguments.dtype)
    restore_files(restorer, todo, settings, overwrite=arguments.overwrite, resume=arguments.resume)


def _listed(path: Path) -> list[str]:
    """The paths in a text file, one a line."""
    try:
        lines = path.read_text(encoding="utf-8").splitlines()
    except (OSError, UnicodeDecodeError) as error:
        raise AudioFileError(f"{path} cannot be read as a list of files: {error}") from error
    return [line.strip() for line in lines if line.strip()]


def _assemble(arguments: argparse.Namespace) -> None:
    import torch

    from audiosr.checkpoints.hub import resolve
    from audiosr.model import Model

    target = Path(arguments.output)
    if target.exists() and not arguments.overwrite:
        raise AudioSRError(f"{target} exists: add --overwrite or name another folder")
    model = Model.load(resolve(arguments.parts[0]))
    for part in arguments.parts[1:]:
        model = model.merge(Model.load(resolve(part)))
    model.save(target, dtype=getattr(torch, arguments.dtype))
    print(f"{target}: {', '.join(model.parts)}")


def _export(arguments: argparse.Namespace) -> None:
    from audiosr.checkpoints.trained import export_run

    out = None if arguments.out is None else Path(arguments.out)
    chosen = {"step": arguments.step, "which": arguments.which, "ema_width": arguments.ema_width}
    print(export_run(Path(arguments.run_folder), out, **chosen))


def _programs(arguments: argparse.Namespace) -> None:
    from audiosr.checkpoints.hub import resolve
    from audiosr.checkpoints.programs import export_programs
    from audiosr.model import Model

    model = Model.load(resolve(arguments.model))
    for path, difference in export_programs(model, Path(arguments.output)):
        print(f"{path}: at most {difference:.1g} from the network", flush=True)


def _app(arguments: argparse.Namespace) -> None:
    from audiosr.app.page import show_page

    show_page(arguments.model, arguments.device, arguments.host, arguments.port)


def _yardsticks(arguments: argparse.Namespace) -> None:
    from audiosr.evaluation.yardsticks import FitSettings, Yardsticks

    settings = FitSettings(arguments.data, split=arguments.split, clips=arguments.clips)
    Yardsticks.fit(settings).save(Path(arguments.out))
    print(f"{arguments.out}: system=[unprocessed,mean_noise,envelope] yardsticks={arguments.out}")


def _doctor(arguments: argparse.Namespace) -> None:
    from functools import partial

    from audiosr.entry import compose_config
    from audiosr.training import doctor

    ill = []
    compose = partial(compose_config, "train")
    for finding in doctor.examine(compose, doctor.EXAMS, arguments.overrides):
        print(finding, flush=True)
        ill += [] if finding.well else [finding.exam.stage]
    if ill:
        raise AudioSRError(f"training does not work here: see {', '.join(ill)} above")
    print("all is well")


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
    add(
        "--resume",
        action="store_true",
        default=False,
        help="pass over files whose result exists: go on where a run was stopped",
    )
    which = restore.add_mutually_exclusive_group().add_argument
    which("--model", default=audiosr.DEFAULT_MODEL, help="model (default: %(default)s)")
    which(
        "--model_name",
        choices=["basic", "speech"],
        default=None,
        help="a released model, as --model audiosr_basic or audiosr_speech",
    )
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
    add("--follow-edge", action="store_true", help="measure the edge along time")
    add("--sampler", help="dpm_solver_pp_2m, dpm_solver_pp_3m, heun or ddim")
    add("--spacing", help="trailing or released")
    add("--eta", type=float, help="fresh noise of ddim, 0 to 1")
    add("--temperature", type=float, help="factor on the starting noise; the model's by default")
    add(
        *("--window", "--chunk_duration"),
        dest="window_seconds",
        type=float,
        metavar="SECONDS",
        help="what the networks see at a time",
    )
    add(
        "--overlap_duration",
        dest="context_seconds",
        type=lambda overlap: float(overlap) / 2,
        metavar="SECONDS",
        help="what two such windows share",
    )
    add("--chunking", action="store_true", help="accepted; long recordings need no flag")
    add(
        "--output-bandwidth",
        dest="output_bandwidth_hz",
        type=float,
        help="fill the recording up to this frequency in Hz and no further",
    )

    assemble = commands.add_parser("assemble", help="join the parts of several model folders")
    assemble.set_defaults(run=_assemble)
    assemble.add_argument("output", metavar="OUT", help="model folder to write")
    assemble.add_argument(
        "parts", nargs="+", metavar="PART", help="model folder; of equal parts the last one counts"
    )
    assemble.add_argument("--overwrite", action="store_true", help="replace OUT if it exists")
    assemble.add_argument(
        "--dtype",
        choices=("float32", "float16", "bfloat16"),
        default="float32",
        help="in which the weights are kept; float16 halves the folder (default: %(default)s)",
    )

    export = commands.add_parser("export", help="make a model folder of a checkpoint of a run")
    export.set_defaults(run=_export)
    add = export.add_argument
    add("run_folder", metavar="RUN", help="run folder of train.py")
    add("--step", type=int, help="of the checkpoint; default: that of --which")
    add(
        "--which",
        choices=["best", "last", "ema"],
        help="best as validated (default), last weights, or their average",
    )
    add(
        "--ema-width",
        type=float,
        metavar="SHARE",
        help="an average of any width, a share of the steps done, of what ema_snapshots has kept",
    )
    add("--out", metavar="FOLDER", help="where to (default: RUN/export/...)")

    programs = commands.add_parser(
        "programs", help="write a model's networks as programs of torch.export, free of this code"
    )
    programs.set_defaults(run=_programs)
    programs.add_argument("output", metavar="OUT", help="folder")
    programs.add_argument(
        "--model", default=audiosr.DEFAULT_MODEL, help="model (default: %(default)s)"
    )

    app = commands.add_parser("app", help="a page in the browser, on which recordings are restored")
    app.set_defaults(run=_app)
    add = app.add_argument
    add(
        "--model",
        nargs="+",
        default=[audiosr.DEFAULT_MODEL],
        help="models to choose from on the page (default: %(default)s)",
    )
    add("-d", "--device", default="auto", help="auto, cpu, cuda, ... (default: %(default)s)")
    add("--host", default="127.0.0.1", help="address that is listened at (default: %(default)s)")
    add("--port", type=int, help="default: the first free one from 7860 on")

    yardsticks = commands.add_parser(
        "yardsticks", help="fit mean_noise and envelope, which a model has to beat, from shards"
    )
    yardsticks.set_defaults(run=_yardsticks)
    add = yardsticks.add_argument
    add("--data", required=True, metavar="SHARDS", help="folder of shards")
    add("--out", default="outputs/yardsticks.safetensors", help="file (default: %(default)s)")
    add("--split", default="train", help="of the shards (default: %(default)s)")
    add("--clips", type=int, default=400, help="of each domain, at most (default: %(default)s)")

    doctor = commands.add_parser(
        "doctor",
        help="let every stage learn ten clips by heart, to see whether training works here",
    )
    doctor.set_defaults(run=_doctor)
    doctor.add_argument(
        "overrides",
        nargs="*",
        metavar="KEY=VALUE",
        help="of conf/train.yaml, such as trainer=gpu or threads=2",
    )

    # Listed for the help; `main` hands their arguments on untouched.
    commands.add_parser("train", help="train a stage: overrides of conf/train.yaml")
    commands.add_parser("evaluate", help="run a benchmark: overrides of conf/evaluate.yaml")
    commands.add_parser("infer", help="restore as infer.py does: overrides of conf/infer.yaml")
    return parser


if __name__ == "__main__":
    sys.exit(main())
