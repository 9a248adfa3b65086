"""How does a recording pass through the networks and keep length, level, channels and low band?"""

import math
from collections.abc import Callable, Iterable, Sequence
from dataclasses import replace
from typing import Any, TypeVar, cast

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from audiosr.audio import io
from audiosr.audio.edge import FULL, Edge
from audiosr.audio.released import PEAK
from audiosr.diffusion.samplers import Noise
from audiosr.errors import AudioFileError, UsageError
from audiosr.model import Model
from audiosr.restore import steps
from audiosr.restore.batches import Batcher, RestoreWork
from audiosr.restore.chain import NetworkChain, Watch, fill_limit_hz
from audiosr.restore.edges import LEAST_EDGE_HZ, channel_edges
from audiosr.restore.follow import Stretch, follow_channels
from audiosr.restore.recording import (
    ArrayRecording,
    FirstChannels,
    MidSide,
    ResampledSource,
    SampleSource,
    excerpt,
)
from audiosr.restore.settings import RestoreSettings, load_profile
from audiosr.restore.stream import Emit, Filling, OnShare, Stream
from audiosr.restore.stretches import Fader
from audiosr.restore.survey import Survey, survey
from audiosr.restore.whole import WholeRestoration

_Wave = TypeVar("_Wave", NDArray[np.floating], Tensor)

BATCH_SECONDS = 20.48
"""Seconds of audio, over all windows and channels, that are in the networks at once."""


class Restorer:
    """A model ready to restore recordings.

    Args:
        model: autoencoder, denoiser and vocoder, on the device that is to be used.
        dtype: precision of the networks, `torch.float32` or `torch.bfloat16` (by autocast);
            spectra, crossover and the sampler's state stay in float32.
        settings: defaults of every call.
        batch_seconds: of audio that are in the networks at once: more is faster on a GPU.
    """

    def __init__(
        self,
        model: Model,
        *,
        dtype: torch.dtype = torch.float32,
        settings: RestoreSettings | None = None,
        batch_seconds: float = BATCH_SECONDS,
    ) -> None:
        model.need("autoencoder", "denoiser", "vocoder")
        self.model = model
        self.dtype = dtype
        self.settings = settings or load_profile()
        self.batch_seconds = batch_seconds
        self.device = model.alphas_cumprod.device
        # What the model cannot do is said before there is a recording.
        NetworkChain(model, dtype, self.settings, _unheard)

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
        noise: Noise | None = None,
        on_step: Callable[[float], None] | None = None,
        watch: Watch | None = None,
        **options: Any,
    ) -> _Wave:
        """Restore the band above the cutoff.

        Below the cutoff the result is the input. All channels start from the same noise, so that a
        stereo image stays where it is, and equal channels come back equal. Channels that surely
        reach the Nyquist frequency of the result, and silent ones, come back as they are, at the
        new rate.

        Args:
            wave: `(channels, samples)` or `(samples,)`, numpy or torch, floating point with full
                scale 1.0, of any length.
            rate: its sampling rate in Hz, 4 to 192 kHz.
            settings: how; default are those of this restorer.
            profile: "paper" or "released", in the place of `settings`.
            noise: source of every draw in the place of the seed, see `NetworkChain.mels`; the
                recording is shown to the networks as a whole.
            on_step: called with the finished part of the work, up to 1.0.
            watch: sees what lies between input and result, see `NetworkChain`.
            options: fields of `RestoreSettings` that differ from `settings` or the profile.

        Returns:
            The same kind of array, float32, at `self.rate`, of
            `round(samples * self.rate / rate)` samples; may exceed full scale where the input
            nearly did. The released profile has a level, a length and one channel of its own.

        Raises:
            UsageError: an array or a setting that cannot be used.
            AudioFileError: no samples, NaN or infinite samples, or too long for the settings.
        """
        if settings is not None and profile is not None:
            raise UsageError("both settings and a profile: give one of them")
        if profile is None:
            settings = replace(settings or self.settings, **options)
        else:
            settings = load_profile(profile, **options)
        samples = _checked(wave, rate)
        networks = NetworkChain(self.model, self.dtype, settings, watch or _unheard)
        if settings.needs_whole or noise is not None:
            recording = ArrayRecording(samples[steps.CHANNEL_CHOICES[settings.channels]], rate)
            whole = WholeRestoration(networks, noise, on_step or _unheard)
            out = whole(
                recording.read(0, recording.samples),
                rate,
                self.stretches(recording, settings)[0].edges,
                survey(recording).sounding,
                self.full_band_hz(settings),
            )
        else:
            parts: list[NDArray[np.float32]] = []
            work = self.work(ArrayRecording(samples, rate), settings, parts.append, on_step)
            self.run([work], settings, watch)
            out = np.concatenate(parts, axis=1) if parts else samples[:, :0]
        out = out[0] if wave.ndim == 1 else out
        if isinstance(wave, Tensor):
            return torch.from_numpy(out).to(wave.device)
        return cast(_Wave, out)

    def work(
        self,
        recording: SampleSource,
        settings: RestoreSettings,
        emit: Emit,
        on_step: OnShare | None = None,
        stretches: Sequence[Stretch] | None = None,
    ) -> RestoreWork:
        """What `run` does to restore a recording of any length in little memory.

        Args:
            recording: at its own rate.
            settings: how; they must not need the whole recording at once.
            emit: takes the result, part by part, `(C, n)` at `self.rate`.
            on_step: as for `restore`.
            stretches: what `self.stretches` said of it, where it has been asked before.
        """
        on_step = on_step or _unheard
        chosen = self.chosen(recording, settings)
        stretches = stretches or self.stretches(recording, settings)
        if isinstance(chosen, MidSide):
            emit = _then(MidSide.undo, emit)
        found = survey(chosen)
        resampler = io.resample if settings.resampler == "soxr" else steps.resample_sinc
        source = ResampledSource(chosen, self.rate, found.mean, resampler)
        fader = Fader([each.start for each in stretches[1:]], source.samples, self.rate, emit)
        for index, stretch in enumerate(stretches):
            yield from Stream(
                self.model,
                settings,
                self._filling(source, found, fader.span(index), stretch, settings),
                self.batch_seconds,
                self.device,
                fader.taker(index),
                lambda share, index=index: on_step((index + share) / len(stretches)),
            ).work()

    def run(
        self, works: Iterable[RestoreWork], settings: RestoreSettings, watch: Watch | None = None
    ) -> None:
        """Do `works`, all of which have these settings, with windows of several in one batch."""
        networks = NetworkChain(self.model, self.dtype, settings, watch or _unheard)
        Batcher(networks, self.batch_seconds, self.device).run(works)

    def chosen(self, recording: SampleSource, settings: RestoreSettings) -> SampleSource:
        """The channels that are restored, as the networks see them."""
        if settings.channels == "mid_side" and recording.channels == 2:
            return MidSide(recording)
        if settings.channels == "first" and recording.channels > 1:
            return FirstChannels(recording, steps.CHANNEL_CHOICES["first"])
        return recording

    def cutoff_hz(self, wave: NDArray[np.float32], rate: int, settings: RestoreSettings) -> float:
        """The frequency in Hz up to which the widest channel of `wave (C, T)` is kept."""
        return max(edge.hz for edge in self.edges(wave, rate, settings)) or LEAST_EDGE_HZ

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

    def stretches(self, recording: SampleSource, settings: RestoreSettings) -> list[Stretch]:
        """The parts of a recording with the edges of each: one, unless edges are followed."""
        recording = self.chosen(recording, settings)
        if settings.follow_edge:
            return follow_channels(recording)
        edges = self.edges(excerpt(recording), recording.rate, settings)
        return [Stretch(0.0, recording.samples / recording.rate, edges)]

    def full_band_hz(self, settings: RestoreSettings) -> float:
        """The cutoff in Hz from which on nothing is missing, so that the recording stays."""
        if settings.full_band == "restore":
            return math.inf
        return FULL * fill_limit_hz(self.model, settings)

    def _filling(
        self,
        source: ResampledSource,
        found: Survey,
        span: tuple[int, int],
        stretch: Stretch,
        settings: RestoreSettings,
    ) -> Filling:
        """What is missing in a part of a recording."""
        missing = {
            channel: edge.hz or LEAST_EDGE_HZ  # what is silent here may sound elsewhere
            for channel, edge in enumerate(stretch.edges)
            if found.sounding[channel] and edge.hz < self.full_band_hz(settings)
        }
        rows = list(missing)
        polarity = found.polarity(rows) if rows else np.ones((0, 1), np.float32)
        gain = polarity * np.float32(PEAK) / found.peak[rows]
        return Filling(
            source=source,
            start=span[0],
            stop=span[1],
            cutoffs=missing,
            constant=torch.from_numpy(found.mean[rows]).to(self.device),
            gain=torch.from_numpy(gain).to(self.device),
            fields=[channel if settings.channels == "mid_side" else 0 for channel in rows],
            quiet_second=found.quiet_second(rows, span[0] / self.rate, span[1] / self.rate),
        )


def _unheard(*_: object) -> None:
    """Takes the place of a callback that nobody gave."""


def _then(change: Callable[[NDArray[np.float32]], NDArray[np.float32]], emit: Emit) -> Emit:
    return lambda wave: emit(change(wave))


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
    return array
