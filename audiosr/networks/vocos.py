"""How does a log-mel become a waveform at a price a processor can pay?

Vocos (Siuzdak, arXiv 2306.00814): a ConvNeXt backbone at the frame rate and an inverse STFT as the
head. Ours starts from a magnitude prior: the log-magnitude spectrum that the mel itself implies, on
which the network predicts a residual.
"""

import torch
import torch.nn.functional as F
from einops import rearrange
from torch import Tensor, nn

from audiosr.audio.mel import MelSettings, mel_basis
from audiosr.networks.layers import ExactParts


class ConvNeXtBlock(nn.Module):
    """One-dimensional ConvNeXt block `(B, C, T) -> (B, C, T)` with a scaled residual branch."""

    def __init__(self, channels: int, hidden: int, scale: float) -> None:
        super().__init__()
        self.depthwise = nn.Conv1d(channels, channels, 7, padding=3, groups=channels)
        self.norm = nn.LayerNorm(channels)
        self.expand = nn.Linear(channels, hidden)
        self.contract = nn.Linear(hidden, channels)
        self.scale = nn.Parameter(torch.full((channels,), scale))

    def forward(self, x: Tensor) -> Tensor:
        """Map `(B, C, T)` to the same shape."""
        y = rearrange(self.depthwise(x), "b c t -> b t c")
        y = self.scale * self.contract(F.gelu(self.expand(self.norm(y))))
        return x + rearrange(y, "b t c -> b c t")


class InverseSTFT(nn.Module):
    """Inverse of the front end's STFT.

    Frame i is centred at `hop * i + hop / 2`, so T frames give `hop * T` samples.
    """

    def __init__(self, n_fft: int, hop: int) -> None:
        super().__init__()
        self.n_fft, self.hop = n_fft, hop
        self.register_buffer("window", torch.hann_window(n_fft), persistent=False)
        self.window: Tensor

    def forward(self, spectrum: Tensor) -> Tensor:
        """Waveform `(B, 1, hop * T)` of a complex `spectrum (B, T, n_fft/2 + 1)`."""
        frames = torch.fft.irfft(spectrum, n=self.n_fft, dim=-1) * self.window
        square = (self.window**2).expand(1, spectrum.shape[1], self.n_fft)
        return self._overlap_add(frames) / self._overlap_add(square).clamp_min(1e-3)

    def _overlap_add(self, frames: Tensor) -> Tensor:
        count = frames.shape[1]
        length = (count - 1) * self.hop + self.n_fft
        y = F.fold(
            rearrange(frames, "b t n -> b n t"),
            output_size=(1, length),
            kernel_size=(1, self.n_fft),
            stride=(1, self.hop),
        )
        start = (self.n_fft - self.hop) // 2
        return rearrange(y, "b 1 1 n -> b 1 n")[..., start : start + count * self.hop]


class Vocos(ExactParts):
    """Vocoder generator `(B, 1, T, n_mels) -> (B, 1, hop * T)`, without delay or extra samples.

    Its head computes in float32 under every precision.
    """

    exact = ("norm_out.", "magnitude.", "phase.", "istft.", "to_bins", "offset")

    def __init__(
        self,
        *,
        channels: int = 256,
        blocks: int = 8,
        expansion: int = 3,
        settings: MelSettings | None = None,
    ) -> None:
        super().__init__()
        settings = settings or MelSettings()
        bins = settings.n_fft // 2 + 1
        self.embed = nn.Conv1d(settings.n_mels, channels, 7, padding=3)
        self.norm_in = nn.LayerNorm(channels)
        self.blocks = nn.ModuleList(
            ConvNeXtBlock(channels, expansion * channels, 1 / blocks) for _ in range(blocks)
        )
        self.norm_out = nn.LayerNorm(channels)
        self.magnitude = nn.Linear(channels, bins)
        self.phase = nn.Linear(channels, bins)
        self.istft = InverseSTFT(settings.n_fft, settings.hop)
        for layer in self.modules():
            if isinstance(layer, nn.Conv1d | nn.Linear):
                nn.init.trunc_normal_(layer.weight, std=0.02)
                nn.init.zeros_(layer.get_parameter("bias"))
        nn.init.normal_(self.magnitude.weight, std=1e-4)  # begin at the prior
        to_bins, offset = magnitude_prior(settings)
        self.register_buffer("to_bins", to_bins, persistent=False)
        self.register_buffer("offset", offset, persistent=False)
        self.to_bins: Tensor
        self.offset: Tensor

    def forward(self, mel: Tensor) -> Tensor:
        """Waveform `(B, 1, hop * T)`, float32, of a natural-log mel `(B, 1, T, n_mels)`.

        Its samples lie in [-1, 1] or near it.
        """
        mel = rearrange(mel, "b 1 t f -> b t f")
        x = self.embed(rearrange(mel, "b t f -> b f t").to(self.embed.weight.dtype))
        x = rearrange(x, "b c t -> b t c")
        x = rearrange(self.norm_in(x), "b t c -> b c t")
        for block in self.blocks:
            x = block(x)
        with torch.autocast(mel.device.type, enabled=False):
            x = self.norm_out(rearrange(x, "b c t -> b t c").to(self.offset.dtype))
            residual, phase = self.magnitude(x), self.phase(x)
            prior = mel.to(self.offset.dtype) @ self.to_bins + self.offset
            # A magnitude above e^7 is beyond any full-scale signal: early steps must not overflow.
            magnitude = (prior + residual).clamp(max=7.0).exp()
            return self.istft(torch.polar(magnitude, phase))


def magnitude_prior(settings: MelSettings) -> tuple[Tensor, Tensor]:
    """Matrix `(n_mels, bins)` and offset `(bins,)` from a log-mel frame to its log-magnitudes.

    A flat magnitude A gives the band value A * sum(filter), so log A is the log-mel less the log of
    the filter's sum; between the bands' centres it is interpolated linearly over frequency.
    """
    basis = mel_basis(settings).double()
    sums = basis.sum(1)
    bins = torch.arange(basis.shape[1], dtype=torch.float64)
    centres = (basis @ bins) / sums
    right = torch.searchsorted(centres, bins).clamp(1, settings.n_mels - 1)
    left = right - 1
    weight = ((bins - centres[left]) / (centres[right] - centres[left])).clamp(0, 1)
    to_bins = torch.zeros(settings.n_mels, len(bins), dtype=torch.float64)
    index = torch.arange(len(bins))
    to_bins[left, index] = 1 - weight
    to_bins[right, index] += weight
    offset = -(to_bins.T @ sums.log())
    return to_bins.float(), offset.float()
