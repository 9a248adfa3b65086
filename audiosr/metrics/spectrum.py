"""What is the power spectrogram that the metrics compare?

In float64 throughout: the rounding of a float32 FFT is within reach of an unclamped logarithm.
"""

import math
from collections.abc import Iterator
from functools import lru_cache
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

_CHUNK = 16
"""Frames that the chirp transform works on at a time; their spectra stay in a processor's cache."""


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
            return _chirp_spectrogram(wave, hann, n_fft, hop, pad_mode)
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


@lru_cache(maxsize=4)
def _chirp(n: int) -> tuple[Tensor, Tensor]:
    """exp(-i pi t^2 / n) for t below n, and the spectrum of its conjugate, both ways from 0."""
    time = torch.arange(n)
    angle = (time * time % (2 * n)).double() * (math.pi / n)
    chirp = torch.polar(torch.ones(n, dtype=torch.float64), -angle)
    bins = n // 2 + 1
    length = 512 * math.ceil((n + bins) / 512)
    kernel = torch.zeros(length, dtype=torch.complex128)
    kernel[:bins] = chirp[:bins].conj()
    kernel[length - n + 1 :] = chirp[1:].conj().flip(0)
    return chirp, torch.fft.fft(kernel)


def _chirp_spectrogram(wave: Tensor, hann: Tensor, n: int, hop: int, pad_mode: str) -> Tensor:
    """The same by the chirp transform (Bluestein 1970).

    2229 samples, ssr_eval's frame at 48 kHz, are 3 times the prime 743, on which the FFT of a
    processor takes twice as long.
    """
    chirp, kernel = _chirp(n)
    frames = F.pad(wave[:, None], (n // 2, n // 2), mode=pad_mode)[:, 0].unfold(-1, n, hop)
    window = F.pad(hann, ((n - len(hann)) // 2, n - len(hann) - (n - len(hann)) // 2)) * chirp
    bins = n // 2 + 1
    power = wave.new_empty(*frames.shape[:2], bins)
    rows = (
        (row, start) for row in range(len(frames)) for start in range(0, len(frames[0]), _CHUNK)
    )
    for row, start in rows:
        part = frames[row, start : start + _CHUNK] * window
        spectrum = torch.fft.fft(part, len(kernel)).mul_(kernel)
        spectrum = torch.fft.ifft(spectrum)[:, :bins]
        power[row, start : start + _CHUNK] = spectrum.real.square() + spectrum.imag.square()
    return power.transpose(1, 2)
