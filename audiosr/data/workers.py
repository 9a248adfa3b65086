"""Whose word ends a process that loads data?"""

import os
import signal
import threading

_TO_ALL = (signal.SIGTERM, signal.SIGUSR1, signal.SIGINT)
"""What SLURM, `timeout` and Ctrl-C tell every process of a run."""


def end_with_parent(_: int) -> None:
    """Let this process, one that a `DataLoader` has started, be ended by its parent alone.

    Whoever stops a run tells all of its processes. The training process then ends the step that it
    is in and saves; for that it needs the batches of this one, which it ends itself.
    """
    for told in _TO_ALL:
        signal.signal(told, lambda *_: None)  # in threads that were there before
    signal.pthread_sigmask(signal.SIG_BLOCK, _TO_ALL)
    threading.Thread(target=_listen, daemon=True).start()


def _listen() -> None:
    while True:
        info = signal.sigwaitinfo(_TO_ALL)
        if info.si_signo == signal.SIGTERM and info.si_pid == os.getppid():
            os._exit(0)
