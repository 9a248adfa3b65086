"""What becomes of one audio file? It is cut, resampled, measured, judged and encoded as clips."""

import hashlib
import math
import re
import warnings
from dataclasses import dataclass
from io import BytesIO
from pathlib import Path, PurePosixPath

import numpy as np
import pyloudnorm
import soundfile
from numpy.typing import NDArray

from audiosr.audio.cutoff import effective_bandwidth
from audiosr.audio.io import CHANNELS, RATE, RATES, resample
from audiosr.errors import UsageError
from audiosr.shards.meta import Meta
from audiosr.shards.writer import EncodedClip

SILENCE_DBFS = -60.0
"""A clip whose root mean square in dB re full scale lies below this counts as silent."""

FULL_SCALE_STEP = 2.0**-15
"""Samples nearer than this to full scale are at full scale: both ends of 16 bits, and of finer
formats what was clipped in 16. Floating point beyond it is not clipped, since it holds more.
"""

_MARGIN_SECONDS = 1
"""Context on both sides of a cut when resampling; whole seconds are whole samples at every rate."""

_SLACK_SECONDS = 0.1
"""A header may claim this much more than there is: of MP3 it is an estimate, to some frames."""

_SAMPLES_PER_BYTE = 100
"""A header that claims more is not believed: speech in Opus at 6 kbit/s has some 60."""

_BLOCK = 1 << 16

_EXACT_IN_16_BITS = ("PCM_16", "PCM_S8", "PCM_U8")


@dataclass(frozen=True)
class Settings:
    """How files become clips and clips become shards."""

    clip_seconds: float = 10.24
    """Longer files are cut into clips of this length."""
    min_seconds: float = 1.0
    """Shorter clips are dropped."""
    min_bandwidth: float = 16_000.0
    """Clips without content up to this frequency in Hz are dropped."""
    max_clipping: float = 0.005
    """Clips with a larger share of samples at full scale are dropped. Half a percent: loud masters
    stay below 0.1 %, a sine at full scale has 0.35 %, noise cut off at 2.8 times its RMS has this.
    """
    shard_mb: float = 1_000.0
    """A shard is closed when it holds this many megabytes."""

    def __post_init__(self) -> None:
        if not 1 <= self.clip_seconds <= 600:
            raise UsageError(f"--clip-seconds {self.clip_seconds:g} is not between 1 and 600")
        if not 0 <= self.min_seconds <= self.clip_seconds:
            raise UsageError(
                f"--min-seconds {self.min_seconds:g} is not between 0 and "
                f"--clip-seconds {self.clip_seconds:g}"
            )
        if not 0 <= self.min_bandwidth < RATE / 2:
            raise UsageError(
                f"--min-bandwidth {self.min_bandwidth:g} is not between 0 and {RATE // 2} Hz"
            )
        if not 0 <= self.max_clipping <= 1:
            raise UsageError(f"--max-clipping {self.max_clipping:g} is not a share between 0 and 1")
        if not self.shard_mb > 0:
            raise UsageError("--shard-mb must be above 0")


@dataclass(frozen=True)
class Item:
    """One audio file of a corpus, as a recipe gives it."""

    path: Path
    name: str
    """Path inside the corpus with forward slashes; unique, gives key, order and messages."""
    split: str
    domain: str
    source: str
    """Work, speaker, record or package: what must not lie in two splits."""
    licence: str | None = None
    """None: the file's own licence tag, else "unknown"."""
    seconds: float | None = None
    """At most so many seconds are used, from the file's start; None: all."""


@dataclass(frozen=True)
class Drop:
    """A file, or a part of one, that is left out."""

    name: str
    reason: str
    """One of few; drops are counted by it."""
    detail: str = ""


@dataclass(frozen=True)
class CutPlan:
    """Clips `first` to `last` - 1 of an item whose file has been opened once."""

    item: Item
    first: int
    last: int
    frames: int
    """Of the file, at its own rate."""

    @property
    def clips(self) -> int:
        """How many they are."""
        return self.last - self.first


def plan_cuts(item: Item, settings: Settings, most: int = 8) -> list[CutPlan] | Drop:
    """Divide a file into pieces of work of at most `most` clips, from its header alone."""
    try:
        with item.path.open("rb") as opened, soundfile.SoundFile(opened) as file:
            rate, channels = file.samplerate, file.channels
            frames = _length(file, item.path.stat().st_size)
    except (soundfile.SoundFileError, OSError, TypeError) as error:
        return Drop(item.name, "broken", _why(error))
    if frames <= 0:
        return Drop(item.name, "broken", "no samples")
    if channels > CHANNELS or not RATES[0] <= rate <= RATES[1]:
        return Drop(item.name, "broken", f"{channels} channels at {rate} Hz are not handled")
    if rate / 2 < settings.min_bandwidth:
        return Drop(item.name, "low bandwidth", f"{rate} Hz sampling rate")
    frames = _used(item, frames, rate)
    if frames < max(1, settings.min_seconds * rate):
        return Drop(item.name, "too short", f"{frames / rate:.3f} s")
    clips = math.ceil(frames / round(settings.clip_seconds * rate))
    return [
        CutPlan(item, first, min(first + most, clips), frames) for first in range(0, clips, most)
    ]


def cut(work: CutPlan, settings: Settings) -> list[EncodedClip | Drop]:
    """The clips of a piece of work, in order; one that fails a test comes as the reason."""
    made: list[EncodedClip | Drop] = []
    for number in range(work.first, work.last):
        name = f"{work.item.name}@{number * settings.clip_seconds:g}s" if number else work.item.name
        try:
            made.append(_clip(work, number, name, settings))
        except (soundfile.SoundFileError, OSError) as error:
            made.append(Drop(name, "broken", _why(error)))
    return made


def _clip(work: CutPlan, number: int, name: str, settings: Settings) -> EncodedClip | Drop:
    item = work.item
    with item.path.open("rb") as opened, soundfile.SoundFile(opened) as file:
        rate, exact = file.samplerate, file.subtype in _EXACT_IN_16_BITS
        tags = {"licence": file.license, "copyright": file.copyright}
        step = round(settings.clip_seconds * rate)
        start, stop = number * step, min((number + 1) * step, _used(item, work.frames, rate))
        margin = 0 if rate == RATE else _MARGIN_SECONDS * rate
        left, right = min(margin, start), min(margin, work.frames - stop)
        file.seek(start - left)
        wave = file.read(left + stop - start + right, dtype="float32", always_2d=True).T
    if wave.shape[1] + _SLACK_SECONDS * rate < left + stop - start + right:
        return Drop(name, "broken", "ends before its header says")
    stop = min(stop, start + wave.shape[1] - left)
    if not np.isfinite(wave).all():
        return Drop(name, "broken", "NaN or infinite samples")
    if (clipped := _clipped_share(wave[:, left : left + stop - start])) > settings.max_clipping:
        return Drop(name, "clipped", f"{clipped:.2%} of the samples at full scale")
    skipped = left * RATE // rate
    wave = resample(wave, rate, RATE)[:, skipped : skipped + round((stop - start) * RATE / rate)]
    if (seconds := wave.shape[1] / RATE) < settings.min_seconds or not wave.size:
        return Drop(name, "too short", f"{seconds:.3f} s")
    if (level := _level_dbfs(wave)) < SILENCE_DBFS:
        return Drop(name, "silent", f"{level:.0f} dBFS")
    if (bandwidth := effective_bandwidth(wave, RATE)) < settings.min_bandwidth:
        return Drop(name, "low bandwidth", f"{bandwidth:.0f} Hz")
    if (peak := float(np.abs(wave).max())) > 1:
        wave = wave * (0.9999 / peak)  # turned down rather than clipped
    # What 16 bits hold exactly stays so. All else gets 24: the noise of rounding to 16 bits would
    # fill the bins above the band of a resampled file, where there is nothing.
    subtype = "PCM_16" if exact and rate == RATE and peak <= 1 else "PCM_24"
    buffer = BytesIO()
    soundfile.write(buffer, wave.T, RATE, format="FLAC", subtype=subtype)
    audio = buffer.getvalue()
    meta = Meta(
        source=item.source,
        licence=item.licence or tags["licence"] or "unknown",
        domain=item.domain,
        seconds=seconds,
        rate=RATE,
        channels=len(wave),
        bandwidth_hz=round(float(bandwidth), 1),
        loudness_lufs=round(_loudness_lufs(wave), 2),
        clipped_share=round(clipped, 6),
        sha256=hashlib.sha256(audio).hexdigest(),
        samples_sha256=_samples_hash(wave),
        source_rate=rate,
        source_file=item.name,
        source_start=start / rate,
        copyright=tags["copyright"],
    )
    return EncodedClip(_key(item.name, number), audio, meta)


def _key(name: str, number: int) -> str:
    """Readable, without the dots and slashes that mean something in a shard, unique by the hash."""
    stem = re.sub(r"[^A-Za-z0-9_-]+", "_", PurePosixPath(name).stem)[:80]
    digest = hashlib.sha256(name.encode("utf-8", "surrogateescape")).hexdigest()
    return f"{stem}-{digest[:8]}-{number:04d}"


def _length(file: soundfile.SoundFile, size: int) -> int:
    """Samples per channel, by the header or, where that claims too many for `size`, by decoding."""
    if file.frames <= size * _SAMPLES_PER_BYTE:
        return file.frames
    frames = 0
    try:
        while read := len(file.read(_BLOCK, dtype="float32")):
            frames += read
    except soundfile.SoundFileError as error:  # of FLAC, whose last samples are lost with this
        wrong = "its header claims a length that is not there"
        raise soundfile.SoundFileRuntimeError(wrong) from error
    return frames


def _used(item: Item, frames: int, rate: int) -> int:
    return frames if item.seconds is None else min(frames, round(item.seconds * rate))


def _clipped_share(wave: NDArray[np.float32]) -> float:
    """Of the channel that has most of them, the share of samples of (C, T) at full scale."""
    return float((np.abs(np.abs(wave) - 1) <= FULL_SCALE_STEP).mean(axis=1).max())


def _samples_hash(wave: NDArray[np.float32]) -> str:
    """SHA-256 of the samples in 24 bits, whatever format and bit depth they are stored in."""
    samples = np.round(wave.T * 2.0**23).astype("<i4")
    return hashlib.sha256(b"%d channels " % len(wave) + samples.tobytes()).hexdigest()


def _level_dbfs(wave: NDArray[np.float32]) -> float:
    power = float(np.mean(np.square(wave, dtype=np.float64)))
    return 10 * math.log10(power) if power > 0 else -math.inf


def _loudness_lufs(wave: NDArray[np.float32]) -> float:
    """Integrated loudness by ITU-R BS.1770-4, at least -70 LUFS, its absolute gate.

    A clip below 400 ms is one block; of more than five channels, for which the standard has no
    weights, the first five count.
    """
    block = 0.4
    if (frames := wave.shape[1]) < block * RATE:
        # `frames / RATE * RATE` may come out above `frames`, which is refused, or below, which cuts
        # the last sample off. A zero after the clip leaves room for a block that is a bit longer.
        block, wave = (frames + 0.01) / RATE, np.pad(wave, ((0, 0), (0, 1)))
    with warnings.catch_warnings(), np.errstate(divide="ignore"):
        warnings.simplefilter("ignore")  # a mean over no block, where all are below the gate
        loudness = pyloudnorm.Meter(RATE, block_size=block).integrated_loudness(wave[:5].T)
    return max(float(loudness), -70.0)


def _why(error: Exception) -> str:
    """What is wrong, without the path, which is named beside it."""
    if isinstance(error, OSError):
        return error.strerror or str(error)
    text = error.error_string if isinstance(error, soundfile.LibsndfileError) else str(error)
    return re.sub(r"\s+", " ", text)[-200:]
