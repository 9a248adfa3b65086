"""Which clips does a tar file hold, and what else lies in it?

Nothing is unpacked, and only members that are plain files with the ending of audio or JSON are ever
opened. The same is listed of a file by its headers and of a stream as it goes by.
"""

import math
import tarfile
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path, PurePosixPath
from typing import Any

AUDIO_MEMBERS = (".flac", ".wav", ".ogg", ".mp3")
"""Endings of the members that are decoded as audio; beside them only `.json` is read."""

LARGEST_BYTES = 1 << 29
"""Encoded audio above this is refused unread."""

LARGEST_JSON = 1 << 20
"""The same of JSON."""

_LARGEST_MEMBER = 1 << 36
"""A header that claims more is broken; passing over what is not there would take years."""

_BROKEN = (tarfile.TarError, EOFError, ValueError, OverflowError, RecursionError, MemoryError)
"""What `tarfile` makes of a broken header; the shard ends there."""


@dataclass(frozen=True)
class Member:
    """Where one clip lies in its shard."""

    key: str
    audio: tuple[int, int]
    """Offset and size in bytes of the encoded audio."""
    meta: tuple[int, int]
    """The same of the JSON."""


@dataclass
class Contents:
    """What a shard holds."""

    clips: list[Member] = field(default_factory=list)
    """In the order of the shard: every key that has both audio and JSON."""
    unusable: dict[str, str] = field(default_factory=dict)
    """Name of what should be a clip and cannot be one, to the reason."""
    foreign: Counter[str] = field(default_factory=Counter)
    """Members that are passed over, by kind."""

    def usable(
        self, tar: tarfile.TarFile, size: float = math.inf
    ) -> Iterator[tuple[str, bool, tarfile.TarInfo]]:
        """Key of each member that may be read, whether it is JSON, and the member.

        The others are noted. The end of what is broken or goes on beyond `size` bytes is the end.
        """
        last = -1
        try:
            for entry in tar:
                # A negative size leads back: without end.
                if entry.offset <= last or entry.size > _LARGEST_MEMBER:
                    break
                last = entry.offset
                name = PurePosixPath(entry.name)
                key, kind = str(name.with_suffix("")) if name.name else "", name.suffix
                is_json = kind == ".json"
                if entry.isdir():
                    continue
                if kind not in (*AUDIO_MEMBERS, ".json"):
                    what = f"{kind or 'no'} ending" if entry.isreg() else "link or device"
                    self.foreign[what] += 1
                elif name.is_absolute() or ".." in name.parts:
                    self.unusable.setdefault(key, "name points outside")
                elif not entry.isreg() or entry.sparse is not None:
                    self.unusable.setdefault(key, "link, device or sparse file")
                elif entry.size > (LARGEST_JSON if is_json else LARGEST_BYTES):
                    self.unusable.setdefault(key, "member is too large")
                elif entry.offset_data + entry.size > size:
                    break  # cut short, or a size that is a lie
                else:
                    yield key, is_json, entry
        except _BROKEN:
            pass

    def lacks(self, key: str, *, audio: bool) -> None:
        """Note a clip of which one of the two members is missing."""
        what = "no audio beside the JSON" if audio else "no JSON beside the audio"
        self.unusable.setdefault(key, what)


def contents(path: Path) -> Contents:
    """List a shard by its headers. Where it is broken or ends early, what stands before is listed.

    Raises:
        OSError: the shard cannot be opened.
    """
    listed = Contents()
    audio: dict[str, tuple[int, int]] = {}
    meta: dict[str, tuple[int, int]] = {}
    try:
        with tarfile.open(path, "r:") as tar:
            for key, is_json, entry in listed.usable(tar, path.stat().st_size):
                found = meta if is_json else audio
                if key in found:
                    listed.foreign["repeated name"] += 1
                else:
                    found[key] = (entry.offset_data, entry.size)
    except _BROKEN:
        pass  # no tar file at all
    for key in meta.keys() ^ audio.keys():
        listed.lacks(key, audio=key in meta)
    listed.clips += [Member(key, audio[key], meta[key]) for key in audio if key in meta]
    return listed


def streamed(
    file: Any, listed: Contents, *, needs_json: bool
) -> Iterator[tuple[str, bytes, bytes | None]]:
    """Key, audio and JSON of each clip of a shard as it goes by, once, from the front.

    Args:
        file: has `read(count)`.
        listed: notes what is no clip.
        needs_json: audio without JSON beside it is no clip either, as in `contents`.
    """
    here, parts = "", {}

    def whole() -> Iterator[tuple[str, bytes, bytes | None]]:
        if False in parts and (True in parts or not needs_json):
            if here not in listed.unusable:
                yield here, parts[False], parts.get(True)
        elif parts:
            listed.lacks(here, audio=True in parts)

    try:
        with tarfile.open(fileobj=file, mode="r|", bufsize=1 << 20) as tar:
            for key, is_json, entry in listed.usable(tar):
                if key != here:
                    yield from whole()
                    here, parts = key, {}
                    tar.members = []  # else tarfile remembers every header  # pyright: ignore
                member = tar.extractfile(entry)
                content = member.read() if member is not None else b""
                if len(content) < entry.size:
                    break
                if is_json in parts:
                    listed.foreign["repeated name"] += 1
                else:
                    parts[is_json] = content
    except _BROKEN:
        pass
    yield from whole()
