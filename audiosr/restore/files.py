"""How are one or many files restored, so that one bad file spoils nothing?"""

import ctypes
import glob
import platform
import sys
import time
import traceback
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import soundfile
import torch
from rich.markup import escape

from audiosr.audio import io
from audiosr.audio.damage import Damage, describe_damage
from audiosr.errors import AudioFileError, AudioSRError, UsageError
from audiosr.progress import progress_bars
from audiosr.restore.follow import tell_stretches
from audiosr.restore.restorer import MAX_SECONDS, Restorer
from audiosr.restore.settings import RestoreSettings


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
            raise AudioSRError(_summary(failures, "failed", len(failures)))


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


def restore_files(
    restorer: Restorer,
    plan: RestorePlan,
    settings: RestoreSettings,
    *,
    overwrite: bool = False,
    subtype: str | None = None,
    track: int | None = None,
) -> list[Path]:
    """Restore every file of a plan and print what was written.

    Of a damaged file what can be decoded is restored and written.

    Args:
        restorer: the model.
        plan: sources and targets.
        settings: for all files; a cutoff of None is measured in each.
        overwrite: whether a target that exists is replaced.
        subtype: libsndfile's name for the sample format; the best that the target's format holds
            by default.
        track: which audio track of the sources, from 1; by default the one that players take.

    Returns:
        The files written.

    Raises:
        AudioSRError: after the last file, if one or more failed or are damaged; names each with
            the reason.
    """
    _return_freed_memory()
    written, failures, damaged = [], list(plan.failures), []
    with progress_bars() as bar:
        task = bar.add_task("restoring", total=len(plan.jobs))
        for done, job in enumerate(plan.jobs):
            bar.update(task, description=escape(job.source.name))
            try:
                line, damage = _restore_file(
                    restorer,
                    job,
                    settings,
                    overwrite=overwrite,
                    subtype=subtype,
                    track=track,
                    on_step=lambda part, done=done: bar.update(task, completed=done + part),
                )
            except AudioSRError as error:
                reason = str(error)
                named = reason.startswith((str(job.source), str(job.target)))
                failures.append(reason if named else f"{job.source}: {reason}")
            except OSError as error:
                failures.append(f"{job.target} cannot be written: {error.strerror or error}")
            except Exception as error:  # a fault of ours, which must not end the others
                traceback.print_exc()
                failures.append(f"{job.source}: {type(error).__name__}: {error}")
            else:
                written.append(job.target)
                print(_printable(line), flush=True)
                if damage:
                    damaged.append(
                        f"{job.source} is damaged: {describe_damage(damage)}; {job.target} holds "
                        "what can be decoded"
                    )
            bar.update(task, completed=done + 1)
    count = len(plan.jobs) + len(plan.failures)
    told = [_summary(failures, "failed", count), _summary(damaged, "are damaged", count)]
    if any(told):
        raise AudioSRError("\n".join(filter(None, told)))
    return written


def _return_freed_memory() -> None:
    """Have glibc give large buffers back to the system when they are freed.

    By itself it keeps what it expects to need again: 0.4 GB between the networks at size=base.
    """
    if platform.libc_ver()[0] == "glibc":
        m_mmap_threshold, threshold_bytes = -3, 4 << 20  # malloc.h
        ctypes.CDLL(None).mallopt(m_mmap_threshold, threshold_bytes)


def _summary(sentences: Sequence[str], what: str, count: int) -> str:
    if not sentences or count == 1:
        return "".join(sentences)
    return f"{len(sentences)} of {count} inputs {what}:" + "".join(f"\n  {s}" for s in sentences)


def _restore_file(
    restorer: Restorer,
    job: Job,
    settings: RestoreSettings,
    *,
    overwrite: bool,
    subtype: str | None,
    track: int | None,
    on_step: Callable[[float], None],
) -> tuple[str, list[Damage]]:
    """Restore one file; returns the line that tells of it, and where the source is damaged."""
    started = time.perf_counter()
    if job.target.exists():
        if job.target.samefile(job.source):
            raise AudioFileError(f"{job.target} is the input itself: choose another output")
        if not overwrite:
            raise AudioFileError(
                f"{job.target} exists: allow it to be overwritten or choose another output"
            )
    damage: list[Damage] = []
    wave, rate = io.read_audio(job.source, max_seconds=MAX_SECONDS, track=track, damage=damage)
    stretches = restorer.stretches(wave, rate, settings)
    try:
        restored = restorer.restore(
            wave, rate, settings=settings, stretches=stretches, on_step=on_step
        )
    except (torch.OutOfMemoryError, MemoryError) as error:
        raise AudioSRError("memory ran out: cut the recording into shorter parts") from error
    if restored.shape[1] == 0:
        raise AudioFileError(
            f"{job.source} is shorter than one sample at {restorer.rate} Hz; nothing to restore"
        )
    io.write_audio(job.target, restored, restorer.rate, subtype)
    kept = tell_stretches(stretches, restorer.full_band_hz(settings))
    clipped = ""
    if (peak := np.abs(restored).max()) > 1 and not _holds_floats(job.target):
        clipped = f" (peaks of {20 * np.log10(peak):.1f} dB were clipped: a float .wav keeps them)"
    line = (
        f"{job.target}: {wave.shape[1] / rate:.2f} s, "
        f"{len(restored)} channel{'s' * (len(restored) > 1)}, "
        f"{kept}, took {time.perf_counter() - started:.1f} s{clipped}"
    )
    return line, damage


def _printable(line: str) -> str:
    """`line` with what the terminal's encoding does not know, as in odd file names, escaped."""
    encoding = sys.stdout.encoding or "utf-8"
    return line.encode(encoding, "backslashreplace").decode(encoding)


def _holds_floats(path: Path) -> bool:
    return soundfile.info(path).subtype in ("FLOAT", "DOUBLE")


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
        for file in files:
            if folder is None or folder.resolve() == root.resolve():
                earlier = False
            else:
                earlier = folder.resolve() in file.resolve().parents
            # What an earlier run left inside the input folder is no input.
            if not earlier:
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
