"""What do the two members of a clip hold, and do they tell the truth?

libsndfile decodes the audio, `json` reads what is said about it; both within limits.
"""

import hashlib
from collections.abc import Callable
from io import BytesIO

import numpy as np
import soundfile
from numpy.typing import NDArray

from audiosr.audio.edge import SURE, find_edges
from audiosr.audio.io import CHANNELS, RATE
from audiosr.shards.ledger import BadClip
from audiosr.shards.meta import Meta

LONGEST_SECONDS = 600.0
"""Clips are seconds long; what claims to hold more than this in stereo is refused before it is
decoded.
"""

LARGEST_BYTES = 1 << 29
"""Encoded audio above this is refused unread."""

LARGEST_JSON = 1 << 20
"""The same of JSON."""

SECONDS_TOLERANCE = 0.1
"""JSON may differ by this many seconds from the audio: MP3 pads, and some tools round."""

BANDWIDTH_TOLERANCE = 1.5
"""JSON may differ by this factor from the bandwidth measured here: measures differ."""

_MAGIC = (b"fLaC", b"RIFF", b"OggS", b"ID3")
"""What FLAC, WAV, Ogg and tagged MP3 files begin with; others are not handed to a decoder."""

Crop = Callable[[int, int], tuple[int, int]]
ClipWave = NDArray[np.float32]


def decode(
    audio: bytes,
    crop: Crop | None = None,
    good: Callable[[ClipWave], bool] | None = None,
    meta: Meta | None = None,
) -> ClipWave:
    """Samples (C, T) of encoded audio at `RATE`.

    Only the asked samples are decoded, by seeking inside the file.

    Args:
        audio: a FLAC, WAV, Ogg or MP3 file.
        crop: given the clip's channels and samples, the first sample and the number of samples to
            decode; the whole clip by default.
        good: asks for another crop, at most ten times, while it is false of the decoded samples.
        meta: the clip's JSON, whose `seconds`, `channels` and `rate` must be those of the audio.

    Raises:
        BadClip: not audio, another rate, too long, too many channels, broken in the part that is
            read, or unlike its JSON.
    """
    if not audio.startswith(_MAGIC) and not _is_mp3(audio):
        raise BadClip("audio is broken")
    try:
        with soundfile.SoundFile(BytesIO(audio)) as file:
            if file.samplerate != RATE:
                raise BadClip(f"rate is not {RATE} Hz")
            samples = file.frames * file.channels
            if file.channels > CHANNELS or not 0 < samples <= 2 * LONGEST_SECONDS * RATE:
                raise BadClip("no samples, too many or too many channels")
            if meta is not None:
                _compare(meta, file.channels, file.frames)
            for _ in range(10):
                start, count = crop(file.channels, file.frames) if crop else (0, file.frames)
                file.seek(start)
                wave = file.read(count, dtype="float32", always_2d=True).T
                if wave.shape[1] < count or not np.isfinite(wave).all():
                    raise BadClip("audio is broken")
                if good is None or good(wave):
                    break
            return np.ascontiguousarray(wave)
    except (soundfile.SoundFileError, TypeError) as error:
        raise BadClip("audio is broken") from error


def check_sha256(audio: bytes, meta: Meta) -> None:
    """Refuse audio other than that for which the JSON was written, where it says so.

    Raises:
        BadClip: the hashes differ.
    """
    if meta.sha256 and meta.sha256 != hashlib.sha256(audio).hexdigest():
        raise BadClip("SHA-256 of the audio is not what the JSON says")


def check_bandwidth(audio: bytes, meta: Meta) -> None:
    """Refuse a clip whose measured bandwidth is far from what its JSON says; decodes all of it.

    Raises:
        BadClip: it is, or the audio is broken.
    """
    wave = decode(audio, meta=meta)
    widest, said = max(find_edges(wave, RATE), key=lambda edge: edge.hz), meta.bandwidth_hz
    # Silence, which has no bandwidth, is another's business: its crops are drawn again. And under
    # noise nobody can be sure of an edge.
    if not widest.hz or widest.confidence < SURE:
        return
    if not 1 / BANDWIDTH_TOLERANCE <= said / widest.hz <= BANDWIDTH_TOLERANCE:
        raise BadClip("bandwidth is not what the JSON says")


def _compare(meta: Meta, channels: int, frames: int) -> None:
    if abs(meta.seconds - frames / RATE) > SECONDS_TOLERANCE:
        raise BadClip("length is not what the JSON says")
    if meta.channels not in (0, channels) or meta.rate not in (0, RATE):
        raise BadClip("channels or rate are not what the JSON says")


def _is_mp3(audio: bytes) -> bool:
    """Whether `audio` begins with the 11 set bits of an MPEG audio frame."""
    return len(audio) > 1 and audio[0] == 0xFF and audio[1] & 0xE0 == 0xE0
