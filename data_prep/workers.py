"""Who does the work? This process, others on this machine, or a Ray cluster; the order stays.

Every machine of a Ray cluster needs this package installed and sees the corpus under the same path.
The shards are written by the process that asked, in their order, so they are the same bytes.
"""

import multiprocessing
import os
import signal
import threading
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from contextlib import AbstractContextManager, contextmanager
from functools import partial
from multiprocessing.connection import wait
from typing import Any, Protocol, TypeVar

from audiosr.errors import DataError, UsageError

ENGINES = ("processes", "ray")

_T = TypeVar("_T")
_R = TypeVar("_R")


class Run(Protocol):
    """A `map` that keeps the order and holds only a few results at a time."""

    def __call__(self, function: Callable[[_T], _R], tasks: Iterable[_T], /) -> Iterator[_R]:
        """Results of `function` for `tasks`, in their order."""
        ...


def pool(engine: str, workers: int | None) -> AbstractContextManager[Run]:
    """What runs the work.

    Args:
        engine: one of `ENGINES`.
        workers: pieces of work at a time; None: one per core, 1 with processes: in this one.

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
    return _processes(workers or _cores())


@contextmanager
def _processes(workers: int) -> Iterator[Run]:
    if workers == 1:
        yield map
        return
    # Spawned, since a fork would copy the threads' locks of the progress bar and of libraries.
    context = multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(workers, mp_context=context, initializer=_settle) as pool:
        try:
            yield partial(_in_order, pool.submit, lambda future: future.result(), 4 * workers)
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
        submit = ray.remote(max_retries=3)(_call).remote
        window = 4 * (workers or int(ray.cluster_resources().get("CPU", 1)))
        yield partial(_in_order, submit, ray.get, window)
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
    result: Callable[[Any], Any],
    window: int,
    function: Callable[[_T], _R],
    tasks: Iterable[_T],
    /,
) -> Iterator[_R]:
    """Results in the order of the tasks, of which `window` are under way at a time."""
    waiting: deque[Any] = deque()
    for task in tasks:
        waiting.append(submit(function, task))
        if len(waiting) >= window:
            yield result(waiting.popleft())
    while waiting:
        yield result(waiting.popleft())


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


def _call(function: Callable[[_T], _R], task: _T) -> _R:
    return function(task)


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
