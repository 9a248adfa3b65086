"""How strongly does the condition steer the denoiser?"""

from collections.abc import Callable

import torch
from torch import Tensor

from audiosr.diffusion.samplers import Denoise


def guided(
    denoiser: Callable[[Tensor, Tensor, Tensor], Tensor],
    condition: Tensor,
    null_condition: Tensor,
    scale: float,
) -> Denoise:
    """Classifier-free guidance `v = v_null + scale (v_condition - v_null)` (arXiv 2207.12598).

    Both branches run as one batch. With `scale` 1 the null branch has no weight and is skipped.

    Args:
        denoiser: `(x (B, ...), t (B,), condition (B, ...)) -> v (B, ...)`.
        condition: what to follow, `(B, ...)`.
        null_condition: what "no condition" looks like; broadcast to the shape of `condition`.
        scale: 1 follows the condition, more exaggerates it, 0 ignores it.
    """
    if scale == 1:
        return lambda x, t: denoiser(x, t, condition)
    both = torch.cat([condition, null_condition.to(condition).expand_as(condition)])

    def denoise(x: Tensor, t: Tensor) -> Tensor:
        v, v_null = denoiser(torch.cat([x, x]), torch.cat([t, t]), both).chunk(2)
        return v_null + scale * (v - v_null)

    return denoise
