"""What does the user read when something is wrong?

Each error carries one sentence: what is wrong, where, and what to do. `report` turns it into one
line on stderr and the exit code; a traceback is left for faults of our own.
"""

import os
import sys
from collections.abc import Callable


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

    An `AudioSRError` becomes one line on stderr (see `tell`), Ctrl-C exit code 130; any other
    exception is a fault of ours and passes through.
    """
    try:
        return main() or 0
    except AudioSRError as error:
        return tell(error)
    except KeyboardInterrupt:
        print("interrupted", file=sys.stderr)
        return 130


def tell(error: AudioSRError) -> int:
    """Say on stderr what went wrong and return the exit code.

    With `HYDRA_FULL_ERROR=1` in the environment `error` is raised, for the sake of its traceback.
    """
    if os.environ.get("HYDRA_FULL_ERROR") == "1":
        raise error
    print(f"error: {error}", file=sys.stderr)
    return error.exit_code
