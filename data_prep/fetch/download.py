"""How does a file come from the network onto the disk, whole and checked?"""

import sys
import time
import urllib.error
import urllib.request
from argparse import ArgumentParser
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from urllib.parse import urlsplit

from audiosr.errors import AudioSRError, DataError
from audiosr.files import cache_folder, file_hash

_BLOCK = 1 << 20
_TIMEOUT_SECONDS = 60
_TRIES = 5
_PAUSE_SECONDS = 2.0
"""Before the second try; twice as long before each further one."""


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
    """`chosen`, else a folder of that name below $AUDIOSR_CACHE or ~/.cache/audiosr; absolute.

    Raises:
        DataError: it cannot be made.
    """
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
        if wanted is not None and (found := file_hash(path, kind)) != wanted:
            return f"{kind} {found} instead of {wanted}"
    return None


def _failed(archive: Archive, folder: Path, reason: str) -> AudioSRError:
    return DataError(
        f"{archive.url} cannot be fetched ({reason}); run again to go on, or put it as "
        f"{archive.file} into {folder}"
    )
