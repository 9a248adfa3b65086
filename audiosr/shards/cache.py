"""Which remote shards lie on the disk, and which make room for others?

A folder of shards named by their SHA-256, shared by the processes of a machine. One process fetches
a shard while the others wait for it; a shard in use carries a shared lock, and what carries none is
deleted, least recently used first, when the folder grows beyond its limit. Locks go with the
process that holds them, so a killed run leaves nothing behind that another would wait for.
"""

import fcntl
import hashlib
import logging
import os
import queue
import re
import threading
from collections import OrderedDict
from collections.abc import Iterable
from pathlib import Path

from audiosr.errors import AudioSRError, DataError
from audiosr.files import locked
from audiosr.shards.remote import Missing, download

_LOG = logging.getLogger(__name__)

_TRIES = 100


def default_folder() -> Path:
    """`shards` in `$AUDIOSR_CACHE`, else in `~/.cache/audiosr`."""
    given = os.environ.get("AUDIOSR_CACHE")
    return (Path(given) if given else Path.home() / ".cache" / "audiosr") / "shards"


class Cache:
    """Shards of remote corpora as local files.

    Args:
        folder: made where it is missing.
        limit_bytes: size that the folder is kept below, as far as shards in use allow.
        handles: shards that this process keeps in use at a time.
    """

    def __init__(self, folder: Path, *, limit_bytes: float, handles: int = 256) -> None:
        self.folder = folder
        self.limit_bytes = limit_bytes
        self.handles = handles
        self._forget()

    def path(self, location: str, size: int, sha256: str) -> Path:
        """A local file with that content, fetched if need be; it stays while it is in use.

        Raises:
            Missing: it is not there, or not what the index says.
            DataError: it cannot be fetched.
        """
        self._follow_fork()
        if sha256 in self._held:
            self._held.move_to_end(sha256)
            return self._file(sha256)
        for _ in range(_TRIES):
            path = self.fetch(location, size, sha256)
            if (handle := _shared(path)) is not None:
                self._held[sha256] = handle
                os.utime(path)
                while len(self._held) > self.handles:
                    os.close(self._held.popitem(last=False)[1])
                return path
        raise DataError(f"{path} is deleted as often as it is fetched: raise data.cache_gb")

    def want(self, shards: Iterable[tuple[str, int, str]]) -> None:
        """Have shards (location, size, sha256) fetched in the background, in this order."""
        self._follow_fork()
        if self._queue is None:
            self._queue = queue.Queue()
            threading.Thread(target=self._serve, args=(self._queue,), daemon=True).start()
        for shard in shards:
            self._queue.put(shard)

    def fetch(self, location: str, size: int, sha256: str) -> Path:
        """Bring a shard into the folder, unless it is there; at once for all processes.

        Raises:
            Missing: it is not there, or not what the index says.
            DataError: it cannot be fetched.
        """
        path = self._file(sha256)
        if path.exists():
            return path
        path.parent.mkdir(parents=True, exist_ok=True)
        with locked(path.with_suffix(".lock")):
            if path.exists():
                return path
            self._make_room(size)
            partial = path.with_suffix(".partial")
            try:
                for attempt in range(2):
                    download(location, partial, size)
                    if reason := _differs(partial, size, sha256):
                        if attempt:
                            raise Missing(reason)
                        continue  # a transfer that broke off unnoticed, perhaps
                    partial.replace(path)
                    break
            finally:
                partial.unlink(missing_ok=True)
        return path

    def text(self, location: str, most: int) -> bytes:
        """The content of a small file that is fetched anew each time, such as an index.

        Raises:
            Missing: it is not there, or larger than `most` bytes.
            DataError: it cannot be fetched.
        """
        name = hashlib.sha256(location.encode()).hexdigest()
        self.folder.mkdir(parents=True, exist_ok=True)
        with locked(self.folder / f"{name}.lock"):
            partial = self.folder / f"{name}.partial"
            try:
                download(location, partial, most)
                return partial.read_bytes()
            finally:
                partial.unlink(missing_ok=True)

    def __getstate__(self) -> dict[str, object]:
        """Settings alone: locks and threads belong to a process."""
        return {k: v for k, v in self.__dict__.items() if not k.startswith("_")}

    def __setstate__(self, state: dict[str, object]) -> None:
        self.__dict__.update(state)
        self._forget()

    def _file(self, sha256: str) -> Path:
        # It becomes a path, and whoever wrote the index chose it.
        if not re.fullmatch("[0-9a-f]{64}", sha256):
            raise Missing("the index gives no SHA-256")
        return self.folder / sha256[:2] / f"{sha256}.tar"

    def _forget(self) -> None:
        self._pid = os.getpid()
        self._held: OrderedDict[str, int] = OrderedDict()
        self._queue: queue.Queue[tuple[str, int, str]] | None = None

    def _follow_fork(self) -> None:
        # A forked process has neither the thread nor, once the other lets go, the locks.
        if self._pid != os.getpid():
            for handle in self._held.values():
                os.close(handle)
            self._forget()

    def _serve(self, shards: "queue.Queue[tuple[str, int, str]]") -> None:
        while True:
            try:
                self.fetch(*shards.get())
            except (Missing, AudioSRError, OSError) as error:
                # Said where the shard is needed, if it ever is.
                _LOG.debug("not fetched ahead: %s", error)

    def _make_room(self, size: int) -> None:
        with locked(self.folder / "room.lock"):
            files = []
            for path in self.folder.glob("??/*.tar"):
                try:
                    stat = path.stat()
                except FileNotFoundError:
                    continue
                files.append((stat.st_mtime_ns, stat.st_size, path))
            total = sum(bytes_ for _, bytes_, _ in files) + size
            for _, bytes_, path in sorted(files):
                if total <= self.limit_bytes:
                    return
                if _delete(path):
                    total -= bytes_
            if total > self.limit_bytes:
                _LOG.warning(
                    "%s grows to %.1f GB, above data.cache_gb=%g: all its shards are in use",
                    self.folder,
                    total / 1e9,
                    self.limit_bytes / 1e9,
                )


def _shared(path: Path) -> int | None:
    """A handle that keeps `path` from being deleted, or None if that has just happened."""
    try:
        handle = os.open(path, os.O_RDONLY)
    except FileNotFoundError:
        return None
    fcntl.flock(handle, fcntl.LOCK_SH)
    if os.fstat(handle).st_nlink == 0:
        os.close(handle)
        return None
    return handle


def _delete(path: Path) -> bool:
    """Delete `path` unless a process uses it."""
    try:
        handle = os.open(path, os.O_RDONLY)
    except FileNotFoundError:
        return False
    try:
        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        path.unlink(missing_ok=True)
        return True
    except BlockingIOError:
        return False
    finally:
        os.close(handle)


def _differs(path: Path, size: int, sha256: str) -> str | None:
    if path.stat().st_size != size:
        return "size is not what the index says"
    with path.open("rb") as file:
        digest = hashlib.sha256()
        while block := file.read(1 << 20):
            digest.update(block)
    return None if digest.hexdigest() == sha256 else "SHA-256 is not what the index says"
