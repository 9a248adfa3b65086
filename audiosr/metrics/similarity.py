"""How alike are two magnitude spectrograms as pictures: SiSpec and SSIM as ssr_eval has them?"""

from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from audiosr.metrics.clip import ClipMetric, paired
from audiosr.metrics.lsd import ssr_eval
from audiosr.metrics.spectrum import magnitude_pairs

_EPS = 1e-12
_WINDOW = 7
_DATA_RANGE = 2.0
"""What scikit-image took for the range of floats when ssr_eval was published."""


def scale_invariant_db(estimate: Tensor, target: Tensor) -> Tensor:
    """10 log10(|kS|^2 / |E - kS|^2) with k = <E, S> / |S|^2 of pictures `(B, F, T)`, `(B,)`.

    Blind to the level. Of silence it is -120, of equal pictures the rounding (above 100).
    """
    inner, power = (estimate * target).sum((1, 2)), target.square().sum((1, 2))
    scaled = (inner / (power + _EPS))[:, None, None] * target
    error = (estimate - scaled).square().sum((1, 2))
    return 10 * (scaled.square().sum((1, 2)) / (error + _EPS) + _EPS).log10()


def structural_similarity(estimate: Tensor, target: Tensor) -> Tensor:
    """SSIM (Wang et al. 2004) of pictures `(B, F, T)`, `(B,)`, as scikit-image defaults had it.

    Uniform windows of 7 x 7 whole inside the picture, sample covariances, a data range of 2. NaN
    for pictures smaller than a window.
    """
    if min(estimate.shape[1:]) < _WINDOW:
        return estimate.new_full((len(estimate),), torch.nan)

    def mean(picture: Tensor) -> Tensor:
        return F.avg_pool2d(picture[:, None], _WINDOW, 1)[:, 0]

    unbiased = _WINDOW**2 / (_WINDOW**2 - 1)
    mean_e, mean_s = mean(estimate), mean(target)
    var_e = unbiased * (mean(estimate.square()) - mean_e.square())
    var_s = unbiased * (mean(target.square()) - mean_s.square())
    covariance = unbiased * (mean(estimate * target) - mean_e * mean_s)
    c1, c2 = (0.01 * _DATA_RANGE) ** 2, (0.03 * _DATA_RANGE) ** 2
    likeness = (2 * mean_e * mean_s + c1) * (2 * covariance + c2)
    likeness = likeness / ((mean_e.square() + mean_s.square() + c1) * (var_e + var_s + c2))
    return likeness.mean((1, 2))


class SpectralSimilarity(ClipMetric):
    """SiSpec, log-SiSpec and SSIM of magnitude spectrograms, as ssr_eval (metrics.py) defines them.

    SSIM sees the level and, its constants being made for pictures in 0 to 1, little of what is
    quiet: two clips at -80 dB are alike to it. Neither is hurt by rounding to 16 bits.

    Args:
        rate: sampling rate in Hz.
    """

    higher_is_better = True

    def __init__(self, *, rate: int = 48_000, **settings: Any) -> None:
        self.rate = rate
        super().__init__(("sispec_db", "log_sispec_db", "ssim"), **settings)

    def update(self, estimate: Tensor, target: Tensor) -> None:
        """Add clips `(B, 1, T)` or `(B, T)`."""
        n_fft, hop = ssr_eval.frame(self.rate)
        pairs = magnitude_pairs(*paired(estimate, target), n_fft, hop, pad_mode=ssr_eval.pad_mode)
        for found, wanted in pairs:
            wanted = wanted.expand_as(found)
            logs = ((picture + _EPS).log10() for picture in (found, wanted))
            self.add(
                scale_invariant_db(found, wanted),
                scale_invariant_db(*logs),
                structural_similarity(found, wanted),
            )

    def describe(self) -> dict[str, Any]:
        """For a protocol card."""
        return {", ".join(self.names): "as ssr_eval defines them, on its STFT; SSIM of range 2"}
