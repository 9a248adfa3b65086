"""What does the condition alone say about the latent, and how does a denoiser start from there?

A ridge regression from the low-passed clip's latent to the full-band latent, in closed form. Around
any denoiser it leaves only what the regression misses to be learnt, which a small network does
several times sooner; seen from outside the result is an ordinary v-predicting denoiser.
"""

from collections.abc import Sequence

import torch
import torch.nn.functional as F
from einops import rearrange
from torch import Tensor, nn

from audiosr.diffusion.objective import Objective, PredictVelocity, add_noise
from audiosr.diffusion.schedule import cosine_alphas_cumprod
from audiosr.networks.layers import ExactParts


class LinearPrior(ExactParts):
    """Affine map from `2 * context + 1` frames of the condition to a latent frame, `(B, C, t, f)`.

    With `knots` there is one map for each of some cutoffs, and between two of them a blend of
    theirs. The condition then says the cutoff: its channel after the latent's is -1 in bands above
    it and 1 in bands below (`Model.condition`).

    Args:
        size: latent channels times latent bands, C * f.
        context: frames on each side that the regression sees (12.5 frames per second).
        knots: rising cutoffs, as the number of latent bands below; none: one map for all.
    """

    exact = ("weight", "bias", "knots")

    def __init__(self, size: int, context: int = 1, knots: Sequence[float] = ()) -> None:
        super().__init__()
        self.size, self.context = size, context
        maps = max(1, len(knots))
        self.register_buffer("knots", torch.tensor(knots, dtype=torch.float32), persistent=False)
        self.register_buffer("weight", torch.zeros(maps, (2 * context + 1) * size, size))
        self.register_buffer("bias", torch.zeros(maps, size))
        self.knots: Tensor
        self.weight: Tensor
        self.bias: Tensor

    def forward(self, condition: Tensor) -> Tensor:
        """Predicted latent `(B, C, t, f)`, float32."""
        with torch.autocast(condition.device.type, enabled=False):
            condition = condition.float()
            shares = self._shares(condition)
            weight = torch.einsum("b m, m x y -> b x y", shares, self.weight)
            frames = torch.baddbmm((shares @ self.bias)[:, None], self._frames(condition), weight)
        return rearrange(frames, "b t (c f) -> b c t f", f=condition.shape[-1])

    @torch.no_grad()
    def fit(self, condition: Tensor, latent: Tensor, *, ridge: float = 1e-2) -> None:
        """Solve the ridge regressions from `condition` to `latent`, `(B, C, t, f)`.

        One for all clips, and at each knot one for what that misses of the clips in whose blend the
        knot has a part: the fewer they are, the nearer the knot's map stays to the common one.

        Args:
            condition: latents of the low-passed clips, and what is told of them.
            latent: latents of the clips.
            ridge: penalty relative to the mean variance of the condition.
        """
        frames, shares = self._frames(condition.float()), self._shares(condition.float())
        x = rearrange(frames, "b t d -> (b t) d")
        y = rearrange(latent.float(), "b c t f -> (b t) (c f)")
        penalty = ridge * float(x.var(0, correction=0).mean())
        common, offset = _regress(x, y, x.new_ones(len(x), 1), len(x), penalty)
        self.weight.copy_(common)
        self.bias.copy_(offset)
        if maps := len(self.knots):
            missed = y - x @ common - offset
            for share, weight, bias in zip(shares.T, self.weight, self.bias, strict=True):
                part = share.repeat_interleave(frames.shape[1])[:, None]
                used = part[:, 0] > 0
                more, shift = _regress(x[used], missed[used], part[used], len(x) / maps, penalty)
                weight += more
                bias += shift

    def _shares(self, condition: Tensor) -> Tensor:
        """What part each map has in the blend for each clip, `(B, maps)`."""
        if len(self.knots) < 2:
            return condition.new_ones(condition.shape[0], 1)
        told = condition[:, self.size // condition.shape[-1], 0]
        cutoff = ((told + 1) / 2).sum(1).clamp(self.knots[0], self.knots[-1])
        right = torch.searchsorted(self.knots, cutoff).clamp_min(1)
        left = right - 1
        part = (cutoff - self.knots[left]) / (self.knots[right] - self.knots[left])
        # By shape, not by len(): that is a number of its own to torch.export.
        shares = condition.new_zeros(condition.shape[0], len(self.knots))
        shares.scatter_(1, left[:, None], 1 - part[:, None])
        return shares.scatter_(1, right[:, None], part[:, None])

    def _frames(self, condition: Tensor) -> Tensor:
        """The latent channels of every frame and its neighbours, `(B, t, (2 context + 1) C f)`."""
        latent = condition[:, : self.size // condition.shape[-1]]
        frames = rearrange(latent, "b c t f -> b (c f) t")
        frames = F.pad(frames, (self.context, self.context), mode="replicate")
        return rearrange(frames.unfold(2, 2 * self.context + 1, 1), "b d t k -> b t (k d)")


def _regress(
    x: Tensor, y: Tensor, part: Tensor, count: float, penalty: float
) -> tuple[Tensor, Tensor]:
    """Weight and bias of the ridge regression from `x (N, D)` to `y (N, E)`, rows by `part (N, 1)`.

    The penalty is weighed against `count` rows.
    """
    total = part.sum().clamp_min(1e-12)
    x_mean, y_mean = (part * x).sum(0) / total, (part * y).sum(0) / total
    x, y = x - x_mean, y - y_mean
    # Sums in float32 are exact enough under the ridge; the solution is not.
    weighted = (part * x).T / count
    gram, cross = (weighted @ x).double(), (weighted @ y).double()
    gram += penalty * torch.eye(len(gram), device=x.device).double()
    weight = torch.linalg.solve(gram, cross).float()
    return weight, y_mean - x_mean @ weight


class LinearPriorDenoiser(ExactParts):
    """A denoiser whose network sees and predicts the deviation from a `LinearPrior`.

    With x0 = mu + r the noisy latent less sqrt(abar) mu is the noisy r, and the target is that of
    r and that of a clean mu: v = v_r - sqrt(1 - abar) mu (by v = sqrt(abar) e - sqrt(1 - abar) x0,
    Salimans and Ho, arXiv 2202.00512).
    """

    exact = ("abar",)

    def __init__(self, network: nn.Module, prior: LinearPrior, *, timesteps: int = 1000) -> None:
        super().__init__()
        self.network = network
        self.prior = prior
        self.register_buffer("abar", cosine_alphas_cumprod(timesteps), persistent=False)
        self.abar: Tensor
        self.objective: Objective = PredictVelocity()

    def follow(self, alphas_cumprod: Tensor, objective: Objective) -> None:
        """Take out the prior in the terms of this schedule `(timesteps,)` and objective."""
        self.abar = alphas_cumprod.to(self.abar.device)
        self.objective = objective

    def fit(self, condition: Tensor, latent: Tensor) -> None:
        """Fit the prior on latents `(B, C, t, f)` of low-passed and full-band clips."""
        self.prior.fit(condition, latent)

    @torch.no_grad()
    def left_over(self, condition: Tensor, latent: Tensor) -> Tensor:
        """What the prior misses of the latents `(B, C, t, f)`: the network's own target."""
        return latent - self.prior(condition)

    def forward(self, x: Tensor, timesteps: Tensor, condition: Tensor) -> Tensor:
        """Prediction `(B, C, t, f)` for noisy `x`, integer `timesteps (B,)` and `condition`."""
        mu = self.prior(condition)
        abar, none = self.abar[timesteps], torch.zeros_like(mu)
        known = self.objective.shown(add_noise(mu, none, abar), abar)
        predicted = self.network(x - known, timesteps, torch.cat([condition, mu.to(condition)], 1))
        return predicted + self.objective.target(mu, none, abar)
