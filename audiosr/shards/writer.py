"""How do clips become tar files? In their order, up to a size, without dates or owners."""

import os
from contextlib import suppress
from dataclasses import KW_ONLY, dataclass
from pathlib import Path
from typing import BinaryIO

from webdataset.writer import TarWriter

from audiosr.files import file_hash
from audiosr.shards.index import Shard
from audiosr.shards.meta import Meta


@dataclass(frozen=True)
class EncodedClip:
    """A clip as it goes into a shard."""

    key: str
    audio: bytes
    """A FLAC file."""
    meta: Meta


@dataclass(eq=False)
class ShardWriter:
    """Writes `FOLDER/SPLIT/DOMAIN-000000.tar` and so on; the same clips give the same bytes."""

    folder: Path
    """Where the split's folder is made."""
    stem: str
    """`SPLIT/DOMAIN`, with the number of the part where there are parts."""
    _: KW_ONLY
    limit_bytes: float
    """A shard is closed when it holds this much or more."""
    number: int = 0
    """Of the shard at hand, or of the next one."""

    def __post_init__(self) -> None:
        self._open: tuple[BinaryIO, TarWriter] | None = None
        self._clips = 0
        self._seconds = 0.0

    def write(self, clip: EncodedClip) -> Shard | None:
        """Append the members `KEY.flac` and `KEY.json`; returns the shard if that closed it."""
        if self._open is None:
            path = self._path()
            path.parent.mkdir(parents=True, exist_ok=True)
            file = path.open("wb")
            plain = {"user": "", "group": "", "mode": 0o644, "mtime": 0}
            self._open = file, TarWriter(file, encoder=False, compress=False, **plain)
        _, tar = self._open
        tar.write({"__key__": clip.key, "flac": clip.audio, "json": clip.meta.dump()})
        self._clips += 1
        self._seconds += clip.meta.seconds
        return self.close() if tar.tarstream.offset >= self.limit_bytes else None

    def close(self) -> Shard | None:
        """Finish the shard at hand, if there is one; it is on the disk when this returns.

        A `with` block that ends without this leaves the shard unfinished.
        """
        if self._open is None:
            return None
        path, (file, tar) = self._path(), self._open
        with file:
            tar.close()
            file.flush()
            os.fsync(file.fileno())
        shard = Shard(
            name=path.relative_to(self.folder).as_posix(),
            clips=self._clips,
            bytes=path.stat().st_size,
            seconds=round(self._seconds, 3),
            sha256=file_hash(path),
        )
        self._open, self._clips, self._seconds = None, 0, 0.0
        self.number += 1
        return shard

    def __enter__(self) -> "ShardWriter":
        return self

    def __exit__(self, *error: object) -> None:
        if self._open is None:
            return
        file, tar = self._open
        # On a full disk what the archive still holds can only fail again, after the cause is told.
        with suppress(OSError, ValueError):
            tar.tarstream.fileobj.close()
        with suppress(OSError):
            file.close()

    def _path(self) -> Path:
        return self.folder / shard_name(self.stem, self.number)


def shard_name(stem: str, number: int) -> str:
    """Path of a shard below the folder of the index."""
    return f"{stem}-{number:06d}.tar"
