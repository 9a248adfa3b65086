"""In which ways does the band of a recording end, and between which frequencies?

Filters, sampling rates, telephones and codecs over clips (T,) at 48 kHz; all that is random comes
from a numpy generator.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import scipy.signal
import soxr
from numpy.typing import NDArray

from audiosr.audio.io import RATE
from audiosr.degrade.codecs import Codec, apply_codec, edge_hz
from audiosr.degrade.telephone import CALL_RATE, CODINGS, code_call, limit_to_line

Clip = NDArray[np.float64]
"""(T,), full scale 1.0."""

FULL_HZ = 23_000.0
"""A clip whose band reaches up to here counts as full band."""


@dataclass(frozen=True)
class BandEnd:
    """A clip whose band ends."""

    wave: Clip
    rate: int
    low_hz: float
    """The end is right from here ..."""
    high_hz: float
    """... to here."""
    kind: str


def draw_band_end(clip: Clip, end_hz: float, rng: np.random.Generator) -> BandEnd:
    """End the band of a full-band `clip` (T,), whose own band ends at `end_hz`, in a drawn way."""
    names = tuple(_KINDS)
    name = names[rng.choice(len(names), p=[_KINDS[n][0] for n in names])]
    return _KINDS[name][1](clip, end_hz, rng)


def between(rng: np.random.Generator, low: float, high: float) -> float:
    """A number from `low` to `high`, evenly on a logarithmic scale."""
    return float(low * (high / low) ** rng.random())


def resample_up(clip: Clip, rate: int, to: int, how: str, samples: int) -> Clip:
    """`clip` (T,) at a rate of `to` Hz, (samples,): lines, held samples, polyphase or soxr."""
    at = np.arange(samples) * rate / to
    if how == "linear":
        return np.interp(at, np.arange(len(clip)), clip)
    if how in ("hold", "nearest"):
        nearest = at if how == "hold" else np.round(at)
        return clip[np.minimum(nearest.astype(int), len(clip) - 1)]
    divisor = int(np.gcd(rate, to))
    up, down = to // divisor, rate // divisor
    if how == "polyphase":
        raised = scipy.signal.resample_poly(clip, up, down)
    elif how == "short sinc":  # six lobes and a Hann window, as torchaudio's default
        kernel = np.asarray(scipy.signal.firwin(12 * up + 1, 0.99 / up, window="hann"))
        raised = scipy.signal.resample_poly(clip, up, down, window=kernel / kernel.sum())
    else:
        raised = soxr.resample(clip, rate, to, quality=how)
    return np.pad(raised[:samples], (0, max(0, samples - len(raised))))


def _full(clip: Clip, end_hz: float, rng: np.random.Generator) -> BandEnd:
    if end_hz >= FULL_HZ:
        return BandEnd(clip, RATE, 0.95 * end_hz, RATE / 2, "full band")
    return BandEnd(clip, RATE, 0.94 * end_hz, 1.07 * end_hz, "full band")


def _filtered(clip: Clip, end_hz: float, rng: np.random.Generator) -> BandEnd:
    edge = min(between(rng, 1_300, 17_500), end_hz)
    family = rng.choice(
        ["cheby1", "ellip", "fir", "butter", "boxcar"], p=[0.3, 0.25, 0.25, 0.12, 0.08]
    )
    order = int(rng.integers(4, 11))
    low, high = 0.97 * edge, 1.04 * edge
    if family == "fir":
        taps, window = 2 * int(rng.integers(100, 700)) + 1, ("kaiser", rng.uniform(5, 12))
        kernel = scipy.signal.firwin(taps, edge, fs=RATE, window=window)  # pyright: ignore[reportArgumentType]
        wave = scipy.signal.fftconvolve(clip, kernel, "same")
    elif family == "boxcar":
        spectrum = np.fft.rfft(clip)
        spectrum[np.fft.rfftfreq(len(clip), 1 / RATE) > edge] = 0
        wave = np.fft.irfft(spectrum, len(clip))
    else:
        if family == "cheby1":
            sections = scipy.signal.cheby1(max(order, 5), 0.1, edge, fs=RATE, output="sos")
        elif family == "ellip":
            sections = scipy.signal.ellip(order, 0.1, 60, edge, fs=RATE, output="sos")
        else:
            sections = scipy.signal.butter(order, edge, fs=RATE, output="sos")
            low, high = 0.93 * edge, edge * 10 ** (22 / 40 / order)  # 22 dB of both passes
        wave = scipy.signal.sosfiltfilt(sections, clip)
    return BandEnd(wave, RATE, low, high, f"{family} {edge:.0f} Hz")


def _resampled(clip: Clip, end_hz: float, rng: np.random.Generator) -> BandEnd:
    rate = int(rng.choice([8_000, 11_025, 12_000, 16_000, 22_050, 24_000, 32_000]))
    if rng.random() < 0.25:
        rate = 100 * int(rng.integers(60, 320))
    down = str(rng.choice(["HQ", "VHQ", "MQ", "LQ"], p=[0.6, 0.2, 0.1, 0.1]))
    low = soxr.resample(clip, RATE, rate, quality=down)
    if rng.random() < 0.12:
        return BandEnd(low, rate, 0.43 * rate, rate / 2, f"at {rate} Hz")
    how = str(
        rng.choice(
            ["LQ", "HQ", "VHQ", "polyphase", "linear", "hold", "nearest", "short sinc"],
            p=[0.15, 0.15, 0.05, 0.15, 0.2, 0.2, 0.05, 0.05],
        )
    )
    to = 44_100 if rng.random() < 0.2 else RATE
    low = np.round(low * 2**15) / 2**15 if how in ("linear", "hold", "nearest") else low
    wave = resample_up(low, rate, to, how, len(clip) * to // RATE)
    return BandEnd(wave, to, 0.44 * rate, 0.51 * rate, f"{how} from {rate} Hz")


def _sloping(clip: Clip, end_hz: float, rng: np.random.Generator) -> BandEnd:
    order, corner = int(rng.choice([3, 4, 5, 6, 8, 10])), between(rng, 1_500, 8_000)
    if rng.random() < 0.8:
        sections = scipy.signal.butter(order, corner, fs=RATE, output="sos")
    else:
        sections = scipy.signal.bessel(order, corner, fs=RATE, output="sos", norm="mag")
    high = min(corner * 10 ** (25 / 20 / order), 20_000)
    wave = np.asarray(scipy.signal.sosfilt(sections, clip))
    return BandEnd(wave, RATE, 0.85 * corner, high, f"order {order} at {corner:.0f} Hz")


def _telephone(clip: Clip, end_hz: float, rng: np.random.Generator) -> BandEnd:
    """A call: 300 to 3,400 Hz, coded at 8 kHz; what the codec adds above is none of it."""
    wave, samples = soxr.resample(clip, RATE, CALL_RATE), len(clip) // 6
    low, high = 3_600.0, 4_000.0
    if rng.random() < 0.85:
        top = float(rng.choice([3_300, 3_400, 3_600], p=[0.2, 0.6, 0.2]))
        wave = limit_to_line(wave, rng.uniform(150, 320), top, order=int(rng.integers(3, 7)))
        low, high = 3_000.0, min(top + 150, 3_700)
    wave = rng.uniform(0.1, 0.9) * wave / max(np.abs(wave).max(), 1e-9)
    coding = CODINGS[rng.choice(len(CODINGS), p=[0.35, 0.15, 0.1, 0.1, 0.05, 0.15, 0.1])]
    wave = code_call(wave, CALL_RATE, coding)[:samples]
    wave = np.pad(wave, (0, samples - len(wave)))
    if rng.random() < 0.5:
        return BandEnd(wave, CALL_RATE, low, high, f"telephone {coding}")
    how = str(
        rng.choice(
            ["LQ", "HQ", "polyphase", "linear", "hold", "short sinc"],
            p=[0.1, 0.2, 0.15, 0.2, 0.3, 0.05],
        )
    )
    to = 44_100 if rng.random() < 0.2 else RATE
    wave = resample_up(wave, CALL_RATE, to, how, samples * to // CALL_RATE)
    return BandEnd(wave, to, low, high + 100, f"telephone {coding}, {how}")


def _coded(clip: Clip, end_hz: float, rng: np.random.Generator) -> BandEnd:
    """By a lossy codec; the end is its low-pass, or lower where it left out what is not heard."""
    name = ("mp3", "mp3", "vorbis", "opus")[int(rng.integers(4))]
    codec = Codec(name, float(rng.choice(_SETTINGS[name])))
    edge = min(edge_hz(codec), end_hz)
    wave = apply_codec(clip.astype(np.float32), codec).astype(np.float64)
    hz, before = spectrum(clip, RATE)
    after = spectrum(wave, RATE)[1]
    held = hz[(after > 0.1 * before) & (hz <= edge)]
    low = 0.95 * min(edge, float(held.max()) if len(held) else 0.0)
    return BandEnd(wave, RATE, low, RATE / 2 if edge > FULL_HZ else 1.05 * edge, str(codec))


def spectrum(wave: Clip, rate: int) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Frequencies in Hz and Welch's power density of `wave` (T,), over 0.2 kHz; both (bins,)."""
    hz, power = scipy.signal.welch(wave, rate, nperseg=min(2048, len(wave)))
    return hz, np.maximum(np.convolve(power, np.ones(9) / 9, "same"), 1e-20)


_SETTINGS: Mapping[Any, tuple[float, ...]] = {
    "mp3": (32, 40, 48, 56, 64, 80, 96, 112, 128, 160, 192),
    "vorbis": (0, 1, 2, 3, 4, 5, 6),
    "opus": (8, 12, 16, 24, 32, 48, 64),
}

_KINDS: Mapping[str, tuple[float, Callable[[Clip, float, np.random.Generator], BandEnd]]] = {
    "full": (0.22, _full),
    "filtered": (0.36, _filtered),
    "resampled": (0.18, _resampled),
    "sloping": (0.06, _sloping),
    "telephone": (0.09, _telephone),
    "coded": (0.09, _coded),
}
"""How often each is drawn, and how it is made."""
