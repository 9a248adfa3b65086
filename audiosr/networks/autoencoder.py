"""How does a log-mel become a latent and come back in the released model?

A convolutional variational autoencoder with the topology and the tensor names of the AudioSR
release (latent_encoder/autoencoder.py and diffusionmodules/model.py, under `first_stage_model.`).
"""

from collections.abc import Iterable, Iterator, Sequence
from itertools import pairwise

import torch.nn.functional as F
from einops import rearrange
from torch import Tensor, nn

from audiosr.networks.gaussian import DiagonalGaussian
from audiosr.networks.layers import (
    ExactParts,
    GroupNorm,
    Upsample,
    in_own_precision,
    run_checkpointed,
)

EPS = 1e-6


class ResnetBlock(nn.Module):
    """Two 3x3 convolutions around a skip, `(B, in, T, F) -> (B, out, T, F)`."""

    def __init__(self, in_channels: int, out_channels: int, *, dropout: float) -> None:
        super().__init__()
        self.norm1 = GroupNorm(in_channels, eps=EPS)
        self.conv1 = nn.Conv2d(in_channels, out_channels, 3, padding=1)
        self.norm2 = GroupNorm(out_channels, eps=EPS)
        self.dropout = nn.Dropout(dropout)
        self.conv2 = nn.Conv2d(out_channels, out_channels, 3, padding=1)
        if in_channels != out_channels:
            self.nin_shortcut = nn.Conv2d(in_channels, out_channels, 1)
        else:
            self.nin_shortcut = nn.Identity()

    def forward(self, x: Tensor) -> Tensor:
        """Map `(B, in, T, F)` to `(B, out, T, F)`."""
        h = self.conv1(F.silu(self.norm1(x)))
        h = self.conv2(self.dropout(F.silu(self.norm2(h))))
        return self.nin_shortcut(x) + h


def chain(
    in_channels: int, out_channels: int, *, count: int, dropout: float
) -> Iterator[ResnetBlock]:
    """Residual blocks of one scale; the first changes the width."""
    for i in range(count):
        yield ResnetBlock(in_channels if i == 0 else out_channels, out_channels, dropout=dropout)


class Attention(nn.Module):
    """Residual self-attention of one head over all cells of `(B, C, T, F)`."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.norm = GroupNorm(channels, eps=EPS)
        self.q = nn.Conv2d(channels, channels, 1)
        self.k = nn.Conv2d(channels, channels, 1)
        self.v = nn.Conv2d(channels, channels, 1)
        self.proj_out = nn.Conv2d(channels, channels, 1)

    def forward(self, x: Tensor) -> Tensor:
        """Map `(B, C, T, F)` to the same shape."""
        h = self.norm(x)
        # The fast kernels want the channels of a cell side by side.
        q, k, v = (
            rearrange(layer(h), "b c t f -> b 1 (t f) c").contiguous()
            for layer in (self.q, self.k, self.v)
        )
        h = F.scaled_dot_product_attention(q, k, v)
        return x + self.proj_out(rearrange(h, "b 1 (t f) c -> b c t f", t=x.shape[2]))


class Middle(nn.Module):
    """Blocks of the coarsest scale around the attention, `(B, C, T, F)` to the same shape."""

    def __init__(self, channels: int, *, dropout: float) -> None:
        super().__init__()
        self.block_1 = ResnetBlock(channels, channels, dropout=dropout)
        self.attn_1 = Attention(channels)
        self.block_2 = ResnetBlock(channels, channels, dropout=dropout)

    def forward(self, x: Tensor) -> Tensor:
        """Map `(B, C, T, F)` to the same shape."""
        return self.block_2(self.attn_1(self.block_1(x)))


class Downsample(nn.Module):
    """Halve both axes; the padding is at the end of each alone."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.conv = nn.Conv2d(channels, channels, 3, stride=2)

    def forward(self, x: Tensor) -> Tensor:
        """Map `(B, C, T, F)` to `(B, C, T // 2, F // 2)`."""
        return self.conv(F.pad(x, (0, 1, 0, 1)))


class Level(nn.Module):
    """The residual blocks of one scale, then the step to the next scale where there is one."""

    def __init__(
        self,
        blocks: Iterable[nn.Module],
        *,
        checkpointing: bool,
        downsample: nn.Module | None = None,
        upsample: nn.Module | None = None,
    ) -> None:
        super().__init__()
        self.checkpointing = checkpointing
        self.block = nn.ModuleList(blocks)
        self.downsample = downsample or nn.Identity()
        self.upsample = upsample or nn.Identity()

    def forward(self, x: Tensor) -> Tensor:
        """Map `(B, in, T, F)` to `(B, out, T, F)`, both axes halved or doubled by the step."""
        for block in self.block:
            x = run_checkpointed(block, x) if self.checkpointing else block(x)
        return self.upsample(self.downsample(x))


class Encoder(nn.Module):
    """Log-mel `(B, 1, T, F)` to moments `(B, 2 * latent_channels, T // 8, F // 8)`."""

    def __init__(
        self,
        widths: Sequence[int],
        *,
        blocks: int,
        latent_channels: int,
        dropout: float,
        checkpointing: bool,
    ) -> None:
        super().__init__()
        self.conv_in = nn.Conv2d(1, widths[0], 3, padding=1)
        levels = [
            Level(
                chain(before, width, count=blocks, dropout=dropout),
                checkpointing=checkpointing,
                downsample=Downsample(width) if i < len(widths) - 1 else None,
            )
            for i, (before, width) in enumerate(pairwise([widths[0], *widths]))
        ]
        self.down = nn.ModuleList(levels)
        self.mid = Middle(widths[-1], dropout=dropout)
        self.norm_out = GroupNorm(widths[-1], eps=EPS)
        self.conv_out = nn.Conv2d(widths[-1], 2 * latent_channels, 3, padding=1)

    def forward(self, mel: Tensor) -> Tensor:
        """Moments of `mel (B, 1, T, F)`."""
        x = self.conv_in(mel)
        for level in self.down:
            x = level(x)
        x = F.silu(in_own_precision(self.norm_out, self.mid(x)))
        return in_own_precision(self.conv_out, x)


class Decoder(nn.Module):
    """Latent `(B, latent_channels, t, f)` to log-mel `(B, 1, 8 t, 8 f)`.

    `up[0]` is the finest level and runs last, as in the release.
    """

    def __init__(
        self,
        widths: Sequence[int],
        *,
        blocks: int,
        latent_channels: int,
        dropout: float,
        checkpointing: bool,
    ) -> None:
        super().__init__()
        top = len(widths) - 1
        self.conv_in = nn.Conv2d(latent_channels, widths[top], 3, padding=1)
        self.mid = Middle(widths[top], dropout=dropout)
        levels = [
            Level(
                chain(before, width, count=blocks + 1, dropout=dropout),
                checkpointing=checkpointing,
                upsample=Upsample(width) if i > 0 else None,
            )
            for i, (before, width) in enumerate(zip([*widths[1:], widths[-1]], widths, strict=True))
        ]
        self.up = nn.ModuleList(levels)
        self.norm_out = GroupNorm(widths[0], eps=EPS)
        self.conv_out = nn.Conv2d(widths[0], 1, 3, padding=1)

    def forward(self, z: Tensor) -> Tensor:
        """Log-mel of `z (B, latent_channels, t, f)`."""
        x = self.mid(self.conv_in(z))
        for level in reversed(self.up):
            x = level(x)
        x = F.silu(in_own_precision(self.norm_out, x))
        return in_own_precision(self.conv_out, x)


class Autoencoder(ExactParts):
    """The released autoencoder of log-mels; the defaults are its widths, 223.5 M parameters.

    Moments and log-mel are computed in float32 under every precision.

    Args:
        channels: width of the finest level, a multiple of 32 (the group norms' groups).
        multipliers: width of each level over `channels`; each further level halves both axes.
        blocks: residual blocks per level of the encoder; the decoder has one more.
        latent_channels: channels of the latent.
        dropout: rate inside the residual blocks.
        checkpointing: recompute the residual blocks in the backward pass, to save memory.
    """

    exact = (
        "encoder.norm_out.",
        "encoder.conv_out.",
        "quant_conv.",
        "decoder.norm_out.",
        "decoder.conv_out.",
    )

    def __init__(
        self,
        *,
        channels: int = 128,
        multipliers: Sequence[int] = (1, 2, 4, 8),
        blocks: int = 2,
        latent_channels: int = 16,
        dropout: float = 0.1,
        checkpointing: bool = False,
    ) -> None:
        super().__init__()
        self.latent_channels = latent_channels
        self.downsample = 2 ** (len(multipliers) - 1)
        widths = [channels * multiplier for multiplier in multipliers]
        shape = {"blocks": blocks, "latent_channels": latent_channels}
        self.encoder = Encoder(widths, **shape, dropout=dropout, checkpointing=checkpointing)
        self.decoder = Decoder(widths, **shape, dropout=dropout, checkpointing=checkpointing)
        self.quant_conv = nn.Conv2d(2 * latent_channels, 2 * latent_channels, 1)
        self.post_quant_conv = nn.Conv2d(latent_channels, latent_channels, 1)

    @property
    def last_layer(self) -> Tensor:
        """Weight of the decoder's last convolution, `(1, channels, 3, 3)`."""
        return self.decoder.conv_out.weight

    def encode(self, mel: Tensor) -> DiagonalGaussian:
        """Posterior `(B, latent_channels, T // 8, F // 8)`, float32, of `mel (B, 1, T, F)`.

        Frames beyond a multiple of 8 reach into the last latent and have no latent of their own.
        """
        moments = self.encoder(mel.to(self.post_quant_conv.weight.dtype))
        mean, logvar = in_own_precision(self.quant_conv, moments).chunk(2, dim=1)
        return DiagonalGaussian(mean, logvar)

    def decode(self, z: Tensor) -> Tensor:
        """Log-mel `(B, 1, 8 t, 8 f)`, float32, of `z (B, latent_channels, t, f)`."""
        return self.decoder(self.post_quant_conv(z.to(self.post_quant_conv.weight.dtype)))
