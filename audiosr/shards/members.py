"""Which clips does a tar file hold, and what else lies in it?

Only headers are read. Nothing is unpacked, and only members that are plain files with the ending of
audio or JSON are ever opened.
"""

import tarfile
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

AUDIO_MEMBERS = (".flac", ".wav", ".ogg", ".mp3")
"""Endings of the members that are decoded as audio; beside them only `.json` is read."""


@dataclass(frozen=True)
class Member:
    """Where one clip lies in its shard."""

    key: str
    audio: tuple[int, int]
    """Offset and size in bytes of the encoded audio."""
    meta: tuple[int, int]
    """The same of the JSON."""


@dataclass(frozen=True)
class Contents:
    """What the headers of a shard say."""

    clips: list[Member]
    """In the order of the shard: every key that has both audio and JSON."""
    unusable: Mapping[str, str]
    """Name of what should be a clip and cannot be one, to the reason."""
    foreign: Mapping[str, int]
    """Members that are passed over, counted by kind."""


def contents(path: Path) -> Contents:
    """List a shard. Where it is broken or ends early, what stands before that is listed.

    Raises:
        OSError: the shard cannot be opened.
    """
    audio: dict[str, tuple[int, int]] = {}
    meta: dict[str, tuple[int, int]] = {}
    unusable: dict[str, str] = {}
    foreign: Counter[str] = Counter()
    size, last = path.stat().st_size, -1
    try:
        with tarfile.open(path, "r:") as tar:
            for entry in tar:
                if entry.offset <= last:  # a negative size leads back: without end
                    break
                last = entry.offset
                name, end = PurePosixPath(entry.name), entry.offset_data + entry.size
                key, kind = str(name.with_suffix("")) if name.name else "", name.suffix
                if entry.isdir():
                    continue
                if kind not in (*AUDIO_MEMBERS, ".json"):
                    foreign[f"{kind or 'no'} ending" if entry.isreg() else "link or device"] += 1
                elif name.is_absolute() or ".." in name.parts:
                    unusable.setdefault(key, "name points outside")
                elif not entry.isreg() or entry.sparse is not None:
                    unusable.setdefault(key, "link, device or sparse file")
                elif end > size:
                    break  # cut short, or a size that is a lie
                elif key in (found := meta if kind == ".json" else audio):
                    foreign["repeated name"] += 1
                else:
                    found[key] = (entry.offset_data, entry.size)
    except (tarfile.TarError, EOFError, ValueError, OverflowError, RecursionError, MemoryError):
        pass  # what a broken header says; the shard ends here
    for key in meta.keys() - audio.keys():
        unusable.setdefault(key, "no audio beside the JSON")
    for key in audio.keys() - meta.keys():
        unusable.setdefault(key, "no JSON beside the audio")
    clips = [Member(key, audio[key], meta[key]) for key in audio if key in meta]
    return Contents(clips, dict(sorted(unusable.items())), dict(sorted(foreign.items())))


def members(path: Path) -> list[Member]:
    """The clips of `contents`."""
    return contents(path).clips
