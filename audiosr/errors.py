"""What does the user read when something is wrong?

Each error carries one sentence: what is wrong, where, and what to do. `report` turns it into one
line on stderr and the exit code; a traceback is left for faults of our own.
"""

import errno
import os
import select
import sys
from collections.abc import Callable
from typing import TextIO

DISK_REFUSES = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG, errno.EROFS)
"""Errors about the room or the right for a file that is being written; they need not name it."""


class AudioSRError(Exception):
    """Work that failed for a reason the user can act on; exit code 1."""

    exit_code = 1


class UsageError(AudioSRError):
    """Arguments or configuration that cannot be followed; exit code 2."""

    exit_code = 2


class AudioFileError(AudioSRError):
    """An audio file that cannot be read or written."""


class DataError(AudioSRError):
    """Shards or an index that cannot be used for training."""


def report(main: Callable[[], int | None]) -> int:
    """Run `main` and return the exit code of the process.

    An `AudioSRError` becomes one line on stderr (see `tell`), and so does what the disk refuses;
    Ctrl-C exit code 130; any other exception is a fault of ours and passes through. Where whoever
    read the output has left, as `head` does, the end is quiet, with exit code 141.
    """
    try:
        try:
            return _code_of(main)
        finally:
            print(end="", flush=True)  # what fails here would fail at the exit, with a traceback
    except OSError as error:
        left = isinstance(error, BrokenPipeError) and _unread(sys.stdout)
        if not left and error.errno not in DISK_REFUSES:
            raise
        _discard(sys.stdout)
        return 141 if left else tell(error)


def _code_of(main: Callable[[], int | None]) -> int:
    try:
        return main() or 0
    except (AudioSRError, OSError) as error:
        return tell(error)
    except KeyboardInterrupt:
        print("interrupted", file=sys.stderr)
        return 130


def tell(error: AudioSRError | OSError) -> int:
    """Say on stderr what went wrong and return the exit code.

    With `HYDRA_FULL_ERROR=1` in the environment `error` is raised, for the sake of its traceback,
    and so is an `OSError` that is not what the disk refuses.
    """
    if os.environ.get("HYDRA_FULL_ERROR") == "1":
        raise error
    if isinstance(error, AudioSRError):
        print(f"error: {error}", file=sys.stderr)
        return error.exit_code
    if not _by_the_disk(error):
        raise error
    place = f"{error.filename}: " if error.filename else ""
    print(f"error: {place}{error.strerror}", file=sys.stderr)
    return 1


def _by_the_disk(error: OSError) -> bool:
    """Whether it is about a file that is named, or about the room for one that is being written."""
    return error.filename is not None or error.errno in DISK_REFUSES


def _unread(stream: TextIO) -> bool:
    """Whether `stream` is a pipe whose reader has left."""
    poll = select.poll()
    poll.register(stream.fileno(), select.POLLOUT)
    return any(events & select.POLLERR for _, events in poll.poll(0))


def _discard(stream: TextIO) -> None:
    """Let what `stream` still holds, and cannot get rid of, go nowhere."""
    os.dup2(os.open(os.devnull, os.O_WRONLY), stream.fileno())
