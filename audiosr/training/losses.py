"""What is minimised? Functions of tensors, each with its formula and source; all in float32."""

import math
from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor

from audiosr.networks.discriminators import Verdict


def hinge_discriminator_loss(real: Tensor, fake: Tensor) -> Tensor:
    """0.5 (mean relu(1 - D(x)) + mean relu(1 + D(x'))) (Lim and Ye, arXiv 1705.02894)."""
    return 0.5 * (F.relu(1 - real.float()).mean() + F.relu(1 + fake.float()).mean())


def hinge_generator_loss(fake: Tensor) -> Tensor:
    """-mean D(x') (Lim and Ye, arXiv 1705.02894)."""
    return -fake.float().mean()


def least_squares_discriminator_loss(real: Sequence[Verdict], fake: Sequence[Verdict]) -> Tensor:
    """Sum over discriminators of mean (D(x) - 1)^2 + mean D(x')^2 (HiFi-GAN, arXiv 2010.05646).

    Its section 2.4: each discriminator weighs as much as one alone would.
    """
    losses = [
        (r.float() - 1).square().mean() + f.float().square().mean()
        for (r, _), (f, _) in zip(real, fake, strict=True)
    ]
    return torch.stack(losses).sum()


def least_squares_generator_loss(fake: Sequence[Verdict]) -> Tensor:
    """Sum over discriminators of mean (D(x') - 1)^2 (HiFi-GAN, arXiv 2010.05646)."""
    return torch.stack([(f.float() - 1).square().mean() for f, _ in fake]).sum()


def feature_matching_loss(real: Sequence[Verdict], fake: Sequence[Verdict]) -> Tensor:
    """Sum over discriminators and their layers of mean |D_l(x) - D_l(x')|.

    HiFi-GAN, arXiv 2010.05646, 2.4: the mean is over the elements of a layer alone.
    """
    losses = [
        F.l1_loss(f.float(), r.float().detach())
        for (_, reals), (_, fakes) in zip(real, fake, strict=True)
        for r, f in zip(reals, fakes, strict=True)
    ]
    return torch.stack(losses).sum()


def last_gradients(
    reconstruction: Tensor, adversarial: Tensor, last_layer: Tensor
) -> tuple[Tensor, Tensor]:
    """Gradients of both losses in the decoder's last layer; the graph stays."""
    (pull,) = torch.autograd.grad(reconstruction, last_layer, retain_graph=True)
    (push,) = torch.autograd.grad(adversarial, last_layer, retain_graph=True)
    return pull, push


def adaptive_weight(pull: Tensor, push: Tensor, *, maximum: float = 1e4) -> Tensor:
    """Weight at which both losses pull equally hard on the decoder's last layer.

    |grad rec| / (|grad adv| + 1e-4), clamped to [0, maximum] (Esser et al., 2012.09841, eq. 7).
    """
    return (pull.norm() / (push.norm() + 1e-4)).clamp(0.0, maximum)


def log_stft_loss(
    estimate: Tensor, target: Tensor, resolutions: Sequence[int] = (2048, 1024, 512)
) -> Tensor:
    """Mean over STFT sizes (hop n/4, Hann) of the L1 distance of log magnitudes.

    The second term of the multi-resolution STFT loss (Yamamoto et al., arXiv 1910.11480, eq. 6),
    power floored at 1e-8.

    Args:
        estimate: waveforms `(B, 1, T)`.
        target: waveforms `(B, 1, T)`.
        resolutions: FFT sizes in samples.
    """

    def log_magnitude(wave: Tensor, size: int) -> Tensor:
        window = torch.hann_window(size, device=wave.device)
        spectrum = torch.stft(
            wave.squeeze(1), size, size // 4, window=window, center=True, return_complex=True
        )
        power = spectrum.real.square() + spectrum.imag.square()
        return 0.5 * power.clamp_min(1e-8).log()

    with torch.autocast(estimate.device.type, enabled=False):
        losses = [
            F.l1_loss(log_magnitude(estimate.float(), n), log_magnitude(target.float(), n))
            for n in resolutions
        ]
        return torch.stack(losses).mean()


def relativistic_discriminator_loss(real: Tensor, fake: Tensor) -> Tensor:
    """Mean softplus(D(x') - D(x)) over pairs of one condition (Jolicoeur-Martineau, 1807.00734).

    As in adversarial post-training (Novack et al., arXiv 2505.08175, eq. 4): what is judged is
    which of the two is real, so that a condition that is easy to please wins nothing. The
    generator's is the same game with the parts exchanged.
    """
    return F.softplus(fake.float() - real.float()).mean()


def energy_score(one: Tensor, other: Tensor, target: Tensor, above: Tensor) -> Tensor:
    """(d(x1, y) + d(x2, y) - d(x1, x2)) / 2 per clip `(B,)`, of two independent draws x1 and x2.

    The energy score (Gneiting and Raftery, 2007, 4.3), which trains generators without a judge
    (Gritsenko et al., arXiv 2008.01160). It is least where draws are spread as the target is: an
    average pays in d(x, y), and equal draws gain nothing by d(x1, x2). d is `log_mel_distance`,
    which has no slope at 0 and so is rounded off there.

    Args:
        one: natural-log mels `(B, 1, T, F)`.
        other: of other noise, `(B, 1, T, F)`.
        target: `(B, 1, T, F)`.
        above: first band that counts, per clip `(B,)`.
    """
    pairs = ((one, target), (other, target), (one, other))
    first, second, apart = (log_mel_distance(*pair, above, rounded=1e-4) for pair in pairs)
    return 0.5 * (first + second - apart)


def log_mel_distance(
    estimate: Tensor, target: Tensor, above: Tensor | None = None, *, rounded: float = 0.0
) -> Tensor:
    """Log-spectral distance between log-mels, per clip `(B,)`, in units of LSD (log10 of power).

    Mean over frames of the root of the mean over bands of (2 (ln a - ln b) / ln 10)^2.

    Args:
        estimate: natural-log mel `(B, 1, T, F)`.
        target: natural-log mel `(B, 1, T, F)`.
        above: first band that counts, per clip `(B,)`; all of them by default.
        rounded: added under the root, for a gradient where both are equal.
    """
    square = ((estimate.float() - target.float()) * (2 / math.log(10))).square()
    if above is None:
        return (square.mean(-1) + rounded).sqrt().mean((1, 2))
    bands = torch.arange(square.shape[-1], device=square.device)
    counts = (bands[None] >= above[:, None].to(bands.device)).float()[:, None, None]
    mean = (square * counts).sum(-1) / counts.sum(-1).clamp_min(1)
    return (mean + rounded).sqrt().mean((1, 2))
