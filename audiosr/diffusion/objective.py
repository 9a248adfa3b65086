"""What does the denoiser learn to predict, and how do noise, velocity and clean latent convert?

With `a = sqrt(abar)` and `b = sqrt(1 - abar)`: `x_t = a x0 + b noise` and `v = a noise - b x0`
(Salimans and Ho, arXiv 2202.00512, appendix D). All conversions are exact at `abar = 0` and 1.
Tensors are `(B, ...)`; `abar` is `(B,)` or a scalar tensor in [0, 1].

Samplers know v alone. An `Objective` says what the network predicts instead and turns that into v,
so that every sampler and guidance work with every objective.
"""

from typing import Protocol

from torch import Tensor


class Objective(Protocol):
    """What a denoiser is shown and predicts, in the terms of `x_t = a x0 + b noise`.

    `target` is linear in `(x0, noise)` and `shown` in `x_t`: a prior can be taken out of both.
    """

    needs_signal: bool = False
    """Whether a prediction says nothing of x0 where no signal is left, at abar = 0."""

    def shown(self, x_t: Tensor, abar: Tensor) -> Tensor:
        """What the network gets of `x_t (B, ...)`: it as it is, where nothing else is said."""
        return x_t

    def target(self, x0: Tensor, noise: Tensor, abar: Tensor) -> Tensor:
        """What it is to predict, `(B, ...)`."""
        ...

    def velocity(self, prediction: Tensor, x_t: Tensor, abar: Tensor) -> Tensor:
        """The v that a prediction means at `x_t`, `(B, ...)`."""
        ...

    def x0_error(self, abar: Tensor) -> Tensor:
        """The squared error of x0 for one of 1 of the prediction, shaped as `abar`."""
        ...


class PredictVelocity(Objective):
    """v itself: the AudioSR release (Salimans and Ho, arXiv 2202.00512)."""

    def target(self, x0: Tensor, noise: Tensor, abar: Tensor) -> Tensor:
        """`v = a noise - b x0`."""
        return velocity(x0, noise, abar)

    def velocity(self, prediction: Tensor, x_t: Tensor, abar: Tensor) -> Tensor:
        """The prediction."""
        return prediction

    def x0_error(self, abar: Tensor) -> Tensor:
        """`1 - abar`, by `x0 = a x_t - b v`."""
        return 1 - abar


class PredictNoise(Objective):
    """The noise, epsilon (Ho et al., arXiv 2006.11239)."""

    needs_signal = True

    def target(self, x0: Tensor, noise: Tensor, abar: Tensor) -> Tensor:
        """The noise."""
        return noise

    def velocity(self, prediction: Tensor, x_t: Tensor, abar: Tensor) -> Tensor:
        """`v = (noise - b x_t) / a`."""
        a, b = _coefficients(abar, x_t)
        return (prediction - b * x_t) / a

    def x0_error(self, abar: Tensor) -> Tensor:
        """`(1 - abar) / abar`, by `x0 = (x_t - b noise) / a`."""
        return (1 - abar) / abar


class PredictClean(Objective):
    """The clean latent, x0 (Ramesh et al., arXiv 2204.06125, predict it likewise)."""

    def target(self, x0: Tensor, noise: Tensor, abar: Tensor) -> Tensor:
        """The clean latent."""
        return x0

    def velocity(self, prediction: Tensor, x_t: Tensor, abar: Tensor) -> Tensor:
        """`v = (a x_t - x0) / b`."""
        a, b = _coefficients(abar, x_t)
        return (a * x_t - prediction) / b

    def x0_error(self, abar: Tensor) -> Tensor:
        """One."""
        return abar.new_ones(abar.shape)


class PredictFlow(Objective):
    """Rectified flow: `u = noise - x0` on the straight line between them (arXiv 2209.03003).

    On the line `z = (1 - s) x0 + s noise` with `s = b / (a + b)`, which is `x_t / (a + b)`, so that
    DDIM takes the Euler steps of the flow. With the schedule `rectified` s is even in time.
    """

    def shown(self, x_t: Tensor, abar: Tensor) -> Tensor:
        """The point on the line, `z = x_t / (a + b)`."""
        a, b = _coefficients(abar, x_t)
        return x_t / (a + b)

    def target(self, x0: Tensor, noise: Tensor, abar: Tensor) -> Tensor:
        """`u = noise - x0`, along the line."""
        return noise - x0

    def velocity(self, prediction: Tensor, x_t: Tensor, abar: Tensor) -> Tensor:
        """`v = ((a - b) x_t + u) / (a + b)`."""
        a, b = _coefficients(abar, x_t)
        return ((a - b) * x_t + prediction) / (a + b)

    def x0_error(self, abar: Tensor) -> Tensor:
        """`b^2 / (a + b)^2`, by `x0 = (x_t - b u) / (a + b)`."""
        a, b = abar.sqrt(), (1 - abar).sqrt()
        return (b / (a + b)).square()


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
