"""What is the power spectrogram that the metrics compare?

In float64 throughout: the rounding of a float32 FFT is within reach of an unclamped logarithm.
"""

import itertools
from collections.abc import Iterator
from typing import Any

import numpy as np
import scipy.fft
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import Tensor

_Samples = NDArray[np.float64]

_PAIRS = 6
"""Pairs of frames that are transformed at a time; their spectra stay in a processor's cache."""


def power_spectrogram(
    wave: Tensor, n_fft: int, hop: int, *, pad_mode: str = "reflect", window: int | None = None
) -> Tensor:
    """Power `(B, bins, frames)` of waveforms `(B, T)`, Hann window, centred frames, float64.

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
        return spectrum.real.square() + spectrum.imag.square()


def power_pairs(
    estimate: Tensor, target: Tensor, n_fft: int, hop: int, **settings: Any
) -> Iterator[tuple[Tensor, Tensor]]:
    """Power spectrograms of estimates and of their targets: all at once, or clip by clip.

    The latter on a processor, where the spectra of a batch would leave its caches and be paid for
    in page faults.

    Args:
        estimate: waveforms `(B, T)`.
        target: `(B, T)`, or `(1, T)` for all; transformed once then.
        n_fft: see `power_spectrogram`.
        hop: see `power_spectrogram`.
        settings: the other arguments of `power_spectrogram`.
    """
    step = 1 if estimate.device.type == "cpu" else len(estimate)
    targets = target.split(step) if len(target) > 1 else [target]
    wanted = None
    for index, rows in enumerate(estimate.split(step)):
        if wanted is None or len(targets) > 1:
            wanted = power_spectrogram(targets[index], n_fft, hop, **settings)
        yield power_spectrogram(rows, n_fft, hop, **settings), wanted


def bin_hz(n_fft: int, rate: int, device: torch.device) -> Tensor:
    """Frequencies of the bins in Hz, `(n_fft // 2 + 1,)` float64."""
    return torch.arange(n_fft // 2 + 1, device=device, dtype=torch.float64) * (rate / n_fft)


def _packed_spectrogram(wave: Tensor, hann: Tensor, n: int, hop: int, pad_mode: str) -> Tensor:
    """The same with two frames of a clip as the real and the imaginary part of one FFT.

    2229 samples, ssr_eval's frame at 48 kHz, are 3 times the prime 743: pocketfft's complex FFT of
    them costs no more than its real one, and half of what MKL's does.
    """
    padded = F.pad(wave[:, None], (n // 2, n // 2), mode=pad_mode)[:, 0].numpy()
    frames = np.lib.stride_tricks.sliding_window_view(padded, n, -1)[:, ::hop]
    window = 0.5 * F.pad(hann, ((n - len(hann)) // 2, n - len(hann) - (n - len(hann)) // 2)).numpy()
    power = np.empty((*frames.shape[:2], n // 2 + 1))
    for row, start in itertools.product(range(len(frames)), range(0, frames.shape[1], 2 * _PAIRS)):
        chosen = slice(start, start + 2 * _PAIRS)
        _transform_pairs(frames[row, chosen], window, power[row, chosen])
    # What a loud neighbour leaves of rounding in a frame of zeros is not there.
    heard = np.cumsum(np.pad(padded != 0, ((0, 0), (1, 0))), -1)
    power[(heard[:, n:] == heard[:, :-n])[:, ::hop]] = 0
    return torch.from_numpy(power).transpose(1, 2)


def _transform_pairs(frames: _Samples, window: _Samples, power: _Samples) -> None:
    """Power spectra of frames `(K, n)` under twice the window into `power` `(K, n // 2 + 1)`."""
    second = len(frames) // 2
    pairs: NDArray[np.complex128] = np.zeros((len(frames) - second, frames.shape[1]), np.complex128)
    np.multiply(frames[::2], window, out=pairs.real)
    np.multiply(frames[1::2], window, out=pairs.imag[:second])
    spectra: NDArray[np.complex128] = np.asarray(scipy.fft.fft(pairs, overwrite_x=True))
    # The spectrum of a real signal is Hermitian, that of an imaginary one the opposite.
    power[::2, 0], power[1::2, 0] = (
        (2 * spectra[:, 0].real) ** 2,
        (2 * spectra[:second, 0].imag) ** 2,
    )
    ahead, back = spectra[:, 1 : power.shape[1]], spectra[:, : -power.shape[1] : -1]
    for found, real, imaginary in (
        (power[::2, 1:], ahead.real + back.real, ahead.imag - back.imag),
        (power[1::2, 1:], ahead.imag + back.imag, ahead.real - back.real),
    ):
        real *= real
        imaginary *= imaginary
        np.add(real[: len(found)], imaginary[: len(found)], out=found)
