"""How does a file of any kind become blocks of samples, and what of its sound is lost?

FFmpeg, through PyAV, takes files apart and decodes them; libsndfile has the few kinds that FFmpeg
does not know. Both give the samples of PCM and FLAC bit for bit. What a header claims about the
length decides neither what is read nor how much memory is taken.
"""

import io
import os
from collections import Counter
from collections.abc import Callable, Generator, Iterator
from contextlib import AbstractContextManager, closing, contextmanager, nullcontext
from dataclasses import dataclass, field
from functools import partial
from itertools import chain, groupby, islice
from typing import TYPE_CHECKING, BinaryIO, cast

import numpy as np
import soundfile
import soxr
from numpy.typing import NDArray

from audiosr.audio.damage import EXACT_SECONDS, Damage, note_end
from audiosr.audio.ffmpeg import PatientFile, decode_track, open_track
from audiosr.audio.gaps import Piece
from audiosr.audio.sizes import is_cut_off
from audiosr.errors import AudioFileError

if TYPE_CHECKING:
    from av.container import InputContainer

RATES = (4_000, 192_000)
"""Lowest and highest sampling rate in Hz that is accepted."""

CHANNELS = 32
"""Most channels that are accepted."""

AudioSource = str | os.PathLike[str] | bytes | BinaryIO

_BLOCK = 1 << 16

_FEW_FRAMES = 4
"""A file that changes its rate or channels does so for at least so many frames; damage to the head
of a frame makes it look like another kind.
"""


@dataclass
class AudioReader:
    """The audio of an open file, block by block; made by `open_audio`."""

    name: str
    """How messages call it."""
    rate: int
    """Sampling rate in Hz."""
    channels: int
    codec: str
    """FFmpeg's name of how it is stored; of what only libsndfile reads, that one's."""
    exact_in_16_bits: bool
    """Whether 16 bits hold its samples without rounding."""
    tags: dict[str, str]
    """What the file says about itself; keys in lower case."""
    seconds: float | None
    """Its length as the header claims it or FFmpeg guesses it: for progress, never to rely on."""
    damage: list[Damage] = field(default_factory=list)
    """What was found so far; all of it when the last block has been read."""
    chunks: Iterator[NDArray[np.float32]] = field(default_factory=lambda: iter(()), repr=False)
    """The samples as the decoder gives them, with what is not finite; most should read `blocks`."""

    def blocks(self) -> Iterator[NDArray[np.float32]]:
        """The samples (C, n), float32, full scale 1.0, some 65,000 at a time; to be read once.

        Raises:
            AudioFileError: NaN or infinite samples, or the disk fails.
        """
        held: list[NDArray[np.float32]] = []
        samples = 0
        try:
            for chunk in self.chunks:
                if not np.isfinite(chunk).all():
                    raise AudioFileError(
                        f"{self.name} holds NaN or infinite samples; export it again"
                    )
                held.append(chunk)
                samples += chunk.shape[1]
                if samples >= _BLOCK:
                    yield np.concatenate(held, axis=1)
                    held, samples = [], 0
        except OSError as error:
            raise _unreadable(self.name, error) from error
        if held:
            yield np.concatenate(held, axis=1)


@contextmanager
def open_audio(source: AudioSource, *, track: int | None = None) -> Generator[AudioReader]:
    """Open the audio of a file of any kind, that of a video too.

    Args:
        source: a path, the bytes of a file, or an open binary file.
        track: which of its audio tracks, from 1; by default the one that players would take.

    Raises:
        AudioFileError: missing, empty, not audio, or with a rate or a number of channels outside
            `RATES` and `CHANNELS`.
        UsageError: no such track.
    """
    name, opened = _opened(source)
    with opened as bare:
        file = cast(BinaryIO, PatientFile(bare))
        try:
            cut = is_cut_off(file)
            file.seek(0)
            found = _from_ffmpeg(name, file, track, cut=cut)
            if found is None:
                file.seek(0)
                found = _from_libsndfile(name, file, cut=cut)
        except OSError as error:
            raise _unreadable(name, error) from error
        handle, reader = found
        with closing(handle):
            _check_limits(reader)
            yield reader


def _opened(source: AudioSource) -> tuple[str, AbstractContextManager[BinaryIO]]:
    if isinstance(source, bytes):
        return "audio in memory", io.BytesIO(source)
    if not isinstance(source, str | os.PathLike):
        return str(getattr(source, "name", "audio in memory")), nullcontext(source)
    name = os.fspath(source)
    if not os.path.exists(name):
        raise AudioFileError(f"{name} does not exist; check the path")
    if not os.path.isfile(name):
        raise AudioFileError(f"{name} is not a file; give an audio file")
    if os.path.getsize(name) == 0:
        raise AudioFileError(f"{name} is empty (0 bytes); copy or export it again")
    try:
        return name, open(name, "rb")
    except OSError as error:
        raise _unreadable(name, error) from error


def _unreadable(name: str, error: OSError) -> AudioFileError:
    return AudioFileError(f"{name} cannot be read: {error.strerror or error}")


def _check_limits(reader: AudioReader) -> None:
    low, high = RATES
    if not low <= reader.rate <= high:
        raise AudioFileError(
            f"{reader.name} has a sampling rate of {reader.rate} Hz; {low} to {high} Hz are "
            "handled, resample it"
        )
    if reader.channels > CHANNELS:
        raise AudioFileError(
            f"{reader.name} has {reader.channels} channels; at most {CHANNELS} are handled, "
            "split it"
        )


def _from_ffmpeg(
    name: str, file: BinaryIO, number: int | None, *, cut: bool
) -> tuple["InputContainer", AudioReader] | None:
    """The track as FFmpeg decodes it, or None where it finds no sound."""
    track = open_track(name, file, number)
    if track is None:
        return None
    damage: list[Damage] = []
    try:
        pieces = decode_track(track, damage)
        first = list(islice(pieces, 2 * _FEW_FRAMES))
    except BaseException:
        track.container.close()
        raise
    if not first:
        track.container.close()
        return None
    (rate, channels), _ = Counter(map(_layout, first)).most_common(1)[0]
    reader = AudioReader(
        name,
        rate=rate,
        channels=channels,
        codec=track.stream.codec_context.name,
        exact_in_16_bits=track.exact_in_16_bits,
        tags=track.tags,
        seconds=track.seconds,
        damage=damage,
    )
    note = partial(note_end, damage, promised=track.promised, tolerance=track.tolerance, cut=cut)
    reader.chunks = _ended(_alike(chain(first, pieces), reader), rate, note)
    return track.container, reader


def _from_libsndfile(
    name: str, file: BinaryIO, *, cut: bool
) -> tuple[soundfile.SoundFile, AudioReader]:
    try:
        sound = soundfile.SoundFile(file)
    except (soundfile.SoundFileError, TypeError) as error:
        # TypeError: soundfile takes the suffix .raw for headerless samples and asks for their rate.
        raise AudioFileError(
            f"{name} is not audio that can be read; give WAV, FLAC, MP3 or M4A"
        ) from error
    seconds = sound.frames / sound.samplerate
    reader = AudioReader(
        name,
        rate=sound.samplerate,
        channels=sound.channels,
        codec=sound.subtype,
        exact_in_16_bits=sound.subtype in ("PCM_16", "PCM_S8", "PCM_U8"),
        tags=sound.copy_metadata(),
        seconds=seconds,
    )
    note = partial(note_end, reader.damage, promised=seconds, tolerance=EXACT_SECONDS, cut=cut)
    reader.chunks = _ended(_blocks(sound), reader.rate, note)
    return sound, reader


def _blocks(sound: soundfile.SoundFile) -> Iterator[NDArray[np.float32]]:
    try:
        while len(block := sound.read(_BLOCK, dtype="float32", always_2d=True)):
            yield block.T
    except soundfile.SoundFileError:
        return  # what is missing is told by the length that the header promises


def _alike(pieces: Iterator[Piece], reader: AudioReader) -> Iterator[NDArray[np.float32]]:
    """All samples at one rate and with as many channels: joined files may change on the way."""
    for (rate, _), run in groupby(pieces, key=_layout):
        fitting = (_spread(piece.wave, reader.channels) for piece in run)
        few = list(islice(fitting, _FEW_FRAMES))
        waves = chain(few, fitting)
        if rate != reader.rate and len(few) == _FEW_FRAMES and RATES[0] <= rate <= RATES[1]:
            waves = _resampled(waves, rate, reader)
        yield from waves


def _layout(piece: Piece) -> tuple[int, int]:
    return piece.rate, len(piece.wave)


def _spread(wave: NDArray[np.float32], channels: int) -> NDArray[np.float32]:
    """(C, n) as it is, or of another number of channels the mean in each of `channels`."""
    if len(wave) == channels:
        return wave
    return np.repeat(wave.mean(axis=0, keepdims=True), channels, axis=0)


def _resampled(
    waves: Iterator[NDArray[np.float32]], rate: int, reader: AudioReader
) -> Iterator[NDArray[np.float32]]:
    resampler = soxr.ResampleStream(rate, reader.rate, reader.channels, quality="VHQ")
    for wave in waves:
        yield resampler.resample_chunk(wave.T).T
    yield resampler.resample_chunk(np.zeros((0, reader.channels), np.float32), last=True).T


def _ended(
    chunks: Iterator[NDArray[np.float32]], rate: int, note: Callable[[float], None]
) -> Iterator[NDArray[np.float32]]:
    """The chunks; `note` is told at which second they end."""
    samples = 0
    for chunk in chunks:
        samples += chunk.shape[1]
        yield chunk
    note(samples / rate)
