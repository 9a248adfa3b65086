"""What is a degradation, and how do the clips of a batch get their degraded twins?"""

from collections.abc import Sequence
from typing import Any, NamedTuple, Protocol

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.utils.data import default_collate


class Degraded(NamedTuple):
    """What became of a clip."""

    wave: NDArray[np.float32]
    """Band-limited (T,), in time with the original."""
    cutoff_hz: float
    """Up to where it still holds its content, in Hz."""
    chain: str
    """What was done to it, such as "cheby1 8 4000 Hz" or "mp3 64 kbit/s"."""
    target: NDArray[np.float32] | None = None
    """What a model should make of it (T,), where that is not the clip itself."""


class Degradation(Protocol):
    """Takes the highs from one clip; what it does is drawn from the generator alone."""

    def __call__(self, wave: NDArray[np.float32], generator: np.random.Generator) -> Degraded:
        """The twin of `wave (T,)` at full scale 1.0."""
        ...


def degrade_batch(
    waveform: Tensor, degrade: Degradation, seeds: Sequence[Sequence[int]]
) -> dict[str, Any]:
    """Twins of waveforms (B, 1, T) on the CPU, each drawn by a seed of its own.

    Returns:
        `degraded (B, 1, T)` and `cutoff_hz (B,)`, float32, `chain`, B strings, and `waveform`
        in the place of the given one where a degradation has targets of its own.
    """
    twins = [
        degrade(wave, np.random.default_rng(seed))
        for wave, seed in zip(waveform[:, 0].numpy(), seeds, strict=True)
    ]
    batch: dict[str, Any] = {
        "degraded": default_collate([torch.from_numpy(twin.wave) for twin in twins])[:, None],
        "cutoff_hz": torch.tensor([twin.cutoff_hz for twin in twins], dtype=torch.float32),
        "chain": [twin.chain for twin in twins],
    }
    if any(twin.target is not None for twin in twins):
        targets = [
            wave if twin.target is None else torch.from_numpy(twin.target)
            for wave, twin in zip(waveform[:, 0], twins, strict=True)
        ]
        batch["waveform"] = default_collate(targets)[:, None]
    return batch
