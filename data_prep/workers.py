"""Who does the work? This process, others on this machine, or a Ray cluster; the order stays."""

import multiprocessing
import os
import signal
import threading
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Executor, Future, ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from contextlib import AbstractContextManager, contextmanager
from functools import partial
from multiprocessing.connection import wait
from typing import Protocol, TypeVar

from audiosr.errors import DataError, UsageError

ENGINES = ("processes", "ray")

T = TypeVar("T")
R = TypeVar("R")


class Run(Protocol):
    """A `map` that keeps the order and holds only a few results at a time."""

    def __call__(self, function: Callable[[T], R], tasks: Iterable[T], /) -> Iterator[R]:
        """Results of `function` for `tasks`, in their order."""
        ...


def pool(engine: str, workers: int | None) -> AbstractContextManager[Run]:
    """What runs the work.

    Args:
        engine: one of `ENGINES`.
        workers: pieces of work at a time; None: one per core, 1 with processes: in this one.

    Raises:
        UsageError: no such engine, fewer than one worker.
    """
    if engine not in ENGINES:
        raise UsageError(f"--engine {engine} is not one of {', '.join(ENGINES)}")
    if workers is not None and workers < 1:
        raise UsageError(f"--workers {workers} is not at least 1")
    if engine == "ray":
        from data_prep.ray_engine import cluster

        return cluster(workers)
    return _processes(workers or cores())


def cores() -> int:
    """Cores that this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


@contextmanager
def _processes(workers: int) -> Iterator[Run]:
    if workers == 1:
        yield map
        return
    # Spawned, since a fork would copy the threads' locks of the progress bar and of libraries.
    context = multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(workers, mp_context=context, initializer=_settle) as pool:
        try:
            yield partial(_ordered, pool, 4 * workers)
        except BrokenProcessPool as error:
            raise DataError(
                "a worker process died, out of memory perhaps; the same command with fewer "
                "--workers goes on where this run stopped"
            ) from error
        except BaseException:
            pool.shutdown(wait=True, cancel_futures=True)
            raise


def _ordered(
    pool: Executor, window: int, function: Callable[[T], R], tasks: Iterable[T], /
) -> Iterator[R]:
    waiting: deque[Future[R]] = deque()
    for task in tasks:
        waiting.append(pool.submit(function, task))
        if len(waiting) >= window:
            yield waiting.popleft().result()
    while waiting:
        yield waiting.popleft().result()


def _settle() -> None:
    """Make a worker end with its parent, and leave Ctrl-C, which reaches all, to the parent."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    parent = multiprocessing.parent_process()
    assert parent is not None

    def follow() -> None:
        # A parent killed with -9 says nothing; without this its workers would wait for ever.
        wait([parent.sentinel])
        os._exit(1)

    threading.Thread(target=follow, daemon=True).start()
