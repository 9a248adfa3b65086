"""Which few shards of a large corpus are open when clip n is drawn?

A corpus that is larger than the disk is walked through by a window. The shards stand in a row, in
a new random order for each pass, each as long as it has clips. A window, so long that it never
touches more than `slots` of them, moves along by one clip for each clip that is drawn; the shard is
that of an even draw from the window. So one shard is exchanged at a time, in each pass each is
drawn from as often as it has clips, and what is open is a function of the number of clips drawn:
nothing remembers a position.
"""

from collections.abc import Sequence
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray


class ShardWindow:
    """The walk through the shards of one domain.

    Args:
        sizes: clips of each shard, at least 1.
        slots: shards that are open at a time.
        seed: of the orders.
    """

    def __init__(self, sizes: Sequence[int], slots: int, seed: Sequence[int]) -> None:
        self.sizes = np.asarray(sizes, dtype=np.int64)
        self.slots = slots
        self.seed = tuple(seed)
        # What it covers whole is at most `slots` - 2 shards. Where passes meet, one may be there
        # twice.
        self.length = int(np.sort(np.repeat(self.sizes, 2))[: slots - 1].sum())
        self._order = lru_cache(maxsize=4)(self._new_order)

    def __reduce__(self) -> tuple[type["ShardWindow"], tuple[list[int], int, tuple[int, ...]]]:
        """Pickle the settings; the orders are made again."""
        return ShardWindow, (self.sizes.tolist(), self.slots, self.seed)

    def draw(self, time: float, even: float) -> int:
        """Number of a shard.

        Args:
            time: clips drawn so far.
            even: random number, 0 to below 1.
        """
        return self._shard(int(self._place(time + even * self.length)))

    def open(self, time: float) -> tuple[int, ...]:
        """Numbers of the shards that may be open after `time` clips, and of the next one."""
        first = int(self._place(time))
        return tuple(self._shard(first + i) for i in range(self.slots + 1))

    def _shard(self, place: int) -> int:
        rounds, within = divmod(place, len(self.sizes))
        return int(self._order(rounds)[0][within])

    def _place(self, time: float) -> float:
        """Where in the row of shards clip `time` lies; whole numbers are their beginnings."""
        rounds, rest = divmod(time, int(self.sizes.sum()))
        order, edges = self._order(int(rounds))
        shard = int(np.searchsorted(edges, rest, side="right")) - 1
        within = (rest - edges[shard]) / self.sizes[order[shard]]
        return rounds * len(self.sizes) + shard + float(within)

    def _new_order(self, rounds: int) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
        order = np.random.default_rng([*self.seed, rounds]).permutation(len(self.sizes))
        return order, np.concatenate([[0], self.sizes[order].cumsum()[:-1]])
