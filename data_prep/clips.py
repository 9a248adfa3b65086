"""What becomes of one audio file? It is cut, resampled, measured, judged and encoded as clips."""

import hashlib
import math
import os
import re
import warnings
from collections.abc import Iterator
from dataclasses import dataclass
from io import BytesIO
from pathlib import Path, PurePosixPath

import numpy as np
import pyloudnorm
import soundfile
from numpy.typing import NDArray

from audiosr.audio.damage import SAME_SECONDS, Damage, describe_damage
from audiosr.audio.decode import AudioReader, open_audio
from audiosr.audio.edge import GUESS, Edge, widest_edge
from audiosr.audio.io import RATE, resample
from audiosr.errors import AudioFileError, UsageError
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
class _Stretch:
    """What one clip is made of, in samples of the file."""

    wave: NDArray[np.float32]
    """(C, T): the clip with the context for resampling on both sides."""
    start: int
    stop: int
    before: int
    """How many samples of `wave` come before `start`."""


def cut(item: Item, settings: Settings) -> Iterator[EncodedClip | Drop]:
    """The clips of a file, in order, while it is decoded once to its end.

    One that fails a test comes as the reason, and so does what is damaged or missing in the file.
    """
    name = os.fspath(item.path)
    named: set[Damage] = set()
    samples = 0
    try:
        with open_audio(item.path) as reader:
            if reader.rate / 2 < settings.min_bandwidth:
                yield Drop(item.name, "low bandwidth", f"{reader.rate} Hz sampling rate")
                return
            for number, stretch in enumerate(_stretches(reader, item.seconds, settings)):
                samples = stretch.stop
                broken = _damage_in(stretch, reader)
                named.update(broken)
                label = f"{item.name}@{number * settings.clip_seconds:g}s" if number else item.name
                if broken:
                    yield Drop(label, "broken", describe_damage(broken))
                else:
                    yield _clip(item, stretch, number, label, reader, settings)
            if rest := [one for one in reader.damage if one not in named]:
                yield Drop(item.name, "broken", describe_damage(rest))
            elif samples == 0:
                yield Drop(item.name, "too short" if item.seconds == 0 else "broken", "no samples")
    except (AudioFileError, OSError) as error:
        yield Drop(item.name, "broken", str(error).removeprefix(f"{name} ")[-200:])


def _stretches(
    reader: AudioReader, seconds: float | None, settings: Settings
) -> Iterator[_Stretch]:
    """The samples of each clip; no more of the file is held than that."""
    step = round(settings.clip_seconds * reader.rate)
    margin = 0 if reader.rate == RATE else _MARGIN_SECONDS * reader.rate
    chunks = _first(reader.chunks, None if seconds is None else round(seconds * reader.rate))
    held = np.zeros((reader.channels, 0), np.float32)
    begin = start = 0
    while True:
        # A sample more, so that whatever is wrong in the clip has been found.
        held = _filled(held, chunks, start - begin + step + margin + 1)
        end = begin + held.shape[1]
        stop = min(start + step, end)
        if stop == start:
            return
        left = start - begin
        yield _Stretch(held[:, : stop - begin + margin], start, stop, left)
        start, kept = stop, max(begin, stop - margin)
        held, begin = held[:, kept - begin :], kept


def _first(
    chunks: Iterator[NDArray[np.float32]], samples: int | None
) -> Iterator[NDArray[np.float32]]:
    """All of the chunks, or so many samples of them."""
    for chunk in chunks:
        if samples is not None and chunk.shape[1] >= samples:
            yield chunk[:, :samples]
            return
        yield chunk
        samples = None if samples is None else samples - chunk.shape[1]


def _filled(
    held: NDArray[np.float32], chunks: Iterator[NDArray[np.float32]], samples: int
) -> NDArray[np.float32]:
    """`held` with as many chunks behind it as it takes to have so many samples."""
    parts, there = [held], held.shape[1]
    while there < samples and (chunk := next(chunks, None)) is not None:
        parts.append(chunk)
        there += chunk.shape[1]
    return np.concatenate(parts, axis=1)


def _damage_in(stretch: _Stretch, reader: AudioReader) -> list[Damage]:
    """Damage in a clip or so shortly before that it may reach into it, with all that it causes.

    What is told of the end of a clip alone, as that the file ends there, leaves it as it is.
    """
    start, stop = stretch.start / reader.rate - SAME_SECONDS, stretch.stop / reader.rate
    found = [one for one in reader.damage if start < one.second <= stop]
    return found if any(one.second < stop for one in found) else []


def _clip(
    item: Item,
    stretch: _Stretch,
    number: int,
    name: str,
    reader: AudioReader,
    settings: Settings,
) -> EncodedClip | Drop:
    rate, start, stop = reader.rate, stretch.start, stretch.stop
    left, wave = stretch.before, stretch.wave
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
    edge = widest_edge(wave, RATE)
    if narrow := tell_narrow(edge, settings.min_bandwidth):
        return Drop(name, "low bandwidth", narrow)
    if (peak := float(np.abs(wave).max())) > 1:
        wave = wave * (0.9999 / peak)  # turned down rather than clipped
    # What 16 bits hold exactly stays so. All else gets 24: the noise of rounding to 16 bits would
    # fill the bins above the band of a resampled file, where there is nothing.
    exact = reader.exact_in_16_bits
    subtype = "PCM_16" if exact and rate == RATE and peak <= 1 else "PCM_24"
    buffer = BytesIO()
    soundfile.write(buffer, wave.T, RATE, format="FLAC", subtype=subtype)
    audio, tags = buffer.getvalue(), reader.tags
    meta = Meta(
        source=item.source,
        licence=item.licence or tags.get("license") or tags.get("licence") or "unknown",
        domain=item.domain,
        seconds=seconds,
        rate=RATE,
        channels=len(wave),
        bandwidth_hz=round(float(edge.hz), 1),
        loudness_lufs=round(_loudness_lufs(wave), 2),
        clipped_share=round(clipped, 6),
        sha256=hashlib.sha256(audio).hexdigest(),
        samples_sha256=_samples_hash(wave),
        source_rate=rate,
        source_file=item.name,
        source_start=start / rate,
        copyright=tags.get("copyright", ""),
    )
    return EncodedClip(_key(item.name, number), audio, meta)


def tell_narrow(edge: Edge, least_hz: float) -> str:
    """Why a clip does not count as one with content up to `least_hz`, or nothing if it does.

    An edge that is a guess may as well lie below: images of a poor resampler look like highs.
    """
    if edge.hz < least_hz:
        return f"{edge.hz:.0f} Hz"
    if edge.confidence < GUESS and least_hz > 0:
        return f"{edge.hz:.0f} Hz is a guess ({edge.confidence:.0%} sure)"
    return ""


def _key(name: str, number: int) -> str:
    """Readable, without the dots and slashes that mean something in a shard, unique by the hash."""
    stem = re.sub(r"[^A-Za-z0-9_-]+", "_", PurePosixPath(name).stem)[:80]
    digest = hashlib.sha256(name.encode("utf-8", "surrogateescape")).hexdigest()
    return f"{stem}-{digest[:8]}-{number:04d}"


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
