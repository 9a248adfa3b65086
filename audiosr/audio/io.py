"""How do audio files become arrays, and arrays files?"""

import glob
import os
from pathlib import Path

import numpy as np
import soxr
from numpy.typing import NDArray

from audiosr.audio.damage import Damage, describe_damage
from audiosr.audio.decode import CHANNELS as CHANNELS
from audiosr.audio.decode import RATES as RATES
from audiosr.audio.decode import AudioSource, open_audio
from audiosr.audio.writer import WRITTEN_SUFFIXES, audio_writer
from audiosr.errors import AudioFileError

RATE = 48_000
"""Sampling rate in Hz of everything that networks, shards and evaluations see."""

AUDIO_SUFFIXES = WRITTEN_SUFFIXES | frozenset(
    {".m4a", ".m4b", ".aac", ".mp2", ".mka", ".weba", ".wma", ".amr", ".awb", ".ac3", ".eac3"}
    | {".dts", ".spx", ".wv", ".ape", ".tta", ".tak", ".mpc", ".voc", ".sph"}
    | {".mp4", ".m4v", ".mov", ".3gp", ".3g2", ".mkv", ".webm", ".wmv", ".asf", ".avi", ".flv"}
    | {".ogv", ".mpg", ".mpeg", ".m2ts", ".mts", ".vob", ".mxf"}
)
"""File name endings, in lower case, that are taken for audio when a folder is searched."""


def read_audio(
    source: AudioSource,
    *,
    max_seconds: float | None = None,
    track: int | None = None,
    damage: list[Damage] | None = None,
) -> tuple[NDArray[np.float32], int]:
    """Decode a file of any kind, the sound of a video too.

    Args:
        source: a path, the bytes of a file, or an open binary file.
        max_seconds: longest clip that is accepted; counted while decoding, whatever the header
            says.
        track: which of the file's audio tracks, from 1; by default the one that players take.
        damage: takes where sound is broken or missing; without it such a file is an error.

    Returns:
        Samples (C, T), float32, full scale 1.0, at the file's own rate, and that rate in Hz.

    Raises:
        AudioFileError: missing, empty, not audio, without samples, with NaN or infinite samples,
            longer than `max_seconds`, with a rate or a number of channels outside `RATES` and
            `CHANNELS`, or damaged.
        UsageError: no such track.
    """
    with open_audio(source, track=track) as reader:
        limit = None if max_seconds is None else int(max_seconds * reader.rate)
        samples, blocks = 0, []
        for block in reader.blocks():
            blocks.append(block)
            samples += block.shape[1]
            if limit is not None and samples > limit:
                raise AudioFileError(f"{reader.name} is longer than {max_seconds:g} s; split it")
        if samples == 0:
            raise AudioFileError(f"{reader.name} holds no samples; nothing to work on")
        if damage is not None:
            damage.extend(reader.damage)
        elif reader.damage:
            raise AudioFileError(f"{reader.name} is damaged: {describe_damage(reader.damage)}")
        return np.concatenate(blocks, axis=1), reader.rate


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
    samples = wave.shape[1] * wave.itemsize // 4
    with audio_writer(path, rate, len(wave), subtype=subtype, samples=samples) as writer:
        writer.write(wave)


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
        and not file.is_dir()  # links that lead nowhere are for the reader to name
    )
    if files:
        return files
    if path.is_dir():
        raise AudioFileError(
            f"{path} holds no audio file; give a folder with WAV, FLAC, MP3 or M4A"
        )
    raise AudioFileError(f"{path} matches no audio file; give a file, a folder or a glob pattern")
