"""How is an archive unpacked whole, and nothing of it outside its folder?"""

import bz2
import gzip
import lzma
import shutil
import stat
import tarfile
import zipfile
import zlib
from collections.abc import Iterator
from pathlib import Path, PurePosixPath
from typing import IO, cast

from audiosr.errors import DataError
from data_prep.fetch.download import say

_BLOCK = 1 << 20

_DAMAGED = (
    tarfile.TarError,
    zipfile.BadZipFile,
    zlib.error,
    lzma.LZMAError,
    EOFError,
    OSError,  # of gzip and bz2, without a number; with one it is the disk's
    RuntimeError,
    ValueError,  # a name or number in a header that cannot be read
)
"""What reading an archive raises that is not as it was packed."""


def unpack(path: Path, folder: Path) -> None:
    """Unpack a tar or zip below `folder`: regular files and folders, nothing that leads outside.

    Into a hidden folder first, then each member is moved to its place, and last a mark of its name
    is left, by which a second call knows that nothing is to be done.

    Raises:
        DataError: no tar or zip, damaged, or with a member whose path leads outside.
    """
    mark = folder / f".unpacked-{path.name}"
    if mark.exists():
        return
    staging = folder / f".unpacking-{path.name}"
    shutil.rmtree(staging, ignore_errors=True)
    staging.mkdir(parents=True)
    say(f"unpacking {path}")
    try:
        for name, stream in _members(path):
            target = inside(staging, name)
            target.parent.mkdir(parents=True, exist_ok=True)
            with target.open("wb") as file:
                shutil.copyfileobj(stream, file, _BLOCK)
        for file in sorted(one for one in staging.rglob("*") if one.is_file()):
            target = folder / file.relative_to(staging)
            target.parent.mkdir(parents=True, exist_ok=True)
            file.replace(target)
        mark.touch()
    except _DAMAGED as error:
        if isinstance(error, OSError) and error.errno is not None:
            raise DataError(f"{path} cannot be unpacked: {error.strerror}") from error
        why = str(error) or "it ends too soon"
        raise DataError(f"{path} is damaged ({why}); delete it and fetch it again") from error
    finally:
        shutil.rmtree(staging, ignore_errors=True)


def inside(folder: Path, name: str) -> Path:
    """The path of a member `name` below `folder`.

    Raises:
        DataError: the name is absolute, goes up, or is not a name at all.
    """
    path = PurePosixPath(name.replace("\\", "/"))
    windows_drive = len(path.parts) > 0 and path.parts[0].endswith(":")
    if path.is_absolute() or windows_drive or ".." in path.parts or not path.parts or "\0" in name:
        raise DataError(f"an archive member named {name!r} leads outside {folder}; nothing is kept")
    return folder.joinpath(*path.parts)


def _members(path: Path) -> Iterator[tuple[str, IO[bytes]]]:
    """Names and contents of the regular files; links, devices and folders are passed over.

    The end is reached only where the checksums of the archive, as far as it has any, are right.
    """
    if zipfile.is_zipfile(path):
        with zipfile.ZipFile(path) as archive:
            entries = [one for one in archive.infolist() if not one.is_dir()]
            entries = [one for one in entries if not stat.S_ISLNK(one.external_attr >> 16)]
            for entry in entries:
                with archive.open(entry) as stream:
                    yield entry.filename, stream
        return
    with _decompressed(path) as raw:
        with tarfile.open(fileobj=raw, mode="r|") as archive:
            for member in archive:
                if member.isfile():
                    stream = archive.extractfile(member)
                    assert stream is not None  # a regular file
                    yield member.name, stream
        # A tar ends before the file that it is packed in does, whose checksum comes last.
        while raw.read(_BLOCK):
            pass


def _decompressed(path: Path) -> IO[bytes]:
    """The tar in a file that may be compressed, which its first bytes tell."""
    with path.open("rb") as file:
        start = file.read(6)
    if start.startswith(b"\x1f\x8b"):
        return cast(IO[bytes], gzip.open(path))
    if start.startswith(b"BZh"):
        return bz2.open(path)
    if start.startswith((b"\xfd7zXZ", b"\x5d\x00\x00\x80")):
        return lzma.open(path)
    return path.open("rb")
