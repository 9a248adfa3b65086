"""How small can an autoencoder for log-mels be, for the tiny and small sizes?

A principal-component transform of 8 x 8 patches, fitted in closed form, with convolutional
residuals on the grid of patches that start at zero: training begins where linear compression ends.
"""

import torch
from einops import rearrange
from torch import Tensor, nn

from audiosr.networks.gaussian import DiagonalGaussian
from audiosr.networks.layers import ExactParts, in_own_precision, zero_init


class ResidualConvs(nn.Module):
    """Residual 3x3 convolutions over patches, `(B, in, t, f) -> (B, out, t, f)`, zero at first."""

    def __init__(self, in_channels: int, out_channels: int, *, width: int, blocks: int) -> None:
        super().__init__()
        self.conv_in = nn.Conv2d(in_channels, width, 3, padding=1)
        self.blocks = nn.ModuleList(
            nn.Sequential(
                nn.GroupNorm(8, width),
                nn.SiLU(),
                nn.Conv2d(width, width, 3, padding=1),
                nn.SiLU(),
                nn.Conv2d(width, width, 1),
            )
            for _ in range(blocks)
        )
        self.conv_out = zero_init(nn.Conv2d(width, out_channels, 3, padding=1))

    def forward(self, x: Tensor) -> Tensor:
        """Map `(B, in, t, f)` to `(B, out, t, f)`."""
        x = self.conv_in(x)
        for block in self.blocks:
            x = x + block(x)
        return self.conv_out(x)


class PatchAutoencoder(ExactParts):
    """Autoencoder of log-mels over 8 x 8 patches; latents `(B, latent_channels, T/8, F/8)`.

    `fit` must see some log-mels before training: it sets the linear transform. Components are
    half-whitened (divided by the square root of their standard deviation), so that the strong ones
    stay stronger in the latent and a diffusion model settles them first. The linear transform
    computes in float32 under every precision.
    """

    exact = ("analysis.", "synthesis.")

    def __init__(
        self,
        *,
        latent_channels: int = 16,
        patch: int = 8,
        width: int = 96,
        blocks: int = 4,
        initial_logvar: float = -6.0,
    ) -> None:
        super().__init__()
        self.latent_channels = latent_channels
        self.downsample = patch
        self.initial_logvar = initial_logvar
        size = patch * patch
        self.analysis = nn.Conv2d(size, latent_channels, 1)
        self.synthesis = nn.Conv2d(latent_channels, size, 1)
        self.encoder = ResidualConvs(size, 2 * latent_channels, width=width, blocks=blocks)
        self.decoder = ResidualConvs(latent_channels, size, width=width, blocks=blocks)

    @property
    def last_layer(self) -> Tensor:
        """Weight of the decoder's last layer."""
        return self.synthesis.weight

    @torch.no_grad()
    def fit(self, mel: Tensor) -> None:
        """Set the linear transform to the principal components of patches of `mel (B, 1, T, F)`."""
        patches = rearrange(self._patches(mel.double()), "b c t f -> (b t f) c")
        mean = patches.mean(0)
        centred = patches - mean
        variances, vectors = torch.linalg.eigh(centred.T @ centred / len(centred))
        keep = slice(-self.latent_channels, None)
        root = variances[keep].clamp_min(1e-8).pow(0.25)  # square root of the standard deviation
        analysis = vectors[:, keep].T / root[:, None]
        synthesis = vectors[:, keep] * root
        self.analysis.load_state_dict(
            {"weight": analysis[:, :, None, None], "bias": -analysis @ mean}
        )
        self.synthesis.load_state_dict({"weight": synthesis[:, :, None, None], "bias": mean})

    def encode(self, mel: Tensor) -> DiagonalGaussian:
        """Posterior of the latent of `mel (B, 1, T, F)`; T and F must be multiples of the patch."""
        patches = self._patches(mel)
        inner = patches.to(self.encoder.conv_in.weight.dtype)
        mean, logvar = self.encoder(inner).float().chunk(2, dim=1)
        mean = in_own_precision(self.analysis, patches) + mean
        return DiagonalGaussian(mean, logvar + self.initial_logvar)

    def decode(self, latent: Tensor) -> Tensor:
        """Log-mel `(B, 1, T, F)` of `latent (B, C, T/8, F/8)`, float32."""
        inner = latent.to(self.decoder.conv_in.weight.dtype)
        patches = in_own_precision(self.synthesis, latent) + self.decoder(inner).float()
        p = self.downsample
        return rearrange(patches, "b (p q) t f -> b 1 (t p) (f q)", p=p, q=p)

    def _patches(self, mel: Tensor) -> Tensor:
        p = self.downsample
        if mel.shape[-1] % p or mel.shape[-2] % p:
            raise ValueError(f"log-mel {tuple(mel.shape)} is not divisible into {p} x {p} patches")
        return rearrange(mel, "b 1 (t p) (f q) -> b (p q) t f", p=p, q=p)
