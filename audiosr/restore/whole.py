"""How is a recording restored that the networks are shown as a whole, as the release does?"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from einops import rearrange
from numpy.typing import NDArray
from torch import Tensor

from audiosr.audio.edge import Edge
from audiosr.diffusion.samplers import Noise
from audiosr.errors import AudioFileError
from audiosr.restore import steps
from audiosr.restore.chain import NetworkChain, RestoreChain, shared_noise
from audiosr.restore.edges import LEAST_EDGE_HZ
from audiosr.restore.samples import Samples, polarity_of
from audiosr.restore.settings import RestoreSettings

MAX_SECONDS = 60
"""Longest such recording, and the most of its channels that are in the networks at once."""


def check_length(seconds: float, settings: RestoreSettings) -> None:
    """Refuse what is too long for settings that need the whole recording.

    Raises:
        AudioFileError: it is.
    """
    if seconds > MAX_SECONDS:
        why = f"with {settings.needs_whole} " if settings.needs_whole else ""
        raise AudioFileError(
            f"the recording is {seconds:.1f} s long: {why}up to {MAX_SECONDS} s can be restored "
            "at once"
        )


@dataclass(frozen=True)
class WholeRestoration:
    """Fills recordings above their edges, all of them at once.

    Attributes:
        networks: their way.
        noise: source of every draw in the place of the seed.
        on_step: called with the finished part of the work, up to 1.0.
    """

    networks: NetworkChain
    noise: Noise | None
    on_step: Callable[[float], None]

    def __call__(
        self,
        wave: Samples,
        rate: int,
        edges: Sequence[Edge],
        sounding: NDArray[np.bool_],
        full_band_hz: float,
    ) -> Samples:
        """`wave (C, T)` at the model's rate, its sounding channels filled above their edges.

        Raises:
            AudioFileError: it is too long.
        """
        settings, rate_out = self.networks.settings, self.networks.model.features.rate
        check_length(wave.shape[1] / rate, settings)
        wave = steps.RESAMPLER_CHOICES[settings.resampler](wave, rate, rate_out)
        groups: dict[float, list[int]] = {}
        for channel, edge in enumerate(edges):
            if sounding[channel] and edge.hz < full_band_hz:
                groups.setdefault(edge.hz or LEAST_EDGE_HZ, []).append(channel)
        filled = sorted(channel for channels in groups.values() for channel in channels)
        if not filled:
            return wave
        polarity = torch.ones(len(wave), 1)
        polarity[filled] = polarity_of(torch.from_numpy(wave[filled]))
        for done, (cutoff_hz, channels) in enumerate(groups.items()):
            normal, undo = steps.LEVELS[settings.level](torch.from_numpy(wave[channels]))
            full = self._extend(
                polarity[channels] * normal,
                cutoff_hz,
                lambda part, done=done: self.on_step((done + part) / len(groups)),
            )
            wave = np.pad(wave, ((0, 0), (0, full.shape[1] - wave.shape[1])))
            wave[channels] = undo(polarity[channels] * full).numpy()
        return wave

    @torch.inference_mode()
    def _extend(self, wave: Tensor, cutoff_hz: float, on_step: Callable[[float], None]) -> Tensor:
        """Fill `wave (C, T)`, at the model's rate, above the cutoff; some channels at a time."""
        model, settings = self.networks.model, self.networks.settings
        most = MAX_SECONDS * model.features.rate
        groups = wave.split(max(1, int(most / wave.shape[1])))
        parts = []
        for done, part in enumerate(groups):
            chain = RestoreChain(
                self.networks,
                cutoff_hz,
                self.noise or shared_noise(settings.seed),
                lambda share, done=done: on_step((done + share) / len(groups)),
            )
            device = model.alphas_cumprod.device
            parts.append(chain(rearrange(part, "c t -> c 1 t").to(device)).cpu())
        return rearrange(torch.cat(parts), "c 1 t -> c t")
