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
    *,
    rescale: float = 0.0,
    interval: tuple[float, float] = (0.0, float("inf")),
) -> Denoise:
    """Classifier-free guidance `v = v_null + scale (v_condition - v_null)` (arXiv 2207.12598).

    Both branches run as one batch. With `scale` 1 the null branch has no weight and is skipped.

    Args:
        denoiser: `(x (B, ...), t (B,), condition (B, ...)) -> v (B, ...)`.
        condition: what to follow, `(B, ...)`.
        null_condition: what "no condition" looks like; broadcast to the shape of `condition`.
        scale: 1 follows the condition, more exaggerates it, 0 ignores it.
        rescale: how far the guided prediction is brought back to the standard deviation of the
            conditional one, 0 to 1 (Lin et al., arXiv 2305.08891, equations 15 and 16).
        interval: timesteps, lowest and highest, between which guidance acts; beyond them the
            condition is followed, at half the cost (Kynkaanniemi et al., arXiv 2404.07724).
    """
    if scale == 1:
        return lambda x, t: denoiser(x, t, condition)
    both = torch.cat([condition, null_condition.to(condition).expand_as(condition)])

    def denoise(x: Tensor, t: Tensor) -> Tensor:
        if not interval[0] <= t[0].item() <= interval[1]:
            return denoiser(x, t, condition)
        v, v_null = denoiser(torch.cat([x, x]), torch.cat([t, t]), both).chunk(2)
        steered = v_null + scale * (v - v_null)
        if rescale == 0:
            return steered
        axes = tuple(range(1, v.ndim))
        ratio = v.std(axes, keepdim=True) / steered.std(axes, keepdim=True).clamp_min(1e-12)
        return steered * (1 - rescale + rescale * ratio)

    return denoise
