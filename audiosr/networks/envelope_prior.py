"""What do the bands below the cutoff say of those above? Their envelope, by ridge regression.

One covariance of the log bands of neighbouring frames holds the regression of every cutoff. It is
fitted in closed form and has few numbers, so that it holds on recordings unlike those it was fitted
on, where a network of the same task did not (docs/decisions/envelope-prior.md).
"""

from typing import Any

import torch
import torch.nn.functional as F
from einops import rearrange
from torch import Tensor

from audiosr.errors import UsageError
from audiosr.networks.layers import ExactParts

_RIDGE = 1e-3
"""Added to the diagonal, in units of its mean."""


def regression(
    mean: Tensor, covariance: Tensor, inputs: Tensor, outputs: Tensor
) -> tuple[Tensor, Tensor]:
    """Ridge regression of some variables on others, by their joint mean and covariance.

    Args:
        mean: `(N,)`.
        covariance: `(N, N)`.
        inputs: indices `(I,)`.
        outputs: indices `(O,)`.

    Returns:
        Weights `(I, O)` and offsets `(O,)` in float64.
    """
    mean, covariance = mean.double(), covariance.double()
    within = covariance[inputs][:, inputs]
    within = within + _RIDGE * within.diagonal().mean() * torch.eye(len(inputs)).to(within)
    weights = torch.linalg.solve(within, covariance[inputs][:, outputs])
    return weights, mean[outputs] - mean[inputs] @ weights


class EnvelopePrior(ExactParts):
    """Completes the log-mel of a low-passed clip by the envelope that its low bands let expect.

    Args:
        mel_bands: of the log-mel.
        bands: groups of neighbouring mel bands, whose means are regressed.
        side: frames of 10 ms on each side that the regression sees.
    """

    exact = ("mean", "covariance")

    def __init__(self, mel_bands: int = 256, bands: int = 64, side: int = 2) -> None:
        super().__init__()
        if mel_bands % bands:
            raise UsageError(f"bands={bands} does not divide {mel_bands} mel bands")
        self.bands, self.side, self.group = bands, side, mel_bands // bands
        width = (2 * side + 1) * bands
        self.register_buffer("mean", torch.zeros(width))
        self.register_buffer("covariance", torch.eye(width))
        self.mean: Tensor
        self.covariance: Tensor

    @property
    def architecture(self) -> dict[str, Any]:
        """Its class and arguments, for a model folder."""
        return {
            "_target_": f"{type(self).__module__}.{type(self).__name__}",
            "mel_bands": self.bands * self.group,
            "bands": self.bands,
            "side": self.side,
        }

    def grouped(self, mel: Tensor) -> Tensor:
        """Means of groups of bands `(B, T, bands)` of log-mels `(B, 1, T, F)`."""
        return rearrange(mel.float(), "b 1 t (f k) -> b t f k", k=self.group).mean(-1)

    @torch.no_grad()
    def fit(self, grouped: Tensor) -> None:
        """Take the mean and the covariance over all frames of full-band clips.

        Args:
            grouped: of their log-mels, `(B, T, bands)`.
        """
        total = self.mean.new_zeros(self.mean.shape, dtype=torch.float64)
        square = self.covariance.new_zeros(self.covariance.shape, dtype=torch.float64)
        for clip in grouped:
            frames = self._frames(clip[None])[0]
            total += frames.double().sum(0)
            square += (frames.T @ frames).double()
        count = grouped.shape[0] * grouped.shape[1]
        self.mean.copy_(total / count)
        self.covariance.copy_(square / count - torch.outer(total, total) / count**2)

    @torch.no_grad()
    def forward(self, mel: Tensor, known: Tensor) -> Tensor:
        """Log-mels `(B, 1, T, F)` with what is expected from band `known (B,)` of each up."""
        with torch.autocast(mel.device.type, enabled=False):
            frames = self._frames(self.grouped(mel)).double()
            rows = [
                torch.cat([row[:, :first], self._expected(seen, first)[:, first:].to(row)], 1)
                for row, seen, first in zip(mel[:, 0].float(), frames, known.tolist(), strict=True)
            ]
        return torch.stack(rows)[:, None]

    def _expected(self, frames: Tensor, known: int) -> Tensor:
        """The envelope `(T, F)`, right above the groups that lie below mel band `known`."""
        low = min(max(known // self.group, 1), self.bands - 1)
        inputs = torch.arange(low).repeat(2 * self.side + 1)
        inputs += self.bands * torch.arange(2 * self.side + 1).repeat_interleave(low)
        outputs = torch.arange(low, self.bands) + self.bands * self.side
        weights, offset = regression(self.mean, self.covariance, inputs, outputs)
        above = frames[:, inputs] @ weights + offset
        # Straight lines between the middles of the groups.
        band = torch.arange(self.bands * self.group, device=above.device)
        place = (band - (self.group - 1) / 2) / self.group - low
        place = place.clamp(0, above.shape[1] - 1)
        left = place.long().clamp_max(max(above.shape[1] - 2, 0))
        right = (left + 1).clamp_max(above.shape[1] - 1)
        share = (place - left).to(above)
        return above[:, left] * (1 - share) + above[:, right] * share

    def _frames(self, grouped: Tensor) -> Tensor:
        """Each frame with its neighbours `(B, T, (2 side + 1) bands)`; the ends are repeated."""
        padded = F.pad(rearrange(grouped, "b t f -> b f t"), (self.side, self.side), "replicate")
        return rearrange(padded.unfold(2, 2 * self.side + 1, 1), "b f t n -> b t (n f)")
