"""What is the magnitude spectrogram that the metrics compare?

In float64 throughout: the rounding of a float32 FFT is within reach of an unclamped logarithm.
"""

import itertools
from collections.abc import Iterator
from typing import Any

import numpy as np
import scipy.fft
import torch
import torch.nn.functional as F
from numpy.lib.stride_tricks import sliding_window_view
from numpy.typing import NDArray
from torch import Tensor

_PAIRS = 12
"""Pairs of frames that are transformed at a time; their spectra stay in a processor's cache."""


def magnitude_spectrogram(
    wave: Tensor, n_fft: int, hop: int, *, pad_mode: str = "reflect", window: int | None = None
) -> Tensor:
    """Magnitudes `(B, bins, frames)` of waveforms `(B, T)`, Hann window, centred frames, float64.

    Args:
        wave: waveforms.
        n_fft: length of the FFT in samples.
        hop: samples from frame to frame.
        pad_mode: `reflect` or `constant` (zeros): how the signal goes on beyond its ends. Clips
            too short to be reflected are continued by zeros first.
        window: length of the window in samples, `n_fft` by default.
    """
    with torch.autocast(wave.device.type, enabled=False):
        wave = wave.double()
        if pad_mode == "reflect":
            wave = F.pad(wave, (0, max(0, n_fft // 2 + 1 - wave.shape[-1])))
        hann = torch.hann_window(window or n_fft, dtype=wave.dtype, device=wave.device)
        if n_fft % 2 and wave.device.type == "cpu":
            return _packed_spectrogram(wave, hann, n_fft, hop, pad_mode)
        spectrum = torch.stft(
            wave, n_fft, hop, len(hann), hann, pad_mode=pad_mode, return_complex=True
        )
        if spectrum.device.type == "cpu":  # NumPy takes a tenth of the time
            return torch.from_numpy(np.abs(spectrum.numpy()))
        return spectrum.abs()


def magnitude_pairs(
    estimate: Tensor, target: Tensor, n_fft: int, hop: int, **settings: Any
) -> Iterator[tuple[Tensor, Tensor]]:
    """Magnitude spectrograms of estimates and of their targets: all at once, or clip by clip.

    The latter on a processor, where the spectra of a batch would leave its caches and be paid for
    in page faults.

    Args:
        estimate: waveforms `(B, T)`.
        target: `(B, T)`, or `(1, T)` for all; transformed once then.
        n_fft: see `magnitude_spectrogram`.
        hop: see `magnitude_spectrogram`.
        settings: the other arguments of `magnitude_spectrogram`.
    """
    step = 1 if estimate.device.type == "cpu" else len(estimate)
    targets = target.split(step) if len(target) > 1 else [target]
    wanted = None
    for index, rows in enumerate(estimate.split(step)):
        if wanted is None or len(targets) > 1:
            wanted = magnitude_spectrogram(targets[index], n_fft, hop, **settings)
        yield magnitude_spectrogram(rows, n_fft, hop, **settings), wanted


def bin_hz(n_fft: int, rate: int, device: torch.device) -> Tensor:
    """Frequencies of the bins in Hz, `(n_fft // 2 + 1,)` float64."""
    return torch.arange(n_fft // 2 + 1, device=device, dtype=torch.float64) * (rate / n_fft)


def _packed_spectrogram(wave: Tensor, hann: Tensor, n: int, hop: int, pad_mode: str) -> Tensor:
    """The same with two frames of a clip as the real and the imaginary part of one FFT.

    2229 samples, ssr_eval's frame at 48 kHz, are 3 times the prime 743: pocketfft's complex FFT of
    them costs no more than its real one, and half of what MKL's does.
    """
    margin = (n - len(hann)) // 2
    window = np.repeat(0.5 * F.pad(hann, (margin, n - len(hann) - margin)).numpy(), 2)
    padded = F.pad(wave[:, None], (n // 2, n // 2), mode=pad_mode)[:, 0].numpy()
    # A sample and that of the next frame are one complex number.
    coupled = np.zeros((*padded.shape, 2))
    coupled[..., 0], coupled[:, :-hop, 1] = padded, padded[:, hop:]
    pairs = sliding_window_view(coupled.reshape(len(wave), -1), 2 * n, -1)[:, :: 4 * hop]
    found = np.empty((*pairs.shape[:2], 2, n // 2 + 1))
    for row, start in itertools.product(range(len(wave)), range(0, pairs.shape[1], _PAIRS)):
        chosen = row, slice(start, start + _PAIRS)
        _transform_pairs((pairs[chosen] * window).view(np.complex128), found[chosen])
    frames = sliding_window_view(padded, n, -1)[:, ::hop]
    found = found.reshape(len(wave), -1, n // 2 + 1)[:, : frames.shape[1]]
    # What a loud neighbour leaves of rounding in a frame of zeros is not there.
    for row, frame in np.argwhere(frames[..., n // 2] == 0):
        if not frames[row, frame].any():
            found[row, frame] = 0
    return torch.from_numpy(found).transpose(1, 2)


def _transform_pairs(pairs: NDArray[np.complex128], found: NDArray[np.float64]) -> None:
    """Magnitudes of coupled frames `(K, n)` under half the window into `found` `(K, 2, bins)`."""
    spectra: NDArray[np.complex128] = np.asarray(scipy.fft.fft(pairs, overwrite_x=True))
    # The spectrum of a real signal is Hermitian, that of an imaginary one the opposite.
    bins = found.shape[-1]
    mirrored = np.concatenate([spectra[:, :1], spectra[:, :-bins:-1]], 1)
    np.conj(mirrored, out=mirrored)
    np.abs(spectra[:, :bins] + mirrored, out=found[:, 0])
    np.abs(spectra[:, :bins] - mirrored, out=found[:, 1])
