"""How does long work show how far it is? A bar with a rate and the time that is left."""

import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from rich.console import Console
from rich.progress import (
    BarColumn,
    DownloadColumn,
    MofNCompleteColumn,
    Progress,
    ProgressColumn,
    Task,
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
    """Bars on stderr, drawn only where that is a terminal; `add_task(label, total=...)` adds one.

    Args:
        of_bytes: whether what is counted are bytes.
    """
    steps, of_files = (MofNCompleteColumn(), _Rate()), (DownloadColumn(), TransferSpeedColumn())
    return Progress(
        TextColumn("{task.description}"),
        BarColumn(),
        *(of_files if of_bytes else steps),
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
