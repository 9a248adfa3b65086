"""How does a log-mel become a waveform in the released model?

HiFi-GAN's generator (Kong et al., arXiv 2010.05646) with the topology and the tensor names of the
AudioSR release (hifigan/models.py, under `first_stage_model.vocoder.`): plain weights, no weight
norm.
"""

import functools
from collections.abc import Sequence
from typing import Literal, cast

import torch
import torch.nn.functional as F
from einops import rearrange
from torch import Tensor, nn

from audiosr.networks.layers import ExactParts

SLOPE = 0.1
"""Negative slope of the leaky ReLUs."""

_EXACT_STAGES = 2
"""Last stages that compute in float32: with one, copy synthesis in bfloat16 was up to 0.07 LSD from
float32 (128 channels, trained for minutes), with two 0.006.
"""

Timing = Literal["aligned", "released"]


class ResidualBlock(nn.Module):
    """Residual rounds of a dilated and a plain convolution: `(B, C, T)` to the same shape."""

    def __init__(self, channels: int, kernel: int, dilations: Sequence[int]) -> None:
        super().__init__()
        self.convs1 = nn.ModuleList(
            nn.Conv1d(channels, channels, kernel, dilation=d, padding="same") for d in dilations
        )
        self.convs2 = nn.ModuleList(
            nn.Conv1d(channels, channels, kernel, padding="same") for _ in dilations
        )

    def forward(self, x: Tensor) -> Tensor:
        """Map `(B, C, T)` to the same shape."""
        for conv1, conv2 in zip(self.convs1, self.convs2, strict=True):
            x = x + conv2(F.leaky_relu(conv1(F.leaky_relu(x, SLOPE)), SLOPE))
        return x


class HiFiGAN(ExactParts):
    """Vocoder generator `(B, 1, T, n_mels) -> (B, 1, 480 T)`.

    The defaults are the released widths, 190.3 M parameters. The released package pads the stride-5
    stage by one sample less than the code its weights were trained with (AudioLDM's training code,
    hifigan/models_hifires.py): 480 T + 16 samples, all 16 samples late. `timing="released"` gives
    those, to compare with it; `"aligned"` the 480 T that belong to the mel. Weights fit both.

    The last two stages and the head compute in float32 under every precision.

    Args:
        n_mels: bands of the mel.
        channels: width before the first stage; each stage halves it.
        rates: factors of the stages, whose transposed kernels span two strides; their product is
            the hop.
        kernels: kernel sizes of the residual blocks, whose outputs are averaged.
        dilations: dilations of the rounds of every residual block.
        timing: "aligned" or "released".
    """

    def __init__(
        self,
        *,
        n_mels: int = 256,
        channels: int = 1536,
        rates: Sequence[int] = (6, 5, 4, 2, 2),
        kernels: Sequence[int] = (3, 7, 11, 15),
        dilations: Sequence[int] = (1, 3, 5),
        timing: Timing = "aligned",
    ) -> None:
        super().__init__()
        if timing not in ("aligned", "released"):
            raise ValueError(f"timing is {timing!r}; it must be 'aligned' or 'released'")
        self.timing: Timing = timing
        self.rates = tuple(rates)
        widths = [channels >> stage for stage in range(len(rates) + 1)]
        self.conv_pre = nn.Conv1d(n_mels, channels, 7, padding=3)
        self.ups = nn.ModuleList(
            nn.ConvTranspose1d(wide, narrow, 2 * rate, stride=rate)
            for wide, narrow, rate in zip(widths[:-1], widths[1:], rates, strict=True)
        )
        self.resblocks = nn.ModuleList(
            ResidualBlock(width, kernel, dilations) for width in widths[1:] for kernel in kernels
        )
        self.conv_post = nn.Conv1d(widths[-1], 1, 7, padding=3)
        self.first_exact = max(0, len(rates) - _EXACT_STAGES)
        stages = range(self.first_exact, len(rates))
        blocks = range(self.first_exact * len(kernels), len(rates) * len(kernels))
        self.exact = (
            "conv_post.",
            *(f"ups.{stage}." for stage in stages),
            *(f"resblocks.{block}." for block in blocks),
        )
        # The framework's initial values stay. HiFi-GAN's own N(0, 0.01) is written to weights that
        # its weight norm recomputes, so it trains from these too; on plain weights it would leave
        # the first layers without a gradient.

    def forward(self, mel: Tensor, timing: Timing | None = None) -> Tensor:
        """Waveform `(B, 1, 480 T)` in (-1, 1), float32, of a log-mel `(B, 1, T, n_mels)`.

        `timing` takes the place of the network's own for this call.
        """
        aligned = (timing or self.timing) == "aligned"
        x = self.conv_pre(rearrange(mel, "b 1 t f -> b f t").to(self.conv_pre.weight.dtype))
        for stage in range(self.first_exact):
            x = self._stage(stage, x, aligned)
        with torch.autocast(x.device.type, enabled=False):
            x = x.to(self.conv_post.weight.dtype)
            for stage in range(self.first_exact, len(self.ups)):
                x = self._stage(stage, x, aligned)
            # the release uses the framework's default slope here
            return torch.tanh(self.conv_post(F.leaky_relu(x, 0.01)))

    def _stage(self, stage: int, x: Tensor, aligned: bool) -> Tensor:
        up, rate = self.ups[stage], self.rates[stage]
        more = rate % 2 if aligned else 0
        x = F.conv_transpose1d(
            F.leaky_relu(x, SLOPE),
            cast(Tensor, up.weight),
            cast(Tensor, up.bias),
            stride=rate,
            padding=rate // 2 + more,
            output_padding=more,
        )
        per_stage = len(self.resblocks) // len(self.ups)
        blocks = self.resblocks[stage * per_stage : (stage + 1) * per_stage]
        return functools.reduce(torch.add, (block(x) for block in blocks)) / per_stage
