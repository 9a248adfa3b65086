"""What is left of a clip after a lossy codec, in time with what went in?

libsndfile encodes and decodes in memory. What a setting does to any clip (its delay, and the edge
of the band that it keeps) is measured once, on noise.
"""

from dataclasses import dataclass
from functools import lru_cache
from io import BytesIO
from typing import Literal

import numpy as np
import scipy.signal
import soundfile
from numpy.typing import NDArray

from audiosr.audio.io import RATE
from audiosr.errors import UsageError

Name = Literal["mp3", "vorbis", "opus"]

RANGES: dict[Name, tuple[float, float]] = {"mp3": (32, 320), "vorbis": (0, 10), "opus": (6, 256)}
"""Lowest and highest setting: kbit/s at a constant rate, quality for Vorbis, kbit/s."""

_FORMATS = {"mp3": ("MP3", "MPEG_LAYER_III"), "vorbis": ("OGG", "VORBIS"), "opus": ("OGG", "OPUS")}


@dataclass(frozen=True)
class Codec:
    """A codec at one setting, for one channel."""

    name: Name
    setting: float
    """kbit/s for MP3 (the nearest that the standard has) and Opus, quality 0 to 10 for Vorbis."""

    def __post_init__(self) -> None:
        if self.name not in RANGES:
            raise UsageError(f"no codec {self.name!r}; choose one of {', '.join(RANGES)}")
        low, high = RANGES[self.name]
        if not low <= self.setting <= high:
            raise UsageError(f"{self.name} at {self.setting:g}: {low:g} to {high:g} can be had")

    def __str__(self) -> str:
        unit = f"quality {self.setting:g}" if self.name == "vorbis" else f"{self.setting:g} kbit/s"
        return f"{self.name} {unit}"


def apply_codec(wave: NDArray[np.float32], codec: Codec) -> NDArray[np.float32]:
    """`wave (T,)` at 48 kHz encoded and decoded, without delay and as long as before."""
    return _in_time(_coded(wave, codec), measured(codec)[0], len(wave))


def edge_hz(codec: Codec) -> float:
    """Frequency in Hz up to which the codec keeps at least a tenth of the power of white noise."""
    return measured(codec)[1]


@lru_cache(maxsize=256)
def measured(codec: Codec) -> tuple[int, float]:
    """Delay in samples and edge in Hz, from a second of noise between silences."""
    noise = 0.1 * np.random.default_rng(0).standard_normal(RATE).astype(np.float32)
    wave = np.pad(noise, RATE // 4)
    out = _coded(wave, codec)
    match = scipy.signal.correlate(out, wave, method="fft")
    delay = int(match.argmax()) - (len(wave) - 1)
    kept = _in_time(out, delay, len(wave))
    hz, before = scipy.signal.welch(wave, RATE, nperseg=2048)
    after = scipy.signal.welch(kept, RATE, nperseg=2048)[1]
    held = np.flatnonzero(after >= 0.1 * before)
    return delay, float(hz[held[-1]]) if len(held) else 0.0


def _in_time(wave: NDArray[np.float32], delay: int, samples: int) -> NDArray[np.float32]:
    wave = wave[delay:] if delay > 0 else np.pad(wave, (-delay, 0))
    return np.pad(wave[:samples], (0, max(0, samples - len(wave))))


def _coded(wave: NDArray[np.float32], codec: Codec) -> NDArray[np.float32]:
    container, subtype = _FORMATS[codec.name]
    low, high = RANGES[codec.name]
    # libsndfile counts from 0, best, to 1, smallest; its MP3 encoder refuses 1 itself.
    level = min((high - codec.setting) / (high - low), 0.999)
    mode = "CONSTANT" if codec.name == "mp3" else None
    file = BytesIO()
    with soundfile.SoundFile(
        file,
        "w",
        RATE,
        channels=1,
        format=container,
        subtype=subtype,
        compression_level=level,
        bitrate_mode=mode,
    ) as encoder:
        # By the second: the Vorbis encoder puts what it is given on the stack, whatever its length.
        for start in range(0, len(wave), RATE):
            encoder.write(np.clip(wave[start : start + RATE], -1, 1))
    file.seek(0)
    samples = soundfile.read(file, dtype="float32", always_2d=True)[0]
    return samples[:, 0].astype(np.float32, copy=False)
