"""How does a transformer denoise latents? Every token sees all others, over any length.

The diffusion transformer of Peebles and Xie (arXiv 2212.09748) over patches of a latent frame, with
rotary positions (Su et al., arXiv 2104.09864) along time and along the bands.
"""

import torch
import torch.nn.functional as F
from einops import rearrange
from torch import Tensor, nn

from audiosr.networks.layers import ExactParts, in_own_precision, timestep_embedding, zero_init


def rotary_angles(steps: int, bands: int, size: int, device: torch.device) -> Tensor:
    """Angles `(steps * bands, size)` of pairs: half of them turn along time, half along bands.

    Frequencies fall geometrically from 1 towards 1e-4 in either half (arXiv 2104.09864, 3.2.2).
    """
    half = size // 2
    frequency = 10000.0 ** (-torch.arange(half, device=device, dtype=torch.float32) / half)
    time = torch.arange(steps, device=device)[:, None, None] * frequency
    band = torch.arange(bands, device=device)[None, :, None] * frequency
    both = [time.expand(-1, bands, -1), band.expand(steps, -1, -1)]
    return rearrange(torch.cat(both, -1), "t n d -> (t n) d")


def rotate_pairs(x: Tensor, angles: Tensor) -> Tensor:
    """Turn the pairs `(x[i], x[i + d])` of `x (B, heads, N, 2 d)` by `angles (N, d)`."""
    first, second = x.float().chunk(2, -1)
    cos, sin = angles.cos(), angles.sin()
    turned = torch.cat([first * cos - second * sin, first * sin + second * cos], -1)
    return turned.to(x.dtype)


class DiTBlock(nn.Module):
    """Attention and a perceptron over tokens `(B, N, D)`, each modulated by the time (adaLN-Zero).

    A new one is the identity.
    """

    def __init__(self, channels: int, heads: int, expansion: int) -> None:
        super().__init__()
        self.heads = heads
        self.norm_attention = nn.LayerNorm(channels, elementwise_affine=False)
        self.qkv = nn.Linear(channels, 3 * channels)
        self.project = nn.Linear(channels, channels)
        self.norm_expand = nn.LayerNorm(channels, elementwise_affine=False)
        self.expand = nn.Linear(channels, expansion * channels)
        self.contract = nn.Linear(expansion * channels, channels)
        self.modulation = zero_init(nn.Linear(channels, 6 * channels))

    def forward(self, x: Tensor, embedding: Tensor, angles: Tensor) -> Tensor:
        """Map `(B, N, D)` to the same shape, given the time `(B, D)` and positions `(N, d)`."""
        modulation = rearrange(self.modulation(embedding), "b d -> b 1 d")
        shift, scale, gate, shift_2, scale_2, gate_2 = modulation.chunk(6, dim=-1)
        y = self.qkv(self.norm_attention(x) * (1 + scale) + shift)
        q, k, v = rearrange(y, "b n (three h d) -> three b h n d", three=3, h=self.heads)
        seen = F.scaled_dot_product_attention(rotate_pairs(q, angles), rotate_pairs(k, angles), v)
        x = x + gate * self.project(rearrange(seen, "b h n d -> b n (h d)"))
        y = self.norm_expand(x) * (1 + scale_2) + shift_2
        return x + gate_2 * self.contract(F.gelu(self.expand(y)))


class DiT(ExactParts):
    """Transformer denoiser `(x, timesteps, condition) -> prediction` of latents `(B, C, t, bands)`.

    A new one predicts exactly 0. The last layer computes in float32 under every precision.

    Args:
        latent_channels: C of x and of the output.
        condition_channels: channels of the condition, concatenated after x.
        bands: latent bands.
        patch: bands to a token, a divisor of `bands`; every frame has tokens of its own.
        channels: width D of a token.
        blocks: number of transformer blocks.
        heads: attention heads; D over heads is a multiple of 4.
        expansion: hidden width over D.
    """

    exact = ("norm_out.", "out.")

    def __init__(
        self,
        *,
        latent_channels: int = 16,
        condition_channels: int = 16,
        bands: int = 32,
        patch: int = 8,
        channels: int = 384,
        blocks: int = 8,
        heads: int = 6,
        expansion: int = 4,
    ) -> None:
        super().__init__()
        if bands % patch or channels % (4 * heads):
            raise ValueError(
                f"bands={bands} in patches of {patch}, {channels} channels in {heads} heads: "
                "patches must divide the bands, and a head be a multiple of 4 channels wide"
            )
        self.patch, self.tokens, self.pairs = patch, bands // patch, channels // heads // 2
        self.embed_time = nn.Sequential(
            nn.Linear(256, channels), nn.SiLU(), nn.Linear(channels, channels), nn.SiLU()
        )
        self.embed = nn.Linear((latent_channels + condition_channels) * patch, channels)
        self.blocks = nn.ModuleList(DiTBlock(channels, heads, expansion) for _ in range(blocks))
        self.norm_out = nn.LayerNorm(channels, elementwise_affine=False)
        self.modulation_out = zero_init(nn.Linear(channels, 2 * channels))
        self.out = zero_init(nn.Linear(channels, latent_channels * patch))

    def forward(self, x: Tensor, timesteps: Tensor, condition: Tensor) -> Tensor:
        """Prediction `(B, C, t, bands)`, float32, for noisy `x` at integer `timesteps (B,)`."""
        dtype = self.embed.weight.dtype
        embedding = self.embed_time(timestep_embedding(timesteps, 256).to(dtype))
        both = torch.cat([x, condition.to(x)], 1).to(dtype)
        h = self.embed(rearrange(both, "b c t (n p) -> b (t n) (c p)", n=self.tokens))
        angles = rotary_angles(x.shape[2], self.tokens, self.pairs, x.device)
        for block in self.blocks:
            h = block(h, embedding, angles)
        shift, scale = rearrange(self.modulation_out(embedding), "b d -> b 1 d").chunk(2, dim=-1)
        with torch.autocast(x.device.type, enabled=False):
            h = self.norm_out(h.float()) * (1 + scale.float()) + shift.float()
        y = in_own_precision(self.out, h)
        return rearrange(y, "b (t n) (c p) -> b c t (n p)", n=self.tokens, p=self.patch)
