"""Which random numbers belong to a clip, whatever rank, batch or part of a batch it is in?"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any
from zlib import crc32

import numpy as np
import torch
from torch import Tensor

POSTERIOR, NOISE, START, CONDITION, TIMES, DROPOUT = range(2001, 2007)
"""Purposes, each a stream of its own in the seed of a generator."""


def generator_key(*stream: int) -> int:
    """A key for a generator that differs from that of every other `stream` of numbers."""
    return int(np.random.SeedSequence(stream).generate_state(1, np.uint64)[0] >> np.uint64(1))


@dataclass(frozen=True, eq=False)
class ClipDraws:
    """The random numbers of B clips, each drawn by the seeds of its clip alone.

    Attributes:
        seeds: of every clip.
        places: of every clip, in [0, 1): where in a stratum its times lie, `(B,)`.
    """

    seeds: tuple[tuple[int, ...], ...]
    places: Tensor

    def __len__(self) -> int:
        return len(self.seeds)

    def normal(self, *shape: int, purpose: int) -> Tensor:
        """Standard normal numbers `(B, *shape)`."""
        return torch.stack([torch.randn(shape, **draw) for draw in self._each(purpose)])

    def uniform(self, *shape: int, purpose: int) -> Tensor:
        """Numbers `(B, *shape)` in [0, 1)."""
        return torch.stack([torch.rand(shape, **draw) for draw in self._each(purpose)])

    def times(self, count: int, total: int) -> Tensor:
        """`count` integer times in [0, total) for every clip, `(B, count)`, stratified.

        Kingma et al., arXiv 2107.00630, I.1: `count` strata, in each of which the places of the
        clips are spread evenly.
        """
        strata = torch.arange(count, device=self.places.device)
        times = (strata + self.places[:, None]) / count * total
        return times.long().clamp_max(total - 1)

    def part(self, clips: slice) -> "ClipDraws":
        """Those of some of the clips."""
        return ClipDraws(self.seeds[clips], self.places[clips])

    def _each(self, purpose: int) -> Iterator[dict[str, Any]]:
        generator = torch.Generator(self.places.device)
        for seeds in self.seeds:
            generator.manual_seed(generator_key(*seeds, purpose))
            yield {"generator": generator, "device": generator.device}


def draws_of_step(
    count: int, *, seed: int, step: int, rank: int, ranks: int, device: torch.device
) -> ClipDraws:
    """Those of the `count` clips that a rank has in a training step.

    A clip is numbered as `audiosr.data.batches` numbers it. All clips of the step share the one
    offset of their places, so that these are spread over all ranks.
    """
    before, total = rank * count, ranks * count
    offset = float(np.random.default_rng([seed, step, TIMES]).random())
    places = (torch.arange(before, before + count, device=device) + offset) / total
    first = step * total + before
    return ClipDraws(tuple((seed, first + i) for i in range(count)), places)


def draws_of_names(domains: Sequence[str], keys: Sequence[str], device: torch.device) -> ClipDraws:
    """Those of clips that are to have the same ones always, such as those of validation."""
    seeds = tuple(
        (crc32(f"{domain}/{key}".encode()),) for domain, key in zip(domains, keys, strict=True)
    )
    places = [float(np.random.default_rng([*clip, TIMES]).random()) for clip in seeds]
    return ClipDraws(seeds, torch.tensor(places, device=device))
