"""How does ssr_eval, the benchmark of NVSR, band-limit a recording?

Its degradations (haoheliu/ssr_eval at 7129ee8) on a single clip, in float64: other filters than
those of AudioSR's own pipeline, though they share names. A cutoff is half of what that package
calls the input's sampling rate.
"""

from typing import Literal, get_args

import numpy as np
import scipy.signal
import torch
import torch.nn.functional as F
from numpy.typing import NDArray

from audiosr.audio.lowpass import RIPPLE_DB, STOP_DB
from audiosr.audio.released import through_rate

SsrEvalKind = Literal["stft_hard", "subsampling", "butter", "cheby1", "ellip", "bessel"]
"""Spectrum cut off (what the package recommends), resampled down and up, or filtered."""

SSR_EVAL_KINDS: tuple[SsrEvalKind, ...] = get_args(SsrEvalKind)

_N_FFT, _HOP, _NYQUIST_BINS = 2048, 441, 1025
_RATIO_RATE = 44_100
"""Subsampling takes this for the rate whatever it is; only the ratio matters."""


def degrade_ssr_eval(
    wave: NDArray[np.floating], cutoff_hz: float, rate: int, *, kind: SsrEvalKind, order: int = 8
) -> NDArray[np.float64]:
    """Band-limit `wave` (T,) at `cutoff_hz`, to the same length.

    Args:
        wave: samples at `rate`.
        cutoff_hz: highest frequency kept, in Hz.
        rate: sampling rate in Hz.
        kind: the degradation.
        order: order of the filters, brought to 2 to 10; they run forward and backward once.
    """
    wave = wave.astype(np.float64)
    share = cutoff_hz / (rate / 2)
    if kind == "stft_hard":
        return _cut_spectrum(wave, share)
    if kind == "subsampling":
        return through_rate(wave, int(share * _RATIO_RATE), _RATIO_RATE, len(wave))
    sections = scipy.signal.iirfilter(
        min(max(order, 2), 10), share, RIPPLE_DB, STOP_DB, "lowpass", ftype=kind, output="sos"
    )
    return scipy.signal.sosfiltfilt(sections, wave)


def _cut_spectrum(wave: NDArray[np.float64], share: float) -> NDArray[np.float64]:
    """Without the STFT's bins from `share` of the band on; 2048 samples, hop 441 at any rate."""
    samples = torch.from_numpy(wave)
    window = torch.hann_window(_N_FFT, dtype=samples.dtype)
    short = max(0, _N_FFT // 2 + 1 - len(wave))  # too short to be reflected
    padded = F.pad(samples, (0, short))
    spectrum = torch.stft(padded, _N_FFT, _HOP, window=window, return_complex=True)
    spectrum[int(_NYQUIST_BINS * share) :] = 0
    cut = torch.istft(spectrum, _N_FFT, _HOP, window=window, length=len(padded))
    return cut[: len(wave)].numpy()
