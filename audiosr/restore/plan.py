"""Which files are restored, and where do the results go?"""

import glob
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from audiosr.audio import io
from audiosr.errors import AudioFileError, AudioSRError, UsageError


@dataclass(frozen=True)
class Job:
    """One file to restore and where the result goes."""

    source: Path
    target: Path


@dataclass(frozen=True)
class RestorePlan:
    """What is to be done, and which of the inputs cannot even be found."""

    jobs: tuple[Job, ...]
    failures: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        if not self.jobs:
            none = ("nothing to restore but the results of an earlier run",)
            failures = self.failures or none
            raise AudioSRError(summarize(failures, "failed", len(failures)))


def plan_restore(inputs: Sequence[str], output: str, *, suffix: str = "") -> RestorePlan:
    """Give every input file its output file.

    One input file and an output with an audio suffix: that file. Otherwise the output is a folder;
    files of an input folder keep their place in it, and the name is the source's with `suffix`,
    as `.wav`, which holds float samples and so peaks above full scale. Where two sources would meet
    (`a.mp3`, `a.flac`), both keep their suffix in the name.

    Args:
        inputs: files, folders (searched recursively) and glob patterns.
        output: file or folder.
        suffix: appended to the names in an output folder.

    Raises:
        UsageError: several inputs for one output file, or a suffix that is not audio.
        AudioSRError: none of the inputs exists.
    """
    target = Path(output).expanduser()
    folder = target.is_dir() or output.endswith("/") or not target.suffix
    first = Path(inputs[0]).expanduser()
    one = len(inputs) == 1 and (
        first.is_file() or not (first.is_dir() or glob.has_magic(str(first)))
    )
    if not folder and target.suffix.lower() not in io.WRITTEN_SUFFIXES:
        raise UsageError(
            f"{output} is no audio file that can be written: name it .wav or .flac, or end a "
            "folder with /"
        )
    if not folder and not one:
        raise UsageError(f"{output} is one file: give a folder for the results of several inputs")
    found, failures = _found(inputs, target if folder else None)
    if not folder:
        return RestorePlan(tuple(Job(source, target) for source in found), failures)
    places = {source: place.with_name(place.stem + suffix) for source, place in found.items()}
    shared = [place for place in places.values() if list(places.values()).count(place) > 1]
    jobs = []
    for source, place in places.items():
        name = place.name + (source.suffix if place in shared else "") + ".wav"
        jobs.append(Job(source, target / place.with_name(name)))
    return RestorePlan(tuple(jobs), failures)


def summarize(sentences: Sequence[str], what: str, count: int) -> str:
    """One sentence about each of some inputs, of `count`."""
    if not sentences or count == 1:
        return "".join(sentences)
    return f"{len(sentences)} of {count} inputs {what}:" + "".join(f"\n  {s}" for s in sentences)


def _found(inputs: Sequence[str], folder: Path | None) -> tuple[dict[Path, Path], tuple[str, ...]]:
    """Each source with its place relative to its input, and the inputs that lead nowhere."""
    found: dict[Path, Path] = {}
    failures = []
    for pattern in inputs:
        path = Path(pattern).expanduser()
        if not (path.exists() or glob.has_magic(str(path))):
            failures.append(f"{path} does not exist: check the path")
            continue
        try:
            files = io.expand(path)
        except AudioFileError as error:
            failures.append(str(error))
            continue
        root = _root(path)
        # What an earlier run left inside the input folder is no input.
        apart = folder.resolve() if folder and folder.resolve() != root.resolve() else None
        for file in files:
            if apart not in file.resolve().parents:
                found[file] = file.relative_to(root)
    return found, tuple(failures)


def _root(path: Path) -> Path:
    """The folder that names in the output are relative to."""
    if path.is_dir():
        return path
    if path.is_file():
        return path.parent
    while glob.has_magic(str(path)):
        path = path.parent
    return path
