"""Which clips are this process's, and when are the other processes done?"""

import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import timedelta

import torch
import torch.distributed as dist

from audiosr.errors import AudioSRError

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
    place = _torchrun() or _slurm()
    if place is None:
        yield Processes()
        return
    rank, world, local, meeting = place
    if torch.cuda.is_available():
        torch.cuda.set_device(local % torch.cuda.device_count())
    dist.init_process_group("gloo", init_method=meeting, rank=rank, world_size=world)
    try:
        yield Processes(rank, world)
    finally:
        dist.destroy_process_group()


_Place = tuple[int, int, int, str]
"""Rank, number of processes, rank on this machine, and where they meet."""


def _torchrun() -> _Place | None:
    world = int(os.environ.get("WORLD_SIZE", "1"))
    if world == 1:
        return None
    rank = int(os.environ["RANK"])
    return rank, world, int(os.environ.get("LOCAL_RANK", rank)), "env://"


def _slurm() -> _Place | None:
    if int(os.environ.get("SLURM_NTASKS", "1")) == 1:
        return None
    # Imported late: it takes seconds, and most evaluations are one process.
    from lightning.fabric.plugins.environments.slurm import SLURMEnvironment

    # It knows the interactive shells in which tasks were asked for and none was started.
    if not SLURMEnvironment.detect():
        return None
    slurm = SLURMEnvironment()
    meeting = f"tcp://{slurm.main_address}:{slurm.main_port}"
    return slurm.global_rank(), slurm.world_size(), slurm.local_rank(), meeting
