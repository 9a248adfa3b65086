"""What does the released pipeline do to a waveform around its networks?

Each function is one step of it, named by its file in the AudioSR release (commit 034db6c), with its
faults; `docs/inference.md` says what takes its place in the `paper` profile.
"""

from typing import TypeVar

import numpy as np
import scipy.signal
import torch
from einops import rearrange
from numpy.typing import NDArray
from torch import Tensor

from audiosr.audio.cutoff import cumulative_magnitude
from audiosr.audio.lowpass import RIPPLE_DB, STOP_DB, Family
from audiosr.audio.replace import replace_stft

PEAK = 0.5
"""Peak of what the networks see and of the result (utils.py and ddpm.py)."""

CHUNK_SECONDS = 5.12
"""Waveforms are continued by zeros to a multiple of this (utils.py)."""

FRAMES_PER_SECOND = 100

LEAST_CUTOFF_HZ = 1000.0
"""A cutoff estimate below this counts as the full band (utils.py)."""

RELEASED_FAMILIES: tuple[Family, ...] = ("butter", "cheby1", "ellip", "bessel")
"""Families of the low-pass in the order in which a seed picks one (utils.py)."""

_Real = TypeVar("_Real", bound=np.floating)
_ORDERS = 2, 10
_FRACTION = 0.985


def normalise(wave: Tensor) -> Tensor:
    """Waveforms (..., T) without their mean, at a peak of 0.5 (utils.py, normalize_wav)."""
    wave = wave - wave.mean(-1, keepdim=True)
    return PEAK * wave / (wave.abs().amax(-1, keepdim=True) + 1e-8)


def padded_length(samples: int, rate: int) -> tuple[int, int]:
    """Samples and log-mel frames at 48 kHz that a recording is continued to (utils.py).

    The next multiple of 5.12 s as float64 arithmetic finds it: some lengths come out a sample and
    a frame short, and some exact multiples get 5.12 s too much.

    Args:
        samples: of the recording, at its own rate.
        rate: that rate in Hz.
    """
    seconds = samples / rate
    if seconds % CHUNK_SECONDS:
        seconds += CHUNK_SECONDS - seconds % CHUNK_SECONDS
    return int(48_000 * seconds), int(FRAMES_PER_SECOND * seconds)


def locate_cutoff(magnitude: Tensor) -> float:
    """Cutoff in Hz of the STFT magnitudes (..., frames, 1024) of one clip (utils.py).

    The bin by `cumulative_magnitude`, below the true edge of most material; the Nyquist frequency
    where the estimate is under 1 kHz.
    """
    bins = magnitude.shape[-1]
    cutoff_hz = int(cumulative_magnitude(magnitude, _FRACTION)) / bins * 24_000
    return 24_000.0 if cutoff_hz < LEAST_CUTOFF_HZ else cutoff_hz


def family_for_seed(seed: int) -> Family:
    """The low-pass family that numpy's global generator picks after this seed (utils.py)."""
    return RELEASED_FAMILIES[np.random.RandomState(seed % 2**32).randint(len(RELEASED_FAMILIES))]


def lowpass_chain(
    wave: Tensor, *, cutoff_hz: float, order: int, family: Family, rate: int
) -> Tensor:
    """Low-pass waveforms (..., T) as lowpass.py does, twice; float32, same length, zero phase.

    A forward-backward filter, polyphase resampling down to twice the cutoff and back, and the same
    filter again. Cutoffs are whole Hz, orders limited to 2 to 10. A cutoff from the Nyquist
    frequency on, for which no filter can be designed, leaves the waveform as it is (the release
    crashes).

    Args:
        wave: waveforms.
        cutoff_hz: edge in Hz.
        order: of one of the four passes.
        family: one of `FAMILIES`.
        rate: sampling rate in Hz.
    """
    cutoff = max(1, int(cutoff_hz))
    if cutoff >= rate / 2:
        return wave.float()
    sos = scipy.signal.iirfilter(
        min(max(order, _ORDERS[0]), _ORDERS[1]),
        cutoff / (rate / 2),
        rp=RIPPLE_DB if family in ("cheby1", "ellip") else None,
        rs=STOP_DB if family == "ellip" else None,
        btype="lowpass",
        ftype=family,
        output="sos",
    )
    samples = wave.shape[-1]
    out = wave.detach().cpu().numpy()
    out = through_rate(scipy.signal.sosfiltfilt(sos, out), inner_rate(cutoff, rate), rate, samples)
    out = scipy.signal.sosfiltfilt(sos, out)
    return torch.from_numpy(out.astype(np.float32)).to(wave.device)


def inner_rate(cutoff: int, rate: int) -> int:
    """Rate in Hz through which the chain goes: twice the cutoff, a Hz less where rounding says so.

    Both in whole Hz.
    """
    return int(cutoff / (rate / 2) * rate)


def through_rate(wave: NDArray[_Real], low: int, rate: int, samples: int) -> NDArray[_Real]:
    """`wave` after resampling down to the rate `low` and back, cut or continued to `samples`."""
    down = scipy.signal.resample_poly(wave, low, rate, axis=-1)
    out = scipy.signal.resample_poly(down, rate, low, axis=-1)[..., :samples]
    return np.pad(out, [(0, 0)] * (out.ndim - 1) + [(0, samples - out.shape[-1])])


def mel_cutoff_bin(low_mel: Tensor) -> Tensor:
    """First band (B,) that stays generated, from log-mels (B, 1, T, F) of the filtered input."""
    return rearrange(cumulative_magnitude(low_mel.exp(), _FRACTION), "b 1 -> b")


def replace_mel_bins(generated: Tensor, low_mel: Tensor) -> Tensor:
    """Take the bands below `mel_cutoff_bin` from `low_mel`, both (B, 1, T, F) (ddpm.py)."""
    bands = torch.arange(low_mel.shape[-1], device=low_mel.device)
    below = bands < rearrange(mel_cutoff_bin(low_mel), "b -> b 1 1 1")
    return torch.where(below, low_mel, generated)


def stft_cutoff_bin(low: Tensor) -> Tensor:
    """First STFT bin (B,) of 1025 that stays generated, from filtered inputs (B, 1, T).

    On centred frames of 2048 at hops of 512 (utils.py, postprocessing).
    """
    window = torch.hann_window(2048, device=low.device)
    mono = rearrange(low.float(), "b 1 t -> b t")
    spectrum = torch.stft(mono, 2048, 512, window=window, pad_mode="constant", return_complex=True)
    return cumulative_magnitude(rearrange(spectrum.abs(), "b bins t -> b t bins"), _FRACTION)


def postprocess(generated: Tensor, low: Tensor, *, match_level: bool = True) -> Tensor:
    """Put the filtered input (B, 1, S) into the STFT of what was generated, (B, 1, T) (ddpm.py).

    Below `stft_cutoff_bin`, with a hard edge; with `match_level` the input is divided by the ratio
    of both magnitudes at that bin, within 0.8 to 1.2.
    """
    return replace_stft(generated, low, stft_cutoff_bin(low), match_level=match_level)


def final_level(wave: Tensor) -> Tensor:
    """Waveforms (..., T) at a peak of 0.5, then without their mean (ddpm.py); silence stays."""
    peak = wave.abs().amax(-1, keepdim=True)
    wave = PEAK * wave / torch.where(peak > 0, peak, torch.ones_like(peak))
    return wave - wave.mean(-1, keepdim=True)
