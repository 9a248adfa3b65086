"""How much does each noise level count in the denoiser's loss?

A weighting is `weighting(abar, objective)`: factors, shaped as `abar`, on the squared error of what
the objective has the network predict.
"""

import torch
from torch import Tensor

from audiosr.diffusion.objective import Objective


class EvenWeight:
    """One everywhere: the plain squared error of the prediction."""

    def __call__(self, abar: Tensor, objective: Objective) -> Tensor:
        """Ones."""
        return torch.ones_like(abar)


class MinSNRWeight:
    """`min(SNR, gamma)` on the squared error of x0 (Hang et al., arXiv 2303.09556, eq. 8).

    `SNR = abar / (1 - abar)`. For the other objectives it is their share of that error: for v
    `min(SNR, gamma) / (SNR + 1)`, which is 0 where no signal is left.

    Args:
        gamma: signal-to-noise ratio from which on the weight no longer grows.
    """

    def __init__(self, gamma: float = 5.0) -> None:
        self.gamma = gamma

    def __call__(self, abar: Tensor, objective: Objective) -> Tensor:
        """Factors shaped as `abar`."""
        snr = abar / (1 - abar)
        return snr.clamp(max=self.gamma) * objective.x0_error(abar)
