"""How does a waveform pass through the networks and keep length, level, channels and low band?"""

import math
from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any, TypeVar, cast

import numpy as np
import torch
from einops import rearrange
from numpy.typing import NDArray
from torch import Tensor

from audiosr.audio import io
from audiosr.audio.edge import FULL, Edge
from audiosr.diffusion.samplers import Noise
from audiosr.errors import AudioFileError, UsageError
from audiosr.model import Model
from audiosr.restore import steps
from audiosr.restore.chain import RestoreChain, Watch, shared_noise
from audiosr.restore.edges import channel_edges
from audiosr.restore.follow import Stretch, fade_weights, follow_channels
from audiosr.restore.samples import mean, polarity_of
from audiosr.restore.settings import RestoreSettings, load_profile

_Wave = TypeVar("_Wave", NDArray[np.floating], Tensor)

MAX_SECONDS = 60
"""Longest recording, and the most seconds over all channels that are in the networks at once."""

FADE_SECONDS, AROUND_SECONDS = 0.1, 1.0
"""Length of the cross-fade where an edge changes, and what is restored beyond it."""


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
        self.settings = settings or load_profile()
        self.device = model.alphas_cumprod.device

    @property
    def rate(self) -> int:
        """Sampling rate of everything that is returned, in Hz."""
        return self.model.features.rate

    def restore(
        self,
        wave: _Wave,
        rate: int,
        *,
        settings: RestoreSettings | None = None,
        profile: str | None = None,
        stretches: Sequence[Stretch] | None = None,
        noise: Noise | None = None,
        on_step: Callable[[float], None] | None = None,
        watch: Watch | None = None,
        **options: Any,
    ) -> _Wave:
        """Restore the band above the cutoff.

        Below the cutoff the result is the input. All channels start from the same noise, so that a
        stereo image stays where it is. Channels that surely reach the Nyquist frequency of the
        result, and silent ones, come back as they are, at the new rate.

        Args:
            wave: `(channels, samples)` or `(samples,)`, numpy or torch, floating point with full
                scale 1.0, up to `MAX_SECONDS`.
            rate: its sampling rate in Hz, 4 to 192 kHz.
            settings: how; default are those of this restorer.
            profile: "paper" or "released", in the place of `settings`.
            stretches: what `self.stretches` said of this recording, where it has been asked before.
            noise: source of every draw in the place of the seed, see `Chain`.
            on_step: called with the finished part of the work, up to 1.0.
            watch: sees what lies between input and result, see `Chain`.
            options: fields of `RestoreSettings` that differ from `settings` or the profile.

        Returns:
            The same kind of array, float32, at `self.rate`, of
            `round(samples * self.rate / rate)` samples; may exceed full scale where the input
            nearly did. The released profile has a level, a length and one channel of its own.

        Raises:
            UsageError: an array or a setting that cannot be used.
            AudioFileError: no samples, NaN or infinite samples, or too long.
        """
        if settings is not None and profile is not None:
            raise UsageError("both settings and a profile: give one of them")
        if profile is None:
            settings = replace(settings or self.settings, **options)
        else:
            settings = load_profile(profile, **options)
        samples = _checked(wave, rate)[steps.CHANNEL_CHOICES[settings.channels]]
        out = steps.RESAMPLER_CHOICES[settings.resampler](samples, rate, self.rate)
        if (sounding := _sounding(samples)).any():
            out = self._filled_along_time(
                out,
                stretches or self.stretches(samples, rate, settings),
                sounding,
                settings,
                noise=noise,
                on_step=on_step or _unheard,
                watch=watch or _unheard,
            )
        out = out[0] if wave.ndim == 1 else out
        if isinstance(wave, Tensor):
            return torch.from_numpy(out).to(wave.device)
        return cast(_Wave, out)

    def cutoff_hz(self, wave: NDArray[np.float32], rate: int, settings: RestoreSettings) -> float:
        """The frequency in Hz up to which the widest channel of `wave (C, T)` is kept."""
        return max(edge.hz for edge in self.edges(wave, rate, settings))

    def edges(self, wave: NDArray[np.float32], rate: int, settings: RestoreSettings) -> list[Edge]:
        """Up to where each restored channel of `wave (C, T)` is kept: as given, or as measured.

        Measured by `cutoff="edge"` each channel has an edge of its own. What is given is sure;
        how sure the other rules are is not known, and nan.
        """
        wave = wave[steps.CHANNEL_CHOICES[settings.channels]]
        if settings.cutoff_hz is None and settings.cutoff == "edge":
            return channel_edges(wave, rate)
        if settings.cutoff_hz is not None:
            edge = Edge(settings.cutoff_hz, 1.0)
        else:
            edge = Edge(steps.CUTOFFS[settings.cutoff](wave, rate), math.nan)
        # The release takes 24 kHz for "nothing to filter", whatever the rate of the recording.
        if settings.cutoff != "released":
            edge = replace(edge, hz=min(edge.hz, rate / 2))
        return [edge] * len(wave)

    def stretches(
        self, wave: NDArray[np.float32], rate: int, settings: RestoreSettings
    ) -> list[Stretch]:
        """The parts of `wave (C, T)` with the edges of each: one, unless edges are followed."""
        if settings.follow_edge:
            return follow_channels(wave[steps.CHANNEL_CHOICES[settings.channels]], rate)
        return [Stretch(0.0, wave.shape[1] / rate, self.edges(wave, rate, settings))]

    def full_band_hz(self, settings: RestoreSettings) -> float:
        """The cutoff in Hz from which on nothing is missing, so that the recording stays."""
        if settings.full_band == "restore":
            return math.inf
        limit = settings.output_bandwidth_hz
        return FULL * min(self.rate / 2, self.rate / 2 if limit is None else limit)

    def _lacking(
        self, edges: Sequence[Edge], sounding: NDArray[np.bool_], settings: RestoreSettings
    ) -> dict[float, list[int]]:
        """The channels that are to be filled, by their cutoff in Hz."""
        groups: dict[float, list[int]] = {}
        for channel, edge in enumerate(edges):
            if sounding[channel] and edge.hz < self.full_band_hz(settings):
                groups.setdefault(edge.hz, []).append(channel)
        return groups

    def _filled_along_time(
        self,
        wave: NDArray[np.float32],
        stretches: Sequence[Stretch],
        sounding: NDArray[np.bool_],
        settings: RestoreSettings,
        *,
        on_step: Callable[[float], None],
        **heard: Any,
    ) -> NDArray[np.float32]:
        """`wave (C, T)` with each stretch filled above its own edges, cross-faded at the changes.

        A stretch is filled with some of its surroundings, so that the fade joins finished sound.
        """
        if len(stretches) == 1:
            groups = self._lacking(stretches[0].edges, sounding, settings)
            return self._filled(wave, groups, settings, on_step=on_step, **heard)
        out = np.zeros_like(wave)
        weights = fade_weights(stretches, wave.shape[1], self.rate, FADE_SECONDS)
        for done, (stretch, weight) in enumerate(zip(stretches, weights, strict=True)):
            first = max(0, round((stretch.start - AROUND_SECONDS) * self.rate))
            part = slice(first, round((stretch.end + AROUND_SECONDS) * self.rate))
            filled = self._filled(
                wave[:, part],
                self._lacking(stretch.edges, sounding & _sounding(wave[:, part]), settings),
                settings,
                on_step=lambda share, done=done: on_step((done + share) / len(stretches)),
                **heard,
            )
            out[:, part] += weight[part] * filled
        return out

    def _filled(
        self,
        wave: NDArray[np.float32],
        groups: dict[float, list[int]],
        settings: RestoreSettings,
        *,
        noise: Noise | None,
        on_step: Callable[[float], None],
        watch: Watch,
    ) -> NDArray[np.float32]:
        """`wave (C, T)` with each group of channels filled above its cutoff, the others as is."""
        if not groups:
            return wave
        filled = sorted(channel for channels in groups.values() for channel in channels)
        polarity = torch.ones(len(wave), 1)
        polarity[filled] = polarity_of(torch.from_numpy(wave[filled]))
        for done, (cutoff_hz, channels) in enumerate(groups.items()):
            normal, undo = steps.LEVELS[settings.level](torch.from_numpy(wave[channels]))
            full = self._extend(
                polarity[channels] * normal,
                cutoff_hz,
                settings,
                noise=noise,
                on_step=lambda part, done=done: on_step((done + part) / len(groups)),
                watch=watch,
            )
            wave = np.pad(wave, ((0, 0), (0, full.shape[1] - wave.shape[1])))
            wave[channels] = undo(polarity[channels] * full).numpy()
        return wave

    @torch.inference_mode()
    def _extend(
        self,
        wave: Tensor,
        cutoff_hz: float,
        settings: RestoreSettings,
        *,
        noise: Noise | None,
        on_step: Callable[[float], None],
        watch: Watch,
    ) -> Tensor:
        """Fill `wave (C, T)`, at the model's rate, above the cutoff; some channels at a time."""
        groups = wave.split(max(1, int(MAX_SECONDS * self.rate / wave.shape[1])))
        parts = []
        for done, part in enumerate(groups):
            chain = RestoreChain(
                self.model,
                self.dtype,
                settings,
                cutoff_hz,
                noise=noise or shared_noise(settings.seed),
                on_step=lambda share, done=done: on_step((done + share) / len(groups)),
                watch=watch,
            )
            parts.append(chain(rearrange(part, "c t -> c 1 t").to(self.device)).cpu())
        return rearrange(torch.cat(parts), "c 1 t -> c t")


def _unheard(*_: object) -> None:
    """Takes the place of a callback that nobody gave."""


def _sounding(wave: NDArray[np.float32]) -> NDArray[np.bool_]:
    """Which channels of `wave (C, T)` hold more than a constant, `(C,)`.

    What the subtraction of a constant leaves is rounding, not sound.
    """
    level = np.abs(wave - mean(wave)).max(axis=1)
    return level > np.maximum(1e-6 * np.abs(wave).max(axis=1), 1e-30)


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
