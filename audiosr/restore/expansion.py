"""Does what is generated move over time as much as it should? If not, its level is spread.

A small denoiser draws from what it is sure of: its pauses are too loud and its bursts too faint, by
little in each band and together by half of the variance over time. An expander, in the sense of
studio work, takes the level of the generated band away from a level near its loud parts.
"""

import math

import torch
import torch.nn.functional as F
from torch import Tensor

from audiosr.audio.mel import MelSettings, band_centres

REACH_FRAMES = 150
"""How far to both sides a frame is felt, 1.5 s."""

_LOUD = 0.8
"""What the level is taken away from: that which so large a part of the frames stays below."""

_MOST = 0.7
"""A burst is raised by no more than this, in nats of magnitude: 6 dB."""


def spread_level(
    mel: Tensor, cutoff_hz: Tensor, limit_hz: float, ratio: float, features: MelSettings
) -> Tensor:
    """A generated log-mel `(B, 1, T, F)` whose level above the cutoff moves `ratio` times as much.

    The level of a frame is the mean of its bands from the cutoff to the limit; all above the cutoff
    follow it.

    Args:
        mel: natural logarithms of magnitudes.
        cutoff_hz: up to where the recording is kept, `(B,)`.
        limit_hz: up to where it is filled.
        ratio: 1 changes nothing.
        features: of the log-mel.
    """
    if ratio == 1.0:
        return mel
    centres = band_centres(features).to(mel)
    above = centres >= cutoff_hz.to(mel)[:, None]
    counted = (above & (centres <= limit_hz)).to(mel)
    level = (mel[:, 0] * counted[:, None]).sum(-1) / counted.sum(-1).clamp_min(1)[:, None]
    # Of the frames around each those count that there are.
    padded = F.pad(level, (REACH_FRAMES, REACH_FRAMES), value=torch.nan)
    around = padded.unfold(1, 2 * REACH_FRAMES + 1, 1)
    loud = around.nanquantile(_LOUD, dim=-1)
    change = ((ratio - 1) * (level - loud)).clamp_max(_MOST)
    return (mel + change[:, None, :, None] * above[:, None, None]).clamp_min(
        math.log(features.floor)
    )
