"""How much sound is missing between the pieces of a track, by the times that they carry?

A time may be off for itself: clocks of live recordings are, some formats round. Sound is missing
where two pieces on each side agree that it is.
"""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from itertools import chain

import numpy as np
from numpy.typing import NDArray


@dataclass(frozen=True)
class Piece:
    """The samples of one frame (C, n), float32, full scale 1.0."""

    rate: int
    wave: NDArray[np.float32]

    @property
    def seconds(self) -> float:
        """How long it is."""
        return self.wave.shape[1] / self.rate

    def silence(self, seconds: float) -> "Piece":
        """A silent piece of the same kind."""
        samples = round(seconds * self.rate)
        return Piece(self.rate, np.zeros((len(self.wave), samples), np.float32))


@dataclass(frozen=True)
class Find:
    """What a track holds next: a piece, or a packet that is broken."""

    piece: Piece | None
    """None of what is broken."""
    starts: float | None = None
    """Second at which the piece belongs by its own account; None where it has none."""
    silent: bool = False
    """Whether what is broken gave no piece at all."""


def gaps_before(finds: Iterable[Find]) -> Iterator[tuple[Find, float]]:
    """Each find, and the seconds that are missing before it; below 0 where time goes back."""
    # Of a piece: by how much its time is ahead of the sound that came before it.
    ahead: list[float] = []
    count = 0.0
    held: list[Find] = []
    for find in chain(finds, (None,)):
        if find is not None and find.piece is not None:
            last = ahead[-1] if ahead else 0.0
            now = last if find.starts is None else find.starts - count
            count += find.piece.seconds
            ahead.append(now)
        elif find is not None:
            held.append(find)
            continue
        else:
            ahead.extend(ahead[-1:])
        yield from _released(held, ahead)
        ahead = ahead[-3:]
        held = [] if find is None else [find]


def _released(held: list[Find], ahead: list[float]) -> Iterator[tuple[Find, float]]:
    for find in held:
        known = find.piece is not None and len(ahead) > 2
        yield find, min(ahead[-2:]) - max(ahead[-4:-2]) if known else 0.0
