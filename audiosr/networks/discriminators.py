"""Which networks tell generated mels and waveforms from real ones?

For the autoencoder a patch discriminator on log-mels; for the vocoder discriminators of
spectrograms at several resolutions and of waveforms folded at several periods. The first layer and
the last of each compute in float32 under every precision: a waveform rounded to bfloat16 has lost
its high band before it is judged.
"""

import math
from collections.abc import Iterable, Sequence

import torch
import torch.nn.functional as F
from einops import rearrange
from torch import Tensor, nn
from torch.nn.utils.parametrizations import weight_norm

from audiosr.networks.layers import ExactParts, in_own_precision

Verdict = tuple[Tensor, list[Tensor]]
"""Logits and the hidden activations, in order, of one discriminator."""


class PatchDiscriminator(ExactParts):
    """Judge overlapping patches of a log-mel: `(B, 1, T, F) -> (B, 1, T/8 - 2, F/8 - 2)`.

    The PatchGAN of pix2pix (Isola et al., arXiv 1611.07004), patches of 70 x 70 cells, as in the
    training code of AudioLDM's autoencoder, except for the norm. Theirs is a batch norm. With a few
    clips per device its statistics are those of the clips at hand, so a clip's verdict depends on
    its neighbours and on the device, real and generated batches are told apart by them, and its
    buffers change between the forward passes of one step, which DistributedDataParallel forbids. A
    group norm sees one clip and keeps no state. Its groups hold 16 channels, not one as an instance
    norm's: what a channel says relative to others, such as how noisy a clip is, survives.

    Args:
        channels: width of the first layer; it doubles at every further layer up to eightfold.
        layers: strided layers, which halve both axes.
    """

    def __init__(self, *, channels: int = 64, layers: int = 3) -> None:
        super().__init__()
        widths = [channels * min(2**i, 8) for i in range(layers + 1)]
        stages: list[nn.Module] = [
            nn.Conv2d(1, channels, 4, stride=2, padding=1),
            nn.LeakyReLU(0.2),
        ]
        for i in range(1, layers + 1):
            width, stride = widths[i], 2 if i < layers else 1
            stages += [
                nn.Conv2d(widths[i - 1], width, 4, stride=stride, padding=1, bias=False),
                nn.GroupNorm(math.gcd(width, max(1, width // 16)), width),
                nn.LeakyReLU(0.2),
            ]
        stages.append(nn.Conv2d(widths[-1], 1, 4, padding=1))
        self.stages = nn.Sequential(*stages)
        self.exact = ("stages.0.", f"stages.{len(stages) - 1}.")
        for stage in self.stages:  # pix2pix, section 6.2
            if isinstance(stage, nn.Conv2d):
                nn.init.normal_(stage.weight, std=0.02)
            elif isinstance(stage, nn.GroupNorm):
                nn.init.normal_(stage.weight, mean=1.0, std=0.02)

    def forward(self, mel: Tensor) -> Tensor:
        """Logits, high for a real patch, of `mel (B, 1, T, F)`; T and F at least 32."""
        first, *inner, last = self.stages
        x = in_own_precision(first, mel).to(next(inner[1].parameters()).dtype)
        for stage in inner:
            x = stage(x)
        return in_own_precision(last, x)


class WaveDiscriminator(ExactParts):
    """Convolutions after each other, their activations, and one that gives the logits."""

    exact = ("convs.0.", "conv_out.", "window")
    slope: float
    """Negative slope of the leaky ReLUs."""
    convs: nn.ModuleList
    conv_out: nn.Module

    def judge(self, x: Tensor) -> Verdict:
        """Logits and activations of a picture `(B, 1, ...)` of the waveform."""
        features = activations(self.convs, x, self.slope)
        return in_own_precision(self.conv_out, features[-1]), features


def activations(convs: nn.ModuleList, x: Tensor, slope: float) -> list[Tensor]:
    """What each of `convs` and a leaky ReLU make of `x`, the first in its own precision."""
    first, *inner = convs
    found = [F.leaky_relu(in_own_precision(first, x), slope)]
    x = found[0].to(next(inner[0].parameters()).dtype)
    for conv in inner:
        x = F.leaky_relu(conv(x), slope)
        found.append(x)
    return found


def frequency_convs(first: int, channels: int) -> nn.ModuleList:
    """Convolutions `(B, first, frames, bins)` that halve the frequency axis three times."""
    return nn.ModuleList(
        weight_norm(
            nn.Conv2d(width, channels, (3, taps), stride=(1, stride), padding=(1, taps // 2))
        )
        for width, taps, stride in (
            (first, 9, 1),
            *[(channels, 9, 2)] * 3,
            (channels, 3, 1),
        )
    )


class SpectrogramDiscriminator(WaveDiscriminator):
    """Judge the log-magnitude spectrogram of a waveform `(B, 1, T)` at one resolution.

    Convolutions over (time, frequency) that halve the frequency axis three times, as in UnivNet
    (Jang et al., arXiv 2106.07889). Magnitudes enter as logarithms: above 10 kHz they lie 40 to 80
    dB under those of the low band, which is all that a judge of linear magnitudes looks at.

    Args:
        n_fft: samples of the Hann window and of the transform.
        hop: samples between frames.
        channels: width of every layer.
    """

    slope = 0.2

    def __init__(self, *, n_fft: int, hop: int, channels: int = 32) -> None:
        super().__init__()
        self.n_fft, self.hop = n_fft, hop
        self.register_buffer("window", torch.hann_window(n_fft), persistent=False)
        self.window: Tensor
        self.convs = frequency_convs(1, channels)
        self.conv_out = weight_norm(nn.Conv2d(channels, 1, 3, padding=1))

    def forward(self, wave: Tensor) -> Verdict:
        """Logits `(B, 1, T // hop + 1, n_fft/16 + 1)` and activations of `wave (B, 1, T)`.

        T must be above n_fft/2.
        """
        return self.judge(self.log_magnitude(wave))

    def log_magnitude(self, wave: Tensor) -> Tensor:
        """ln(|STFT| + 0.001) of `wave (B, 1, T)`: `(B, 1, frames, n_fft/2 + 1)`, float32."""
        with torch.autocast(wave.device.type, enabled=False):
            spectrum = torch.stft(
                rearrange(wave.float(), "b 1 t -> b t"),
                self.n_fft,
                self.hop,
                window=self.window,
                return_complex=True,
            )
            # about the magnitude of 16-bit rounding noise; it bounds the gradient in silence
            return rearrange((spectrum.abs() + 1e-3).log(), "b f t -> b 1 t f")


class PeriodDiscriminator(WaveDiscriminator):
    """Judge a waveform `(B, 1, T)` folded into rows of `period` samples.

    HiFi-GAN's (Kong et al., arXiv 2010.05646).

    Args:
        period: samples per row; convolutions run along the columns and never mix them.
        channels: width of the first layer; the others have 4, 16, 32 and 32 times as many.
    """

    slope = 0.1

    def __init__(self, *, period: int, channels: int = 32) -> None:
        super().__init__()
        self.period = period
        widths = [1, *(channels * factor for factor in (1, 4, 16, 32, 32))]
        self.convs = nn.ModuleList(
            weight_norm(
                nn.Conv2d(
                    widths[i], widths[i + 1], (5, 1), stride=(3 if i < 4 else 1, 1), padding=(2, 0)
                )
            )
            for i in range(5)
        )
        self.conv_out = weight_norm(nn.Conv2d(widths[-1], 1, (3, 1), padding=(1, 0)))

    def forward(self, wave: Tensor) -> Verdict:
        """Logits `(B, 1, about T/period/81, period)` and activations of `wave (B, 1, T)`.

        T must be at least the period.
        """
        wave = F.pad(wave, (0, -wave.shape[-1] % self.period), mode="reflect")
        return self.judge(rearrange(wave, "b 1 (t p) -> b 1 t p", p=self.period))


class Discriminators(nn.Module):
    """Several waveform discriminators seen as one: `(B, 1, T) -> [(logits, features), ...]`."""

    def __init__(self, discriminators: Iterable[nn.Module]) -> None:
        super().__init__()
        self.discriminators = nn.ModuleList(discriminators)

    def forward(self, wave: Tensor) -> list[Verdict]:
        """The verdicts of all discriminators on `wave (B, 1, T)`, those of a group one by one."""
        verdicts: list[Verdict] = []
        for discriminator in self.discriminators:
            verdict = discriminator(wave)
            verdicts += verdict if isinstance(verdict, list) else [verdict]
        return verdicts


class MultiResolutionDiscriminator(Discriminators):
    """Spectrogram discriminators at several resolutions (You et al., arXiv 2103.05236).

    AudioSR's resolutions are not published. Ours are windows of 11, 21 and 43 ms at 48 kHz with
    hops of a quarter.

    Args:
        resolutions: pairs of FFT size and hop, in samples.
        channels: width of every layer.
    """

    def __init__(
        self,
        *,
        resolutions: Sequence[Sequence[int]] = ((2048, 512), (1024, 256), (512, 128)),
        channels: int = 32,
    ) -> None:
        super().__init__(
            SpectrogramDiscriminator(n_fft=n_fft, hop=hop, channels=channels)
            for n_fft, hop in resolutions
        )


class MultiPeriodDiscriminator(Discriminators):
    """Period discriminators at several periods, by default HiFi-GAN's (Kong et al., 2010.05646).

    Args:
        periods: samples per row, one discriminator each.
        channels: width of the first layer of each.
    """

    def __init__(self, *, periods: Sequence[int] = (2, 3, 5, 7, 11), channels: int = 32) -> None:
        super().__init__(
            PeriodDiscriminator(period=period, channels=channels) for period in periods
        )
