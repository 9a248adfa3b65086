"""How is a clip degraded as recordings are in the wild: codecs, resamplers, noise, clipping?"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import partial
from typing import Any, Literal, get_args

import numpy as np
import scipy.signal
import torch
from numpy.typing import NDArray
from torch import Tensor

from audiosr.audio.io import RATE
from audiosr.audio.lowpass import FAMILIES, Family, Lowpass, apply_lowpass, in_frequency, zero_phase
from audiosr.degrade import codecs
from audiosr.degrade.codecs import Codec, apply_codec
from audiosr.degrade.paper import PaperDegradation
from audiosr.degrade.resamplers import POLYPHASE, Kernel, fold_spectrum
from audiosr.degrade.telephone import Coding, Telephone, apply_telephone
from audiosr.degrade.twins import Degraded
from audiosr.errors import UsageError

_BEST = Kernel("sinc", 64, ("kaiser", 14.0))
_POOR = Kernel("sinc", 2, "hann")

RESAMPLERS: dict[str, tuple[Kernel, Kernel]] = {
    "best": (_BEST, _BEST),
    "polyphase": (POLYPHASE, POLYPHASE),
    "poor": (_POOR, _POOR),
    "linear": (POLYPHASE, Kernel("linear")),
    "nearest": (POLYPHASE, Kernel("nearest")),
    "decimated": (Kernel("none"), POLYPHASE),
    "decimated linear": (Kernel("none"), Kernel("linear")),
    "decimated nearest": (Kernel("none"), Kernel("nearest")),
}
"""How samples are taken at a lower rate, and joined; "decimated" takes them without a filter."""

FIR_WINDOWS = ("hann", "hamming", "blackman", "kaiser")
"""As `scipy.signal.get_window` names them; Kaiser's with beta 8."""

Kind = Literal["iir", "fir", "resample", "mp3", "vorbis", "opus", "telephone"]

_KINDS: tuple[Kind, ...] = get_args(Kind)


@dataclass(frozen=True)
class Fir:
    """A windowed-sinc low-pass."""

    window: str
    lobes: int
    """Zero crossings on each side: its steepness."""
    cutoff_hz: float

    def __str__(self) -> str:
        return f"fir {self.window} {self.lobes} lobes {self.cutoff_hz:.0f} Hz"

    def gains(self, n_fft: int, rate: int) -> Tensor:
        """Its real gains (1, n_fft // 2 + 1), without delay."""
        cutoff_hz = min(self.cutoff_hz, 0.999 * rate / 2)
        half = math.ceil(self.lobes * rate / 2 / cutoff_hz)
        window: Any = ("kaiser", 8.0) if self.window == "kaiser" else self.window
        taps = scipy.signal.firwin(2 * half + 1, cutoff_hz, window=window, fs=rate)
        circle = np.concatenate([taps[half:], np.zeros(n_fft - len(taps)), taps[:half]])
        return torch.from_numpy(np.fft.rfft(circle).real.astype(np.float32))[None]


@dataclass(frozen=True)
class Resample:
    """Down to twice the cutoff and back by one of `RESAMPLERS`."""

    quality: str
    cutoff_hz: int

    def __str__(self) -> str:
        return f"resample {self.quality} {2 * self.cutoff_hz} Hz"


Band = Lowpass | Fir | Resample | Codec | Telephone
"""What limits the band of a clip."""


@dataclass(frozen=True)
class DegradationChain:
    """What is done to one clip, in this order: clipping, noise, what limits the band."""

    band: Band
    clip_db: float | None = None
    """Level in dB re the peak of the clip above which samples are held."""
    snr_db: float | None = None
    """Power of the clip over that of the white noise added."""

    def __str__(self) -> str:
        clip = "" if self.clip_db is None else f"clipped at {self.clip_db:.1f} dB, "
        noise = "" if self.snr_db is None else f"noise {self.snr_db:.1f} dB, "
        return f"{clip}{noise}{self.band}"

    @property
    def cutoff_hz(self) -> float:
        """Edge in Hz: of a codec as measured on noise, else as drawn."""
        return codecs.edge_hz(self.band) if isinstance(self.band, Codec) else self.band.cutoff_hz


@dataclass(frozen=True)
class RobustDegradation(PaperDegradation):
    """Low-passes, FIR filters, resamplers, codecs, telephones; noise and clipping."""

    families: Sequence[Family] = FAMILIES
    """Families of the kind `iir`."""
    kinds: Mapping[str, float] = field(default_factory=lambda: dict.fromkeys(_KINDS, 1.0))
    """How often each kind limits the band, in any unit; kinds that are not named are left out."""
    fir_lobes: Sequence[int] = (4, 64)
    """Fewest and most zero crossings on each side of an FIR filter; log-uniform."""
    resamplers: Sequence[str] = tuple(RESAMPLERS)
    """Names out of `RESAMPLERS`, all alike."""
    mp3_kbps: Sequence[float] = (32, 40, 48, 56, 64, 80, 96, 128, 160, 192)
    """Bit rates of MP3 in kbit/s, one channel, constant."""
    vorbis_quality: Sequence[float] = (0, 1, 2, 3, 4, 5)
    """Qualities of Ogg Vorbis."""
    opus_kbps: Sequence[float] = (6, 8, 12, 16, 24, 32, 48, 64)
    """Bit rates of Opus in kbit/s."""
    telephone_low_hz: Sequence[float] = (200.0, 400.0)
    """Lowest and highest lower edge of a telephone's band. The target holds what lies below it all
    the same, but restoring keeps a recording as it is there."""
    telephone_high_hz: Sequence[float] = (3_000.0, 3_700.0)
    """Lowest and highest upper edge of a telephone's band: its cutoff."""
    telephone_codings: Sequence[Coding] = ("ULAW", "ALAW", "GSM610")
    """Codings of calls out of `telephone.CODINGS`, all alike."""
    noise_probability: float = 0.2
    snr_db: Sequence[float] = (10.0, 50.0)
    """Lowest and highest power of the clip over that of the noise."""
    noise_in_target: bool = False
    """Whether the noise belongs to the clip, so that a model learns to continue it above the edge.
    Without, what it generates is content alone, and restoring continues the noise by itself, as
    loud as it is found (`noise_floor`)."""
    clip_probability: float = 0.1
    clip_db: Sequence[float] = (-12.0, -1.0)
    """Lowest and highest level of clipping, in dB re the peak of the clip."""

    def __post_init__(self) -> None:
        super().__post_init__()
        if unknown := set(self.kinds) - set(_KINDS):
            raise UsageError(
                f"degrade.kinds names {', '.join(sorted(unknown))}; there are {', '.join(_KINDS)}"
            )
        if min(self.kinds.values(), default=0) < 0 or not sum(self.kinds.values()) > 0:
            raise UsageError("degrade.kinds must be at least 0 and not all 0")
        if not self.resamplers or set(self.resamplers) - set(RESAMPLERS):
            raise UsageError(f"degrade.resamplers must name some of {', '.join(RESAMPLERS)}")
        for name, chance in (("noise", self.noise_probability), ("clip", self.clip_probability)):
            if not 0 <= chance <= 1:
                raise UsageError(f"degrade.{name}_probability={chance:g} must lie in 0 to 1")
        for name, (low, high) in (
            ("snr_db", self.snr_db),
            ("clip_db", self.clip_db),
            ("fir_lobes", self.fir_lobes),
            ("telephone_low_hz", self.telephone_low_hz),
            ("telephone_high_hz", self.telephone_high_hz),
        ):
            if low > high:
                raise UsageError(f"degrade.{name} must be [lowest, highest]")
        if not self.fir_lobes[0] >= 1 or self.clip_db[1] > 0 or self.rate % 2:
            raise UsageError(
                "degrade.fir_lobes start at 1, degrade.clip_db ends at 0, degrade.rate is even"
            )
        if not self.telephone_codings:
            raise UsageError("degrade.telephone_codings must name a coding")
        for coding in self.telephone_codings:
            Telephone(coding, self.telephone_low_hz[0], self.telephone_high_hz[1])
            Telephone(coding, self.telephone_low_hz[1], self.telephone_high_hz[0])
        coded: dict[codecs.Name, Sequence[float]] = {
            name: self._settings(name) for name in codecs.RANGES if self.kinds.get(name)
        }
        if coded and self.rate != RATE:
            raise UsageError(
                f"degrade.kinds: codecs run at {RATE} Hz, not at {self.rate}; "
                "set mp3, vorbis and opus to 0"
            )
        for used, settings in coded.items():
            if not settings:
                raise UsageError(f"degrade.kinds.{used} is drawn, but no setting of it is given")
            for setting in settings:
                Codec(used, setting)

    def draw_chain(self, generator: np.random.Generator) -> DegradationChain:
        """Draw a chain; a setting changes no draw that it does not rule."""
        iir = self.draw(generator)
        kind, which, steep, clips, clip, noisy, snr, bass = generator.random(8).tolist()
        return DegradationChain(
            self._band(iir, kind, which, steep, bass),
            clip_db=_between(self.clip_db, clip) if clips < self.clip_probability else None,
            snr_db=_between(self.snr_db, snr) if noisy < self.noise_probability else None,
        )

    def __call__(self, wave: NDArray[np.float32], generator: np.random.Generator) -> Degraded:
        """Run `wave (T,)` through a chain that is drawn for it."""
        chain = self.draw_chain(generator)
        clipped = spoil_wave(wave, replace(chain, snr_db=None), generator)
        noisy = spoil_wave(clipped, replace(chain, clip_db=None), generator)
        noise_wanted = self.noise_in_target and chain.snr_db is not None
        target = (wave + (noisy - clipped)).astype(np.float32) if noise_wanted else None
        low = limit_band(noisy, chain.band, self.rate)
        return Degraded(low, chain.cutoff_hz, str(chain), target)

    def _settings(self, name: codecs.Name) -> Sequence[float]:
        return {"mp3": self.mp3_kbps, "vorbis": self.vorbis_quality, "opus": self.opus_kbps}[name]

    def _band(self, iir: Lowpass, kind: float, which: float, steep: float, bass: float) -> Band:
        """What four random numbers choose; filters and resamplers have the cutoff of `iir`."""
        shares = np.cumsum([self.kinds.get(name, 0.0) for name in _KINDS])
        name: Kind = _KINDS[int(np.searchsorted(shares, kind * shares[-1], side="right"))]
        if name == "iir":
            return iir
        if name == "fir":
            least, most = self.fir_lobes
            lobes = round(least * (most / least) ** steep)
            return Fir(FIR_WINDOWS[int(which * len(FIR_WINDOWS))], lobes, iir.cutoff_hz)
        if name == "resample":
            quality = self.resamplers[int(which * len(self.resamplers))]
            return Resample(quality, int(iir.cutoff_hz))
        if name == "telephone":
            return Telephone(
                self.telephone_codings[int(which * len(self.telephone_codings))],
                _between(self.telephone_low_hz, bass),
                _between(self.telephone_high_hz, steep),
            )
        settings = self._settings(name)
        return Codec(name, settings[int(which * len(settings))])


def _between(ends: Sequence[float], chance: float) -> float:
    return ends[0] + (ends[1] - ends[0]) * chance


def spoil_wave(
    wave: NDArray[np.float32], chain: DegradationChain, generator: np.random.Generator
) -> NDArray[np.float32]:
    """`wave (T,)`, clipped, then with white noise."""
    if chain.clip_db is not None:
        limit = np.abs(wave).max() * np.float32(10 ** (chain.clip_db / 20))
        wave = wave.clip(-limit, limit)
    if chain.snr_db is not None:
        noise = generator.standard_normal(wave.shape, np.float32)
        level = np.sqrt(np.square(wave, dtype=np.float64).mean()) * 10 ** (-chain.snr_db / 20)
        wave = wave + noise * np.float32(level)
    return wave


def limit_band(wave: NDArray[np.float32], band: Band, rate: int) -> NDArray[np.float32]:
    """`wave (T,)` through what limits its band."""
    if isinstance(band, Codec):
        return apply_codec(wave, band)
    if isinstance(band, Telephone):
        return apply_telephone(wave, band, rate)
    batch = torch.from_numpy(wave)[None, None]
    if isinstance(band, Lowpass):
        out = apply_lowpass(batch, [band], rate)
    elif isinstance(band, Fir):
        out = zero_phase(batch, partial(band.gains, rate=rate))
    else:
        kernels = RESAMPLERS[band.quality]

        def resampled(spectrum: Tensor, n_fft: int) -> Tensor:
            return fold_spectrum(spectrum[0], 2 * band.cutoff_hz, rate, *kernels)[None]

        out = in_frequency(batch, resampled, rate)
    return out[0, 0].numpy()
