"""How does long work show how far it is? A bar with a rate and the time that is left."""

import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from rich.console import Console
from rich.markup import escape
from rich.progress import (
    BarColumn,
    DownloadColumn,
    MofNCompleteColumn,
    Progress,
    ProgressColumn,
    Task,
    TaskProgressColumn,
    TextColumn,
    TimeRemainingColumn,
    TransferSpeedColumn,
)
from rich.text import Text


class _Rate(ProgressColumn):
    """Steps per second, as measured of late."""

    def render(self, task: Task) -> Text:
        """The rate, empty before there is one."""
        speed = task.finished_speed or task.speed
        return Text(f"{speed:.1f}/s" if speed else "")


def progress_bars(*, of_bytes: bool = False) -> Progress:
    """Bars on stderr, drawn only on a terminal; `add_task(label, total=...)` adds one."""
    steps, of_files = (MofNCompleteColumn(), _Rate()), (DownloadColumn(), TransferSpeedColumn())
    return _bars(*(of_files if of_bytes else steps))


def _bars(*columns: ProgressColumn) -> Progress:
    return Progress(
        TextColumn("{task.description}"),
        BarColumn(),
        *columns,
        TimeRemainingColumn(),
        console=Console(stderr=True),
        disable=not sys.stderr.isatty(),
    )


@contextmanager
def progress_bar(
    label: str, total: int | None, *, of_bytes: bool = False
) -> Iterator[Callable[[int], None]]:
    """One bar of `progress_bars`, and the function that moves it on by a number of steps."""
    with progress_bars(of_bytes=of_bytes) as shown:
        task = shown.add_task(label, total=total)
        yield lambda count: shown.advance(task, count)


class ListeningBar:
    """A bar over recordings of known and unknown length, with how fast they are in real time."""

    def __init__(self, count: int) -> None:
        self._bars = _bars(TaskProgressColumn(), TextColumn("{task.fields[rate]}"))
        self._task = self._bars.add_task("restoring", total=count, rate="")
        self._seconds: dict[Path, float] = {}
        self._shares: dict[Path, float] = {}
        self._ended, self._heard, self._started = 0, 0.0, time.perf_counter()

    def __enter__(self) -> "ListeningBar":
        self._bars.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._bars.stop()

    def begin(self, path: Path, seconds: float) -> None:
        """A recording is worked on."""
        self._seconds[path], self._shares[path] = seconds, 0.0
        self._bars.update(self._task, description=escape(path.name))

    def move(self, path: Path, share: float) -> None:
        """The finished part of a recording, up to 1.0."""
        self._heard += (share - self._shares[path]) * self._seconds[path]
        self._shares[path] = share
        self._show()

    def end(self, path: Path) -> None:
        """A recording is done, or has failed."""
        self._ended += 1
        self._seconds.pop(path, None)
        self._shares.pop(path, None)
        self._show()

    def _show(self) -> None:
        speed = self._heard / (time.perf_counter() - self._started)
        done = self._ended + sum(self._shares.values())
        self._bars.update(self._task, completed=done, rate=f"{speed:.1f} x real time")
