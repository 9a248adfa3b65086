"""Where does a run live, and which run is meant? Run folders `outputs/STAGE/DATE_TIME[-NAME]/`."""

import itertools
import os
import shutil
import zipfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import yaml

from audiosr.errors import UsageError
from audiosr.files import check_folder
from audiosr.model import Model

_SHARED = (
    "AUDIOSR_RUN_FOLDER"  # how the ranks that Lightning starts learn of the first one's folder
)


def claim_folder(folder: str | Path, *, resumed: bool, dated: bool) -> Path:
    """The folder of this run, which is there afterwards and is no other run's.

    Args:
        folder: what the configuration asks for.
        resumed: whether the run goes on in a folder that exists.
        dated: whether it is named by the time, so that another run may have the same name: then it
            gets a number. Otherwise the user has named it.

    Raises:
        UsageError: the folder is another run's or a file, or ranks were started apart and would
            not agree.
    """
    folder = Path(folder).absolute()
    apart = int(os.environ.get("WORLD_SIZE", os.environ.get("SLURM_NTASKS", "1"))) > 1
    if resumed:
        return folder
    check_folder(folder, "run_dir")
    if not dated:
        if not apart and (folder / "config.yaml").exists():
            raise UsageError(
                f"{folder} holds a run already: resume it with resume={folder}, or name another"
            )
        folder.mkdir(parents=True, exist_ok=True)
        return folder
    if apart:
        raise UsageError(
            "ranks started by torchrun or SLURM must agree on a folder: "
            "add run_dir=outputs/STAGE/NAME"
        )
    for number in itertools.count(2):
        try:
            folder.mkdir(parents=True)
            break
        except FileExistsError:
            folder = folder.with_name(f"{folder.name.removesuffix(f'.{number - 1}')}.{number}")
    return folder


@contextmanager
def occupied(folder: Path) -> Iterator[None]:
    """Tell ranks that Lightning starts of the folder; leave none behind where nothing ran."""
    empty = not any(folder.iterdir())
    os.environ[_SHARED] = str(folder)
    try:
        yield
    except BaseException:
        ran = (folder / "metrics.csv").exists() or any(folder.glob("checkpoints/*.ckpt"))
        if empty and not ran:
            shutil.rmtree(folder, ignore_errors=True)
        raise
    finally:
        os.environ.pop(_SHARED, None)


def shared_folder() -> Path | None:
    """The folder that the first rank has told this one, which Lightning has started."""
    return Path(os.environ[_SHARED]) if _SHARED in os.environ else None


def runs(outputs: str | Path, stage: str) -> list[Path]:
    """The run folders of `stage`, newest first by their dated names."""
    folders = Path(outputs).glob(f"{stage}/*/config.yaml")
    return sorted((f.parent for f in folders), key=lambda f: f.name, reverse=True)


def find_run(resume: str, outputs: str | Path, stage: str) -> tuple[Path, Path]:
    """Run folder and checkpoint that `resume` means: `last`, a run folder, or a checkpoint.

    A newest checkpoint that cannot be opened is passed over for the one before, with a word.

    Raises:
        UsageError: there is no such run or checkpoint.
    """
    if resume == "last":
        found = [run for run in runs(outputs, stage) if any((run / "checkpoints").glob("*.ckpt"))]
        if not found:
            raise UsageError(
                f"no run of stage {stage} with a checkpoint below {outputs}: nothing to resume"
            )
        folder = found[0]
    elif resume.endswith(".ckpt"):
        if not Path(resume).is_file():
            raise UsageError(f"no checkpoint at {resume}")
        return Path(resume).parent.parent, Path(resume)
    else:
        folder = Path(resume)
        if not (folder / "config.yaml").is_file():
            raise UsageError(f"{folder} is no run folder (it has no config.yaml)")
    newest_first = sorted((folder / "checkpoints").glob("step=*.ckpt"), key=_step, reverse=True)
    for path in newest_first:
        if zipfile.is_zipfile(path):
            return folder, path
        print(f"{path} is broken: falling back to the checkpoint before", flush=True)
    raise UsageError(f"{folder} holds no checkpoint that can be read: start the run anew")


def find_model(
    part: str, wanted: str | None, *, outputs: str | Path, stage: str, size: str
) -> Path | None:
    """The model folder that `wanted` means for `part`: a path, or `newest` for the newest run's.

    Among the runs of `stage` one of the same size is preferred. None if `newest` finds nothing.
    """
    if wanted is None:
        return None
    if wanted != "newest":
        return model_folder(part, wanted)
    folders = [
        run / "model" for run in runs(outputs, stage) if (run / "model/model.yaml").is_file()
    ]
    same_size = [f for f in folders if _size(f, stage) == size]
    return next(iter(same_size or folders), None)


def model_folder(part: str, wanted: str | Path) -> Path:
    """The model folder at `wanted`, itself or as `model/` of a run; an error names `part`."""
    for folder in (Path(wanted), Path(wanted) / "model"):
        if (folder / "model.yaml").is_file():
            return folder
    raise UsageError(f"{part}={wanted}: no model folder there (it has no model.yaml)")


def load_frozen(autoencoder: str, vocoder: str | None) -> Model:
    """The frozen networks of the diffusion stage: the autoencoder, and any vocoder to listen by."""
    apart = vocoder is not None and vocoder != autoencoder
    model = Model.load(autoencoder, parts=["autoencoder"] if apart else ["autoencoder", "vocoder"])
    model.need("autoencoder")
    if vocoder is not None and apart:
        model = model.merge(Model.load(vocoder, parts=["vocoder"]))
    if vocoder is not None:
        model.need("vocoder")
    return model


def _step(path: Path) -> int:
    digits = "".join(c for c in path.stem.split("-")[0] if c.isdigit())
    return int(digits) if digits else -1


def _size(folder: Path, stage: str) -> str | None:
    settings = yaml.safe_load((folder / "model.yaml").read_text())
    return settings.get("provenance", {}).get(stage, {}).get("size")
