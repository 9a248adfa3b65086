"""How do clips become tar files? In their order, up to a size, without dates or owners."""

import hashlib
import io
import json
import os
import tarfile
from pathlib import Path
from types import TracebackType

from audiosr.data.index import Shard
from data_prep.clips import Encoded


class ShardWriter:
    """Writes `FOLDER/SPLIT/DOMAIN-000000.tar` and so on; the same clips give the same bytes.

    Args:
        folder: where the split's folder is made.
        limit_bytes: a shard is closed when it holds this much or more.
    """

    def __init__(self, folder: Path, *, split: str, domain: str, limit_bytes: float) -> None:
        self.folder = folder
        self.stem = f"{split}/{domain}"
        self.limit = limit_bytes
        self.shards: list[Shard] = []
        self._tar: tarfile.TarFile | None = None
        self._clips = 0
        self._seconds = 0.0

    def write(self, clip: Encoded) -> None:
        """Append the members `KEY.flac` and `KEY.json`."""
        if self._tar is None:
            path = self._path()
            path.parent.mkdir(parents=True, exist_ok=True)
            self._tar = tarfile.open(path, "w", format=tarfile.USTAR_FORMAT)  # noqa: SIM115
        meta = json.dumps(clip.meta, ensure_ascii=False).encode("utf-8", "backslashreplace")
        for suffix, content in ((".flac", clip.audio), (".json", meta)):
            entry = tarfile.TarInfo(clip.key + suffix)
            entry.size, entry.mode = len(content), 0o644
            self._tar.addfile(entry, io.BytesIO(content))
        self._clips += 1
        self._seconds += clip.meta["seconds"]
        if self._tar.offset >= self.limit:
            self.close()

    def close(self) -> None:
        """Finish the shard at hand, if there is one, and add it to `shards`."""
        if self._tar is None:
            return
        path = self._path()
        self._tar.close()
        with path.open("rb") as file:
            os.fsync(file.fileno())
            digest = hashlib.sha256()
            while block := file.read(1 << 20):
                digest.update(block)
        self.shards.append(
            Shard(
                name=path.relative_to(self.folder).as_posix(),
                clips=self._clips,
                bytes=path.stat().st_size,
                seconds=round(self._seconds, 3),
                sha256=digest.hexdigest(),
            )
        )
        self._tar, self._clips, self._seconds = None, 0, 0.0

    def __enter__(self) -> "ShardWriter":
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        if error is None:
            self.close()
        elif self._tar is not None:
            self._tar.close()

    def _path(self) -> Path:
        return self.folder / f"{self.stem}-{len(self.shards):06d}.tar"
