"""What does the denoiser learn to predict, and how do noise, velocity and clean latent convert?

With `a = sqrt(abar)` and `b = sqrt(1 - abar)`: `x_t = a x0 + b noise` and `v = a noise - b x0`
(Salimans and Ho, arXiv 2202.00512, appendix D). All conversions are exact at `abar = 0` and 1.
Tensors are `(B, ...)`; `abar` is `(B,)` or a scalar tensor in [0, 1].
"""

from torch import Tensor


def add_noise(x0: Tensor, noise: Tensor, abar: Tensor) -> Tensor:
    """The noisy latent `x_t = a x0 + b noise`."""
    a, b = _coefficients(abar, x0)
    return a * x0 + b * noise


def velocity(x0: Tensor, noise: Tensor, abar: Tensor) -> Tensor:
    """The training target `v = a noise - b x0`."""
    a, b = _coefficients(abar, x0)
    return a * noise - b * x0


def x0_from_v(x_t: Tensor, v: Tensor, abar: Tensor) -> Tensor:
    """The clean latent `x0 = a x_t - b v`."""
    a, b = _coefficients(abar, x_t)
    return a * x_t - b * v


def noise_from_v(x_t: Tensor, v: Tensor, abar: Tensor) -> Tensor:
    """The noise `a v + b x_t`."""
    a, b = _coefficients(abar, x_t)
    return a * v + b * x_t


def _coefficients(abar: Tensor, like: Tensor) -> tuple[Tensor, Tensor]:
    """`sqrt(abar)` and `sqrt(1 - abar)`, shaped to broadcast over `like`."""
    abar = abar.to(like.device)
    shape = (-1, *[1] * (like.ndim - 1)) if abar.ndim else ()
    abar = abar.reshape(shape)
    return abar.sqrt().to(like.dtype), (1 - abar).sqrt().to(like.dtype)
