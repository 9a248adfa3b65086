"""What does the condition alone say about the latent, and how does a denoiser start from there?

A ridge regression from the low-passed clip's latent to the full-band latent, in closed form. Around
any denoiser it leaves only what the regression misses to be learnt, which a small network does
several times sooner; seen from outside the result is an ordinary v-predicting denoiser.
"""

import torch
import torch.nn.functional as F
from einops import rearrange
from torch import Tensor, nn

from audiosr.diffusion.schedule import cosine_alphas_cumprod
from audiosr.networks.layers import ExactParts


class LinearPrior(ExactParts):
    """Affine map from `2 * context + 1` frames of the condition to a latent frame, `(B, C, t, f)`.

    Args:
        size: latent channels times latent bands, C * f.
        context: frames on each side that the regression sees (12.5 frames per second).
    """

    exact = ("weight", "bias")

    def __init__(self, size: int, context: int = 1) -> None:
        super().__init__()
        self.context = context
        self.register_buffer("weight", torch.zeros((2 * context + 1) * size, size))
        self.register_buffer("bias", torch.zeros(size))
        self.weight: Tensor
        self.bias: Tensor

    def forward(self, condition: Tensor) -> Tensor:
        """Predicted latent `(B, C, t, f)`, float32."""
        with torch.autocast(condition.device.type, enabled=False):
            frames = self._frames(condition.float()) @ self.weight + self.bias
        return rearrange(frames, "b t (c f) -> b c t f", c=condition.shape[1])

    @torch.no_grad()
    def fit(self, condition: Tensor, latent: Tensor, *, ridge: float = 1e-2) -> None:
        """Solve the ridge regression from `condition` to `latent`, both `(B, C, t, f)`.

        Args:
            condition: latents of the low-passed clips.
            latent: latents of the clips.
            ridge: penalty relative to the mean variance of the condition.
        """
        x = rearrange(self._frames(condition.float()), "b t d -> (b t) d")
        y = rearrange(latent.float(), "b c t f -> (b t) (c f)")
        x_mean, y_mean = x.mean(0), y.mean(0)
        x, y = x - x_mean, y - y_mean
        # Sums in float32 are exact enough under the ridge; the solution is not.
        gram, cross = (x.T @ x).double() / len(x), (x.T @ y).double() / len(x)
        gram += ridge * gram.diagonal().mean() * torch.eye(len(gram), device=x.device).double()
        weight = torch.linalg.solve(gram, cross).float()
        self.weight.copy_(weight)
        self.bias.copy_(y_mean - x_mean @ weight)

    def _frames(self, condition: Tensor) -> Tensor:
        frames = rearrange(condition, "b c t f -> b (c f) t")
        frames = F.pad(frames, (self.context, self.context), mode="replicate")
        return rearrange(frames.unfold(2, 2 * self.context + 1, 1), "b d t k -> b t (k d)")


class LinearPriorDenoiser(ExactParts):
    """A denoiser whose network sees and predicts the deviation from a `LinearPrior`.

    With x0 = mu + r the noisy latent less sqrt(abar) mu is the noisy r, and
    v = v_r - sqrt(1 - abar) mu (by v = sqrt(abar) e - sqrt(1 - abar) x0, Salimans and Ho, arXiv
    2202.00512).
    """

    exact = ("abar",)

    def __init__(self, network: nn.Module, prior: LinearPrior, *, timesteps: int = 1000) -> None:
        super().__init__()
        self.network = network
        self.prior = prior
        self.register_buffer("abar", cosine_alphas_cumprod(timesteps), persistent=False)
        self.abar: Tensor

    def fit(self, condition: Tensor, latent: Tensor) -> None:
        """Fit the prior on latents `(B, C, t, f)` of low-passed and full-band clips."""
        self.prior.fit(condition, latent)

    @torch.no_grad()
    def left_over(self, condition: Tensor, latent: Tensor) -> Tensor:
        """What the prior misses of the latents `(B, C, t, f)`: the network's own target."""
        return latent - self.prior(condition)

    def forward(self, x: Tensor, timesteps: Tensor, condition: Tensor) -> Tensor:
        """Predicted v `(B, C, t, f)` for noisy `x`, integer `timesteps (B,)` and `condition`."""
        mu = self.prior(condition)
        abar = rearrange(self.abar[timesteps], "b -> b 1 1 1")
        v = self.network(
            x - abar.sqrt() * mu, timesteps, torch.cat([condition, mu.to(condition)], 1)
        )
        return v - (1 - abar).sqrt() * mu
