"""How do audio files become arrays, and arrays files?"""

import glob
import os
from io import BytesIO
from pathlib import Path
from typing import BinaryIO

import numpy as np
import soundfile
import soxr
from numpy.typing import NDArray

from audiosr.errors import AudioFileError
from audiosr.files import atomic_path

RATE = 48_000
"""Sampling rate in Hz of everything that networks, shards and evaluations see."""

RATES = (4_000, 192_000)
"""Lowest and highest sampling rate in Hz that is accepted."""

CHANNELS = 32
"""Most channels that are accepted."""

AUDIO_SUFFIXES = frozenset(
    {".wav", ".w64", ".rf64", ".bwf", ".flac", ".ogg", ".oga", ".opus", ".mp3"}
    | {".aif", ".aiff", ".aifc", ".au", ".snd", ".caf"}
)
"""File name endings, in lower case, that are taken for audio when a folder is searched."""

_BLOCK = 1 << 18
_FORMATS = {
    ".oga": "OGG",
    ".opus": "OGG",
    ".aif": "AIFF",
    ".aifc": "AIFF",
    ".snd": "AU",
    ".bwf": "WAV",
}
_WAV_LIMIT = 4_000_000_000


def read_audio(
    source: str | os.PathLike[str] | bytes | BinaryIO, *, max_seconds: float | None = None
) -> tuple[NDArray[np.float32], int]:
    """Decode everything libsndfile reads.

    Args:
        source: a path, the bytes of a file, or an open binary file.
        max_seconds: longest clip that is accepted; counted while decoding, whatever the header
            says.

    Returns:
        Samples (C, T), float32, full scale 1.0, at the file's own rate, and that rate in Hz.

    Raises:
        AudioFileError: missing, empty, not audio, without samples, with NaN or infinite samples,
            longer than `max_seconds`, or with a rate or a number of channels outside `RATES` and
            `CHANNELS`.
    """
    if isinstance(source, bytes):
        name, handle = "audio in memory", BytesIO(source)
    elif isinstance(source, str | os.PathLike):
        name, handle = os.fspath(source), os.fspath(source)
        _check_path(name)
    else:
        name, handle = str(getattr(source, "name", "audio in memory")), source
    try:
        with soundfile.SoundFile(handle) as file:
            rate = file.samplerate
            _check_header(name, rate, file.channels)
            limit = None if max_seconds is None else int(max_seconds * rate)
            wave = _decode(name, file, limit)
    except (soundfile.SoundFileError, TypeError) as error:
        # TypeError: soundfile takes the suffix .raw for headerless samples and asks for their rate.
        raise AudioFileError(
            f"{name} is not audio that can be read; give WAV, FLAC, Ogg or MP3"
        ) from error
    except OSError as error:
        raise AudioFileError(f"{name} cannot be read: {error.strerror or error}") from error
    if wave.shape[1] == 0:
        raise AudioFileError(f"{name} holds no samples; nothing to work on")
    if not np.isfinite(wave).all():
        raise AudioFileError(f"{name} holds NaN or infinite samples; export it again")
    return wave, rate


def _check_path(name: str) -> None:
    if not os.path.exists(name):
        raise AudioFileError(f"{name} does not exist; check the path")
    if not os.path.isfile(name):
        raise AudioFileError(f"{name} is not a file; give an audio file")
    if os.path.getsize(name) == 0:
        raise AudioFileError(f"{name} is empty (0 bytes); copy or export it again")


def _check_header(name: str, rate: int, channels: int) -> None:
    low, high = RATES
    if not low <= rate <= high:
        raise AudioFileError(
            f"{name} has a sampling rate of {rate} Hz; {low} to {high} Hz are handled, resample it"
        )
    if channels > CHANNELS:
        raise AudioFileError(
            f"{name} has {channels} channels; at most {CHANNELS} are handled, split it"
        )


def _decode(name: str, file: soundfile.SoundFile, limit: int | None) -> NDArray[np.float32]:
    # Block by block: a header that claims terabytes must not decide how much memory is taken.
    samples = 0
    blocks: list[NDArray[np.float32]] = [np.zeros((0, file.channels), np.float32)]
    while len(block := file.read(_BLOCK, dtype="float32", always_2d=True)):
        blocks.append(block.astype(np.float32, copy=False))
        samples += len(block)
        if limit is not None and samples > limit:
            raise AudioFileError(f"{name} is longer than {limit / file.samplerate:g} s; split it")
    return np.ascontiguousarray(np.concatenate(blocks).T)


def write_audio(
    path: str | os.PathLike[str],
    wave: NDArray[np.floating],
    rate: int,
    subtype: str | None = None,
) -> None:
    """Write samples (C, T), full scale 1.0; the suffix of the path chooses the format.

    The file appears under its name only when it is whole: temporary name in the same folder, then
    rename. Integer formats clip at full scale.

    Args:
        path: where to; missing folders are made, an existing file is replaced.
        wave: samples (C, T).
        rate: sampling rate in Hz.
        subtype: libsndfile's name for the sample format, such as "FLOAT", "PCM_16", "PCM_24"; by
            default the best that the format holds: FLOAT, else PCM_24, else the format's codec.

    Raises:
        AudioFileError: unknown suffix, a sample format that it does not hold, no access.
    """
    path = Path(path)
    suffix = path.suffix.lower()
    form = _FORMATS.get(suffix, suffix[1:].upper())
    if form not in soundfile.available_formats() or form == "RAW":
        raise AudioFileError(f"{path} has no audio suffix; name it .wav or .flac")
    if form == "WAV" and wave.nbytes > _WAV_LIMIT:
        form = "RF64"
    subtype = subtype or _best_subtype(form, suffix)
    if not soundfile.check_format(form, subtype):
        held = ", ".join(soundfile.available_subtypes(form))
        raise AudioFileError(f"{path}: {form} does not hold {subtype}; choose one of {held}")
    try:
        with (
            atomic_path(path) as partial,
            soundfile.SoundFile(partial, "w", rate, len(wave), subtype, format=form) as file,
        ):
            # Block by block: libvorbis overflows its stack on minutes of samples in one call.
            for start in range(0, wave.shape[1], _BLOCK):
                file.write(wave[:, start : start + _BLOCK].T)
    except (OSError, soundfile.SoundFileError) as error:
        raise AudioFileError(f"{path} cannot be written: {error}") from error


def _best_subtype(form: str, suffix: str) -> str:
    if suffix == ".opus":
        return "OPUS"
    held = soundfile.available_subtypes(form)
    codec = soundfile.default_subtype(form) or next(iter(held))
    return next((name for name in ("FLOAT", "PCM_24") if name in held), codec)


def resample(wave: NDArray[np.float32], rate_in: int, rate_out: int) -> NDArray[np.float32]:
    """Change the sampling rate with soxr at very high quality (linear phase, no delay).

    Args:
        wave: samples (C, T).
        rate_in: its rate in Hz.
        rate_out: the wanted rate in Hz.

    Returns:
        Samples (C, round(T * rate_out / rate_in)).
    """
    if rate_in == rate_out:
        return wave
    samples = round(wave.shape[1] * rate_out / rate_in)
    # A few zeros more at the end, since soxr may round the length down.
    padded = np.pad(wave, ((0, 0), (0, 2 + 2 * rate_in // rate_out)))
    out = soxr.resample(padded.T.astype(np.float32, copy=False), rate_in, rate_out, quality="VHQ")
    return np.ascontiguousarray(out[:samples].T)


def expand(pattern: str | os.PathLike[str]) -> list[Path]:
    """The audio files that a file, a folder (with all below it) or a glob pattern means, sorted.

    A path that exists is taken literally, so names with brackets work. A named file is returned
    whatever its suffix; folders and patterns give files with one of `AUDIO_SUFFIXES` that are not
    hidden.

    Raises:
        AudioFileError: nothing there, or no audio file in it.
    """
    path = Path(pattern).expanduser()
    if path.is_file():
        return [path]
    found = path.rglob("*") if path.is_dir() else map(Path, glob.glob(str(path), recursive=True))
    files = sorted(
        file
        for file in found
        if file.suffix.lower() in AUDIO_SUFFIXES
        and not file.name.startswith(".")
        and file.is_file()
    )
    if files:
        return files
    if path.is_dir():
        raise AudioFileError(f"{path} holds no audio file; give a folder with WAV, FLAC or MP3")
    raise AudioFileError(f"{path} matches no audio file; give a file, a folder or a glob pattern")
