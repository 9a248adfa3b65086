"""How is a reference band-limited to make a test input?

Clip by clip and in float64, so that an input does not depend on what is made beside it: LSD without
a floor (`ssr_eval`) measures the rounding that a low-pass leaves above its cutoff.
"""

from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from typing import Any, Literal
from typing import Protocol as Interface
from zlib import crc32

import numpy as np
import scipy.signal
import soundfile
import torch
import torchaudio
from numpy.typing import NDArray

from audiosr.audio.io import RATE
from audiosr.audio.lowpass import MARGIN, RIPPLE_DB, STOP_DB, Family, Lowpass
from audiosr.audio.released import through_rate
from audiosr.audio.ssr_eval import SSR_EVAL_KINDS, SsrEvalKind, degrade_ssr_eval
from audiosr.degrade.codecs import RANGES, Codec, apply_codec, edge_hz
from audiosr.errors import UsageError

DoubleWave = NDArray[np.float64]
"""(T,), full scale 1.0."""


class BandLimit(Interface):
    """Takes away what lies above a cutoff."""

    def __call__(self, wave: DoubleWave, cutoff_hz: float, rate: int) -> DoubleWave:
        """`wave` (T,) without what lies above `cutoff_hz`, as long and without delay."""
        ...

    def card(self) -> dict[str, Any]:
        """What it does, as plain values."""
        ...


@dataclass(frozen=True)
class ZeroPhase:
    """A filter run forward and backward; AudioSR's test condition is Chebyshev I of order 8.

    Equal to `scipy.signal.sosfiltfilt` with both ends continued by 4096 samples. "boxcar" is a
    brick wall, without an order.
    """

    family: Family = "cheby1"
    """cheby1, ellip, butter, boxcar or bessel."""
    order: int = 8
    """Order of one pass; two are made."""
    ripple_db: float = RIPPLE_DB
    """Of one pass, for cheby1 and ellip."""

    def __post_init__(self) -> None:
        Lowpass(self.family, 1000.0, self.order)  # refuses what cannot be designed

    def __call__(self, wave: DoubleWave, cutoff_hz: float, rate: int) -> DoubleWave:
        """`wave` (T,) low-passed."""
        margin = min(MARGIN, len(wave) - 1)
        padded = np.pad(wave, margin, mode="reflect", reflect_type="odd")
        if self.family == "boxcar":
            spectrum = np.fft.rfft(padded)
            spectrum[np.fft.rfftfreq(len(padded), 1 / rate) > cutoff_hz] = 0
            low = np.fft.irfft(spectrum, len(padded))
        else:
            edge = cutoff_hz / (rate / 2)
            sections = scipy.signal.iirfilter(
                self.order,
                edge,
                self.ripple_db,
                STOP_DB,
                "lowpass",
                ftype=self.family,
                output="sos",
            )
            low = scipy.signal.sosfiltfilt(sections, padded, padlen=0)
        return low[margin : margin + len(wave)]

    def card(self) -> dict[str, Any]:
        """Family, order, ripple and passes."""
        return {**asdict(self), "passes": "forward and backward (zero phase), float64"}


@dataclass(frozen=True)
class SsrEvalLowpass:
    """A degradation of ssr_eval, in which NVSR and the AudioSR paper publish their figures."""

    kind: SsrEvalKind = "stft_hard"
    """stft_hard (what the package recommends), subsampling, butter, cheby1, ellip or bessel."""
    order: int = 8
    """Order of the filters."""

    def __post_init__(self) -> None:
        if self.kind not in SSR_EVAL_KINDS:
            raise UsageError(
                f"ssr_eval has no low-pass {self.kind!r}: choose from {', '.join(SSR_EVAL_KINDS)}"
            )

    def __call__(self, wave: DoubleWave, cutoff_hz: float, rate: int) -> DoubleWave:
        """`wave` (T,) degraded."""
        return degrade_ssr_eval(wave, cutoff_hz, rate, kind=self.kind, order=self.order)

    def card(self) -> dict[str, Any]:
        """Kind, order and origin."""
        return {**asdict(self), "package": "ssr_eval at 7129ee8, in float64"}


@dataclass(frozen=True)
class Resampled:
    """Down to twice the cutoff and back up, as inputs of a low sampling rate are made."""

    kernel: Literal["sinc", "polyphase"] = "sinc"
    """sinc: torchaudio's default (Hann, 6 zero crossings, roll-off 0.99), which lets some fold
    back, as AP-BWE and UniverSR do it. polyphase: scipy's `resample_poly`."""
    before: ZeroPhase | None = None
    """A low-pass before it; NU-Wave 2 has Chebyshev I of order 8 with 0.05 dB."""

    def __post_init__(self) -> None:
        if self.kernel not in ("sinc", "polyphase"):
            raise UsageError(f"no resampling kernel {self.kernel!r}: choose sinc or polyphase")

    def __call__(self, wave: DoubleWave, cutoff_hz: float, rate: int) -> DoubleWave:
        """`wave` (T,) resampled; the lower rate is a whole number of Hz."""
        low = wave if self.before is None else self.before(wave, cutoff_hz, rate)
        inner = round(2 * cutoff_hz)
        if self.kernel == "polyphase":
            return through_rate(low, inner, rate, len(wave))
        down = torchaudio.functional.resample(torch.from_numpy(low.copy()), rate, inner)
        back = torchaudio.functional.resample(down, inner, rate).numpy()
        return np.pad(back[: len(wave)], (0, max(0, len(wave) - len(back))))

    def card(self) -> dict[str, Any]:
        """Kernel, and the low-pass before it."""
        kernels = {
            "sinc": "torchaudio resample: Hann-windowed sinc of 6 zero crossings, roll-off 0.99",
            "polyphase": "scipy resample_poly",
        }
        return {
            "kernel": kernels[self.kernel],
            "before": "none" if self.before is None else self.before.card(),
        }


@dataclass(frozen=True)
class Coded:
    """Lossy codecs; each stands at the edge of the band that it keeps of noise.

    `codec_edges` has the cutoffs at which it can be called.
    """

    codecs: tuple[str, ...]
    """Name and setting, such as "mp3 64": kbit/s of mp3 and opus, quality of vorbis."""

    def __post_init__(self) -> None:
        object.__setattr__(self, "codecs", tuple(self.codecs))
        self.by_edge()

    def by_edge(self) -> dict[float, Codec]:
        """The codecs by their edges in Hz; of equal edges the later ones are moved up by 1 Hz."""
        found: dict[float, Codec] = {}
        for text in self.codecs:
            codec = _codec(text)
            edge = edge_hz(codec)
            while edge in found:
                edge += 1
            found[edge] = codec
        return found

    def __call__(self, wave: DoubleWave, cutoff_hz: float, rate: int) -> DoubleWave:
        """`wave` (T,) encoded and decoded, in time."""
        codec = self.by_edge().get(cutoff_hz)
        if codec is None or rate != RATE:
            raise UsageError(
                f"no codec at {cutoff_hz:g} Hz: the cutoffs of a codec protocol follow from "
                "protocol.lowpass.codecs"
            )
        return apply_codec(wave.astype(np.float32), codec).astype(np.float64)

    def card(self) -> dict[str, Any]:
        """Each codec by its edge."""
        edges = {f"{edge:g} Hz": str(codec) for edge, codec in self.by_edge().items()}
        return {"codecs": edges, "library": f"libsndfile {soundfile.__libsndfile_version__}"}


def codec_edges(codecs: Sequence[str], *, cutoffs: Any = None) -> list[float]:
    """The cutoffs in Hz at which `Coded` of the same codecs stands.

    Raises:
        UsageError: `cutoffs` asks for others.
    """
    if cutoffs is not None:
        raise UsageError(
            "the cutoffs of this protocol follow from protocol.lowpass.codecs: leave cutoffs= out"
        )
    return list(Coded(tuple(codecs)).by_edge())


@dataclass(frozen=True)
class Noisy:
    """White noise on the recording, then a low-pass: what a microphone adds."""

    lowpass: ZeroPhase = field(default_factory=ZeroPhase)
    """What limits the band of clip and noise."""
    snr_db: float = 30.0
    """Power of the clip over that of the noise."""

    def __call__(self, wave: DoubleWave, cutoff_hz: float, rate: int) -> DoubleWave:
        """`wave` (T,) with noise that belongs to it, the same at each cutoff, low-passed."""
        generator = np.random.default_rng(crc32(wave.tobytes()))
        level = np.sqrt(np.mean(np.square(wave))) * 10 ** (-self.snr_db / 20)
        return self.lowpass(wave + level * generator.standard_normal(len(wave)), cutoff_hz, rate)

    def card(self) -> dict[str, Any]:
        """The low-pass and the noise."""
        return {**self.lowpass.card(), "noise": f"white, {self.snr_db:g} dB below the clip"}


def _codec(text: str) -> Codec:
    name, _, setting = str(text).partition(" ")
    if name not in RANGES:
        raise UsageError(f"no codec {text!r}: write mp3, vorbis or opus and a setting, as mp3 64")
    try:
        return Codec(name, float(setting))
    except ValueError:
        raise UsageError(f"codec {text!r} has no setting: write it as mp3 64") from None
