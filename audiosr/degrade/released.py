"""How is the released low-pass chain run on a whole batch, each clip through its own?

`audiosr.audio.released.lowpass_chain` runs scipy clip by clip: a forward-backward filter, down to
twice the cutoff and back, the same filter again. Here the inside of a clip goes through the
spectrum once, by the analytic responses of all three. At its ends scipy's chain depends on where
it starts and stops; there it is followed step by step, on short pieces.
"""

import math
from collections.abc import Sequence
from functools import lru_cache, partial
from typing import cast

import numpy as np
import scipy.fft
import torch
from torch import Tensor

from audiosr.audio.lowpass import MARGIN, Lowpass, gains, in_frequency, prototype
from audiosr.audio.released import inner_rate
from audiosr.degrade.resamplers import POLYPHASE, sinc, through_rate

_KEPT = 3072
"""Samples at each end that are taken from what is followed step by step, out of twice as many."""

_PIECE = 2 * _KEPT


def lowpass_chain_batch(wave: Tensor, filters: Sequence[Lowpass], rate: int) -> Tensor:
    """Low-pass waveforms (B, 1, T) as the release does, each by its own filter; float32.

    Args:
        wave: waveforms (B, 1, T); they stay on their device.
        filters: one for each; whole Hz below the Nyquist frequency, no "boxcar".
        rate: sampling rate in Hz, even.
    """
    if len(filters) != len(wave):
        raise ValueError(f"{len(filters)} filters for a batch of {len(wave)}")
    samples = wave.shape[-1]
    with torch.autocast(wave.device.type, enabled=False):
        flat = wave[:, 0].float()
        if samples <= 2 * _PIECE:
            return _step_by_step(flat, filters, rate, 0, samples)[:, None]
        inside = in_frequency(
            wave, partial(_whole, filters=filters, rate=rate), _unit(filters, rate)
        )
        first = _step_by_step(flat[:, :_PIECE], filters, rate, 0, samples)
        last = _step_by_step(flat[:, -_PIECE:], filters, rate, samples - _PIECE, samples)
        inside[:, 0, :_KEPT] = first[:, :_KEPT]
        inside[:, 0, -_KEPT:] = last[:, -_KEPT:]
    return inside


def _whole(spectrum: Tensor, n_fft: int, filters: Sequence[Lowpass], rate: int) -> Tensor:
    """Spectra (B, bins) after the chain, away from the ends of the clips."""
    gain = gains(filters, n_fft, rate, spectrum.device)
    return _resampled(spectrum.mul_(gain), filters, rate, 0).mul_(gain)


def _resampled(spectrum: Tensor, filters: Sequence[Lowpass], rate: int, start: int) -> Tensor:
    """Bring spectra (B, bins) of pieces from sample `start` on to twice the cutoff and back."""
    for row, low in zip(spectrum, _low_rates(filters, rate), strict=True):
        first = _first_sample(start, low, rate)
        row.copy_(through_rate(row, low, rate, POLYPHASE, POLYPHASE, first))
    return spectrum


def _low_rates(filters: Sequence[Lowpass], rate: int) -> list[int]:
    return [inner_rate(int(f.cutoff_hz), rate) for f in filters]


def _unit(filters: Sequence[Lowpass], rate: int) -> int:
    """A length of FFT of which all multiples have a bin at every filter's lower rate."""
    odd = any(low % 2 for low in _low_rates(filters, rate)) or rate % 4
    return rate if odd else rate // 2


def _first_sample(start: int, low: int, rate: int) -> float:
    """Place of the first sample of the rate `low` at or after `start`, from there."""
    return -(start * low) % rate / low


def _step_by_step(
    piece: Tensor, filters: Sequence[Lowpass], rate: int, start: int, samples: int
) -> Tensor:
    """The chain on pieces (B, P) of clips of `samples` that begin at `start`, ends and all."""
    filtered = _forward_backward(piece, filters, rate)
    through = _down_and_up(filtered, filters, rate, start, samples)
    return _forward_backward(through, filters, rate)


def _forward_backward(wave: Tensor, filters: Sequence[Lowpass], rate: int) -> Tensor:
    """`scipy.signal.sosfiltfilt` of waveforms (B, T), with what it does at the ends.

    An odd extension by 3 (order + 1) samples, and before each pass the state of a filter that has
    seen the first value for ever: that value is taken off, and added again as the filter passes it.
    """
    samples = wave.shape[-1]
    # As long as scipy's, which refuses shorter clips.
    extra = [min(3 * (f.order + 1), samples - 1) for f in filters]
    most = max(extra)
    reach = torch.tensor(extra, device=wave.device)[:, None]
    steps = torch.arange(1, most + 1, device=wave.device).expand(len(wave), -1)
    beyond = torch.minimum(steps, reach)
    before = 2 * wave[:, :1] - wave.gather(1, beyond).flip(1)
    after = 2 * wave[:, -1:] - wave.gather(1, samples - 1 - beyond)
    extended = torch.cat([before, wave, after], 1)

    n_fft = cast(int, scipy.fft.next_fast_len(samples + 2 * most + MARGIN, True))
    once = torch.stack([_causal(f, n_fft, rate, wave.device) for f in filters])

    def run(signal: Tensor, held: Tensor, spectrum: Tensor) -> Tensor:
        out = torch.fft.irfft(torch.fft.rfft(signal - held, n_fft) * spectrum, n_fft)
        return out[:, : signal.shape[1]] + held * spectrum[:, :1].real

    forward = run(extended, extended[:, :1], once)
    last = most + samples - 1 + reach
    # What follows the end of scipy's extension is its last value.
    forward = forward.gather(1, torch.arange(forward.shape[1], device=wave.device).minimum(last))
    backward = run(forward.flip(1), forward[:, -1:], once).flip(1)
    return backward[:, most : most + samples]


@lru_cache(maxsize=64)
def _causal(filter: Lowpass, n_fft: int, rate: int, device: torch.device) -> Tensor:
    """Complex response of one pass, (n_fft // 2 + 1,): bilinear transform, prewarped."""
    zeros, poles, gain = prototype(filter.family, filter.order)
    angle = np.pi * np.arange(n_fft // 2 + 1) / n_fft
    edge = math.tan(math.pi * filter.cutoff_hz / rate)
    place = 1j * np.minimum(np.tan(angle) / edge, 1e6)
    value = np.full(len(place), gain, np.complex128)
    for index, pole in enumerate(poles):
        value /= place - pole
        if index < len(zeros):
            value *= place - zeros[index]
    return torch.from_numpy(value.astype(np.complex64)).to(device)


def _down_and_up(
    wave: Tensor, filters: Sequence[Lowpass], rate: int, start: int, samples: int
) -> Tensor:
    """Waveforms (B, P) through the lower rate by `scipy.signal.resample_poly`."""
    length = wave.shape[1]
    reach = math.ceil(POLYPHASE.lobes * rate / min(_low_rates(filters, rate)))
    unit = _unit(filters, rate)
    n_fft = unit * math.ceil((length + 2 * reach) / unit)
    spectrum = _resampled(torch.fft.rfft(wave, n_fft), filters, rate, start)
    out = torch.fft.irfft(spectrum, n_fft)[:, :length]
    # Samples of the lower rate exist only within the clip: what others would add is taken off.
    for index, low in enumerate(_low_rates(filters, rate)):
        for away in _outside(start, length, samples, low, rate):
            near = slice(0, reach) if away[0] < 0 else slice(max(0, length - reach), length)
            time = np.arange(length)[near]
            kernel = sinc((away[:, None] - time) * low / rate, POLYPHASE).astype(np.float32)
            taps = torch.from_numpy(kernel).to(wave.device)
            out[index, near] -= low / rate * (taps.T @ (taps @ wave[index, near]))
    return out


def _outside(start: int, length: int, samples: int, low: int, rate: int) -> list[np.ndarray]:
    """Places of the samples of the rate `low` next to the ends of the clip, outside it."""
    step = rate / low
    count = np.arange(POLYPHASE.lobes + 1)
    ends = []
    if start == 0:
        ends.append(-step * (count + 1))
    if start + length == samples:
        ends.append(-(-samples * low // rate) * step - start + step * count)
    return ends
