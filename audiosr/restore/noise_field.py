"""Which noise belongs to which place of a recording, whatever the windows that look at it?"""

from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import lru_cache

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

_FRAMES = 64
"""Latent frames that are drawn together."""

_SAMPLES = 48_000


@dataclass(frozen=True)
class NoisePlace:
    """Where a window lies."""

    frame: int
    """Its first latent frame, from the beginning of the recording."""
    field: int = 0
    """Windows with the same number share their noise: the channels of a recording, mostly."""


@dataclass
class FieldNoise:
    """Source of noise `(B, C, t, f)` for windows at some places; each call is another draw."""

    seed: int
    places: Sequence[NoisePlace]
    drawn: int = field(default=0, init=False)

    def __call__(self, x: Tensor) -> Tensor:
        """Standard normal noise of the shape of `x`."""
        _, channels, frames, bands = x.shape
        rows = {
            place: torch.from_numpy(
                latent_noise(self.seed, self.drawn, place, frames, channels, bands)
            )
            for place in dict.fromkeys(self.places)
        }
        self.drawn += 1
        return torch.stack([rows[place] for place in self.places]).to(x.device)


def latent_noise(
    seed: int, draw: int, place: NoisePlace, frames: int, channels: int, bands: int
) -> NDArray[np.float32]:
    """Noise `(channels, frames, bands)` that depends on nothing but seed, draw and position."""
    blocks = range(place.frame // _FRAMES, (place.frame + frames - 1) // _FRAMES + 1)
    shape = (channels, _FRAMES, bands)
    drawn = [_drawn((seed, place.field, draw, block), shape) for block in blocks]
    first = place.frame - blocks.start * _FRAMES
    return np.concatenate(drawn, axis=1)[:, first : first + frames]


def white_noise(seed: int, start: int, stop: int) -> Tensor:
    """White noise `(1, 1, stop - start)` that belongs to these samples of a recording."""
    blocks = range(start // _SAMPLES, max(start, stop - 1) // _SAMPLES + 1)
    drawn = np.concatenate([_drawn((seed, block), (_SAMPLES,)) for block in blocks])
    first = start - blocks.start * _SAMPLES
    return torch.from_numpy(drawn[first : first + stop - start])[None, None]


@lru_cache(maxsize=32)
def _drawn(key: tuple[int, ...], shape: tuple[int, ...]) -> NDArray[np.float32]:
    """Philox's numbers of `key` (Salmon et al. 2011): any block can be drawn by itself."""
    words = [number % 2**64 for number in key]
    generator = np.random.Generator(np.random.Philox(np.random.SeedSequence(words)))
    return generator.standard_normal(shape, np.float32)
