"""How does noise become a latent in a given number of steps?

A sampler is `sampler(denoise, x, timesteps, alphas_cumprod, *, generator, noise, callback)`:
`denoise(x, t)` predicts the velocity of `x (B, ...)` at the timesteps `t (B,)` int64, `timesteps`
are strictly descending indices into the table `alphas_cumprod`, the result has the shape of `x`.
Coefficients are computed in float64; an entry of 0 in the table (zero terminal SNR) is exact.
"""

import itertools
import math
from collections.abc import Callable
from functools import partial

import torch
from torch import Tensor

from audiosr.diffusion.objective import noise_from_v, x0_from_v

Denoise = Callable[[Tensor, Tensor], Tensor]
Noise = Callable[[Tensor], Tensor]
"""From `x` to standard normal noise of its shape."""

Callback = Callable[[int, int, Tensor, Tensor], None]
"""Called after each step with its index, its timestep, the new `x` and the predicted `x0`."""


def ddim(
    denoise: Denoise,
    x: Tensor,
    timesteps: Tensor,
    alphas_cumprod: Tensor,
    *,
    eta: float = 0.0,
    generator: torch.Generator | None = None,
    noise: Noise | None = None,
    last_alpha: float = 1.0,
    callback: Callback | None = None,
) -> Tensor:
    """DDIM (Song et al., arXiv 2010.02502, eq. 12 and 16).

    Args:
        denoise: velocity prediction, see the module.
        x: starting noise `(B, ...)`.
        timesteps: `(steps,)` descending.
        alphas_cumprod: `(total,)` signal power at each timestep.
        eta: 0 is deterministic, 1 has the variance of ancestral sampling.
        generator: source of the noise that `eta > 0` asks for.
        noise: takes the place of `generator`, for noise that is given or shared.
        last_alpha: signal power that the last step ends at. 1 returns the clean prediction; the
            AudioSR release ends at `alphas_cumprod[0]` and so leaves a little noise.
        callback: see `Callback`.
    """
    draw = noise or _drawn_from(generator)
    abars = _visited(timesteps, alphas_cumprod)
    for index, (t, abar) in enumerate(abars):
        abar_next = abars[index + 1][1] if index + 1 < len(abars) else float(last_alpha)
        v = _predicted(denoise, x, t)
        x0, direction = _split(x, v, abar)
        variance = eta**2 * (1 - abar_next) / (1 - abar) * (1 - abar / abar_next)
        x = math.sqrt(abar_next) * x0 + math.sqrt(max(1 - abar_next - variance, 0.0)) * direction
        if variance > 0:
            x = x + math.sqrt(variance) * draw(x)
        if callback is not None:
            callback(index, t, x, x0)
    return x


def dpm_solver_pp(
    denoise: Denoise,
    x: Tensor,
    timesteps: Tensor,
    alphas_cumprod: Tensor,
    *,
    order: int,
    generator: torch.Generator | None = None,
    noise: Noise | None = None,
    callback: Callback | None = None,
) -> Tensor:
    """DPM-Solver++ in data prediction (Lu et al., arXiv 2211.01095, algorithm 2, appendix B).

    Order 2 draws a line through the last two predictions over the log-SNR `lambda = ln(a / b)`,
    order 3 a parabola through three, where there are as many. The first step, the last step (which
    returns the clean prediction) and a step whose predecessor left from zero SNR are of first
    order: there `lambda` is infinite, and no line can be drawn. The step before the last is of
    second order. From noise without signal on, where the first steps are of low order anyway, a
    Gaussian is reached no better by three predictions than by two.

    Args:
        denoise: velocity prediction, see the module.
        x: starting noise `(B, ...)`.
        timesteps: `(steps,)` descending.
        alphas_cumprod: `(total,)` signal power at each timestep.
        order: 2 or 3.
        generator: part of the samplers' common signature; this one draws nothing.
        noise: likewise.
        callback: see `Callback`.
    """
    abars = _visited(timesteps, alphas_cumprod)
    known: list[tuple[Tensor, float]] = []
    """The last predictions, and the step in log-SNR that followed each."""
    for index, (t, abar) in enumerate(abars):
        x0, _ = _split(x, _predicted(denoise, x, t), abar)
        left = len(abars) - 1 - index
        if left == 0:
            x = x0
        else:
            abar_next = abars[index + 1][1]
            h = _log_snr(abar_next) - _log_snr(abar)
            fitting = [(old, step) for old, step in known if math.isfinite(step)]
            target = _extrapolated(x0, h, fitting[-(min(order, left + 1) - 1) :])
            kept = math.sqrt((1 - abar_next) / (1 - abar))
            x = kept * x - math.sqrt(abar_next) * math.expm1(-h) * target
            known = [*known[-1:], (x0, h)]
        if callback is not None:
            callback(index, t, x, x0)
    return x


dpm_solver_pp_2m = partial(dpm_solver_pp, order=2)
dpm_solver_pp_3m = partial(dpm_solver_pp, order=3)


def heun(
    denoise: Denoise,
    x: Tensor,
    timesteps: Tensor,
    alphas_cumprod: Tensor,
    *,
    generator: torch.Generator | None = None,
    noise: Noise | None = None,
    callback: Callback | None = None,
) -> Tensor:
    """Heun's method over the angle `phi = atan(b / a)`, along which `dx / dphi = v`.

    (Karras et al., arXiv 2206.00364, algorithm 1, in the angle of Salimans and Ho, arXiv
    2202.00512, appendix D, in which noise without signal is at a finite place.) Two predictions a
    step but for the last, which returns the clean prediction; otherwise as `dpm_solver_pp_2m`.
    """
    abars = _visited(timesteps, alphas_cumprod)
    v: Tensor | None = None
    for index, (t, abar) in enumerate(abars):
        v = _predicted(denoise, x, t) if v is None else v
        x0, _ = _split(x, v, abar)
        if index + 1 == len(abars):
            x = x0
        else:
            t_next, abar_next = abars[index + 1]
            turn = math.acos(math.sqrt(abar_next)) - math.acos(math.sqrt(abar))
            ahead = math.cos(turn) * x + math.sin(turn) * v
            x = x + 0.5 * turn * (v + _predicted(denoise, ahead, t_next))
            v = None
        if callback is not None:
            callback(index, t, x, x0)
    return x


def _extrapolated(x0: Tensor, h: float, known: list[tuple[Tensor, float]]) -> Tensor:
    """The clean latent that stands for a step `h`, from `x0` and up to two earlier predictions."""
    if not known or not math.isfinite(h):
        return x0
    r0 = known[-1][1] / h
    slope = (x0 - known[-1][0]) / r0
    if len(known) == 1:
        return x0 + 0.5 * slope
    r1 = known[0][1] / h
    before = (known[1][0] - known[0][0]) / r1
    bend = (slope - before) / (r0 + r1)
    slope = slope + r0 * bend
    whole = math.expm1(-h)  # what x0 itself is weighted with, negated
    return x0 - ((whole / h + 1) * slope - ((whole + h) / h**2 - 0.5) * bend) / whole


def _predicted(denoise: Denoise, x: Tensor, t: int) -> Tensor:
    """The velocity of `x` at timestep `t`, in the precision of `x`."""
    return denoise(x, x.new_full((x.shape[0],), t, dtype=torch.long)).to(x.dtype)


def _visited(timesteps: Tensor, alphas_cumprod: Tensor) -> list[tuple[int, float]]:
    """The timesteps with their signal power."""
    steps = timesteps.tolist()
    if not steps or any(a <= b for a, b in itertools.pairwise(steps)) or steps[-1] < 0:
        raise ValueError("timesteps must be strictly descending and not negative")
    table = alphas_cumprod.tolist()
    return [(t, table[t]) for t in steps]


def _split(x: Tensor, v: Tensor, abar: float) -> tuple[Tensor, Tensor]:
    """Predicted clean latent and predicted noise."""
    power = torch.tensor(abar, dtype=torch.float64)
    return x0_from_v(x, v, power), noise_from_v(x, v, power)


def _log_snr(abar: float) -> float:
    """`ln(sqrt(abar) / sqrt(1 - abar))`, minus infinity at 0."""
    return 0.5 * math.log(abar / (1 - abar)) if abar > 0 else -math.inf


def _drawn_from(generator: torch.Generator | None) -> Noise:
    """Standard normal noise from `generator`, on its own device and then on that of `x`."""

    def draw(x: Tensor) -> Tensor:
        device = generator.device if generator is not None else x.device
        return torch.randn(x.shape, generator=generator, device=device, dtype=x.dtype).to(x.device)

    return draw
