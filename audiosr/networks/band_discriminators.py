"""Which discriminators judge phase as well as magnitude, band by band?"""

from collections.abc import Sequence

import torch
from einops import rearrange
from torch import Tensor, nn
from torch.nn.utils.parametrizations import weight_norm

from audiosr.networks.discriminators import (
    Discriminators,
    Verdict,
    activations,
    frequency_convs,
)
from audiosr.networks.layers import ExactParts, in_own_precision

SPECTRUM_BANDS = ((0.0, 0.1), (0.1, 0.25), (0.25, 0.5), (0.5, 0.75), (0.75, 1.0))
"""Of the Nyquist frequency, as in arXiv 2306.06546 (from 0 to 2.4, 6, 12, 18 and 24 kHz)."""


class BandSpectrumDiscriminator(ExactParts):
    """Judge the complex spectrogram of a waveform `(B, 1, T)`, each band by layers of its own.

    The multi-band STFT discriminator of Kumar et al. (arXiv 2306.06546, 3.2): real and imaginary
    part are two channels, so that phase is heard, and a weak high band is not drowned by the low
    one. Waveforms are brought to the same peak before.

    Args:
        n_fft: samples of the Hann window and of the transform; frames are a quarter apart.
        channels: width of every layer.
        bands: ends of the bands, of the Nyquist frequency.
    """

    slope = 0.1

    def __init__(
        self, *, n_fft: int, channels: int = 32, bands: Sequence[Sequence[float]] = SPECTRUM_BANDS
    ) -> None:
        super().__init__()
        self.n_fft = n_fft
        self.register_buffer("window", torch.hann_window(n_fft), persistent=False)
        self.window: Tensor
        bins = n_fft // 2 + 1
        self.bins = [(round(low * bins), round(high * bins)) for low, high in bands]
        self.stacks = nn.ModuleList(frequency_convs(2, channels) for _ in bands)
        self.conv_out = weight_norm(nn.Conv2d(channels, 1, 3, padding=1))
        self.exact = ("window", "conv_out.", *(f"stacks.{band}.0." for band in range(len(bands))))

    def forward(self, wave: Tensor) -> Verdict:
        """Logits `(B, 1, frames, about n_fft/16)` and activations of `wave (B, 1, T)`."""
        spectrum = self.complex_spectrum(wave)
        features: list[Tensor] = []
        judged: list[Tensor] = []
        for (low, high), stack in zip(self.bins, self.stacks, strict=True):
            assert isinstance(stack, nn.ModuleList)
            found = activations(stack, spectrum[..., low:high], self.slope)
            features += found
            judged.append(found[-1])
        return in_own_precision(self.conv_out, torch.cat(judged, -1)), features

    def complex_spectrum(self, wave: Tensor) -> Tensor:
        """Real and imaginary part `(B, 2, frames, n_fft/2 + 1)` of `wave (B, 1, T)`, float32."""
        with torch.autocast(wave.device.type, enabled=False):
            wave = wave.float() - wave.float().mean(-1, keepdim=True)
            wave = 0.8 * wave / wave.abs().amax(-1, keepdim=True).clamp_min(1e-6)
            spectrum = torch.stft(
                rearrange(wave, "b 1 t -> b t"),
                self.n_fft,
                self.n_fft // 4,
                window=self.window,
                return_complex=True,
            )
            return rearrange(torch.view_as_real(spectrum), "b f t two -> b two t f")


class MultiBandDiscriminator(Discriminators):
    """Band-wise discriminators of complex spectra at several resolutions (arXiv 2306.06546).

    Args:
        sizes: FFT sizes in samples, one discriminator each.
        channels: width of every layer.
        bands: ends of the bands, of the Nyquist frequency.
    """

    def __init__(
        self,
        *,
        sizes: Sequence[int] = (2048, 1024, 512),
        channels: int = 32,
        bands: Sequence[Sequence[float]] = SPECTRUM_BANDS,
    ) -> None:
        super().__init__(
            BandSpectrumDiscriminator(n_fft=n_fft, channels=channels, bands=bands)
            for n_fft in sizes
        )
