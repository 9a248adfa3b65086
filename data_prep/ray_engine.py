"""How does the work spread over a Ray cluster?

Every machine of the cluster needs this package installed and sees the corpus under the same path.
The shards are written by the process that asked, in their order, so they are the same bytes.
"""

import os
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from typing import Any

from audiosr.errors import DataError, UsageError
from data_prep.workers import R, Run, T, cores


@contextmanager
def cluster(workers: int | None) -> Iterator[Run]:
    """A `map` over the cluster that RAY_ADDRESS names, else over one started on this machine.

    Args:
        workers: pieces of work at a time; None: as many as the cluster has processors.

    Raises:
        UsageError: ray is not installed, or there is no cluster at RAY_ADDRESS.
        DataError: a worker died.
    """
    # No figures of use are sent anywhere unless the user has asked for it.
    os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
    try:
        import ray  # pyright: ignore[reportMissingImports]
        from ray.exceptions import (  # pyright: ignore[reportMissingImports]
            RayError,
            RayTaskError,
        )
    except ImportError as error:
        raise UsageError(
            "--engine ray needs ray; pip install 'audiosr-lightning[ray]' or use --engine processes"
        ) from error
    ours = not ray.is_initialized()
    if ours:
        _connect(ray, workers)
    try:
        remote = ray.remote(max_retries=3)(_call)
        window = 4 * (workers or int(ray.cluster_resources().get("CPU", 1)))

        def run(function: Callable[[T], R], tasks: Iterable[T], /) -> Iterator[R]:
            waiting: deque[Any] = deque()
            for task in tasks:
                waiting.append(remote.remote(function, task))
                if len(waiting) >= window:
                    yield ray.get(waiting.popleft())
            while waiting:
                yield ray.get(waiting.popleft())

        yield run
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


def _connect(ray: Any, workers: int | None) -> None:
    quiet = {"include_dashboard": False, "log_to_driver": False, "logging_level": "error"}
    address = os.environ.get("RAY_ADDRESS")
    try:
        if address:
            ray.init(address=address, log_to_driver=False, logging_level="error")
        else:
            ray.init(address="local", num_cpus=workers or cores(), **quiet)
    except (ConnectionError, RuntimeError, ValueError) as error:
        raise UsageError(
            f"no Ray cluster at {address or 'this machine'}: {str(error).splitlines()[0]}; "
            "set RAY_ADDRESS to a running one or use --engine processes"
        ) from error


def _call(function: Callable[[T], R], task: T) -> R:
    return function(task)
