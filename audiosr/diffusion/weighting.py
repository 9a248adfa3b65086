"""How much does each noise level count in the denoiser's loss?

A weighting is `weighting(abar, objective)`: factors, shaped as `abar`, on the squared error of what
the objective has the network predict.
"""

import torch
from torch import Tensor

from audiosr.diffusion.objective import Objective


def even_weight(abar: Tensor, objective: Objective) -> Tensor:
    """One everywhere: the plain squared error of the prediction."""
    del objective
    return torch.ones_like(abar)


def min_snr_weight(abar: Tensor, objective: Objective, *, gamma: float = 5.0) -> Tensor:
    """`min(SNR, gamma)` on the squared error of x0 (Hang et al., arXiv 2303.09556, eq. 8).

    `SNR = abar / (1 - abar)`. For the other objectives it is their share of that error: for v
    `min(SNR, gamma) / (SNR + 1)`, which is 0 where no signal is left.
    """
    snr = abar / (1 - abar)
    weight = snr.clamp(max=gamma) * objective.x0_error(abar)
    # At abar = 0 epsilon says nothing of x0, and 0 times infinity is none.
    return weight.nan_to_num(1.0)
