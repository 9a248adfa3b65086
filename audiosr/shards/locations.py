"""Where do the bytes of a shard come from: a file, a URL, or the copy of one?

No command is run for it, unlike in webdataset's own `gopen`, and a transfer that breaks goes on
where it broke off.
"""

import errno
import glob
import hashlib
import os
import posixpath
import time
import urllib.error
import urllib.request
from pathlib import Path
from typing import Any, BinaryIO

from fsspec import AbstractFileSystem, filesystem
from webdataset.cache import FileCache
from webdataset.gopen import gopen_schemes
from webdataset.shardlists import expand_urls

from audiosr.errors import DataError, UsageError

STALL_SECONDS = 60.0
"""A transfer that brings nothing for so long is broken off."""

TRIES = 4
"""Tries of a transfer, with pauses of 1, 2 and 4 s between them."""

_BLOCK = 1 << 23
_LOCAL_SCHEMES = ("file", "local", "pipe")
_WEB = ("http://", "https://")


def is_remote(location: str) -> bool:
    """Whether `location` is a URL rather than a path."""
    return "://" in location


def is_threaded(location: str) -> bool:
    """Whether fsspec reads `location`: by a thread, with which a process must not be forked."""
    return is_remote(location) and not location.startswith(_WEB)


def refuse(location: str) -> None:
    """Raise `UsageError` for what would run a command, read any file, or chain protocols."""
    if (location.split(":", 1)[0] in _LOCAL_SCHEMES and ":" in location) or "::" in location:
        raise UsageError(
            f"data.root={location} is neither a path nor a plain URL: commands (pipe:), file: URLs "
            "and chains of protocols (::) are not followed"
        )


def is_pattern(root: str) -> bool:
    """Whether `root` names shards, by braces, wild cards or its ending, and not a folder."""
    wild = any(sign in root for sign in "{*?[") and not os.path.isdir(root)
    return wild or root.endswith(".tar")


def expand_pattern(root: str) -> list[str]:
    """The shards that a pattern names, sorted; braces need not exist, wild cards match what does.

    Raises:
        UsageError: wild cards in a URL whose protocol cannot list, or none matches.
    """
    found = []
    for name in expand_urls(root) if "{" in root else [root]:
        if not any(sign in name for sign in "*?["):
            found.append(name)
        elif not is_remote(name):
            found += glob.glob(name, recursive=True)
        elif name.startswith(_WEB):
            raise UsageError(f"data.root={root}: a web server lists no files; use {{000..123}}")
        else:
            scheme, files = name.split("://")[0], _files(name)
            found += [f"{scheme}://{path}" for path in files.glob(name)]
    if not found:
        raise UsageError(f"data.root={root} matches no shard")
    return sorted(found)


def joined(root: str, name: str) -> str:
    """Location of the file `name` below `root`."""
    return f"{root.rstrip('/')}/{name}"


def fetch_small(location: str, most: int) -> bytes:
    """The content of a small file, such as an index.

    Raises:
        FileNotFoundError: there is none.
        DataError: it cannot be fetched, or has more than `most` bytes.
        UsageError: no such protocol.
    """
    with open_shard(location) as file:
        content = file.read(most + 1)
    if len(content) > most:
        raise DataError(f"{location} is too large")
    return content


def open_shard(location: str, cache: str | os.PathLike[str] | None = None) -> "BinaryIO | Remote":
    """The bytes of a file or URL from their beginning.

    Args:
        location: path or URL.
        cache: folder where URLs are kept whole and read from again; None: nowhere.

    Raises:
        OSError: there is no such file.
        DataError: it cannot be fetched now; from `read` too.
        UsageError: no such protocol, or its package is not installed.
    """
    if not is_remote(location):
        return Path(location).open("rb")
    if cache is None:
        return Remote(location)
    scheme = location.split("://", 1)[0]
    gopen_schemes[scheme] = lambda url, *_: Remote(url)  # in place of a process with curl
    # Its own names repeat among corpora, and its own check may run the command `file`.
    kept = FileCache(os.path.expanduser(cache), url_to_name=_cached, validator=os.path.isfile)
    return Path(kept.get_file(location)).open("rb")


class Remote:
    """A file behind a URL, read once from the beginning to the end."""

    def __init__(self, url: str) -> None:
        self.url = url
        self.position = 0
        self._file: Any = None
        self._retried(lambda: None)

    def read(self, count: int = -1) -> bytes:
        """The next bytes, up to `count` of them; none at the end."""
        return self._retried(lambda: self._more(count))

    def close(self) -> None:
        """End the transfer."""
        if self._file is not None:
            self._file.close()
            self._file = None

    def __enter__(self) -> "Remote":
        return self

    def __exit__(self, *error: object) -> None:
        self.close()

    def _more(self, count: int) -> bytes:
        parts, left = [], count
        while left and (part := self._file.read(left)):  # a network gives less than is asked for
            parts.append(part)
            self.position += len(part)
            left -= len(part) if count > 0 else 0
        return b"".join(parts)

    def _retried(self, work: Any) -> Any:
        for attempt in range(TRIES):
            begun = self.position
            try:
                if self._file is None:
                    self._file = _opened(self.url)
                    _discard(self._file, self.position)
                return work()
            except (FileNotFoundError, UsageError):
                raise
            except Exception as error:  # each protocol has exceptions of its own
                self.close()
                self.position = begun  # what came of this piece comes again
                if attempt == TRIES - 1:
                    what = " ".join(str(error).split())[:200] or type(error).__name__
                    raise DataError(
                        f"{self.url} cannot be fetched ({what}), tried {TRIES} times: "
                        "look at the network and the server, then resume"
                    ) from error
                time.sleep(2**attempt)


def _opened(url: str) -> Any:
    if url.startswith(_WEB):
        return _Response(url)
    return _files(url).open(url, "rb", block_size=_BLOCK, cache_type="readahead")


class _Response:
    """A web server's answer, in one stream that any server can give.

    Not by fsspec: its threads would be there when the loader's workers are forked.
    """

    def __init__(self, url: str) -> None:
        try:
            self._answer = urllib.request.urlopen(url, timeout=STALL_SECONDS)
        except urllib.error.HTTPError as error:
            if error.code in (404, 410):
                raise FileNotFoundError(errno.ENOENT, "not found", url) from error
            raise
        self.close = self._answer.close

    def read(self, count: int) -> bytes:
        part = self._answer.read(count if count >= 0 else None)
        if self._answer.length and len(part) < count:
            raise OSError("the connection was closed")
        return part


def _discard(file: Any, count: int) -> None:
    while count:
        part = file.read(min(count, _BLOCK))
        if not part:
            raise OSError("the file has become shorter")
        count -= len(part)


def _files(url: str) -> AbstractFileSystem:
    protocol = url.split("://", 1)[0]
    try:
        return filesystem(protocol)
    except ValueError as error:
        raise UsageError(f"{url}: protocol {protocol} is not known") from error
    except ImportError as error:
        raise UsageError(f"{url} needs a package that is not installed: {error}") from error


def _cached(url: str) -> str:
    """Name in the cache: two corpora may each have a `train-000000.tar`."""
    return f"{hashlib.sha256(url.encode()).hexdigest()[:16]}-{posixpath.basename(url)}"
