"""What becomes of samples on their way to the networks, and what undoes it afterwards?"""

from collections.abc import Callable
from typing import TypeAlias

import numpy as np
import torch
import torch.nn.functional as F
import torchaudio
from numpy.typing import NDArray
from torch import Tensor

from audiosr.audio import io, released

Samples: TypeAlias = NDArray[np.float32]
Undo: TypeAlias = Callable[[Tensor], Tensor]

FRAMES_MULTIPLE = 64
"""Log-mel frames are a multiple of this: 8 of the autoencoder times 8 of the released U-Net."""

SILENT = 1e-6
"""What the subtraction of a constant leaves is rounding up to this part of it, not sound."""

OPPOSED = -0.5
"""Channels whose correlation with the first is below this are in opposite phase to it."""


def mean(wave: Samples) -> Samples:
    """Mean per channel `(C, 1)` of `wave (C, T)`, summed in float64."""
    return wave.mean(axis=1, keepdims=True, dtype=np.float64).astype(np.float32)


def resample_soxr(wave: Samples, rate_in: int, rate_out: int) -> Samples:
    """`wave (C, T)` by soxr; a constant passes unchanged, up to both ends."""
    if rate_in == rate_out:
        return wave.copy()
    constant = mean(wave)
    return io.resample(wave - constant, rate_in, rate_out) + constant


def resample_sinc(wave: Samples, rate_in: int, rate_out: int) -> Samples:
    """`wave (C, T)` by torchaudio's default, a sinc of 6 lobes, as the release does (utils.py)."""
    return torchaudio.functional.resample(torch.from_numpy(wave), rate_in, rate_out).numpy()


def keep_level(wave: Tensor) -> tuple[Tensor, Undo]:
    """Channels `(C, T)` without their mean at a peak of 0.5, and what undoes both."""
    constant = wave.double().mean(-1, keepdim=True).float()
    centred = wave - constant
    gain = released.PEAK / centred.abs().amax(-1, keepdim=True)
    return centred * gain, lambda result: result / gain + constant


def peak_level(wave: Tensor) -> tuple[Tensor, Undo]:
    """Channels `(C, T)` normalised as by the release, which leaves the result at its own level."""
    return released.normalise(wave), released.final_level


def pad_mirror(wave: Tensor, block: int) -> Tensor:
    """Continue `wave (B, 1, T)` to whole blocks of samples, by mirroring it as often as needed.

    A mirrored end sounds like the recording itself, where zeros would look like a stop.
    """
    missing = -wave.shape[-1] % block
    while missing > 0 and wave.shape[-1] > 1:
        some = min(missing, wave.shape[-1] - 1)
        wave = F.pad(wave, (0, some), mode="reflect")
        missing -= some
    return F.pad(wave, (0, missing), mode="replicate")


def pad_zeros(wave: Tensor, block: int) -> Tensor:
    """Continue `wave (B, 1, T)` at 48 kHz by zeros as the release does, to whole blocks.

    Where the release's rounding ends a sample short of a block, it crashes; here it is filled.
    """
    target, _ = released.padded_length(wave.shape[-1], 48_000)
    target += -target % block
    return F.pad(wave, (0, target - wave.shape[-1]))


def polarity_of(wave: Tensor) -> Tensor:
    """1 or -1 for each channel of `wave (C, T)`, `(C, 1)`: -1 where it opposes the first.

    The log-mel knows no sign, so what is generated for a channel in opposite phase would come in
    phase with the others, and the image of the high band would be another than that of the low one.
    """
    first = wave[0] - wave[0].mean()
    others = wave - wave.mean(dim=1, keepdim=True)
    correlation = others @ first / (others.norm(dim=1) * first.norm()).clamp_min(1e-30)
    return torch.where(correlation < OPPOSED, -1.0, 1.0)[:, None]
