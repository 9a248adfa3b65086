"""Which steps is a restoration put together from? Each table holds the choices of one setting.

`docs/inference.md` says which of them are the release's, and what is wrong with those.
"""

from collections.abc import Callable, Mapping
from importlib import import_module
from typing import Literal, TypeAlias

import torch.nn.functional as F
from torch import Tensor

from audiosr.audio import released
from audiosr.audio.lowpass import Family, Lowpass, apply_lowpass
from audiosr.audio.mel import MelSettings
from audiosr.audio.replace import crossover, replace_mel
from audiosr.diffusion.samplers import Noise, ddim, dpm_solver_pp_2m, dpm_solver_pp_3m, heun
from audiosr.diffusion.schedule import released_timesteps, trailing_timesteps
from audiosr.errors import UsageError
from audiosr.networks.gaussian import DiagonalGaussian
from audiosr.networks.hifigan import HiFiGAN, Timing
from audiosr.networks.roles import VocoderRole
from audiosr.restore.edges import edge, paper_rolloff, released_cutoff
from audiosr.restore.samples import (
    Samples,
    Undo,
    keep_level,
    pad_mirror,
    pad_zeros,
    peak_level,
    resample_sinc,
    resample_soxr,
)

FilterChoice: TypeAlias = Family | Literal["seeded"]

Cutoffs: TypeAlias = Tensor | float
"""A frequency in Hz, or one per row `(B,)`."""

RELEASED_DELAY = 16
"""Samples by which the released vocoder is late, and longer than its log-mel."""


def filter_once(wave: Tensor, filter: Lowpass, rate: int) -> Tensor:
    """One forward-backward pass over `wave (B, 1, T)`."""
    return apply_lowpass(wave, [filter] * len(wave), rate)


def filter_twice(wave: Tensor, filter: Lowpass, rate: int) -> Tensor:
    """The release's chain of two such filters and a resampling between, over `wave (B, 1, T)`."""
    return released.lowpass_chain(
        wave, cutoff_hz=filter.cutoff_hz, order=filter.order, family=filter.family, rate=rate
    )


def family(choice: FilterChoice, seed: int) -> Family:
    """The family of the pre-filter: the one chosen, or for "seeded" the one of the seed."""
    return released.family_for_seed(seed) if choice == "seeded" else choice


def mode(posterior: DiagonalGaussian, draw: Noise) -> Tensor:
    """The condition's most likely latent."""
    return posterior.mode()


def sample(posterior: DiagonalGaussian, draw: Noise) -> Tensor:
    """A drawn latent.

    The release first encodes and samples the unfiltered input too, of which it needs the length
    alone: the noise of that is drawn, so that a seed means the same.
    """
    draw(posterior.mean)
    return posterior.mean + posterior.std * draw(posterior.mean)


def find_sampler(name: str) -> Callable[..., Tensor]:
    """The sampler that `name` means: one of `SAMPLERS`, or `MODULE.FUNCTION` of the user's own.

    Raises:
        UsageError: there is no such function.
    """
    if name in SAMPLERS:
        return SAMPLERS[name]
    module, _, function = str(name).rpartition(".")
    try:
        return getattr(import_module(module), function)
    except (ImportError, AttributeError, ValueError) as error:
        reason = f" ({error})" if module else ""
        raise UsageError(
            f"sampler={name}: choose one of {', '.join(SAMPLERS)}, or a MODULE.FUNCTION of your "
            f"own, its folder in PYTHONPATH{reason}"
        ) from error


def mel_by_energy(generated: Tensor, low: Tensor, *_: object) -> Tensor:
    """Bands from the input as far as the release finds its energy to reach."""
    return released.replace_mel_bins(generated, low)


def as_generated(generated: Tensor, *_: object) -> Tensor:
    """All of the log-mel or the waveform as it was generated, below the cutoff too."""
    return generated


def vocode(vocoder: VocoderRole, mel: Tensor, timing: Timing) -> Tensor:
    """Waveform `(B, 1, 480 T)`, or late and longer by 16 samples for the released timing."""
    if isinstance(vocoder, HiFiGAN):
        return vocoder(mel, timing)
    return F.pad(vocoder(mel), (RELEASED_DELAY if timing == "released" else 0, 0))


def splice_crossover(
    generated: Tensor, wave: Tensor, low: Tensor, cutoff_hz: Cutoffs, rate: int
) -> Tensor:
    """The input `wave` below the cutoff, a smooth transition above it."""
    return crossover(wave, generated, cutoff_hz, rate)


def splice_stft(generated: Tensor, wave: Tensor, low: Tensor, *_: object) -> Tensor:
    """The filtered input `low` in the STFT bins that the release finds, a hard edge."""
    return released.postprocess(generated, low, match_level=False)


def splice_stft_matched(generated: Tensor, wave: Tensor, low: Tensor, *_: object) -> Tensor:
    """The same, with the input's level changed towards what was generated."""
    return released.postprocess(generated, low)


CHANNEL_CHOICES: Mapping[str, slice] = {
    "all": slice(None),
    "mid_side": slice(None),
    "first": slice(1),
}
RESAMPLER_CHOICES: Mapping[str, Callable[[Samples, int, int], Samples]] = {
    "soxr": resample_soxr,
    "sinc": resample_sinc,
}
LEVELS: Mapping[str, Callable[[Tensor], tuple[Tensor, Undo]]] = {
    "keep": keep_level,
    "peak": peak_level,
}
PADDINGS: Mapping[str, Callable[[Tensor, int], Tensor]] = {
    "mirror": pad_mirror,
    "zeros": pad_zeros,
}
LENGTHS = ("exact", "padded")
CUTOFFS: Mapping[str, Callable[[Samples, int], float]] = {
    "edge": edge,
    "rolloff": paper_rolloff,
    "released": released_cutoff,
}
FULL_BANDS = ("keep", "restore")
FILTERINGS: Mapping[str, Callable[[Tensor, Lowpass, int], Tensor]] = {
    "once": filter_once,
    "twice": filter_twice,
}
CONDITIONINGS: Mapping[str, Callable[[DiagonalGaussian, Noise], Tensor]] = {
    "mode": mode,
    "sample": sample,
}
SAMPLERS: Mapping[str, Callable[..., Tensor]] = {
    "dpm_solver_pp_2m": dpm_solver_pp_2m,
    "dpm_solver_pp_3m": dpm_solver_pp_3m,
    "heun": heun,
    "ddim": ddim,
}
SPACINGS: Mapping[str, Callable[[int, int], Tensor]] = {
    "trailing": trailing_timesteps,
    "released": released_timesteps,
}
LAST_STEPS = ("clean", "noisy")
NOISE_FLOORS = ("continue", "none")
MEL_REPLACEMENTS: Mapping[str, Callable[[Tensor, Tensor, Cutoffs, MelSettings], Tensor]] = {
    "cutoff": replace_mel,
    "energy": mel_by_energy,
    "none": as_generated,
}
TIMINGS = ("aligned", "released")
SPLICES: Mapping[str, Callable[[Tensor, Tensor, Tensor, Cutoffs, int], Tensor]] = {
    "crossover": splice_crossover,
    "stft": splice_stft,
    "stft_matched": splice_stft_matched,
    "none": as_generated,
}
