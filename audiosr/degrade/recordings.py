"""What do recordings look like that people have, and up to where does each still hold content?

Examples for a detector of the edge: a clip, its band ended in one of many ways (`band_ends`), under
noise, rounding, clipping, clicks, drop-outs, hum and pilot tones; all that is random comes from a
numpy generator.
"""

from dataclasses import dataclass

import numpy as np
import scipy.signal
import soxr
from numpy.typing import NDArray

from audiosr.audio.io import RATE
from audiosr.degrade.band_ends import BandEnd, Clip, between, draw_band_end, spectrum

_SECONDS = (0.2, 0.5, 1.0, 2.0, 4.0, 4.0, 5.0)

RECORDING_SECONDS = max(_SECONDS)
"""As much of a clip at most is in a recording."""

_QUIETEST = 1e-9


@dataclass(frozen=True)
class Recording:
    """One channel and where its band ends."""

    wave: NDArray[np.float32]
    rate: int
    low_hz: float
    """An answer is right from here: where noise covers the band below the edge, a little below the
    highest frequency at which the clip stands 3 dB above it."""
    high_hz: float
    """An answer is right up to here."""
    kind: str


def draw_recording(
    clip: NDArray[np.floating], end_hz: float, rng: np.random.Generator
) -> Recording:
    """A recording made of a full-band `clip` (T,) at 48 kHz whose own band ends at `end_hz`."""
    clip, end_hz, kinds = _source(clip.astype(np.float64), end_hz, rng)
    ended = draw_band_end(clip, end_hz, rng)
    clean = _at_peak(ended.wave)
    wave, gain, covers = _covered(clean, ended.rate, rng)
    low = ended.low_hz
    if covers:
        heard = _heard_up_to(gain * clean, wave - gain * clean, ended)
        # What a telephone's codec adds is noise too: there the band of calls is what is asked for.
        if not (ended.kind.startswith("telephone") and heard > 0.9 * low):
            low = min(low, 0.95 * heard)
    wave, defects = _with_defects(wave, gain, ended, clip, rng)
    high = min(ended.high_hz, ended.rate / 2)
    return Recording(
        wave.astype(np.float32),
        ended.rate,
        min(low, 0.95 * high),
        high,
        ", ".join([*kinds, ended.kind, *covers, *defects]),
    )


def coloured_noise(samples: int, rate: int, rng: np.random.Generator) -> Clip:
    """White noise, pink noise, or one of another slope, some with a random equaliser; RMS 1."""
    white, draw = rng.standard_normal(samples), rng.random()
    if draw < 0.45:
        return white
    hz = np.fft.rfftfreq(samples, 1 / rate)
    gains = np.maximum(hz, 20) ** -(0.5 if draw < 0.75 else rng.uniform(0, 1))
    if draw > 0.88:
        gains *= 10 ** (_waves(hz / rate * 2, 3.0, rng) / 20)
    noise = np.fft.irfft(np.fft.rfft(white) * gains, samples)
    return noise / noise.std()


def _source(clip: Clip, end_hz: float, rng: np.random.Generator) -> tuple[Clip, float, list[str]]:
    """A part of the clip, changed so that few clips stand for many; and where its band ends."""
    samples = int(RATE * rng.choice(_SECONDS))
    start = int(rng.integers(0, max(1, len(clip) - samples)))
    clip, kinds = clip[start : start + samples], list[str]()
    draw = rng.random()
    if draw < 0.07:
        clip, end_hz = coloured_noise(len(clip), RATE, rng), RATE / 2
        kinds.append("noise alone")
        if rng.random() < 0.5:
            knots = np.linspace(0, len(clip), 9)
            clip = clip * np.interp(np.arange(len(clip)), knots, rng.uniform(0.02, 1, 9))
    elif draw < 0.25:
        slower = rng.uniform(1, 1.35)
        clip, end_hz = soxr.resample(clip, RATE, RATE * slower)[: len(clip)], end_hz / slower
    if rng.random() < 0.5:
        clip = _equalised(clip, rng)
    if rng.random() < 0.1:  # a shelf is no edge: content goes on below it
        order, shelf_db = int(rng.integers(2, 7)), -rng.uniform(6, 25)
        sections = scipy.signal.butter(order, between(rng, 700, 9_000), fs=RATE, output="sos")
        clip = scipy.signal.sosfilt(sections, clip) + 10 ** (shelf_db / 20) * clip
    if rng.random() < 0.12:
        clip = _with_pauses(clip, rng)
    clip = _at_peak(clip)
    if rng.random() < 0.12:  # hiss that was there before the band was limited is content
        level = clip.std() * 10 ** (-rng.uniform(20, 55) / 20)
        clip, end_hz = clip + level * coloured_noise(len(clip), RATE, rng), RATE / 2
        kinds.append("hiss in the band")
    return clip, end_hz, kinds


def _covered(clean: Clip, rate: int, rng: np.random.Generator) -> tuple[Clip, float, list[str]]:
    """The clip under what covers its band, the gain that it has there, and what that is."""
    wave, gain, kinds = clean, 1.0, list[str]()
    if rng.random() < 0.12:
        limit = np.abs(wave).max() * 10 ** (-rng.uniform(1, 9) / 20)
        wave = np.clip(wave, -limit, limit)
        kinds.append("clipped")
    if rng.random() < 0.42:
        snr_db = rng.uniform(18, 70)
        level = clean.std() * 10 ** (-snr_db / 20)
        wave = wave + level * coloured_noise(len(wave), rate, rng)
        kinds.append(f"noise at {snr_db:.0f} dB")
    draw = rng.random()
    if draw < 0.1:
        wave = _rounded(wave, 8, rng.random() < 0.2, rng)
        kinds.append("8 bit")
    elif draw < 0.6:
        gain = 10 ** (-rng.uniform(0, 58) / 20) if draw < 0.4 else 1.0
        wave = _rounded(gain * wave, 16, rng.random() < 0.4, rng)
        kinds.append(f"16 bit at {20 * np.log10(gain):.0f} dB")
    elif draw < 0.65:
        wave = _rounded(wave, 24, False, rng)
        kinds.append("24 bit")
    return wave, gain, kinds


def _with_defects(
    wave: Clip, gain: float, ended: BandEnd, clip: Clip, rng: np.random.Generator
) -> tuple[Clip, list[str]]:
    """The recording with what covers nothing: clicks, drop-outs, hum, pilot tones, a jingle."""
    wave, kinds, rate = wave.copy(), list[str](), ended.rate
    level = gain * ended.wave.std() / max(np.abs(ended.wave).max(), _QUIETEST) / 2
    peak = np.abs(wave).max()
    time = np.arange(len(wave)) / rate
    if rng.random() < 0.14:
        width = int(rng.choice([1, 1, 1, 2, 4]))
        for at in rng.integers(len(wave) - 4, size=int(rng.integers(1, 12))):
            wave[at : at + width] = peak * rng.uniform(0.2, 1.9) * rng.choice([-1, 1])
        kinds.append("clicks")
    if rng.random() < 0.05:
        for at in rng.integers(len(wave) // 2, size=int(rng.integers(1, 3))):
            wave[at : at + int(rng.integers(rate // 200, rate // 5))] = 0
        kinds.append("drop-out")
    if rng.random() < 0.14:
        mains, partials = rng.choice([50, 60]), int(rng.choice([1, 1, 2, 5, 20]))
        for n in range(1, partials + 1):
            sine = np.sin(2 * np.pi * mains * n * time + rng.uniform(0, 6))
            wave += rng.uniform(0.1, 0.7) / n * level * sine
        kinds.append("hum")
    if rng.random() < 0.14 and rate >= 32_000:
        tone = float(rng.choice([15_625, 15_734, 19_000]))
        if rng.random() < 0.3:
            tone = rng.uniform(8_000, rate / 2 - 500)
        wave += 10 ** (-rng.uniform(15, 70) / 20) * level * np.sin(2 * np.pi * tone * time)
        kinds.append(f"tone at {tone:.0f} Hz")
    if rng.random() < 0.05 and rate == RATE and ended.high_hz < 15_000:
        length = int(len(wave) * rng.uniform(0.02, 0.06))
        at = int(rng.integers(len(wave) - length))
        wave[at : at + length] = gain * clip[at : at + length]
        kinds.append("jingle")
    return wave, kinds


def _heard_up_to(clean: Clip, cover: Clip, ended: BandEnd) -> float:
    """The highest frequency at which `clean` is 3 dB above `cover`, below the end of its band."""
    hz, content = spectrum(clean, ended.rate)
    heard = hz[(content > 2 * spectrum(cover, ended.rate)[1]) & (hz <= ended.high_hz)]
    return float(heard.max()) if len(heard) else 0.0


def _at_peak(clip: Clip) -> Clip:
    return 0.5 * clip / max(np.abs(clip).max(), _QUIETEST)


def _rounded(wave: Clip, bits: int, dither: bool, rng: np.random.Generator) -> Clip:
    """To whole steps, with triangular dither or without."""
    steps = 2.0 ** (bits - 1)
    noise = rng.random(len(wave)) - rng.random(len(wave)) if dither else 0.0
    return np.round(wave * steps + noise) / steps


def _equalised(clip: Clip, rng: np.random.Generator) -> Clip:
    hz = np.fft.rfftfreq(len(clip), 1 / RATE)
    octaves = np.log2(np.maximum(hz, 50) / 50)
    gain_db = rng.normal(0, 2) * octaves + _waves(octaves / 9, 2.0, rng)
    return np.fft.irfft(np.fft.rfft(clip) * 10 ** (gain_db / 20), len(clip))


def _waves(place: Clip, spread_db: float, rng: np.random.Generator) -> Clip:
    """A random smooth curve in dB over `place`, 0 to 1."""
    curve = np.zeros_like(place)
    for halves in (1, 2, 3):
        curve += rng.normal(0, spread_db) * np.cos(np.pi * halves * place + rng.uniform(0, 6))
    return curve


def _with_pauses(clip: Clip, rng: np.random.Generator) -> Clip:
    """Some parts of the clip are digital silence, with fades of 10 ms."""
    parts = int(rng.integers(2, 9))
    sounding = rng.random(parts) < 0.5
    if not sounding.any():
        return clip
    gate = np.repeat(sounding, len(clip) // parts + 1)[: len(clip)].astype(np.float64)
    fade = np.hanning(961) / 480
    return clip * scipy.signal.fftconvolve(gate, fade, "same") * gate
