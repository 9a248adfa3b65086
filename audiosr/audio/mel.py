"""How does a waveform become the log-mel spectrogram that the networks work on?"""

import math
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import torch
import torch.nn.functional as F
import torchaudio
from einops import rearrange
from numpy.typing import NDArray
from torch import Tensor, nn

from audiosr.errors import UsageError

_CLIPS = 2
_GROUP = 32


@dataclass(frozen=True)
class MelSettings:
    """The front end; the defaults are those of the AudioSR release at 48 kHz."""

    rate: int = 48_000
    """Sampling rate in Hz."""
    n_fft: int = 2048
    """Length of the Hann window and of the FFT in samples."""
    hop: int = 480
    """Samples from one frame to the next."""
    n_mels: int = 256
    """Number of bands."""
    fmin: float = 20.0
    """Lower edge of the lowest band in Hz."""
    fmax: float = 24_000.0
    """Upper edge of the highest band in Hz."""
    floor: float = 1e-5
    """Least band value before the natural logarithm is taken."""

    def __post_init__(self) -> None:
        if not 0 <= self.fmin < self.fmax <= self.rate / 2:
            raise UsageError(
                f"mel bands from {self.fmin:g} to {self.fmax:g} Hz do not fit a rate of "
                f"{self.rate} Hz; keep 0 <= fmin < fmax <= rate / 2"
            )
        if not 0 < self.hop <= self.n_fft or (self.n_fft - self.hop) % 2:
            raise UsageError(
                f"mel hop {self.hop} does not fit n_fft {self.n_fft}; "
                "keep 0 < hop <= n_fft and n_fft - hop even, so that frames = samples // hop"
            )
        if self.n_mels < 1 or self.floor <= 0:
            raise UsageError(
                f"mel needs n_mels > 0 and floor > 0, not {self.n_mels} and {self.floor:g}"
            )


def hz_to_mel(hz: NDArray[np.float64]) -> NDArray[np.float64]:
    """Slaney's mel scale: 3 mel per 200 Hz up to 1 kHz, above it 27 mel per factor of 6.4.

    Source: M. Slaney, Auditory Toolbox, 1998.
    """
    steps = 27 / np.log(6.4)
    return np.where(hz < 1000, 3 * hz / 200, 15 + steps * np.log(np.maximum(hz, 1000) / 1000))


def mel_to_hz(mel: NDArray[np.float64]) -> NDArray[np.float64]:
    """The inverse of `hz_to_mel`."""
    return np.where(mel < 15, 200 * mel / 3, 1000 * 6.4 ** ((np.maximum(mel, 15) - 15) / 27))


def band_edges(settings: MelSettings) -> NDArray[np.float64]:
    """Hz where the triangles begin, peak and end, (n_mels + 2,): band b has b, b + 1 and b + 2."""
    low, high = hz_to_mel(np.array([settings.fmin, settings.fmax]))
    return mel_to_hz(np.linspace(low, high, settings.n_mels + 2))


def band_centres(settings: MelSettings) -> Tensor:
    """The middle of each mel band in Hz, `(n_mels,)`, float64."""
    return torch.from_numpy(band_edges(settings)[1:-1])


def mel_basis(settings: MelSettings) -> Tensor:
    """Triangular filters (n_mels, n_fft // 2 + 1), float32, of unit area in Hz as in Slaney's."""
    filters = torchaudio.functional.melscale_fbanks(
        n_freqs=settings.n_fft // 2 + 1,
        f_min=settings.fmin,
        f_max=settings.fmax,
        n_mels=settings.n_mels,
        sample_rate=settings.rate,
        norm="slaney",
        mel_scale="slaney",
    )
    return rearrange(filters, "bins mels -> mels bins").contiguous()


class LogMel(nn.Module):
    """Natural logarithm of mel-filtered STFT magnitudes, not scaled (AudioSR release, utils.py).

    The frames of T samples are T // hop: the waveform is reflected (n_fft - hop) / 2 samples at
    both ends and the STFT is not centred. Computed in float32, also under autocast and in a model
    moved to another precision.
    """

    basis: Tensor
    window: Tensor

    def __init__(self, settings: MelSettings | None = None) -> None:
        """Build the filters of `settings` (default: the release's)."""
        super().__init__()
        self.settings = settings or MelSettings()
        self.register_buffer("basis", mel_basis(self.settings), persistent=False)
        self.register_buffer("window", torch.hann_window(self.settings.n_fft), persistent=False)
        edges = band_edges(self.settings) * self.settings.n_fft / self.settings.rate
        starts = range(0, self.settings.n_mels, _GROUP)
        groups = [edges[start : start + _GROUP + 2] for start in starts]
        self._bins = [slice(math.floor(group[0]), math.ceil(group[-1]) + 1) for group in groups]

    def _apply(self, fn: Callable[[Tensor], Tensor], recurse: bool = True) -> "LogMel":
        # `model.to(torch.bfloat16)` may move these tables but must not round them.
        super()._apply(fn, recurse)
        if self.basis.dtype != torch.float32:
            device = self.basis.device
            self.basis = mel_basis(self.settings).to(device)
            self.window = torch.hann_window(self.settings.n_fft, device=device)
        return self

    def magnitude(self, wave: Tensor) -> Tensor:
        """STFT magnitudes (B, frames, n_fft // 2 + 1) of waveforms (B, 1, T)."""
        settings = self.settings
        frames = wave.shape[-1] // settings.hop
        if frames == 0:
            return wave.new_zeros(len(wave), 0, settings.n_fft // 2 + 1, dtype=torch.float32)
        pad = (settings.n_fft - settings.hop) // 2
        with torch.autocast(wave.device.type, enabled=False):
            mono = rearrange(wave.float(), "b 1 t -> b t")
            # Reflection needs a sample more than it reflects: silence continues short clips.
            mono = F.pad(mono, (0, max(0, pad + 1 - mono.shape[-1])))
            padded = F.pad(mono, (pad, pad), mode="reflect")
            spectrum = torch.stft(
                padded,
                settings.n_fft,
                settings.hop,
                window=self.window,
                center=False,
                return_complex=True,
            )
            return rearrange(spectrum[..., :frames].abs(), "b bins frames -> b frames bins")

    def forward(self, wave: Tensor) -> Tensor:
        """Log-mel (B, 1, T // hop, n_mels) of waveforms (B, 1, T), full scale 1.0."""
        # On a CPU a few clips at a time keep the spectra in its caches, which halves the time.
        parts = wave.split(_CLIPS) if wave.device.type == "cpu" else (wave,)
        return torch.cat([self._log_mel(part) for part in parts])

    def _log_mel(self, wave: Tensor) -> Tensor:
        magnitude = self.magnitude(wave)
        with torch.autocast(wave.device.type, enabled=False):
            # Neighbouring bands touch few bins: by groups the product takes a tenth of the time.
            groups = [
                F.linear(magnitude[..., bins], rows[:, bins])
                for rows, bins in zip(self.basis.split(_GROUP), self._bins, strict=True)
            ]
            log_mel = torch.cat(groups, -1).clamp_min(self.settings.floor).log()
            return rearrange(log_mel, "b frames mels -> b 1 frames mels")
