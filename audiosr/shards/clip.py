"""What do the two members of a clip hold, and do they tell the truth?

libsndfile decodes the audio, `json` reads what is said about it; both within limits. It is the same
for clips that are read at random places and for those of a stream.
"""

import hashlib
import math
from collections.abc import Callable
from dataclasses import dataclass
from io import BytesIO
from zlib import crc32

import numpy as np
import soundfile
from numpy.typing import NDArray

from audiosr.audio.edge import SURE, effective_bandwidth, widest_edge
from audiosr.audio.io import CHANNELS, RATE, RATES, resample
from audiosr.shards.ledger import BadClip, Ledger
from audiosr.shards.meta import Meta

LONGEST_SECONDS = 600.0
"""Clips are seconds long; what claims to hold more than this in stereo is refused before it is
decoded.
"""

LOWEST_RATE = 32_000
"""Hz. Audio at other rates than `RATE` is resampled, but what was sampled below this holds nothing
above 16 kHz: to learn from it is to learn that there is nothing.
"""

SECONDS_TOLERANCE = 0.1
"""JSON may differ by this many seconds from the audio: MP3 pads, and some tools round."""

BANDWIDTH_TOLERANCE = 1.5
"""JSON may differ by this factor from the bandwidth measured here: measures differ."""

_MAGIC = (b"fLaC", b"RIFF", b"OggS", b"ID3")
"""What FLAC, WAV, Ogg and tagged MP3 files begin with; others are not handed to a decoder."""

Crop = Callable[[int, int], tuple[int, int]]
"""From channels and samples of a clip to the first sample and number of samples that are wanted."""
ClipWave = NDArray[np.float32]
"""(C, T), full scale 1.0."""
Good = Callable[[ClipWave], bool]
"""Whether decoded samples (C, T) will do."""


@dataclass(frozen=True)
class ShardClip:
    """A clip, or a crop of one."""

    key: str
    domain: str
    wave: ClipWave
    """Samples (C, T) at `RATE`, full scale 1.0."""
    meta: Meta

    @property
    def bandwidth_hz(self) -> float:
        """Frequency in Hz up to which the clip has content; NaN where nobody says."""
        return min(self.meta.bandwidth_hz, RATE / 2)


@dataclass
class ClipReader:
    """Turns the two members of a clip into a `ShardClip`, or into an entry of the ledger."""

    ledger: Ledger
    check_every: int
    """One clip in so many, by its name, has its bandwidth measured against its JSON when it is
    first read. What is cheap to compare is compared for every clip.
    """

    def __post_init__(self) -> None:
        self._checked: set[str] = set()

    def read(
        self,
        name: str,
        key: str,
        domain: str,
        members: Callable[[], tuple[bytes, bytes | None]],
        crop: Crop | None = None,
        good: Good | None = None,
    ) -> ShardClip | None:
        """The clip, or None where it cannot be used; the ledger then says why.

        Args:
            name: in the ledger.
            key: of the clip.
            domain: of the clip.
            members: gives its audio and JSON; raises `BadClip` where they cannot be read.
            crop: what is decoded, as for `decode`.
            good: asks for another crop, as for `decode`.

        Raises:
            DataError: too many clips are bad.
        """
        if name in self.ledger.reasons:
            return None
        try:
            audio, json = members()
            meta = Meta() if json is None else Meta.parse(json)
            if name not in self._checked:
                _check_sha256(audio, meta)
                if crc32(name.encode("utf-8", "surrogateescape")) % self.check_every == 0:
                    _check_bandwidth(audio, meta)
                self._checked.add(name)
            return ShardClip(key, domain, decode(audio, crop, good, meta), meta)
        except BadClip as error:
            self.ledger.add(name, str(error))
            return None


def decode(
    audio: bytes, crop: Crop | None = None, good: Good | None = None, meta: Meta | None = None
) -> ClipWave:
    """Samples (C, T) of encoded audio at `RATE`, resampled where it has another rate.

    Only the asked samples are decoded, by seeking inside the file.

    Args:
        audio: a FLAC, WAV, Ogg or MP3 file.
        crop: given the clip's channels and samples at `RATE`, the first sample and the number of
            samples to decode; the whole clip by default.
        good: asks for another crop, at most ten times, while it is false of the decoded samples.
        meta: the clip's JSON, whose `seconds`, `channels` and `rate` must be those of the audio.

    Raises:
        BadClip: not audio, a rate below `LOWEST_RATE`, too long, too many channels, broken in the
            part that is read, or unlike its JSON.
    """
    if not audio.startswith(_MAGIC) and not _is_mp3(audio):
        raise BadClip("audio is broken")
    try:
        with soundfile.SoundFile(BytesIO(audio)) as file:
            if not LOWEST_RATE <= file.samplerate <= RATES[1]:
                raise BadClip(f"rate is not from {LOWEST_RATE} to {RATES[1]} Hz")
            samples = file.frames * file.channels
            if not 0 < samples <= 2 * LONGEST_SECONDS * file.samplerate or file.channels > CHANNELS:
                raise BadClip("no samples, too many or too many channels")
            if meta is not None:
                _compare(meta, file)
            length = round(file.frames * RATE / file.samplerate)
            for _ in range(10):
                start, count = crop(file.channels, length) if crop else (0, length)
                wave = _samples(file, start, count)
                if good is None or good(wave):
                    break
            return np.ascontiguousarray(wave)
    except (soundfile.SoundFileError, TypeError) as error:
        raise BadClip("audio is broken") from error


def measure_bandwidth(audio: bytes) -> float:
    """Frequency in Hz up to which encoded audio has content; decodes all of it.

    Raises:
        BadClip: as for `decode`.
    """
    return effective_bandwidth(decode(audio), RATE)


def _samples(file: soundfile.SoundFile, start: int, count: int) -> ClipWave:
    """`count` samples at `RATE` from `start` on, (C, count)."""
    rate = file.samplerate
    if rate == RATE:
        first, last = start, start + count
    else:
        # From a whole second, where a sample of either rate lies, with a second around as context.
        first = max(0, start // RATE - 1) * rate
        last = min(file.frames, math.ceil((start + count) * rate / RATE) + rate)
    file.seek(first)
    wave = file.read(last - first, dtype="float32", always_2d=True).T
    if wave.shape[1] < last - first or not np.isfinite(wave).all():
        raise BadClip("audio is broken")
    if rate != RATE:
        skipped = start - first // rate * RATE
        wave = resample(wave, rate, RATE)[:, skipped : skipped + count]
    return wave


def _check_sha256(audio: bytes, meta: Meta) -> None:
    """Refuse audio other than that for which the JSON was written, where it says so."""
    if meta.sha256 and meta.sha256 != hashlib.sha256(audio).hexdigest():
        raise BadClip("SHA-256 of the audio is not what the JSON says")


def _check_bandwidth(audio: bytes, meta: Meta) -> None:
    """Refuse a clip whose measured bandwidth is far from what its JSON says."""
    if math.isnan(meta.bandwidth_hz):
        return
    widest, said = widest_edge(decode(audio), RATE), min(meta.bandwidth_hz, RATE / 2)
    # Silence, which has no bandwidth, is another's business: its crops are drawn again. And under
    # noise nobody can be sure of an edge.
    if not widest.hz or widest.confidence < SURE:
        return
    if not 1 / BANDWIDTH_TOLERANCE <= said / widest.hz <= BANDWIDTH_TOLERANCE:
        raise BadClip("bandwidth is not what the JSON says")


def _compare(meta: Meta, file: soundfile.SoundFile) -> None:
    if abs(meta.seconds - file.frames / file.samplerate) > SECONDS_TOLERANCE:
        raise BadClip("length is not what the JSON says")
    if meta.channels not in (0, file.channels) or meta.rate not in (0, file.samplerate):
        raise BadClip("channels or rate are not what the JSON says")


def _is_mp3(audio: bytes) -> bool:
    """Whether `audio` begins with the 11 set bits of an MPEG audio frame."""
    return len(audio) > 1 and audio[0] == 0xFF and audio[1] & 0xE0 == 0xE0
