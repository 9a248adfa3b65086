"""How does audio come onto the disk block by block, and under its name only when it is whole?"""

import os
from collections.abc import Generator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import soundfile
from numpy.typing import NDArray

from audiosr.audio.extras import Extras, write_extras
from audiosr.errors import AudioFileError
from audiosr.files import atomic_path

WRITTEN_SUFFIXES = frozenset(
    {".wav", ".w64", ".rf64", ".bwf", ".flac", ".ogg", ".oga", ".opus", ".mp3"}
    | {".aif", ".aiff", ".aifc", ".au", ".snd", ".caf"}
)
"""File name endings, in lower case, of what can be written."""

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

_TAGS = {
    name: name for name in ("title", "artist", "album", "date", "genre", "comment", "copyright")
} | {"track": "tracknumber", "tracknumber": "tracknumber", "license": "license"}
"""Tags that files have in common, by FFmpeg's names for them and by libsndfile's."""

_BITS = {"PCM_S8": 8, "PCM_U8": 8, "PCM_16": 16, "PCM_24": 24}
"""Of the sample formats to which is rounded here: libsndfile rounds down, which shifts the mean."""


@dataclass
class AudioWriter:
    """An audio file that is being written; made by `audio_writer`."""

    file: soundfile.SoundFile
    channels: int
    noise: np.random.Generator | None
    """Source of the dither, if there is any."""
    peak: float = 0.0
    """Of what was written so far."""

    @property
    def holds_floats(self) -> bool:
        """Whether values beyond full scale are kept."""
        return self.file.subtype in ("FLOAT", "DOUBLE")

    def write(self, wave: NDArray[np.floating]) -> None:
        """Add samples `(C, n)`."""
        # Block by block: libvorbis overflows its stack on minutes of samples at once.
        for start in range(0, wave.shape[1], _BLOCK):
            block = wave[:, start : start + _BLOCK].T
            self.peak = max(self.peak, float(np.abs(block).max()))
            bits = _BITS.get(self.file.subtype)
            self.file.write(block if bits is None else self._rounded(block, bits))

    def _rounded(self, block: NDArray[np.floating], bits: int) -> NDArray[np.int32]:
        """The nearest values of so many bits, in the upper ones of 32.

        Dither is triangular noise of two steps on what is not digital silence (Lipshitz et al.
        1992).
        """
        full = 2 ** (bits - 1)
        values = block.astype(np.float64) * full
        if self.noise is not None:
            uniform = self.noise.random((*block.shape, 2), np.float32)
            values += (uniform[..., 0] - uniform[..., 1]) * (block != 0)
        return np.clip(np.rint(values), -full, full - 1).astype(np.int32) << (32 - bits)


@contextmanager
def audio_writer(
    path: str | os.PathLike[str],
    rate: int,
    channels: int,
    *,
    subtype: str | None = None,
    samples: int = 0,
    tags: Mapping[str, str] | None = None,
    extras: Extras | None = None,
    dither: bool = False,
) -> Generator[AudioWriter]:
    """Open a file for samples, full scale 1.0; the suffix of the path chooses the format.

    The file appears under its name when the block ends well: temporary name in the same folder,
    then rename. Integer formats clip at full scale.

    Args:
        path: where to; missing folders are made, an existing file is replaced.
        rate: sampling rate in Hz.
        channels: how many.
        subtype: libsndfile's name for the sample format, such as "FLOAT", "PCM_16", "PCM_24"; by
            default the best that the format holds: FLOAT, else PCM_24, else the format's codec.
        samples: how many samples of each channel are to come, where that is known: a WAV that would
            grow beyond its limit becomes RF64.
        tags: title, artist and the like by FFmpeg's names, of which the format keeps what it can.
        extras: cover and cue points, likewise.
        dither: whether integer formats of up to 24 bits are dithered.

    Raises:
        AudioFileError: unknown suffix, a sample format that it does not hold, no access.
    """
    path = Path(path)
    suffix = path.suffix.lower()
    form = _FORMATS.get(suffix, suffix[1:].upper())
    if form not in soundfile.available_formats() or form == "RAW":
        raise AudioFileError(f"{path} has no audio suffix; name it .wav or .flac")
    if form == "WAV" and 4 * samples * channels > _WAV_LIMIT:
        form = "RF64"
    subtype = subtype or _best_subtype(form, suffix)
    if not soundfile.check_format(form, subtype):
        held = ", ".join(soundfile.available_subtypes(form))
        raise AudioFileError(f"{path}: {form} does not hold {subtype}; choose one of {held}")
    try:
        with atomic_path(path) as partial:
            try:
                with soundfile.SoundFile(
                    partial, "w", rate, channels, subtype, format=form
                ) as file:
                    _tag(file, tags or {})
                    yield AudioWriter(file, channels, np.random.default_rng(0) if dither else None)
                if extras is not None:
                    write_extras(partial, extras, rate)
            except soundfile.SoundFileError:
                # libsndfile says no more than "System error"; the system says which.
                with partial.open("ab", buffering=0) as probe:
                    probe.write(bytes(_BLOCK))
                raise
    except soundfile.SoundFileError as error:
        raise AudioFileError(f"{path} cannot be written: {error}") from error
    except OSError as error:
        above = next((folder for folder in path.parents if folder.is_file()), None)
        reason = f"{above} is no folder" if above else error.strerror or str(error)
        raise AudioFileError(f"{path} cannot be written: {reason}") from error


def _tag(file: soundfile.SoundFile, tags: Mapping[str, str]) -> None:
    for key, value in tags.items():
        if name := _TAGS.get(key.lower()):
            with suppress(soundfile.SoundFileError):  # a format that has no place for it
                setattr(file, name, value.encode(errors="replace").decode())


def _best_subtype(form: str, suffix: str) -> str:
    if suffix == ".opus":
        return "OPUS"
    held = soundfile.available_subtypes(form)
    codec = soundfile.default_subtype(form) or next(iter(held))
    return next((name for name in ("FLOAT", "PCM_24") if name in held), codec)
