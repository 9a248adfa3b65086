"""Where does sampling start: from noise alone, or from what the condition says?

A start is `start(noise, condition)`: the far end of the process, which takes the place of the
noise in training and sampling alike.
"""

from typing import Protocol

from torch import Tensor

from audiosr.errors import UsageError


class FarEnd(Protocol):
    """From standard normal noise `(B, C, t, f)` and the condition to the far end."""

    draws_afresh: bool
    """Whether a sampler may exchange the far end for another draw on its way (`eta` of DDIM)."""

    def __call__(self, noise: Tensor, condition: Tensor, /) -> Tensor:
        """The far end `(B, C, t, f)`."""
        ...


class FromNoise:
    """Standard normal noise, as in the AudioSR release."""

    draws_afresh = True

    def __call__(self, noise: Tensor, condition: Tensor) -> Tensor:
        """The noise `(B, C, t, f)`."""
        return noise


class FromCondition:
    """A bridge from the low-passed clip's latent to the clip's.

    The far end is `condition + sigma noise`, coupled with the latent that it is to become (Albergo
    et al., arXiv 2310.03725, section 3.1): what the condition knows need not be made from noise.

    Args:
        sigma: noise about the condition, in units of the scaled latent; without any the result is
            the one answer of least squares.
    """

    draws_afresh = False

    def __init__(self, sigma: float = 0.5) -> None:
        if not sigma >= 0:
            raise UsageError(f"start.sigma={sigma}: give 0 or more")
        self.sigma = sigma

    def __call__(self, noise: Tensor, condition: Tensor) -> Tensor:
        """The far end `(B, C, t, f)`; of the condition's channels the first C are the latent."""
        return condition[:, : noise.shape[1]].to(noise) + self.sigma * noise
