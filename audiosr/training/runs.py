"""Where does a run live, and which run is meant? Run folders `outputs/STAGE/DATE_TIME[-NAME]/`."""

import itertools
import os
import shutil
import zipfile
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import torch
import yaml

from audiosr.errors import UsageError
from audiosr.files import check_folder, locked, remove_quietly
from audiosr.model import shipped_model
from audiosr.ranks import find_place
from audiosr.training.record import last_started

_SHARED = "AUDIOSR_RUN_FOLDER"
"""How the ranks that Lightning starts learn of the first one's folder."""
_LOCK = ".lock"
_MADE = ("config.yaml", "run.yaml", "frozen", "train.log", _LOCK)
"""What is in the folder of a run before its first step."""
_parents_made: dict[Path, list[Path]] = {}
"""Folders that this process has made above that of a run, the nearest first."""


def claim_folder(folder: str | Path, *, dated: bool) -> Path:
    """The folder of a new run, which is there afterwards and holds no other run.

    Args:
        folder: what the configuration asks for.
        dated: whether it is named by the time, so that another run may have the same name: then it
            gets a number. Otherwise the user has named it.

    Raises:
        UsageError: the folder is another run's or a file, or may not be made.
    """
    folder = Path(folder).absolute()
    try:
        check_folder(folder, "run_dir")
        if not dated and (folder / "config.yaml").exists():
            raise UsageError(
                f"{folder} holds a run already: go on with it by resume={folder}, or name another"
            )
        missing = [parent for parent in folder.parents if not parent.exists()]
        folder.parent.mkdir(parents=True, exist_ok=True)
        for number in itertools.count(2):
            try:
                folder.mkdir(exist_ok=not dated)
                break
            except FileExistsError:
                folder = folder.with_name(f"{folder.name.removesuffix(f'.{number - 1}')}.{number}")
    except PermissionError as error:
        raise UsageError(
            f"no right to write in {Path(error.filename).parent}: "
            "give run_dir=FOLDER or paths.outputs=FOLDER"
        ) from error
    _parents_made[folder] = missing
    return folder


@contextmanager
def occupied(folder: Path, *, resumed: bool) -> Iterator[None]:
    """Keep the folder of a run to this process and the ranks that it starts.

    Where nothing ran, a folder that was made for the run is taken away again.

    Raises:
        UsageError: another process trains in it.
    """
    if shared_folder() is not None or ((place := find_place()) and place.rank):
        yield  # the first rank holds it
        return
    alone = all(path.name in _MADE for path in folder.iterdir())
    with _held(folder):
        os.environ[_SHARED] = str(folder)
        try:
            yield
        except BaseException:
            ran = (folder / "metrics.csv").exists() or any(folder.glob("checkpoints/*.ckpt"))
            if not resumed and not ran:
                for name in [""] if alone else _MADE:
                    shutil.rmtree(folder / name, ignore_errors=True)
                    remove_quietly(folder / name)
                for parent in _parents_made.get(folder, ()):
                    with suppress(OSError):  # it holds something
                        parent.rmdir()
            raise
        finally:
            os.environ.pop(_SHARED, None)


@contextmanager
def _held(folder: Path) -> Iterator[None]:
    try:
        with locked(folder / _LOCK, wait=False):
            yield
    except BlockingIOError as error:
        raise UsageError(
            f"another process trains in {folder}: let it end, or name another folder by run_dir="
        ) from error


def shared_folder() -> Path | None:
    """The folder that the first rank has told this one, which Lightning has started."""
    return Path(os.environ[_SHARED]) if _SHARED in os.environ else None


def runs(outputs: str | Path, stage: str) -> list[Path]:
    """The run folders of `stage`, the one that was last started or resumed first."""
    folders = (file.parent for file in Path(outputs).glob(f"{stage}/*/config.yaml"))
    return sorted(folders, key=lambda f: (last_started(f), f.name), reverse=True)


def find_run(resume: str, outputs: str | Path, stage: str) -> tuple[Path, Path]:
    """Run folder and checkpoint that `resume` means: `last`, a run folder, or a checkpoint.

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
        path = Path(resume)
        if not path.is_file():
            raise UsageError(f"no checkpoint at {resume}")
        folder = path.absolute().parent.parent
        if not zipfile.is_zipfile(path):
            raise UsageError(f"{path} is broken: resume={folder} takes the newest that is whole")
        if not (folder / "config.yaml").is_file():
            raise UsageError(f"{path} lies in no run folder: {folder} has no config.yaml")
        return folder, path
    else:
        folder = Path(resume)
        if not (folder / "config.yaml").is_file():
            raise UsageError(f"{folder} is no run folder (it has no config.yaml)")
    checkpoint = newest_checkpoint(folder)
    if checkpoint is None:
        raise UsageError(f"{folder} holds no checkpoint that can be read: start the run anew")
    return folder, checkpoint


def newest_checkpoint(folder: Path) -> Path | None:
    """The checkpoint of a run after most steps, by number or as `last.ckpt`.

    One that cannot be opened is passed over for the one before, with a word.
    """
    found: list[tuple[int, Path]] = []
    for path in (folder / "checkpoints").glob("*.ckpt"):
        if path.is_symlink() and path.exists():
            continue  # a second name of one that is there
        if not zipfile.is_zipfile(path):
            print(f"{path} is broken: falling back to the checkpoint before", flush=True)
            continue
        found.append((step_of(path), path))
    return max(found, default=(0, None), key=lambda pair: pair[0])[1]


def step_of(path: Path) -> int:
    """After how many steps the checkpoint was written: by its name, or else by its content."""
    number = path.stem.removeprefix("step=").partition("-")[0]
    if number.isdigit():
        return int(number)
    return torch.load(path, weights_only=True, mmap=True, map_location="cpu")["global_step"]


def find_model(
    part: str, wanted: str | None, *, outputs: str | Path, stage: str, size: str
) -> Path | None:
    """The model folder that `wanted` means for `part`: a path, a name, or `newest`.

    Among the runs of `stage` `newest` prefers one of the same size, and it is told which was taken.
    None if it finds nothing.
    """
    if wanted is None:
        return None
    if wanted != "newest":
        return model_folder(part, wanted)
    folders = [
        run / "model" for run in runs(outputs, stage) if (run / "model/model.yaml").is_file()
    ]
    same_size = [f for f in folders if _size(f, stage) == size]
    newest = next(iter(same_size or folders), None)
    if newest is not None:
        print(f"{part} is the newest: {newest}", flush=True)
    return newest


def model_folder(part: str, wanted: str | Path) -> Path:
    """The model folder at `wanted`, itself or as `model/` of a run; an error names `part`."""
    for folder in (Path(wanted), Path(wanted) / "model", shipped_model(wanted)):
        if folder is not None and (folder / "model.yaml").is_file():
            return folder
    raise UsageError(f"{part}={wanted}: no model folder there (it has no model.yaml)")


def _size(folder: Path, stage: str) -> str | None:
    settings = yaml.safe_load((folder / "model.yaml").read_text())
    return settings.get("provenance", {}).get(stage, {}).get("size")
