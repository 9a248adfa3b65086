"""Who does the work? This process, others on this machine, or a Ray cluster; the order stays.

Every machine of a Ray cluster needs this package installed and sees the corpus under the same path.
The shards are written by the process that asked, in their order, so they are the same bytes. What
is done and not yet asked for waits on the disk: the clips of one file may be hours.
"""

import multiprocessing
import os
import pickle
import signal
import tempfile
import threading
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from contextlib import AbstractContextManager, contextmanager
from functools import partial
from multiprocessing.connection import wait
from pathlib import Path
from typing import Any, Protocol, TypeVar

from audiosr.errors import DataError, UsageError

ENGINES = ("processes", "ray")
"""The first is the default."""

_T = TypeVar("_T")
_R = TypeVar("_R")


_AHEAD = 16  # tasks of each worker that may be done before their turn

SPOOL = "spool-"
"""What the names of folders start with in which results wait."""


class Run(Protocol):
    """A `map` of functions with many results each that keeps the order and holds few of them."""

    def __call__(
        self, function: Callable[[_T], Iterable[_R]], tasks: Iterable[_T], /
    ) -> Iterator[Iterable[_R]]:
        """The results of `function` for each of `tasks`, in their order; to be read in turn."""
        ...


def pool(
    engine: str, workers: int | None, scratch: Path | None = None
) -> AbstractContextManager[Run]:
    """What runs the work.

    Args:
        engine: one of `ENGINES`.
        workers: pieces of work at a time; None: one per core, 1 with processes: in this one.
        scratch: folder for what processes have done before its turn; None: the system's.

    Raises:
        UsageError: no such engine, fewer than one worker; with ray: it is not installed, or there
            is no cluster at RAY_ADDRESS.
        DataError: a worker died.
    """
    if engine not in ENGINES:
        raise UsageError(f"--engine {engine} is not one of {', '.join(ENGINES)}")
    if workers is not None and workers < 1:
        raise UsageError(f"--workers {workers} is not at least 1")
    if engine == "ray":
        return _cluster(workers)
    return _processes(workers or _cores(), scratch)


@contextmanager
def _processes(workers: int, scratch: Path | None) -> Iterator[Run]:
    if workers == 1:
        yield map
        return
    # Spawned, since a fork would copy the threads' locks of the progress bar and of libraries.
    context = multiprocessing.get_context("spawn")
    with (
        tempfile.TemporaryDirectory(prefix=SPOOL, dir=scratch) as spool,
        ProcessPoolExecutor(workers, mp_context=context, initializer=_settle) as pool,
    ):
        submit = partial(pool.submit, _spool, spool)
        try:
            yield partial(_in_order, submit, lambda future: _unspool(future.result()), workers)
        except BrokenProcessPool as error:
            raise DataError(
                "a worker process died, out of memory perhaps; the same command with fewer "
                "--workers goes on where this run stopped"
            ) from error
        except BaseException:
            pool.shutdown(wait=True, cancel_futures=True)
            raise


@contextmanager
def _cluster(workers: int | None) -> Iterator[Run]:
    """A `map` over the cluster that RAY_ADDRESS names, else over one started on this machine."""
    # No figures of use are sent anywhere unless the user has asked for it.
    os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
    try:
        import ray
        from ray.exceptions import RayError, RayTaskError
    except ImportError as error:
        raise UsageError(
            "--engine ray needs ray; pip install 'audiosr-lightning[ray]' or use --engine processes"
        ) from error
    ours = not ray.is_initialized()
    if ours:
        _connect(ray, workers)
    try:
        # Each result is an object of its own in Ray's store, which goes to the disk when full.
        submit = ray.remote(max_retries=3, num_returns="streaming")(_call).remote
        count = workers or int(ray.cluster_resources().get("CPU", 1))
        yield partial(_in_order, submit, lambda found: map(ray.get, found), count)
    except RayTaskError:
        raise  # a fault of ours, with the worker's traceback
    except RayError as error:
        raise DataError(
            f"the Ray cluster lost a piece of work ({type(error).__name__}); the same command goes "
            "on where this run stopped"
        ) from error
    finally:
        if ours:
            ray.shutdown()


def _in_order(
    submit: Callable[..., Any],
    results: Callable[[Any], Iterable[Any]],
    workers: int,
    function: Callable[[_T], Iterable[_R]],
    tasks: Iterable[_T],
    /,
) -> Iterator[Iterable[_R]]:
    """Results in the order of the tasks, of which so many are under way or wait for their turn."""
    waiting: deque[Any] = deque()
    for task in tasks:
        waiting.append(submit(function, task))
        if len(waiting) >= _AHEAD * workers:
            yield results(waiting.popleft())
    while waiting:
        yield results(waiting.popleft())


def _spool(folder: str, function: Callable[[_T], Iterable[_R]], task: _T) -> str:
    """Write the results for a task into a file in `folder`; returns its path."""
    handle, name = tempfile.mkstemp(dir=folder)
    with open(handle, "wb") as file:
        for result in function(task):
            pickle.dump(result, file)
    return name


def _unspool(name: str) -> Iterator[Any]:
    """What `_spool` wrote; the file is gone with the last of it."""
    with open(name, "rb") as file:
        os.unlink(name)
        while file.peek(1):
            yield pickle.load(file)


def _connect(ray: Any, workers: int | None) -> None:
    quiet = {"include_dashboard": False, "log_to_driver": False, "logging_level": "error"}
    address = os.environ.get("RAY_ADDRESS")
    try:
        if address:
            ray.init(address=address, log_to_driver=False, logging_level="error")
        else:
            ray.init(address="local", num_cpus=workers or _cores(), **quiet)
    except (ConnectionError, RuntimeError, ValueError) as error:
        raise UsageError(
            f"no Ray cluster at {address or 'this machine'}: {str(error).splitlines()[0]}; "
            "set RAY_ADDRESS to a running one or use --engine processes"
        ) from error


def _call(function: Callable[[_T], Iterable[_R]], task: _T) -> Iterator[_R]:
    yield from function(task)


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


def _cores() -> int:
    """Cores that this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
