"""How does a denoiser of latents fit a processor, for the tiny and small sizes?

The latent's bands are folded into channels: one vector per frame of 80 ms, mixed along time by
depthwise convolutions (ConvNeXt blocks), so that every layer sees the whole spectrum and all work
is matrix products.
"""

import torch
import torch.nn.functional as F
from einops import rearrange
from torch import Tensor, nn

from audiosr.networks.layers import ExactParts, in_own_precision, timestep_embedding, zero_init


class ModulatedBlock(nn.Module):
    """ConvNeXt block over frames `(B, t, D)`, norm and residual modulated by the time embedding."""

    def __init__(self, channels: int, hidden: int, embedding: int) -> None:
        super().__init__()
        self.depthwise = nn.Conv1d(channels, channels, 7, padding=3, groups=channels)
        self.norm = nn.LayerNorm(channels, elementwise_affine=False)
        self.modulation = nn.Linear(embedding, 3 * channels)
        self.expand = nn.Linear(channels, hidden)
        self.contract = nn.Linear(hidden, channels)
        nn.init.zeros_(self.modulation.weight)
        nn.init.zeros_(self.modulation.bias)
        with torch.no_grad():  # the gate starts open
            self.modulation.bias[2 * channels :] = 0.3

    def forward(self, x: Tensor, embedding: Tensor) -> Tensor:
        """Map `(B, t, D)` to the same shape, given the time embedding `(B, E)`."""
        shift, scale, gate = rearrange(self.modulation(embedding), "b d -> b 1 d").chunk(3, dim=-1)
        y = rearrange(self.depthwise(rearrange(x, "b t d -> b d t")), "b d t -> b t d")
        y = self.norm(y) * (1 + scale) + shift
        return x + gate * self.contract(F.gelu(self.expand(y)))


class FrameDenoiser(ExactParts):
    """v-predicting denoiser `(x, timesteps, condition) -> v` over latents `(B, C, t, bands)`.

    The last layer computes in float32 under every precision.

    Args:
        latent_channels: C of x and of the output.
        condition_channels: channels of the condition.
        bands: latent bands.
        channels: width D of a frame.
        blocks: number of ConvNeXt blocks; each sees 3 frames (0.24 s) further to both sides.
        expansion: hidden width over D.
    """

    exact = ("norm_out.", "out.", "skip.")

    def __init__(
        self,
        *,
        latent_channels: int = 16,
        condition_channels: int = 16,
        bands: int = 32,
        channels: int = 384,
        blocks: int = 8,
        expansion: int = 3,
        dropout: float = 0.0,
    ) -> None:
        super().__init__()
        size = latent_channels * bands
        self.bands = bands
        self.embed_time = nn.Sequential(
            nn.Linear(128, channels), nn.SiLU(), nn.Linear(channels, channels), nn.SiLU()
        )
        self.embed_noisy = nn.Linear(size, channels)
        self.embed_condition = nn.Linear(condition_channels * bands, channels)
        self.blocks = nn.ModuleList(
            ModulatedBlock(channels, expansion * channels, channels) for _ in range(blocks)
        )
        self.dropout = nn.Dropout(dropout)
        self.norm_out = nn.LayerNorm(channels)
        self.out = zero_init(nn.Linear(channels, size))
        self.skip = zero_init(nn.Linear(channels, size))

    def forward(self, x: Tensor, timesteps: Tensor, condition: Tensor) -> Tensor:
        """Predicted v `(B, C, t, bands)`, float32, for noisy `x` at integer `timesteps (B,)`."""
        dtype = self.embed_noisy.weight.dtype
        embedding = self.embed_time(timestep_embedding(timesteps, 128).to(dtype))
        h = self.embed_noisy(rearrange(x, "b c t f -> b t (c f)").to(dtype))
        h = h + self.embed_condition(rearrange(condition, "b c t f -> b t (c f)").to(dtype))
        for block in self.blocks:
            h = block(h, embedding)
        v = in_own_precision(self.out, self.dropout(in_own_precision(self.norm_out, h)))
        # A frame is wider than the layers: what they cannot carry of x passes by, as much of each
        # element as the time says.
        gate = rearrange(in_own_precision(self.skip, embedding), "b d -> b 1 d")
        v = v + gate * rearrange(x, "b c t f -> b t (c f)")
        return rearrange(v, "b t (c f) -> b c t f", f=self.bands)
