"""How are other people's tools measured? By the files that they wrote, or by a command.

What a tool returns is brought to 48 kHz, to one channel, in time with its input and to its length,
and what had to be done is said; what cannot be brought there is a failure of that clip.
"""

import hashlib
import os
import re
import shlex
import signal
import subprocess
from collections.abc import Callable, Iterable
from contextlib import suppress
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
import scipy.signal
import torch
from numpy.typing import NDArray
from torch import Tensor

from audiosr.audio import io
from audiosr.audio.io import AUDIO_SUFFIXES, RATE
from audiosr.errors import AudioFileError, AudioSRError, UsageError
from audiosr.evaluation.clips import ReferenceClip
from audiosr.evaluation.protocol import Protocol
from audiosr.evaluation.results import Failure
from audiosr.evaluation.systems import LONGEST_EXCESS, FittedOutputs, Trial

_LONGEST_SHIFT = RATE // 2
_SURE = 0.5
"""Least correlation with the input at which a shift is believed."""


_Fitted = tuple[NDArray[np.float32], str, int]
"""Samples (T,), what was done to an output, and its excess in samples."""


def input_stem(clip: str, cutoff_hz: float) -> str:
    """Name, without suffix, of the file that holds `clip` degraded at a cutoff.

    One level, in letters that no shell and no file system minds; where that loses something of the
    clip's name, a hash of it follows.
    """
    plain = re.sub(r"[^A-Za-z0-9._-]", "_", clip.replace("/", "__")).lstrip(".-")[:160]
    if plain.replace("__", "/") != clip:
        plain += f"-{hashlib.sha256(clip.encode('utf-8', 'surrogateescape')).hexdigest()[:8]}"
    return f"{plain}@{cutoff_hz:g}"


def write_inputs(
    benchmark: Iterable[ReferenceClip | Failure],
    protocol: Protocol,
    folder: Path,
    *,
    progress: Callable[[], None] = lambda: None,
) -> list[Failure]:
    """Write each clip at each cutoff as a mono float WAV at 48 kHz, for other tools.

    Returns:
        The clips that could not be read.

    Raises:
        AudioFileError: a file cannot be written.
    """
    failures = []
    for clip in benchmark:
        progress()
        if isinstance(clip, Failure):
            failures.append(clip)
            continue
        reference = torch.from_numpy(protocol.mono(clip.wave))[None, None]
        for low, hz in zip(*protocol.degrade(reference), strict=True):
            name = f"{input_stem(clip.name, float(hz))}.wav"
            io.write_audio(folder / name, low.numpy(), RATE, "FLOAT")
    return failures


class OutputFolder:
    """What another tool has written for the inputs of `write_inputs`, under the same names.

    Args:
        root: folder of its output files, each named as its input, with any suffix of audio.
    """

    def __init__(self, root: str | None) -> None:
        """Raises `UsageError` without a folder, `AudioFileError` where no audio is in it."""
        if root is None:
            raise UsageError("no folder of output files: give system.folder.root=DIR")
        self.root = Path(root)
        self.files = _by_stem(io.expand(self.root))

    def __call__(self, trial: Trial) -> FittedOutputs:
        """The outputs.

        Raises:
            AudioSRError: one is missing, cannot be read, or is of another length.
        """
        outputs = []
        for low, hz in zip(trial.low, trial.cutoff_hz.tolist(), strict=True):
            stem = input_stem(trial.name, hz)
            if not (found := self.files.get(stem)):
                raise AudioFileError(f"{self.root} has no {stem}.wav")
            if len(found) > 1:
                raise AudioFileError(f"{self.root} has both {found[0].name} and {found[1].name}")
            outputs.append(fit_output(found[0], low[0].cpu().numpy()))
        return _stacked(outputs, trial.low)

    def extra(self, stems: Iterable[str]) -> list[str]:
        """Names of the files that answer none of the inputs with these stems."""
        others = self.files.keys() - set(stems)
        return [path.name for stem in sorted(others) for path in self.files[stem]]

    def card(self) -> dict[str, Any]:
        """The folder."""
        return {"kind": "files of another tool", "folder": str(self.root)}


class Command:
    """A tool that is run once for each input, in a scratch folder of its own.

    Args:
        run: shell command. `{input}` and `{output}` stand for the WAV files that it reads (float,
            mono, 48 kHz) and writes, `{cutoff}` for the edge in Hz, `{seed}` for a number.
        timeout_s: seconds after which it is stopped, with all that it has started.
    """

    def __init__(self, run: str | None, *, timeout_s: float = 600) -> None:
        """Raises `UsageError` for a command that is none, or reads or writes nothing."""
        if run is None:
            raise UsageError("no command: give system.command.run='TOOL {input} {output}'")
        self.run, self.timeout_s = run, timeout_s
        if missing := [word for word in ("{input}", "{output}") if word not in run]:
            raise UsageError(f"the command {run!r} names no {' and no '.join(missing)}")
        if not timeout_s > 0:
            raise UsageError(f"timeout_s={timeout_s:g}: give a command more than 0 seconds")

    def __call__(self, trial: Trial) -> FittedOutputs:
        """The outputs, one call after the other.

        Raises:
            AudioSRError: the command fails, takes too long, or leaves no audio of the length.
            UsageError: it asks for a cutoff that the protocol does not tell.
        """
        if "{cutoff}" in self.run and not trial.cutoff_given:
            raise UsageError("the command names {cutoff}, which this protocol tells no system")
        outputs = []
        for low, hz, seed in zip(
            trial.low[:, 0].cpu().numpy(), trial.cutoff_hz.tolist(), trial.seeds, strict=True
        ):
            with TemporaryDirectory(prefix="audiosr-") as scratch:
                outputs.append(self._run(Path(scratch), low, hz, seed))
        return _stacked(outputs, trial.low)

    def _run(self, scratch: Path, low: NDArray[np.float32], hz: float, seed: int) -> _Fitted:
        # The names of clips never reach the shell.
        source, target = scratch / "input.wav", scratch / "output.wav"
        io.write_audio(source, low[None], RATE, "FLOAT")
        command = self.run
        for word, value in (
            ("{input}", source),
            ("{output}", target),
            ("{cutoff}", f"{hz:g}"),
            ("{seed}", seed),
        ):
            command = command.replace(word, shlex.quote(str(value)))
        with (scratch / "said").open("wb") as said:
            process = subprocess.Popen(
                command,
                shell=True,
                cwd=scratch,
                stdin=subprocess.DEVNULL,
                stdout=said,
                stderr=said,
                start_new_session=True,
            )
            try:
                code = process.wait(self.timeout_s)
            except subprocess.TimeoutExpired:
                raise AudioSRError(
                    f"the command took more than {self.timeout_s:g} s and was stopped"
                ) from None
            finally:
                _stop_group(process)
        if code:
            lines = (scratch / "said").read_text(errors="replace").strip().splitlines()
            raise AudioSRError(
                f"the command ended with {code}: {lines[-1] if lines else 'silently'}"
            )
        if not target.exists():
            raise AudioSRError("the command wrote no {output}")
        return fit_output(target, low)

    def card(self) -> dict[str, Any]:
        """The command."""
        return {"kind": "a command", "run": self.run, "timeout_s": self.timeout_s}


def fit_output(path: Path, low: NDArray[np.float32]) -> _Fitted:
    """The output in `path` at 48 kHz, mono, in time with its input `low` (T,) and as long.

    Returns:
        Samples (T,); what had to be done, empty where nothing; and by how many samples the output
        was longer.

    Raises:
        AudioFileError: it cannot be read, or holds NaN.
        AudioSRError: its length differs by more than 0.1 s after a shift has been undone.
    """
    wave, rate = io.read_audio(path)
    changes = []
    if rate != RATE:
        changes.append(f"resampled from {rate} Hz")
        wave = io.resample(wave, rate, RATE)
    if len(wave) > 1:
        changes.append(f"mean of {len(wave)} channels")
    output = wave.mean(axis=0, dtype=np.float32)
    shift = _delay(output, low)
    longer = len(output) - len(low) - shift
    if abs(longer) > LONGEST_EXCESS:
        raise AudioSRError(
            f"{path.name} lasts {len(output) / RATE:.2f} s, its input {len(low) / RATE:.2f} s"
        )
    excess = len(output) - len(low)
    if shift:
        changes.append(f"moved by {-shift} samples")
        output = output[shift:] if shift > 0 else np.pad(output, (-shift, 0))
    if len(output) != len(low):
        if not shift:
            changes.append(f"{abs(longer)} samples {'longer' if longer > 0 else 'shorter'}")
        output = np.pad(output[: len(low)], (0, max(0, len(low) - len(output))))
    return output, ", ".join(changes), excess


def _stacked(outputs: Iterable[_Fitted], like: Tensor) -> FittedOutputs:
    waves, changes, excess = zip(*outputs, strict=True)
    stacked = torch.from_numpy(np.stack(waves))[:, None].to(like)
    return FittedOutputs(stacked, changes, excess)


def _delay(output: NDArray[np.float32], low: NDArray[np.float32]) -> int:
    """Samples by which `output` lags behind `low`; 0 where that cannot be told."""
    match = scipy.signal.correlate(output.astype(np.float64), low.astype(np.float64), method="fft")
    zero = len(low) - 1
    start = max(0, zero - _LONGEST_SHIFT)
    near = match[start : zero + _LONGEST_SHIFT + 1]
    best = int(near.argmax())
    scale = float(np.linalg.norm(low)) * float(np.linalg.norm(output))
    # A periodic sound matches nearly as well one period off.
    unmoved = match[zero] if zero < len(match) else 0.0
    if near[best] < _SURE * scale or unmoved > 0.999 * near[best]:
        return 0
    return best + start - zero


def _by_stem(files: Iterable[Path]) -> dict[str, list[Path]]:
    found: dict[str, list[Path]] = {}
    for path in files:
        # A stem may hold dots: only a suffix of audio is one.
        stem = path.stem if path.suffix.lower() in AUDIO_SUFFIXES else path.name
        found.setdefault(stem, []).append(path)
    return found


def _stop_group(process: subprocess.Popen[bytes]) -> None:
    """Stop what the command has started and not waited for."""
    with suppress(ProcessLookupError):
        os.killpg(process.pid, signal.SIGKILL)
    process.wait()
