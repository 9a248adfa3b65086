"""How does one file come from a URL, or from a command that the user allows, onto the disk?

What reads local files or runs commands (`file:`, `pipe:`) is refused unless the user allows it.
Files come whole, in one stream, so that a server need not know ranges.
"""

import os
import select
import shlex
import signal
import subprocess
import time
from pathlib import Path
from typing import Any
from urllib.parse import unquote, urlsplit

from fsspec import filesystem
from fsspec.callbacks import Callback

from audiosr.errors import DataError, UsageError

STALL_SECONDS = 60.0
"""A transfer that brings nothing for so long is broken off."""

TRIES = 4
"""Tries of a transfer, with pauses of 1, 2 and 4 s between them."""

_PIPE, _FILE = "pipe:", ("file:", "local:")


class Missing(Exception):
    """The server answered that there is no such file, or sent another than was promised."""


def is_local(location: str) -> bool:
    """Whether `location` is a plain path rather than a URL or a command."""
    return "://" not in location and not location.startswith((_PIPE, *_FILE))


def refused(location: str, allow_pipe: bool) -> str | None:
    """Why `location` may not be followed, as the end of a sentence; None where it may."""
    if "::" in location and not location.startswith(_PIPE) and not is_local(location):
        return "chains several protocols, which is not supported: give one plain URL"
    if allow_pipe:
        return None
    if location.startswith(_PIPE):
        return "would run a command: set data.allow_pipe=true if you trust it"
    if location.startswith(_FILE):
        return (
            "would read any file of this machine: give a plain path, or set data.allow_pipe=true "
            "if you trust it"
        )
    return None


def joined(root: str, name: str) -> str:
    """Location of the file `name` below `root`; a command has `{}` where the name belongs.

    A name that is a command or a `file:` URL itself stands alone.
    """
    if name.startswith((_PIPE, *_FILE)):
        return plain(name)
    if root.startswith(_PIPE):
        if "{}" not in root:
            raise UsageError(
                f"data.root={root} has no {{}}, which is replaced by the name of the file to print"
            )
        return root.replace("{}", shlex.quote(name))
    return f"{root.rstrip('/')}/{name}"


def plain(location: str) -> str:
    """`file:` URLs as paths; anything else as it is."""
    return unquote(urlsplit(location).path) if location.startswith(_FILE) else location


def download(location: str, path: Path, most: int) -> None:
    """Write what lies at `location` to `path`, tried again where the network fails.

    Args:
        location: URL or `pipe:COMMAND`.
        path: replaced by what comes; half a file where it fails.
        most: bytes after which the transfer is broken off.

    Raises:
        Missing: there is no such file, or it is larger than `most`.
        DataError: the network, the server or the command fails each time.
        UsageError: no such protocol, or its package is not installed.
    """
    for attempt in range(TRIES):
        try:
            if location.startswith(_PIPE):
                return _run(location.removeprefix(_PIPE), path, most)
            return _get(location, path, most)
        except FileNotFoundError as error:
            raise Missing("not found") from error
        except (Missing, DataError, UsageError):
            raise
        except Exception as error:  # each protocol has exceptions of its own
            if attempt == TRIES - 1:
                what = " ".join(str(error).split())[:200] or type(error).__name__
                raise DataError(
                    f"{location} cannot be fetched ({what}), tried {TRIES} times: "
                    "look at the network and the server, then resume"
                ) from error
            time.sleep(2**attempt)


class _Limit(Callback):
    """Counts bytes as fsspec brings them."""

    def __init__(self, most: int) -> None:
        super().__init__()
        self.most = most

    def relative_update(self, inc: int = 1) -> None:
        super().relative_update(inc)
        if self.value > self.most:
            raise Missing("larger than the index says")


def _get(url: str, path: Path, most: int) -> None:
    protocol = url.split("://", 1)[0]
    options: dict[str, Any] = {}
    if protocol in ("http", "https"):
        import aiohttp  # takes half a second, and only training from the web needs it

        wait = aiohttp.ClientTimeout(total=None, sock_connect=30, sock_read=STALL_SECONDS)
        options["client_kwargs"] = {"timeout": wait, "trust_env": True}
    try:
        files = filesystem(protocol, **options)
    except ValueError as error:
        raise UsageError(f"{url}: protocol {protocol} is not known") from error
    except ImportError as error:
        raise UsageError(f"{url} needs a package that is not installed: {error}") from error
    files.get_file(url, str(path), callback=_Limit(most))


def _run(command: str, path: Path, most: int) -> None:
    """Write what a shell command prints to `path`."""
    total = 0
    with (
        path.open("wb") as file,
        subprocess.Popen(
            command, shell=True, stdout=subprocess.PIPE, start_new_session=True
        ) as process,
    ):
        assert process.stdout is not None
        try:
            while True:
                if not select.select([process.stdout], [], [], STALL_SECONDS)[0]:
                    raise TimeoutError(f"it printed nothing for {STALL_SECONDS:g} s")
                block = os.read(process.stdout.fileno(), 1 << 20)
                if not block:
                    break
                total += len(block)
                if total > most:
                    raise Missing("larger than the index says")
                file.write(block)
        except BaseException:
            os.killpg(process.pid, signal.SIGKILL)
            raise
        if code := process.wait():
            raise OSError(f"exit code {code}")
