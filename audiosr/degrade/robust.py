"""How is a batch degraded as recordings are in the wild: codecs, resamplers, noise, clipping?"""

import os
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from typing import Literal

import numpy as np
import torch
from torch import Tensor

from audiosr.audio import lowpass
from audiosr.audio.io import RATE
from audiosr.audio.lowpass import Lowpass
from audiosr.degrade import codecs, resamplers
from audiosr.degrade.codecs import Codec
from audiosr.degrade.filters import Degrade, Degraded
from audiosr.degrade.resamplers import POLYPHASE, Kernel
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

Kind = Literal["iir", "fir", "resample", "mp3", "vorbis", "opus"]

_KINDS: tuple[Kind, ...] = ("iir", "fir", "resample", "mp3", "vorbis", "opus")

_COLUMNS = 10
"""Random numbers for a clip; fixed, so that settings change no draw that they do not rule."""


@dataclass(frozen=True)
class Fir:
    """A windowed-sinc low-pass."""

    window: str
    lobes: int
    """Zero crossings on each side: its steepness."""
    cutoff_hz: float

    def __str__(self) -> str:
        return f"fir {self.window} {self.lobes} lobes {self.cutoff_hz:.0f} Hz"

    @property
    def kernel(self) -> Kernel:
        """Its impulse response, counted in halves of the period of the cutoff."""
        window = ("kaiser", 8.0) if self.window == "kaiser" else self.window
        return Kernel("sinc", self.lobes, window)


@dataclass(frozen=True)
class Resample:
    """Down to twice the cutoff and back by one of `RESAMPLERS`."""

    quality: str
    cutoff_hz: int

    def __str__(self) -> str:
        return f"resample {self.quality} {2 * self.cutoff_hz} Hz"


@dataclass(frozen=True)
class DegradationChain:
    """What is done to one clip, in this order: clipping, noise, what limits the band."""

    band: Lowpass | Fir | Resample | Codec
    clip_db: float | None = None
    """Level in dB re the peak of the clip above which samples are held."""
    snr_db: float | None = None
    """Power of the clip over that of the white noise added."""
    noise_seed: int = 0

    def __str__(self) -> str:
        clip = "" if self.clip_db is None else f"clipped at {self.clip_db:.1f} dB, "
        noise = "" if self.snr_db is None else f"noise {self.snr_db:.1f} dB, "
        return f"{clip}{noise}{self.band}"

    @property
    def cutoff_hz(self) -> float:
        """Edge in Hz: of a codec as measured on noise, else as drawn."""
        return codecs.edge_hz(self.band) if isinstance(self.band, Codec) else self.band.cutoff_hz


@dataclass(frozen=True)
class Robust(Degrade):
    """The paper's low-pass and Bessel, FIR low-passes, resamplers, codecs, noise and clipping.

    Drawn per clip from the generator alone. Filters and resamplers work on the batch in the
    frequency domain on its device; codecs clip by clip on the CPU, in threads.
    """

    families: Sequence[lowpass.Family] = lowpass.FAMILIES
    """Families of the kind `iir`."""
    kinds: Mapping[str, float] = field(default_factory=lambda: dict.fromkeys(_KINDS, 1.0))
    """How often each kind limits the band, in any unit: iir, fir, resample, mp3, vorbis, opus."""
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
    noise_probability: float = 0.2
    snr_db: Sequence[float] = (10.0, 50.0)
    """Lowest and highest power of the clip over that of the noise."""
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
        ):
            if low > high:
                raise UsageError(f"degrade.{name} must be [lowest, highest]")
        if not self.fir_lobes[0] >= 1 or self.clip_db[1] > 0 or self.rate % 2:
            raise UsageError(
                "degrade.fir_lobes start at 1, degrade.clip_db ends at 0, degrade.rate is even"
            )
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

    def draw_chains(self, n: int, generator: torch.Generator) -> list[DegradationChain]:
        """Draw `n` chains; the numbers of a CPU generator are the same on every device."""
        filters = self.draw(n, generator)
        size = (n, _COLUMNS)
        chance = torch.rand(size, generator=generator, device=generator.device, dtype=torch.float64)
        return [self._chain(f, row) for f, row in zip(filters, chance.tolist(), strict=True)]

    def __call__(self, waveform: Tensor, generator: torch.Generator) -> Degraded:
        """Degrade waveforms (B, 1, T) on their device."""
        chains = self.draw_chains(len(waveform), generator)
        wave = torch.stack([_spoilt(w, c) for w, c in zip(waveform.float(), chains, strict=True)])
        coded = [i for i, chain in enumerate(chains) if isinstance(chain.band, Codec)]
        rest = [i for i, chain in enumerate(chains) if not isinstance(chain.band, Codec)]
        out = torch.empty_like(wave)
        if rest:
            bands = [chains[i].band for i in rest]
            out[rest] = lowpass.in_frequency(
                wave[rest], lambda spectrum, n_fft: _limited(spectrum, n_fft, bands, self.rate),
                self.rate,
            )  # fmt: skip
        if coded:
            clips = wave[coded, 0].cpu().numpy()
            settings = [chains[i].band for i in coded]
            # The encoders release the interpreter's lock; results come in order.
            with ThreadPoolExecutor(min(len(coded), os.cpu_count() or 1)) as pool:
                done = list(pool.map(codecs.apply_codec, clips, settings))  # pyright: ignore[reportArgumentType]
            out[coded, 0] = torch.from_numpy(np.stack(done)).to(out)
        cutoff_hz = torch.tensor([chain.cutoff_hz for chain in chains], dtype=torch.float32)
        return Degraded(out, cutoff_hz.to(wave.device), [str(chain) for chain in chains])

    def _settings(self, name: codecs.Name) -> Sequence[float]:
        return {"mp3": self.mp3_kbps, "vorbis": self.vorbis_quality, "opus": self.opus_kbps}[name]

    def _chain(self, iir: Lowpass, row: list[float]) -> DegradationChain:
        kind, which, steep, clips, clip, noisy, snr, seed = row[:8]
        shares = np.cumsum([self.kinds.get(name, 0.0) for name in _KINDS])
        name: Kind = _KINDS[int(np.searchsorted(shares, kind * shares[-1], side="right"))]
        band: Lowpass | Fir | Resample | Codec = iir
        if name == "fir":
            least, most = self.fir_lobes
            lobes = round(least * (most / least) ** steep)
            band = Fir(FIR_WINDOWS[int(which * len(FIR_WINDOWS))], lobes, iir.cutoff_hz)
        elif name == "resample":
            quality = self.resamplers[int(which * len(self.resamplers))]
            band = Resample(quality, int(iir.cutoff_hz))
        elif name in ("mp3", "vorbis", "opus"):
            settings = self._settings(name)
            band = Codec(name, settings[int(which * len(settings))])
        return DegradationChain(
            band,
            clip_db=_between(self.clip_db, clip) if clips < self.clip_probability else None,
            snr_db=_between(self.snr_db, snr) if noisy < self.noise_probability else None,
            noise_seed=int(seed * 2**53),
        )


def _between(ends: Sequence[float], chance: float) -> float:
    return ends[0] + (ends[1] - ends[0]) * chance


def _spoilt(wave: Tensor, chain: DegradationChain) -> Tensor:
    """A waveform (1, T), clipped, then with white noise."""
    if chain.clip_db is not None:
        limit = wave.abs().amax() * 10 ** (chain.clip_db / 20)
        wave = wave.clamp(-limit, limit)
    if chain.snr_db is not None:
        own = torch.Generator().manual_seed(chain.noise_seed)
        noise = torch.randn(wave.shape, generator=own).to(wave)
        wave = wave + noise * wave.square().mean().sqrt() * 10 ** (-chain.snr_db / 20)
    return wave


def _limited(
    spectrum: Tensor, n_fft: int, bands: Sequence[Lowpass | Fir | Resample | Codec], rate: int
) -> Tensor:
    """Spectra (B, bins), each through its filter or resampler."""
    whole = Lowpass("butter", rate)
    filters = [band if isinstance(band, Lowpass) else whole for band in bands]
    out = spectrum * lowpass.gains(filters, n_fft, rate, spectrum.device)
    hz = torch.arange(spectrum.shape[1], device=spectrum.device) * (rate / n_fft)
    for row, band in enumerate(bands):
        if isinstance(band, Fir):
            out[row] *= resamplers.kernel_response(band.kernel, hz / (2 * band.cutoff_hz))
        elif isinstance(band, Resample):
            kernels = RESAMPLERS[band.quality]
            out[row] = resamplers.through_rate(out[row], 2 * band.cutoff_hz, rate, *kernels)
    return out
