"""How does an archive come from the network onto the disk, whole, checked and unpacked safely?"""

import bz2
import gzip
import lzma
import shutil
import stat
import sys
import tarfile
import time
import urllib.error
import urllib.request
import zipfile
import zlib
from argparse import ArgumentParser
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import IO, cast
from urllib.parse import urlsplit

from audiosr.errors import AudioSRError, DataError
from audiosr.files import cache_folder, file_hash

_BLOCK = 1 << 20
_TIMEOUT_SECONDS = 60
_TRIES = 5
_PAUSE_SECONDS = 2.0
"""Before the second try; twice as long before each further one."""

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


@dataclass(frozen=True)
class Archive:
    """A file that a corpus publishes."""

    url: str
    bytes: int | None = None
    sha256: str | None = None
    sha1: str | None = None
    md5: str | None = None
    name: str = ""
    """Name on the disk; by default the last part of the URL."""

    @property
    def file(self) -> str:
        """Name on the disk."""
        return self.name or PurePosixPath(urlsplit(self.url).path).name


def add_arguments(parser: ArgumentParser) -> None:
    """The option of recipes whose corpus may be fetched."""
    parser.add_argument(
        "--download",
        action="store_true",
        help="fetch what is missing into --source and unpack it there; a broken transfer goes on",
    )


def kept_folder(chosen: Path | None, name: str) -> Path:
    """`chosen`, else a folder of that name below $AUDIOSR_CACHE or ~/.cache/audiosr; absolute."""
    folder = (chosen or cache_folder() / name).expanduser().absolute()
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise DataError(f"{folder} cannot be made ({error.strerror}); give --cache") from error
    return folder


def say(text: str, *, passing: bool = False) -> None:
    """A line on stderr for who waits; one in `passing` only where somebody watches."""
    if not passing or sys.stderr.isatty():
        print(text, file=sys.stderr, flush=True)


def fetch(archive: Archive, folder: Path) -> Path:
    """Download into `folder`, under the name only when it is whole and checked.

    What an earlier call left in `NAME.partial` is kept and the rest asked for; a server that
    cannot do that sends all again. A file that is there already, put by hand, is checked alone.

    Raises:
        DataError: no network, refused by the server, or other content than was published.
    """
    target = folder / archive.file
    if target.exists():
        if (wrong := _fault(archive, target)) is not None:
            raise DataError(f"{target} is not what was published ({wrong}); delete it, run again")
        return target
    folder.mkdir(parents=True, exist_ok=True)
    partial = target.with_name(f"{target.name}.partial")
    say(f"fetching {archive.url}")
    pause = _PAUSE_SECONDS
    for attempt in range(1, _TRIES + 1):
        try:
            _transfer(archive, partial)
            break
        except urllib.error.HTTPError as error:
            if (error.code < 500 and error.code != 429) or attempt == _TRIES:
                raise _failed(archive, folder, f"HTTP {error.code} {error.reason}") from error
        except OSError as error:
            reason = getattr(error, "reason", None) or error
            if attempt == _TRIES:
                raise _failed(archive, folder, str(reason)) from error
        time.sleep(pause)
        pause *= 2
    if (wrong := _fault(archive, partial)) is not None:
        partial.unlink()
        raise DataError(
            f"{archive.url} is not what was published ({wrong}); it was deleted, fetch it again or "
            "look at the corpus's page for a new edition"
        )
    partial.replace(target)
    return target


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


def _transfer(archive: Archive, partial: Path) -> None:
    have = partial.stat().st_size if partial.exists() else 0
    if archive.bytes is not None and have >= archive.bytes:
        if have == archive.bytes:
            return
        have = 0  # longer than published: it is something else
    request = urllib.request.Request(archive.url, headers={"User-Agent": "audiosr data_prep"})
    if have:
        request.add_header("Range", f"bytes={have}-")
    try:
        answer = urllib.request.urlopen(request, timeout=_TIMEOUT_SECONDS)
    except urllib.error.HTTPError as error:
        # 416: there is nothing after what is there. The length was not published, so it is whole
        # if the server's own count says so; else it is fetched from the start.
        if error.code == 416 and have:
            if error.headers.get("Content-Range", "").endswith(f"/{have}"):
                return
            partial.unlink()
            raise ConnectionError("the rest does not fit what is there") from error
        raise
    with answer, partial.open("ab" if answer.status == 206 else "wb") as file:
        length = answer.headers.get("Content-Length")
        start = file.tell()
        while block := answer.read(_BLOCK):
            file.write(block)
        if length is not None and file.tell() - start != int(length):
            raise ConnectionError(f"broke off after {file.tell()} bytes")


def _fault(archive: Archive, path: Path) -> str | None:
    """In what a file differs from what was published; None: in nothing that is known."""
    size = path.stat().st_size
    if archive.bytes is not None and size != archive.bytes:
        return f"{size} bytes instead of {archive.bytes}"
    published = (("sha256", archive.sha256), ("sha1", archive.sha1), ("md5", archive.md5))
    for kind, wanted in published:
        if wanted is None:
            continue
        if (found := file_hash(path, kind)) != wanted:
            return f"{kind} {found} instead of {wanted}"
    return None


def _failed(archive: Archive, folder: Path, reason: str) -> AudioSRError:
    return DataError(
        f"{archive.url} cannot be fetched ({reason}); run again to go on, or put it as "
        f"{archive.file} into {folder}"
    )


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
