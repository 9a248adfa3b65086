"""Which processes were started together, by `torchrun` or SLURM, and what does the first decide?"""

import itertools
import os
import pickle
import time
from collections.abc import Callable
from dataclasses import dataclass
from datetime import timedelta
from typing import Any, TypeVar

from torch.distributed.rendezvous import rendezvous

from audiosr.errors import AudioSRError

_PATIENCE = timedelta(hours=6)
"""How long the others wait for the first one, which may have to fetch a model."""

_decisions = itertools.count()
_T = TypeVar("_T")


@dataclass(frozen=True)
class RankPlace:
    """A process among those that were started together.

    Attributes:
        rank: its number.
        world: how many there are.
        local: its number on this machine.
        meeting: where they meet, as `torch.distributed` wants it.
    """

    rank: int
    world: int
    local: int
    meeting: str


def find_place() -> RankPlace | None:
    """The place of this process; None where neither `torchrun` nor SLURM has started several."""
    return _torchrun() or _slurm()


def agree(decide: Callable[[], _T]) -> _T:
    """What `decide` returns in the first process, in each of those that were started together.

    It is called there alone. Every process has to ask for the same decisions in the same order.

    Raises:
        AudioSRError: what `decide` raises; the other processes then end without a word.
    """
    place = find_place()
    if place is None:
        return decide()
    store = next(rendezvous(place.meeting, place.rank, place.world))[0]
    store.set_timeout(_PATIENCE)
    key = f"audiosr/decision/{next(_decisions)}"
    if place.rank:
        answer = pickle.loads(store.get(key))
        store.add(f"{key}/heard", 1)
        if isinstance(answer, AudioSRError):
            raise SystemExit(answer.exit_code)
        return answer
    try:
        answer = decide()
    except AudioSRError as error:
        _tell(store, key, error, place.world)
        raise
    _tell(store, key, answer, place.world)
    return answer


def _tell(store: Any, key: str, answer: object, world: int) -> None:
    """Put `answer` up; the board may be this process's own, so wait until all have read it."""
    store.set(key, pickle.dumps(answer))
    while store.add(f"{key}/heard", 0) < world - 1:
        time.sleep(0.02)


def _torchrun() -> RankPlace | None:
    world = int(os.environ.get("WORLD_SIZE", "1"))
    # Ranks that Lightning starts have a WORLD_SIZE too, and no RANK.
    if world == 1 or "RANK" not in os.environ:
        return None
    rank = int(os.environ["RANK"])
    return RankPlace(rank, world, int(os.environ.get("LOCAL_RANK", rank)), "env://")


def _slurm() -> RankPlace | None:
    if int(os.environ.get("SLURM_NTASKS", "1")) == 1:
        return None
    # Imported late: it takes seconds, and most work is done by one process.
    from lightning.fabric.plugins.environments.slurm import SLURMEnvironment

    # It knows the interactive shells in which tasks were asked for and none was started.
    if not SLURMEnvironment.detect():
        return None
    slurm = SLURMEnvironment()
    meeting = f"tcp://{slurm.main_address}:{slurm.main_port}"
    return RankPlace(slurm.global_rank(), slurm.world_size(), slurm.local_rank(), meeting)
