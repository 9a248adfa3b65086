"""How does the released model tell the full-band latent from noise, given the low-passed one?

A U-Net with self-attention, with the topology and the tensor names of the AudioSR release
(diffusionmodules/openaimodel.py and attention.py, under `model.diffusion_model.`).
"""

from collections.abc import Sequence

import torch
import torch.nn.functional as F
from einops import rearrange
from torch import Tensor, nn

from audiosr.networks.layers import (
    ExactParts,
    GroupNorm,
    Upsample,
    in_own_precision,
    run_checkpointed,
    timestep_embedding,
    zero_init,
)


class ResBlock(nn.Module):
    """Residual block `(B, in, t, f) -> (B, out, t, f)` that the time embedding shifts.

    A new one is its skip alone.
    """

    def __init__(
        self, in_channels: int, out_channels: int, *, embedding: int, dropout: float
    ) -> None:
        super().__init__()
        self.in_layers = nn.Sequential(
            GroupNorm(in_channels, eps=1e-5),
            nn.SiLU(),
            nn.Conv2d(in_channels, out_channels, 3, padding=1),
        )
        self.emb_layers = nn.Sequential(nn.SiLU(), nn.Linear(embedding, out_channels))
        self.out_layers = nn.Sequential(
            GroupNorm(out_channels, eps=1e-5),
            nn.SiLU(),
            nn.Dropout(dropout),
            zero_init(nn.Conv2d(out_channels, out_channels, 3, padding=1)),
        )
        if in_channels != out_channels:
            self.skip_connection = nn.Conv2d(in_channels, out_channels, 1)
        else:
            self.skip_connection = nn.Identity()

    def forward(self, x: Tensor, embedding: Tensor) -> Tensor:
        """Map `(B, in, t, f)` to `(B, out, t, f)`, given the time embedding `(B, E)`."""
        h = self.in_layers(x) + rearrange(self.emb_layers(embedding), "b c -> b c 1 1")
        return self.skip_connection(x) + self.out_layers(h)


class SelfAttention(nn.Module):
    """Multi-head self-attention over tokens `(B, N, C)`."""

    def __init__(self, channels: int, *, head_channels: int) -> None:
        super().__init__()
        self.heads = channels // head_channels
        self.to_q = nn.Linear(channels, channels, bias=False)
        self.to_k = nn.Linear(channels, channels, bias=False)
        self.to_v = nn.Linear(channels, channels, bias=False)
        self.to_out = nn.Sequential(nn.Linear(channels, channels))

    def forward(self, x: Tensor) -> Tensor:
        """Map `(B, N, C)` to the same shape."""
        q, k, v = (
            rearrange(layer(x), "b n (h d) -> b h n d", h=self.heads)
            for layer in (self.to_q, self.to_k, self.to_v)
        )
        h = F.scaled_dot_product_attention(q, k, v)
        return self.to_out(rearrange(h, "b h n d -> b n (h d)"))


class GEGLU(nn.Module):
    """Linear layer gated by the GELU of another (Shazeer, arXiv 2002.05202)."""

    def __init__(self, in_channels: int, out_channels: int) -> None:
        super().__init__()
        self.proj = nn.Linear(in_channels, 2 * out_channels)

    def forward(self, x: Tensor) -> Tensor:
        """Map `(B, N, in)` to `(B, N, out)`."""
        value, gate = self.proj(x).chunk(2, dim=-1)
        return value * F.gelu(gate)


class FeedForward(nn.Module):
    """Gated feed-forward layer of fourfold width over tokens `(B, N, C)`."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        # the release has a dropout of rate 0 between the two
        self.net = nn.Sequential(
            GEGLU(channels, 4 * channels), nn.Identity(), nn.Linear(4 * channels, channels)
        )

    def forward(self, x: Tensor) -> Tensor:
        """Map `(B, N, C)` to the same shape."""
        return self.net(x)


class TransformerBlock(nn.Module):
    """Two self-attentions and a feed-forward layer over tokens `(B, N, C)`, residual, norm first.

    The second attention is the place of cross-attention to a text, which AudioSR does not have.
    """

    def __init__(self, channels: int, *, head_channels: int) -> None:
        super().__init__()
        self.attn1 = SelfAttention(channels, head_channels=head_channels)
        self.ff = FeedForward(channels)
        self.attn2 = SelfAttention(channels, head_channels=head_channels)
        self.norm1 = nn.LayerNorm(channels)
        self.norm2 = nn.LayerNorm(channels)
        self.norm3 = nn.LayerNorm(channels)

    def forward(self, x: Tensor) -> Tensor:
        """Map `(B, N, C)` to the same shape."""
        x = x + self.attn1(self.norm1(x))
        x = x + self.attn2(self.norm2(x))
        return x + self.ff(self.norm3(x))


class SpatialTransformer(nn.Module):
    """A transformer block over all cells of `(B, C, t, f)`, residual, at first the identity."""

    def __init__(self, channels: int, *, head_channels: int, checkpointing: bool) -> None:
        super().__init__()
        self.checkpointing = checkpointing
        self.norm = GroupNorm(channels, eps=1e-6)
        self.proj_in = nn.Conv2d(channels, channels, 1)
        self.transformer_blocks = nn.ModuleList(
            [TransformerBlock(channels, head_channels=head_channels)]
        )
        self.proj_out = zero_init(nn.Conv2d(channels, channels, 1))

    def forward(self, x: Tensor) -> Tensor:
        """Map `(B, C, t, f)` to the same shape."""
        tokens = rearrange(self.proj_in(self.norm(x)), "b c t f -> b (t f) c")
        for block in self.transformer_blocks:
            tokens = run_checkpointed(block, tokens) if self.checkpointing else block(tokens)
        return x + self.proj_out(rearrange(tokens, "b (t f) c -> b c t f", t=x.shape[2]))


class StridedDownsample(nn.Module):
    """Halve both axes of `(B, C, t, f)`."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.op = nn.Conv2d(channels, channels, 3, stride=2, padding=1)

    def forward(self, x: Tensor) -> Tensor:
        """Map `(B, C, t, f)` to `(B, C, t/2, f/2)`."""
        return self.op(x)


class Block(nn.ModuleList):
    """Layers of one step of the U-Net; residual blocks among them hear the time embedding."""

    def __init__(self, *layers: nn.Module) -> None:
        super().__init__(layers)

    def forward(self, x: Tensor, embedding: Tensor) -> Tensor:
        """Run the layers on `(B, C, t, f)`, given the time embedding `(B, E)`."""
        for layer in self:
            x = layer(x, embedding) if isinstance(layer, ResBlock) else layer(x)
        return x


class UNet(ExactParts):
    """The released v-predicting denoiser; the defaults are its widths, 258.2 M parameters.

    A new one predicts exactly 0: the last layer of every residual block and transformer, and the
    last of all, start at zero. The last layer computes in float32 under every precision.

    Args:
        latent_channels: channels of the noisy latent and of the output.
        condition_channels: channels of the condition, concatenated after the noisy latent.
        channels: width of the finest level, a multiple of 32 (the group norms' groups). At a width
            of 32 a group is one channel, whose norm takes out what the time embedding put in: only
            wider levels know the time.
        multipliers: width of each level over `channels`; each further level halves both axes.
        blocks: residual blocks per level on the way down; one more on the way up.
        attention_rates: downsampling rates at which two transformers follow each residual block.
        head_channels: width of an attention head.
        dropout: rate inside the residual blocks.
        checkpointing: recompute the transformer blocks in the backward pass, to save memory.
    """

    exact = ("out.",)

    def __init__(
        self,
        *,
        latent_channels: int = 16,
        condition_channels: int = 16,
        channels: int = 128,
        multipliers: Sequence[int] = (1, 2, 3, 5),
        blocks: int = 2,
        attention_rates: Sequence[int] = (2, 4, 8),
        head_channels: int = 32,
        dropout: float = 0.0,
        checkpointing: bool = False,
    ) -> None:
        super().__init__()
        self.channels = channels
        self.downsample = 2 ** (len(multipliers) - 1)
        widths = [channels * multiplier for multiplier in multipliers]
        embedding = 4 * channels

        def residual(in_channels: int, out_channels: int) -> ResBlock:
            return ResBlock(in_channels, out_channels, embedding=embedding, dropout=dropout)

        def transformers(width: int) -> list[nn.Module]:
            return [
                SpatialTransformer(width, head_channels=head_channels, checkpointing=checkpointing)
                for _ in range(2)
            ]

        def site(in_channels: int, level: int) -> list[nn.Module]:
            attends = 2**level in attention_rates
            block = residual(in_channels, widths[level])
            return [block, *(transformers(widths[level]) if attends else [])]

        self.time_embed = nn.Sequential(
            nn.Linear(channels, embedding), nn.SiLU(), nn.Linear(embedding, embedding)
        )
        inputs = [Block(nn.Conv2d(latent_channels + condition_channels, channels, 3, padding=1))]
        saved = [channels]  # width of each step on the way down, which its mate on the way up sees
        for level, width in enumerate(widths):
            if level > 0:
                inputs.append(Block(StridedDownsample(saved[-1])))
                saved.append(saved[-1])
            for _ in range(blocks):
                inputs.append(Block(*site(saved[-1], level)))
                saved.append(width)
        self.input_blocks = nn.ModuleList(inputs)
        width = widths[-1]
        self.middle_block = Block(
            residual(width, width), *transformers(width), residual(width, width)
        )
        outputs = []
        for level in reversed(range(len(widths))):
            for i in range(blocks + 1):
                layers = site(width + saved.pop(), level)
                width = widths[level]
                if level > 0 and i == blocks:
                    layers.append(Upsample(width))
                outputs.append(Block(*layers))
        self.output_blocks = nn.ModuleList(outputs)
        self.out = nn.Sequential(
            GroupNorm(width, eps=1e-5),
            nn.SiLU(),
            zero_init(nn.Conv2d(width, latent_channels, 3, padding=1)),
        )

    def forward(self, x: Tensor, timesteps: Tensor, condition: Tensor) -> Tensor:
        """Predict v `(B, latent_channels, t, f)`, float32.

        Args:
            x: noisy scaled latent `(B, latent_channels, t, f)`.
            timesteps: `(B,)`, 0 (clean) to 999 (noise).
            condition: scaled latent `(B, condition_channels, t, f)` of the low-passed clip, or
                the null condition.

        Raises:
            ValueError: t or f does not survive the halvings.
        """
        steps, bands = x.shape[2:]
        if steps % self.downsample or bands % self.downsample:
            raise ValueError(
                f"a latent of {steps} steps and {bands} bands does not fit this U-Net: both must "
                f"be multiples of {self.downsample}; at 8 mel frames per step the mel must have a "
                f"multiple of {8 * self.downsample} frames, and this one has {8 * steps}"
            )
        dtype = next(self.time_embed.parameters()).dtype
        embedding = self.time_embed(timestep_embedding(timesteps, self.channels).to(dtype))
        h = torch.cat([x, condition], dim=1).to(dtype)
        skips = []
        for block in self.input_blocks:
            h = block(h, embedding)
            skips.append(h)
        h = self.middle_block(h, embedding)
        for block in self.output_blocks:
            h = block(torch.cat([h, skips.pop()], dim=1), embedding)
        return in_own_precision(self.out, h)
