"""What does an encoder say about a latent? A Gaussian with its own mean and variance per cell."""

from dataclasses import dataclass

import torch
from torch import Tensor


@dataclass(frozen=True, eq=False)
class DiagonalGaussian:
    """Posterior of a latent `(B, C, T, F)`: mean and log-variance of independent cells.

    `logvar` is clamped to [-30, 20] (AudioSR release, latent_encoder/autoencoder.py).
    """

    mean: Tensor
    logvar: Tensor

    def __post_init__(self) -> None:
        object.__setattr__(self, "logvar", self.logvar.clamp(-30.0, 20.0))

    @property
    def std(self) -> Tensor:
        """Standard deviation `(B, C, T, F)`."""
        return torch.exp(0.5 * self.logvar)

    def mode(self) -> Tensor:
        """The most likely latent `(B, C, T, F)`."""
        return self.mean

    def sample(self, generator: torch.Generator | None = None) -> Tensor:
        """A drawn latent `(B, C, T, F)`.

        The noise is drawn where `generator` lives and moved to the mean's device, so a generator
        on the processor gives the same latent on every device.
        """
        device = self.mean.device if generator is None else generator.device
        noise = torch.randn(self.mean.shape, generator=generator, device=device)
        return self.at(noise)

    def at(self, noise: Tensor) -> Tensor:
        """The latent that standard normal `noise (B, C, T, F)` draws."""
        return self.mean + self.std * noise.to(self.mean)

    def kl(self) -> Tensor:
        """Divergence from the standard normal in nats per cell, `(B, C, T, F)`.

        0.5 (mu^2 + var - 1 - ln var) (Kingma and Welling, arXiv 1312.6114, appendix B).
        """
        return 0.5 * (self.mean.square() + self.logvar.exp() - 1.0 - self.logvar)
