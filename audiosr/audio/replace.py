"""How is the band that the input still holds put back into what was generated?"""

import math

import torch
import torch.nn.functional as F
from einops import rearrange
from torch import Tensor

from audiosr.audio.lowpass import zero_phase
from audiosr.audio.mel import MelSettings, band_centres

TRANSITION_HZ = 200.0
"""Width of the crossover, above the cutoff."""


def replace_mel(
    generated: Tensor, low: Tensor, cutoff_hz: Tensor | float, settings: MelSettings
) -> Tensor:
    """Take the bands centred below the cutoff from `low` (AudioSR, arXiv 2309.07314, section 3.3).

    Args:
        generated: log-mels (B, 1, T, F).
        low: log-mels (B, 1, T, F) of the band-limited input.
        cutoff_hz: one frequency in Hz, or one per clip (B,).
        settings: the front end both were made with.
    """
    centres = band_centres(settings).to(generated.device, torch.float32)
    cutoff = torch.as_tensor(cutoff_hz, device=generated.device, dtype=torch.float32)
    below = centres < rearrange(cutoff.expand(len(generated)), "b -> b 1 1 1")
    return torch.where(below, low, generated)


def crossover(low: Tensor, generated: Tensor, cutoff_hz: Tensor | float, rate: int) -> Tensor:
    """Join the input below the cutoff and the generated waveform above it, without delay.

    The weight of the input is 1 up to the cutoff and falls to 0 by a raised cosine over the
    `TRANSITION_HZ` above it; that of the generated waveform is its complement, so equal signals
    pass unchanged.

    Args:
        low: the input (B, 1, T).
        generated: what was generated (B, 1, T).
        cutoff_hz: one frequency in Hz, or one per clip (B,).
        rate: sampling rate in Hz.

    Returns:
        Waveforms (B, 1, T), float32.
    """
    cutoff = torch.as_tensor(cutoff_hz, device=low.device, dtype=torch.float32).expand(len(low))

    def gains(n_fft: int) -> Tensor:
        hz = torch.arange(n_fft // 2 + 1, device=low.device, dtype=torch.float32) * (rate / n_fft)
        place = ((hz - cutoff[:, None]) / TRANSITION_HZ).clamp(0, 1)
        return 0.5 * (1 + torch.cos(math.pi * place))

    generated = generated.float()
    return generated + zero_phase(low.float() - generated, gains)


def replace_stft(
    generated: Tensor, low: Tensor, cutoff_bin: Tensor | int, *, match_level: bool = True
) -> Tensor:
    """Replace STFT bins below a cutoff by the input's (AudioSR release, ddpm.py and utils.py).

    Centred Hann frames of 2048 at hops of 512, zeros beyond the ends. A hard edge, kept for
    comparison with the release; `crossover` is what restoring uses.

    Args:
        generated: waveforms (B, 1, T).
        low: the band-limited input (B, 1, S); what it lacks in length stays generated.
        cutoff_bin: first bin that stays generated, one or (B,), below 1025.
        match_level: divide the input by the ratio of both magnitudes at that bin, kept within 0.8
            to 1.2, as the release does; False leaves its level alone.

    Returns:
        Waveforms (B, 1, T), float32.
    """
    length = generated.shape[-1]
    window = torch.hann_window(2048, device=generated.device)

    def transform(wave: Tensor) -> Tensor:
        mono = rearrange(wave.float(), "b 1 t -> b t")
        return torch.stft(mono, 2048, 512, window=window, pad_mode="constant", return_complex=True)

    above, below = transform(generated), transform(low[..., :length])
    below = F.pad(below, (0, above.shape[-1] - below.shape[-1]))
    bins = torch.arange(1025, device=generated.device)[:, None]
    cutoff = torch.as_tensor(cutoff_bin, device=generated.device).reshape(-1, 1, 1)
    if match_level:
        at_cutoff = bins == cutoff
        ratio = [(x.abs() * at_cutoff).sum((1, 2), keepdim=True) for x in (below, above)]
        below = below / (ratio[0] / ratio[1]).nan_to_num(nan=1.0).clamp(0.8, 1.2)
    frames = torch.arange(above.shape[-1], device=generated.device)
    kept = (bins < cutoff) & (frames <= low.shape[-1] // 512)
    joined = torch.where(kept, below, above)
    wave = torch.istft(joined, 2048, 512, window=window, length=length)
    return rearrange(wave, "b t -> b 1 t")
