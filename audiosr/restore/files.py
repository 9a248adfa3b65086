"""How are one or many files restored, so that one bad file spoils nothing?"""

import ctypes
import platform
import sys
import time
import traceback
from collections.abc import Generator, Sequence
from contextlib import nullcontext
from dataclasses import dataclass, field
from pathlib import Path
from typing import Protocol

import numpy as np
import torch

from audiosr.audio.damage import Damage, describe_damage
from audiosr.audio.decode import AudioReader, open_audio
from audiosr.audio.extras import read_extras
from audiosr.audio.writer import AudioWriter, audio_writer
from audiosr.errors import AudioFileError, AudioSRError
from audiosr.progress import ListeningBar
from audiosr.restore.batches import Answer, NetworkCall, RestoreWork
from audiosr.restore.follow import Stretch, tell_stretches
from audiosr.restore.plan import Job, RestorePlan, summarize
from audiosr.restore.recording import SpooledRecording
from audiosr.restore.restorer import Restorer
from audiosr.restore.settings import RestoreSettings
from audiosr.restore.whole import check_length

MAX_HOURS = 24
"""Longest recording that is decoded."""


@dataclass(frozen=True)
class RestoredFile:
    """What came of a file."""

    target: Path
    seconds: float
    """Length of the recording."""
    channels: int
    """Of the result."""
    stretches: Sequence[Stretch]
    """Up to where the recording is kept."""
    kept: str
    """The same in words."""
    took: float
    """Seconds of work."""
    clipped_db: float
    """By how much the peaks were above what the format holds; 0 where they were not."""
    damage: Sequence[Damage]

    @property
    def account(self) -> str:
        """`3.20 s, 1 channel, kept below 3985 Hz (96% sure), took 2.1 s`."""
        words = (
            f"{self.seconds:.2f} s, {self.channels} channel{'s' * (self.channels > 1)}, "
            f"{self.kept}, took {self.took:.1f} s"
        )
        if self.clipped_db:
            words += f" (peaks of {self.clipped_db:.1f} dB were clipped: a float .wav keeps them)"
        return words


class Listener(Protocol):
    """What is told how far the files are."""

    def begin(self, path: Path, seconds: float) -> None:
        """A recording is worked on."""
        ...

    def move(self, path: Path, share: float) -> None:
        """The finished part of a recording, up to 1.0."""
        ...

    def end(self, path: Path) -> None:
        """A recording is done, or has failed."""
        ...

    def tell(self, file: RestoredFile) -> None:
        """A result is whole and in its place."""
        ...


class _Terminal(ListeningBar):
    """A bar, and a line about each result."""

    def tell(self, file: RestoredFile) -> None:
        print(_printable(f"{file.target}: {file.account}"), flush=True)


def restore_files(
    restorer: Restorer,
    plan: RestorePlan,
    settings: RestoreSettings,
    *,
    overwrite: bool = False,
    resume: bool = False,
    subtype: str | None = None,
    track: int | None = None,
    listener: Listener | None = None,
) -> list[Path]:
    """Restore every file of a plan and tell what was written.

    Windows of several files share a batch. Of a damaged file what can be decoded is restored and
    written. A result appears under its name when it is whole.

    Args:
        restorer: the model.
        plan: sources and targets.
        settings: for all files; a cutoff of None is measured in each.
        overwrite: whether a target that exists is replaced.
        resume: whether a file whose target exists is passed over, as done before.
        subtype: libsndfile's name for the sample format; the best that the target's format holds
            by default.
        track: which audio track of the sources, from 1; by default the one that players take.
        listener: is told what happens, in the place of the terminal.

    Returns:
        The files written.

    Raises:
        AudioSRError: after the last file, if one or more failed or are damaged; names each with
            the reason.
    """
    _return_freed_memory()
    jobs = [job for job in plan.jobs if not (resume and _is_done(job))]
    if earlier := len(plan.jobs) - len(jobs):
        print(f"{earlier} of {len(plan.jobs)} were done before", flush=True)
    bar = _Terminal(len(jobs))
    with nullcontext() if listener else bar:
        hears = listener or bar
        run = _Run(restorer, settings, overwrite, subtype, track, hears, list(plan.failures))
        restorer.run((run.work(job) for job in jobs), settings)
    count = len(plan.jobs) + len(plan.failures)
    told = [summarize(run.failures, "failed", count), summarize(run.damaged, "are damaged", count)]
    if any(told):
        raise AudioSRError("\n".join(filter(None, told)))
    return [job.target for job in jobs if job.target in run.written]


def _is_done(job: Job) -> bool:
    return job.target.exists() and not job.target.samefile(job.source)


@dataclass
class _Run:
    """The restoration of some files, and what came of each."""

    restorer: Restorer
    settings: RestoreSettings
    overwrite: bool
    subtype: str | None
    track: int | None
    listener: Listener
    failures: list[str]
    written: set[Path] = field(default_factory=set)
    damaged: list[str] = field(default_factory=list)

    def work(self, job: Job) -> RestoreWork:
        """Restore one file and take note of what came of it."""
        try:
            file = yield from self._restored(job)
        except (torch.OutOfMemoryError, MemoryError):
            self._fail(job, "memory ran out: choose a lower batch_seconds or window_seconds")
        except AudioSRError as error:
            self._fail(job, str(error))
        except OSError as error:
            self._fail(job, f"{job.target} cannot be written: {error.strerror or error}")
        except Exception as error:  # a fault of ours, which must not end the others
            traceback.print_exc()
            self._fail(job, f"{type(error).__name__}: {error}")
        else:
            self.written.add(job.target)
            self.listener.tell(file)
            if file.damage:
                self.damaged.append(
                    f"{job.source} is damaged: {describe_damage(file.damage)}; {job.target} holds "
                    "what can be decoded"
                )
        self.listener.end(job.source)

    def _fail(self, job: Job, reason: str) -> None:
        named = reason.startswith((str(job.source), str(job.target)))
        self.failures.append(reason if named else f"{job.source}: {reason}")

    def _restored(self, job: Job) -> Generator[NetworkCall, Answer, RestoredFile]:
        started = time.perf_counter()
        _check_target(job, overwrite=self.overwrite)
        with open_audio(job.source, track=self.track) as reader:
            recording = SpooledRecording(reader.rate, reader.channels, job.target.parent)
            with recording:
                _decode(reader, recording)
                seconds = recording.samples / reader.rate
                self.listener.begin(job.source, seconds)
                if self.settings.needs_whole:
                    check_length(seconds, self.settings)
                stretches = self.restorer.stretches(recording, self.settings)
                written = yield from self._write(job, reader, recording, stretches)
        kept = tell_stretches(stretches, self.restorer.full_band_hz(self.settings))
        return RestoredFile(
            job.target,
            seconds,
            written.channels,
            stretches,
            kept,
            took=time.perf_counter() - started,
            clipped_db=_clipped_db(written),
            damage=reader.damage,
        )

    def _write(
        self,
        job: Job,
        reader: AudioReader,
        recording: SpooledRecording,
        stretches: list[Stretch],
    ) -> Generator[NetworkCall, Answer, AudioWriter]:
        restorer, settings = self.restorer, self.settings
        samples = round(recording.samples * restorer.rate / recording.rate)
        if samples == 0:
            raise AudioFileError(
                f"{job.source} is shorter than one sample at {restorer.rate} Hz; nothing to restore"
            )
        channels = restorer.chosen(recording, settings).channels
        with audio_writer(
            job.target,
            restorer.rate,
            channels,
            subtype=self.subtype,
            samples=samples,
            tags=reader.tags,
            extras=read_extras(job.source),
            dither=True,
        ) as writer:

            def on_step(share: float) -> None:
                self.listener.move(job.source, share)

            if settings.needs_whole:
                wave = recording.read(0, recording.samples)
                writer.write(
                    restorer.restore(wave, recording.rate, settings=settings, on_step=on_step)
                )
            else:
                yield from restorer.work(recording, settings, writer.write, on_step, stretches)
        return writer


def _check_target(job: Job, *, overwrite: bool) -> None:
    if job.target.exists():
        if job.target.samefile(job.source):
            raise AudioFileError(f"{job.target} is the input itself: choose another output")
        if not overwrite:
            raise AudioFileError(
                f"{job.target} exists: allow it to be overwritten or choose another output"
            )


def _decode(reader: AudioReader, recording: SpooledRecording) -> None:
    """Read all of a file into a recording."""
    for block in reader.blocks():
        recording.append(block)
        if recording.samples > MAX_HOURS * 3600 * recording.rate:
            raise AudioFileError(f"{reader.name} is longer than {MAX_HOURS} hours; split it")
    if recording.samples == 0:
        raise AudioFileError(f"{reader.name} holds no samples; nothing to work on")


def _clipped_db(written: AudioWriter) -> float:
    clips = written.peak > 1 and not written.holds_floats
    return 20 * float(np.log10(written.peak)) if clips else 0.0


def _return_freed_memory() -> None:
    """Have glibc give large buffers back to the system when they are freed.

    By itself it keeps what it expects to need again: 0.4 GB between the networks at size=base.
    """
    if platform.libc_ver()[0] == "glibc":
        m_mmap_threshold, threshold_bytes = -3, 4 << 20  # malloc.h
        ctypes.CDLL(None).mallopt(m_mmap_threshold, threshold_bytes)


def _printable(line: str) -> str:
    """`line` with what the terminal's encoding does not know, as in odd file names, escaped."""
    encoding = sys.stdout.encoding or "utf-8"
    return line.encode(encoding, "backslashreplace").decode(encoding)
