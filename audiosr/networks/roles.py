"""What must a network be able to do to be the autoencoder, the denoiser or the vocoder?

A class need not derive from these: one whose methods fit plays the role.
"""

from collections.abc import Iterator, Mapping
from typing import Any, Protocol, runtime_checkable

from torch import Tensor, nn

from audiosr.diffusion.objective import Objective
from audiosr.networks.gaussian import DiagonalGaussian


class Network(Protocol):
    """What every network inherits from `nn.Module` and its users call."""

    def parameters(self) -> Iterator[nn.Parameter]:
        """What may be trained."""
        ...

    def state_dict(self) -> dict[str, Any]:
        """Parameters and buffers by name."""
        ...

    def load_state_dict(self, state_dict: Mapping[str, Any], /) -> object:
        """Take up parameters and buffers."""
        ...


@runtime_checkable
class AutoencoderRole(Network, Protocol):
    """Log-mel to latent and back."""

    @property
    def last_layer(self) -> Tensor:
        """Weight of the decoder's last layer, on which adversarial and plain loss are balanced."""
        ...

    def encode(self, mel: Tensor, /) -> DiagonalGaussian:
        """Posterior `(B, C, T/8, F/8)` of `mel (B, 1, T, F)`."""
        ...

    def decode(self, latent: Tensor, /) -> Tensor:
        """Log-mel `(B, 1, T, F)` of `latent (B, C, T/8, F/8)`."""
        ...


class DenoiserRole(Network, Protocol):
    """The diffusion model; what it predicts is the `Objective` that it was trained with."""

    def __call__(self, x: Tensor, timesteps: Tensor, condition: Tensor, /) -> Tensor:
        """Prediction `(B, C, t, f)` for noisy `x`, integer `timesteps (B,)` and `condition`."""
        ...


@runtime_checkable
class FollowsProcess(Protocol):
    """A denoiser that computes with the schedule and the objective, beside its network."""

    def follow(self, alphas_cumprod: Tensor, objective: Objective) -> None:
        """Take up the signal power at each timestep and the objective."""
        ...


class VocoderRole(Network, Protocol):
    """Log-mel to waveform."""

    def __call__(self, mel: Tensor, /) -> Tensor:
        """Waveform `(B, 1, hop * T)` of a log-mel `(B, 1, T, F)`."""
        ...
