"""How do files and folders come onto the disk whole, or not at all?"""

import fcntl
import hashlib
import os
import re
import shutil
import uuid
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from audiosr.errors import DISK_REFUSES, UsageError

_CHUNK = 1 << 22


@contextmanager
def atomic_path(path: str | os.PathLike[str]) -> Iterator[Path]:
    """A temporary path in the folder of `path` that takes its name when the block ends well.

    What the block has written there is on the disk before the rename, so that a file under its
    name is whole even after a power cut; where the block fails, nothing is left. Its rights are
    those that new files have here, whatever library wrote it. The temporary name is short, since
    that of `path` may be as long as the file system allows.

    Raises:
        OSError: the folder cannot be made, or the disk refuses.
    """
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    partial = path.with_name(f".{uuid.uuid4().hex[:12]}.partial")
    try:
        with naming(path, partial):
            yield partial
            share_file(partial)
            with partial.open("rb") as file:
                os.fsync(file.fileno())
            partial.replace(path)
    finally:
        remove_quietly(partial)


@contextmanager
def replaced_folder(folder: str | os.PathLike[str]) -> Iterator[Path]:
    """A new folder beside `folder` that takes its place when the block ends without an error.

    The old one goes when the new one is in place, and comes back where that fails.

    Raises:
        OSError: the folder cannot be made or renamed.
    """
    folder = Path(folder)
    folder.parent.mkdir(parents=True, exist_ok=True)
    building = folder.with_name(f".{uuid.uuid4().hex[:12]}.partial")
    old = building.with_suffix(".old")
    try:
        with naming(folder, building):
            building.mkdir()
            yield building
            if folder.exists():
                folder.rename(old)
            try:
                building.rename(folder)
            except OSError:
                if old.exists():
                    old.rename(folder)
                raise
    finally:
        shutil.rmtree(building, ignore_errors=True)
        shutil.rmtree(old, ignore_errors=True)


@contextmanager
def naming(place: str | os.PathLike[str], partial: Path | None = None) -> Iterator[None]:
    """Let errors tell of `place` that name no file, or a part of `partial`, which is gone then.

    Without `partial` those alone that are about room on the disk. An error without a number has
    words of its own, which a name would take away.
    """
    try:
        yield
    except Exception as error:
        refused = _of_the_disk(error)
        if refused is None or refused.errno is None:
            raise
        if refused.filename is None:
            if partial is not None or refused.errno in DISK_REFUSES:
                refused.filename = str(place)
        elif partial is not None and str(refused.filename).startswith(str(partial)):
            refused.filename = str(place)
        if refused is error:
            raise
        raise refused from error


def _of_the_disk(error: BaseException) -> OSError | None:
    """What the system said, where that is what an error is about.

    `torch.save` has an error of its own behind which that one stands, safetensors has words.
    """
    if isinstance(error, RuntimeError) and isinstance(error.__context__, OSError):
        return error.__context__
    number = re.search(r"\(os error (\d+)\)", str(error))
    if number is not None and not isinstance(error, OSError):
        return OSError(int(number[1]), os.strerror(int(number[1])))
    return error if isinstance(error, OSError) else None


def share_file(path: Path) -> None:
    """Give a file that a library made for its owner alone the rights that new files have here."""
    mask = os.umask(0)
    os.umask(mask)
    path.chmod(0o666 & ~mask)


def check_folder(folder: str | os.PathLike[str], key: str) -> None:
    """Raise `UsageError`, which names the setting `key`, if `folder` is a file or below one."""
    for place in (Path(folder), *Path(folder).parents):
        if place.exists() and not place.is_dir():
            raise UsageError(f"{place} is a file, not a folder: set another {key}=FOLDER")


def remove_quietly(path: Path) -> None:
    """Delete a file if it is there; an error that is under way is not replaced by one of this."""
    try:
        path.unlink(missing_ok=True)
    except OSError:
        return


def file_hash(
    path: str | os.PathLike[str],
    kind: str = "sha256",
    progress: Callable[[int], object] | None = None,
) -> str:
    """Hash of a file in hexadecimal digits.

    Args:
        path: the file.
        kind: as `hashlib` names it.
        progress: called with the number of bytes read since the last call.
    """
    digest = hashlib.new(kind)
    with Path(path).open("rb") as file:
        while chunk := file.read(_CHUNK):
            digest.update(chunk)
            if progress is not None:
                progress(len(chunk))
    return digest.hexdigest()


@contextmanager
def locked(path: str | os.PathLike[str], *, wait: bool = True) -> Iterator[None]:
    """Hold the exclusive lock of the file `path`, which is made; it goes with the process.

    Raises:
        BlockingIOError: another process holds it and `wait` is false.
    """
    with Path(path).open("ab") as file:
        fcntl.flock(file, fcntl.LOCK_EX | (0 if wait else fcntl.LOCK_NB))
        yield


def cache_folder() -> Path:
    """Where what was fetched or converted is kept: `$AUDIOSR_CACHE`, or else `~/.cache/audiosr`."""
    return Path(os.environ.get("AUDIOSR_CACHE") or "~/.cache/audiosr").expanduser().absolute()


def config_folder() -> Path:
    """The folder of configurations: `conf/` of a checkout, `audiosr/conf` of an installed wheel.

    Raises:
        UsageError: it is missing.
    """
    package = Path(__file__).resolve().parent
    for folder in (package / "conf", package.parent / "conf"):
        if folder.is_dir():
            return folder
    raise UsageError(f"no conf/ folder beside {package}: install the package again")
