"""Which clips are this process's, and when are the other processes done?"""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import timedelta

import torch
import torch.distributed as dist

from audiosr.errors import AudioSRError
from audiosr.ranks import find_place

_PATIENCE = timedelta(days=30)
"""How long a process that is done waits for the others; a dead one is noticed at once."""


@dataclass(frozen=True)
class Processes:
    """This process among those that evaluate together."""

    rank: int = 0
    world: int = 1

    def mine(self, index: int) -> bool:
        """Whether the clip of that number is this process's."""
        return index % self.world == self.rank

    def wait(self) -> None:
        """Until every process is here.

        Raises:
            AudioSRError: one of them has ended.
        """
        if self.world == 1:
            return
        try:
            dist.monitored_barrier(timeout=_PATIENCE)
        except RuntimeError as error:
            raise AudioSRError(
                "another process of this evaluation has ended: start the same command again, "
                "finished clips are kept"
            ) from error


@contextmanager
def joined_processes() -> Iterator[Processes]:
    """The processes that `torchrun` or SLURM has started; this one alone where neither has.

    On a machine with several GPUs, `cuda` is each process's own from here on.
    """
    place = find_place()
    if place is None:
        yield Processes()
        return
    if torch.cuda.is_available():
        torch.cuda.set_device(place.local % torch.cuda.device_count())
    dist.init_process_group(
        "gloo", init_method=place.meeting, rank=place.rank, world_size=place.world
    )
    try:
        yield Processes(place.rank, place.world)
    finally:
        dist.destroy_process_group()
