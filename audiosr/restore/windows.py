"""Where along a recording do the networks look, and how are their log-mels joined?"""

import math
from dataclasses import dataclass

import torch
from torch import Tensor

from audiosr.restore.samples import FRAMES_MULTIPLE

LATENT_FRAMES = 8
"""Log-mel frames per frame of the latent."""

FADE_FRAMES = 32
"""Log-mel frames over which two windows are cross-faded, 0.32 s."""

AROUND_FRAMES = 64
"""Log-mel frames on either side of a piece beyond which vocoder and filters are not felt."""


@dataclass(frozen=True)
class Windows:
    """Windows of one length, each of which shares twice the context with the one before.

    All are in samples at the model's rate, and lie on the grid of latent frames.
    """

    first: int
    """Where the first one begins."""
    stop: int
    """Where the last one ends; it may be shorter."""
    length: int
    context: int
    """What is shown to the networks on either side, beyond the middle of a joint."""

    @classmethod
    def over(
        cls, start: int, stop: int, *, seconds: float, context_seconds: float, rate: int, hop: int
    ) -> "Windows":
        """Windows of about these lengths over the samples from `start` to `stop`."""
        grid, block = LATENT_FRAMES * hop, FRAMES_MULTIPLE * hop
        context = grid * math.ceil(context_seconds * rate / grid)
        length = block * max(1, round(seconds * rate / block))
        # What follows a joint, as far as the vocoder sees, is finished with the next window.
        least = 2 * context + (AROUND_FRAMES + FADE_FRAMES) * hop
        length = max(length, block * math.ceil(least / block))
        return cls(start // grid * grid, stop, length, context)

    @property
    def count(self) -> int:
        """How many windows there are."""
        step = self.length - 2 * self.context
        return 1 + max(0, math.ceil((self.stop - self.first - self.length) / step))

    def span(self, index: int) -> tuple[int, int]:
        """First sample of a window, and the one after its last."""
        start = self.first + index * (self.length - 2 * self.context)
        return start, min(start + self.length, self.stop)

    def joint(self, index: int) -> int:
        """Sample in the middle of what a window shares with the next; the end after the last."""
        if index + 1 == self.count:
            return self.stop
        return self.span(index + 1)[0] + self.context


class Rolling:
    """A tensor that grows at one end of its axis `dim` and is forgotten at the other.

    Places are counted from the beginning of the recording, whatever has been forgotten.
    """

    def __init__(self, dim: int, start: int = 0) -> None:
        self.dim, self.start = dim, start
        self._held: Tensor | None = None

    @property
    def stop(self) -> int:
        """The place after the last."""
        return self.start + (0 if self._held is None else self._held.shape[self.dim])

    def append(self, part: Tensor) -> None:
        """Add `part` at the end."""
        held = self._held
        self._held = part if held is None else torch.cat([held, part], self.dim)

    def replace(self, start: int, part: Tensor) -> None:
        """Have `part` from `start` on, in the place of what was there."""
        if self._held is not None:
            self._held = self._held.narrow(self.dim, 0, start - self.start)
        self.append(part)

    def read(self, start: int, stop: int) -> Tensor:
        """What lies from `start` to `stop`."""
        assert self._held is not None
        assert self.start <= start <= stop <= self.stop
        return self._held.narrow(self.dim, start - self.start, stop - start)

    def forget(self, start: int) -> None:
        """Keep nothing before `start`."""
        if self._held is not None and start > self.start:
            self._held = self._held.narrow(self.dim, start - self.start, self.stop - start).clone()
            self.start = start


def cross_fade(before: Tensor, after: Tensor) -> Tensor:
    """From the one to the other log-mel `(B, 1, T, F)` by a raised cosine over their length."""
    frames = before.shape[2]
    place = (torch.arange(frames, device=before.device) + 0.5) / frames
    weight = (0.5 - 0.5 * torch.cos(math.pi * place))[:, None]
    return before + weight * (after - before)
