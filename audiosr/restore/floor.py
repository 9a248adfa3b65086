"""How does the noise of a recording go on above its edge, under what is generated there?

Noise is what is left in the pauses, if it is steady as noise is: there a band of a log-mel changes
from frame to frame as one of white noise does. Content that never pauses is not taken for noise.
"""

import math
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from einops import rearrange
from torch import Tensor

from audiosr.audio.lowpass import zero_phase
from audiosr.audio.mel import LogMel, band_centres
from audiosr.audio.released import PEAK

PAUSES = 0.1
"""The part of the frames, the quietest ones below the edge, in which noise is looked for."""

_FEWEST, _SMOOTH_FRAMES = 20, 9
"""Frames looked at at least, and those over which the level is averaged that chooses them."""

_CHANGE = (0.6, 1.2)
"""Noise changes as white noise does, times 0.9 to 1.1; tones and silence change less, the pauses of
speech and of most music 1.3 to 4 times as much."""

_FLAT = 1.15
"""Within half an octave the level of noise differs by no more than this times what that of white
noise does in as many frames, 1.1 to 1.3; that of dense music, which changes as little and never
pauses, by 1.3 to 3."""

_LOUDEST = 0.05
"""Of the peak of the recording: what is steady and louder than this in the quietest frames lies
under nothing. It is what was recorded, rain or a gong, and says nothing of what is above it."""

_SMOOTH = 0.35
"""Above the edge noise is smooth over a few bands, 0.1 to 0.25 in their logarithms, where harmonics
of clipping and images of a resampler are not."""

_EMPTY = 0.25
"""In this part of the pauses nothing may be generated, for the others to count as filled: the level
that a quarter of the frames stay below, over that of white noise."""

_STEEPEST = 2
"""Noise falls by no more than this power of the frequency, 12 dB per octave, above the edge; where
it is lower, something has cut it off."""


@dataclass(frozen=True)
class Steadiness:
    """The mean level of each band in some frames, and how much it changes, both `(B, F)`."""

    level: Tensor
    change: Tensor
    """Standard deviation over mean."""

    @classmethod
    def of(cls, level: Tensor) -> "Steadiness":
        """Of levels `(B, n, F)`."""
        mean = level.mean(dim=1)
        return cls(mean, level.std(dim=1) / mean)


def add_floor(
    generated: Tensor, recording: Tensor, cutoff_hz: float, log_mel: LogMel, white: Tensor
) -> Tensor:
    """What was generated, with as much noise above the edge as the recording has and it lacks.

    Args:
        generated: waveforms `(B, 1, T)`, or a little longer, as the released timing has them.
        recording: as it was found `(B, 1, T)`, with what lies above the edge, at the level at which
            the whole of it has the peak `PEAK`.
        cutoff_hz: the edge.
        log_mel: the front end in which levels are compared.
        white: noise `(1, 1, T)`, the same for all, so that a stereo image stays where it is.
    """
    gain = floor_gain(generated, recording, cutoff_hz, log_mel, white)
    return with_floor(generated, gain, log_mel, white)


def floor_gain(
    generated: Tensor, recording: Tensor, cutoff_hz: float, log_mel: LogMel, white: Tensor
) -> Tensor:
    """How much of white noise is to be added in each mel band, `(B, F)`; see `add_floor`."""
    centres = band_centres(log_mel.settings).to(generated)
    near = (centres > cutoff_hz / math.sqrt(2)) & (centres < 0.93 * cutoff_hz)
    if not near.any():
        return centres.new_zeros(len(generated), len(centres))
    found, there, unit = (_levels(log_mel, wave) for wave in (recording, generated, white))
    pauses = _pauses(found[..., near].mean(-1))
    noise = Steadiness.of(unit)
    frames = rearrange(recording, "b 1 (t h) -> b t h", h=log_mel.settings.hop)
    power = frames.square().mean(-1).gather(1, pauses).mean(1)
    under = power < (_LOUDEST * PEAK) ** 2
    even = _unevenness(_at(unit.expand_as(found), pauses).mean(1) / noise.level, near)
    quiet = Steadiness.of(_at(found, pauses))
    wanted = continued_floor(quiet, noise, even, under, centres, cutoff_hz)
    # What is generated in some of the pauses fills none of the others.
    filled = _at(there, pauses).quantile(_EMPTY, dim=1) / unit.quantile(_EMPTY, dim=1)
    return ((wanted / noise.level).square() - filled.square()).clamp_min(0).sqrt()


def with_floor(generated: Tensor, gain: Tensor, log_mel: LogMel, white: Tensor) -> Tensor:
    """`generated (B, 1, T)` with white noise `(1, 1, T)` times the `gain (B, F)` of mel bands."""
    if not gain.any():
        return generated
    centres = band_centres(log_mel.settings).to(generated)

    def gains(n_fft: int) -> Tensor:
        hz = torch.arange(n_fft // 2 + 1, device=gain.device) * (log_mel.settings.rate / n_fft)
        return gain[:, torch.searchsorted(centres, hz).clamp_max(len(centres) - 1)]

    noise = zero_phase(white.expand(len(gain), 1, -1), gains)
    return generated + F.pad(noise, (0, generated.shape[-1] - noise.shape[-1]))


def continued_floor(
    pauses: Steadiness,
    white: Steadiness,
    even: Tensor,
    under: Tensor,
    centres: Tensor,
    cutoff_hz: float,
) -> Tensor:
    """The level `(B, F)` of a recording's noise as it goes on above its edge; 0 below and for none.

    What the recording holds of it there is taken as it is (the hiss of a tape goes on). From where
    something has cut it off, the last level goes on, first that of the half octave below the edge.

    Args:
        pauses: of the recording.
        white: of white noise.
        even: how uneven white noise is in as many frames, `(B,)`.
        under: whether there is something that the pauses are quieter than, `(B,)`.
        centres: of the bands in Hz, `(F,)`.
        cutoff_hz: the edge.
    """
    near = (centres > cutoff_hz / math.sqrt(2)) & (centres < 0.93 * cutoff_hz)
    change = pauses.change / white.change
    known = under & _as_noise(change[:, near].median(dim=1).values)
    known &= _unevenness(pauses.level, near) < _FLAT * even
    below = pauses.level[:, near].median(dim=1).values * known
    steady = _as_noise(_nearby(change)) & (_roughness(pauses.level) < _SMOOTH)
    least = below[:, None] * (cutoff_hz / centres) ** _STEEPEST
    own = pauses.level * (steady & (pauses.level > least))
    goes_on, level = torch.zeros_like(own), below
    for band in (centres >= cutoff_hz).nonzero().flatten().tolist():
        goes_on[:, band] = torch.where(own[:, band] > 0, own[:, band], level)
        level = torch.where(known, goes_on[:, band], level)
    return goes_on


def _unevenness(level: Tensor, near: Tensor) -> Tensor:
    """The ratio of high to low levels among the bands `near` the edge, `(B,)` of `(B, F)`."""
    low, high = level[:, near].quantile(level.new_tensor([0.1, 0.9]), dim=1)
    return high / low


def _as_noise(change: Tensor) -> Tensor:
    return (change > _CHANGE[0]) & (change < _CHANGE[1])


def _nearby(value: Tensor) -> Tensor:
    """The mean over nine neighbouring bands of `value (B, F)`."""
    return F.avg_pool1d(value, 9, 1, 4, count_include_pad=False)


def _roughness(level: Tensor) -> Tensor:
    """Standard deviation of the logarithms of nine neighbouring bands, for `level (B, F)`."""
    log = level.log()
    return (_nearby(log.square()) - _nearby(log).square()).clamp_min(0).sqrt()


def _levels(log_mel: LogMel, wave: Tensor) -> Tensor:
    """Magnitudes `(B, T, F)` of the mel bands."""
    return rearrange(log_mel(wave).exp(), "b 1 t f -> b t f")


def _pauses(level: Tensor) -> Tensor:
    """The quietest frames `(B, n)` by their level `(B, T)`."""
    smooth = F.avg_pool1d(level, _SMOOTH_FRAMES, 1, _SMOOTH_FRAMES // 2, count_include_pad=False)
    count = min(level.shape[1], max(_FEWEST, int(PAUSES * level.shape[1])))
    return smooth.topk(count, dim=1, largest=False).indices


def _at(levels: Tensor, frames: Tensor) -> Tensor:
    """`levels (B, T, F)` at `frames (B, n)`."""
    return levels.take_along_dim(frames[..., None], dim=1)
