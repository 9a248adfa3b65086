"""How far apart are two sets of clips, rather than pairs: a Frechet distance on embeddings?"""

from typing import Any, Protocol

import torch
from torch import Tensor
from torchmetrics import Metric

from audiosr.audio.mel import LogMel


class Embed(Protocol):
    """From waveforms `(B, 1, T)` at 48 kHz to embeddings `(n, d)`, any number for each clip."""

    name: str
    """What figures under it are called."""
    dimensions: int
    """Length d of an embedding."""

    def __call__(self, wave: Tensor) -> Tensor:
        """The embeddings."""
        ...


_SEGMENT = 96
"""Frames of a segment, 0.96 s, the length of VGGish's."""


def frechet_distance(
    mean: Tensor, covariance: Tensor, mean2: Tensor, covariance2: Tensor
) -> Tensor:
    """|m - m2|^2 + tr(C + C2 - 2 (C C2)^(1/2)) of two Gaussians, `()` (Dowson and Landau 1982).

    Means are `(d,)`, covariances `(d, d)`.
    """
    # The eigenvalues of C C2 are real and not negative but for rounding.
    eigenvalues = torch.linalg.eigvals(covariance @ covariance2).real.clamp_min(0)
    trace = covariance.trace() + covariance2.trace() - 2 * eigenvalues.sqrt().sum()
    return (mean - mean2).square().sum() + trace.clamp_min(0)


def embedded_distance(estimates: Tensor, targets: Tensor) -> Tensor:
    """`frechet_distance` of two sets of embeddings `(n, d)`; NaN for fewer than two in a set."""
    if min(len(estimates), len(targets)) < 2:
        return torch.tensor(torch.nan)
    sides = [rows.double() for rows in (estimates, targets)]
    moments = [part for rows in sides for part in (rows.mean(0), rows.T.cov())]
    return frechet_distance(*moments)


class MelStatistics:
    """Mean and spread over time of 64 pooled log-mel bands per 0.96 s: an embedding of our own.

    Not a network and no published FAD: a distance under it says how far the spectra of a system's
    outputs, their levels and their spread over time, are from those of the references as a whole.
    It compares systems on the same clips, and nothing else.
    """

    name = "mel_statistics"
    dimensions = 128

    def __init__(self) -> None:
        self.log_mel = LogMel()

    def __call__(self, wave: Tensor) -> Tensor:
        """Embeddings `(n, 128)` of waveforms `(B, 1, T)`; a clip is at least one segment long."""
        least = _SEGMENT * self.log_mel.settings.hop
        wave = torch.nn.functional.pad(wave.float(), (0, max(0, least - wave.shape[-1])))
        wave = wave[..., : wave.shape[-1] // least * least]
        mel = self.log_mel.to(wave.device)(wave)[:, 0]
        pooled = torch.nn.functional.avg_pool1d(mel, mel.shape[-1] // 64)
        segments = pooled.unflatten(1, (-1, _SEGMENT)).flatten(0, 1)
        return torch.cat([segments.mean(1), segments.std(1)], 1)


class FrechetDistance(Metric):
    """Frechet distance of outputs to references on embeddings (Kilgour et al., arXiv 1812.08466).

    A property of two sets: a single clip has none, and small sets are biased upwards.
    """

    is_differentiable = False
    higher_is_better = False
    full_state_update = False

    sums: Tensor
    products: Tensor
    counts: Tensor

    def __init__(self, embed: Embed, **settings: Any) -> None:
        super().__init__(**settings)
        self.embed = embed
        self.name = f"frechet_{embed.name}"
        zeros = torch.zeros(2, embed.dimensions, embed.dimensions, dtype=torch.float64)
        self.add_state("products", zeros, dist_reduce_fx="sum")
        self.add_state("sums", zeros[:, 0].clone(), dist_reduce_fx="sum")
        self.add_state("counts", zeros[:, 0, 0].clone(), dist_reduce_fx="sum")

    def update(self, estimate: Tensor, target: Tensor) -> None:
        """Add clips `(B, 1, T)` and their references."""
        for side, wave in enumerate((estimate, target)):
            embedded = self.embed(wave).double()
            self.sums[side] += embedded.sum(0)
            self.products[side] += embedded.T @ embedded
            self.counts[side] += len(embedded)

    def compute(self) -> Tensor:
        """The distance `()`; NaN for fewer than two embeddings on a side."""
        if self.counts.min() < 2:
            return torch.tensor(torch.nan)
        means = self.sums / self.counts[:, None]
        outer = self.counts[:, None, None] * means[:, :, None] * means[:, None]
        covariances = (self.products - outer) / (self.counts - 1)[:, None, None]
        return frechet_distance(means[0], covariances[0], means[1], covariances[1])

    def describe(self) -> dict[str, Any]:
        """For a protocol card."""
        return {self.name: f"between outputs and references as sets, embedding {self.embed.name}"}
