"""How does a waveform pass through the networks and keep length, level, channels and low band?"""

from collections.abc import Callable
from dataclasses import replace
from typing import Any, TypeVar, cast

import numpy as np
import torch
import torch.nn.functional as F
from einops import rearrange
from numpy.typing import NDArray
from torch import Tensor

from audiosr.audio import io
from audiosr.audio.cutoff import effective_bandwidth
from audiosr.audio.lowpass import Lowpass, apply
from audiosr.audio.replace import crossover, replace_mel
from audiosr.diffusion.guidance import guided
from audiosr.errors import AudioFileError, UsageError
from audiosr.model import Model
from audiosr.restore.settings import SAMPLERS, SPACINGS, RestoreSettings

Wave = TypeVar("Wave", NDArray[np.floating], Tensor)

MAX_SECONDS = 60
"""Longest recording, and the most seconds over all channels that are in the networks at once."""

FRAMES_MULTIPLE = 64
"""Log-mel frames are a multiple of this: 8 of the autoencoder times 8 of the released U-Net."""

PEAK = 0.5
"""Peak that the networks are trained on (AudioSR release, utils.py, normalize_wav)."""

LEAST_CUTOFF_HZ = 1000.0
"""A measured edge below this, of a bass note or a hum, is taken as this: it is no cut."""

FULL_BAND = 0.95
"""From this part of the Nyquist frequency on, nothing is missing."""


class Restorer:
    """A model ready to restore recordings.

    Args:
        model: autoencoder, denoiser and vocoder, on the device that is to be used.
        dtype: precision of the networks, `torch.float32` or `torch.bfloat16` (by autocast);
            spectra, crossover and the sampler's state stay in float32.
        settings: defaults of every call.
    """

    def __init__(
        self,
        model: Model,
        *,
        dtype: torch.dtype = torch.float32,
        settings: RestoreSettings | None = None,
    ) -> None:
        model.need("autoencoder", "denoiser", "vocoder")
        self.model = model
        self.dtype = dtype
        self.settings = settings or RestoreSettings()
        self.device = model.alphas_cumprod.device

    @property
    def rate(self) -> int:
        """Sampling rate of everything that is returned, in Hz."""
        return self.model.features.rate

    def restore(
        self,
        wave: Wave,
        rate: int,
        *,
        settings: RestoreSettings | None = None,
        on_step: Callable[[float], None] | None = None,
        **options: Any,
    ) -> Wave:
        """Restore the band above the cutoff.

        Below the cutoff the result is the input. All channels start from the same noise, so that a
        stereo image stays where it is. A recording that reaches the Nyquist frequency of the
        result, and silence, come back as they are, at the new rate.

        Args:
            wave: `(channels, samples)` or `(samples,)`, numpy or torch, floating point with full
                scale 1.0, up to `MAX_SECONDS`.
            rate: its sampling rate in Hz, 4 to 192 kHz.
            settings: how; default are those of this restorer.
            on_step: called with the finished part of the work, up to 1.0.
            options: fields of `RestoreSettings` that differ from `settings`.

        Returns:
            The same kind of array, float32, at `self.rate`, of
            `round(samples * self.rate / rate)` samples; may exceed full scale where the input
            nearly did.

        Raises:
            UsageError: an array or a setting that cannot be used.
            AudioFileError: no samples, NaN or infinite samples, or too long.
        """
        settings = replace(settings or self.settings, **options)
        samples = _checked(wave, rate)
        mean = _mean(samples)
        centred = samples - mean
        level = np.abs(centred).max(axis=1, keepdims=True)
        # What the subtraction of a constant leaves is rounding, not sound.
        least = np.maximum(1e-6 * np.abs(samples).max(axis=1, keepdims=True), 1e-30)
        sounding = (level > least)[:, 0]
        out = samples.copy()
        if rate != self.rate:
            out = io.resample(centred, rate, self.rate) + mean
        if sounding.any():
            level = level[sounding]
            normal = centred[sounding] * (PEAK / level)
            cutoff_hz = min(settings.cutoff_hz or find_cutoff(samples, rate), rate / 2)
            if cutoff_hz < self.full_band_hz(settings):
                full = self._extend(
                    io.resample(normal, rate, self.rate), cutoff_hz, settings, on_step
                )
                out[sounding] = full * (level / PEAK) + mean[sounding]
        if isinstance(wave, Tensor):
            return torch.from_numpy(out.reshape(*wave.shape[:-1], -1)).to(wave.device)
        return cast(Wave, out.reshape(*wave.shape[:-1], -1))

    def full_band_hz(self, settings: RestoreSettings) -> float:
        """The cutoff in Hz from which on nothing is missing."""
        limit = settings.output_bandwidth_hz
        return FULL_BAND * min(self.rate / 2, self.rate / 2 if limit is None else limit)

    @torch.inference_mode()
    def _extend(
        self,
        wave: NDArray[np.float32],
        cutoff_hz: float,
        settings: RestoreSettings,
        on_step: Callable[[float], None] | None,
    ) -> NDArray[np.float32]:
        """Fill `wave (C, T)`, at the model's rate, above the cutoff; some channels at a time."""
        group = max(1, int(MAX_SECONDS * self.rate / wave.shape[1]))
        starts = range(0, len(wave), group)
        parts = []
        for done, start in enumerate(starts):
            part = rearrange(torch.from_numpy(wave[start : start + group]), "c t -> c 1 t")

            def step(index: int, *_: object, done: int = done) -> None:
                if on_step is not None:
                    on_step((done + (index + 1) / settings.steps) / len(starts))

            parts.append(self._batch(part.to(self.device), cutoff_hz, settings, step).cpu())
        return rearrange(torch.cat(parts), "c 1 t -> c t").numpy()

    def _batch(
        self,
        wave: Tensor,
        cutoff_hz: float,
        settings: RestoreSettings,
        step: Callable[..., None],
    ) -> Tensor:
        """The way of the data, for `wave (B, 1, T)`: low band, condition, latent, log-mel, wave."""
        model = self.model
        cutoffs = torch.full((len(wave),), cutoff_hz, device=self.device)
        prefilter = Lowpass(settings.prefilter, cutoff_hz, settings.prefilter_order)
        low = apply(self._padded(wave), [prefilter] * len(wave), self.rate)
        low_mel = model.log_mel(low)
        with torch.autocast(self.device.type, self.dtype, enabled=self.dtype != torch.float32):
            condition = model.encode(low_mel).float()
            latent = self._sample(condition, settings, step)
            mel = model.decode(latent).float()
            mel = replace_mel(mel, low_mel, cutoffs, model.features)
            assert model.vocoder is not None
            generated = model.vocoder(mel).float()[..., : wave.shape[-1]]
        if settings.output_bandwidth_hz is not None:
            limit = Lowpass("butter", min(settings.output_bandwidth_hz, self.rate / 2), 8)
            generated = apply(generated, [limit] * len(wave), self.rate)
        return crossover(wave, generated, cutoffs, self.rate)

    def _sample(
        self, condition: Tensor, settings: RestoreSettings, step: Callable[..., None]
    ) -> Tensor:
        """Draw the latent `(B, C, t, f)` that belongs to the condition."""
        model = self.model
        generator = torch.Generator().manual_seed(settings.seed)

        def shared(x: Tensor) -> Tensor:
            one = torch.randn(1, *x.shape[1:], generator=generator)
            return one.to(x.device).expand_as(x)

        assert model.denoiser is not None
        null = model.null_condition(condition)
        return SAMPLERS[settings.sampler](
            guided(model.denoiser, condition, null, settings.guidance),
            shared(condition),
            SPACINGS[settings.spacing](settings.steps, len(model.alphas_cumprod)),
            model.alphas_cumprod,
            noise=shared,
            callback=step,
            **({"eta": settings.eta} if settings.eta else {}),
        )

    def _padded(self, wave: Tensor) -> Tensor:
        """Continue `wave (B, 1, T)` to whole blocks of frames, by mirroring it as often as needed.

        A mirrored end sounds like the recording itself, where zeros would look like a stop.
        """
        block = FRAMES_MULTIPLE * self.model.features.hop
        missing = -wave.shape[-1] % block
        while missing > 0 and wave.shape[-1] > 1:
            some = min(missing, wave.shape[-1] - 1)
            wave = F.pad(wave, (0, some), mode="reflect")
            missing -= some
        return F.pad(wave, (0, missing), mode="replicate")


def find_cutoff(wave: NDArray[np.float32], rate: int) -> float:
    """The frequency in Hz up to which `wave (C, T)` holds something, at least `LEAST_CUTOFF_HZ`.

    Independent of the level of the recording and of a constant in it.
    """
    centred = wave - _mean(wave)
    peak = np.abs(centred).max()
    if peak < 1e-30:
        return LEAST_CUTOFF_HZ
    return max(LEAST_CUTOFF_HZ, effective_bandwidth(centred * (PEAK / peak), rate))


def _mean(wave: NDArray[np.float32]) -> NDArray[np.float32]:
    """Mean per channel `(C, 1)`, summed in float64."""
    return wave.mean(axis=1, keepdims=True, dtype=np.float64).astype(np.float32)


def _checked(wave: NDArray[np.floating] | Tensor, rate: int) -> NDArray[np.float32]:
    """`wave` as numpy `(C, T)`, float32, or the sentence that says what is wrong with it."""
    array = wave.detach().cpu().float().numpy() if isinstance(wave, Tensor) else np.asarray(wave)
    if array.ndim not in (1, 2) or not np.issubdtype(array.dtype, np.floating):
        raise UsageError(
            f"cannot restore an array of shape {array.shape} and type {array.dtype}: give floating-"
            "point samples, full scale 1.0, as (channels, samples) or (samples,)"
        )
    array = np.atleast_2d(array).astype(np.float32, copy=False)
    low, high = io.RATES
    if not low <= rate <= high:
        raise UsageError(f"rate={rate}: recordings of {low} to {high} Hz can be restored")
    if not 1 <= len(array) <= io.CHANNELS:
        raise UsageError(f"{len(array)} channels: 1 to {io.CHANNELS}, as (channels, samples)")
    if array.shape[1] == 0:
        raise AudioFileError("the recording holds no samples: there is nothing to restore")
    if not np.isfinite(array).all():
        raise AudioFileError("the recording holds NaN or infinite samples: export it again")
    seconds = array.shape[1] / rate
    if seconds > MAX_SECONDS:
        raise AudioFileError(
            f"the recording is {seconds:.1f} s long: up to {MAX_SECONDS} s can be restored at "
            "once, cut it into parts"
        )
    return array
