"""What does a file carry beside sound and tags: which cover, which cue points? Read and written.

FFmpeg reads covers of every kind, but writes none into a file that libsndfile made, and neither
library hands out cue points: these two pieces of FLAC and WAV are few lines.
"""

import os
import struct
from collections.abc import Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

from audiosr.audio.ffmpeg import CONTAINERS, PatientFile
from audiosr.files import atomic_path

_MIMES = {"mjpeg": "image/jpeg", "png": "image/png", "webp": "image/webp", "gif": "image/gif"}
"""By FFmpeg's names of the codecs."""

_LARGEST = (1 << 24) - 1024
"""Bytes of a cover: the length of a FLAC block has 24 bits."""

_MOST_CUES = 1 << 16


@dataclass(frozen=True)
class Cover:
    """A picture as it lies in a file."""

    content: bytes
    mime: str
    width: int
    height: int


@dataclass(frozen=True)
class Cue:
    """A marked place."""

    seconds: float
    label: str


@dataclass(frozen=True)
class Extras:
    """What a result keeps of its source beside sound and tags."""

    cover: Cover | None = None
    cues: Sequence[Cue] = ()


def read_extras(path: Path) -> Extras:
    """The cover of a file of any kind and the cue points of a WAV; what is broken is left out."""
    with path.open("rb") as file:
        try:
            cues = _read_cues(file)
        except struct.error:
            cues = ()
    return Extras(_read_cover(path), cues)


def write_extras(path: Path, extras: Extras, rate: int) -> None:
    """Add a cover to a finished FLAC, cue points to a finished WAV; other kinds have no place."""
    with path.open("rb") as file:
        kind = file.read(4)
    if kind == b"fLaC" and extras.cover is not None:
        _write_cover(path, extras.cover)
    if kind == b"RIFF" and extras.cues:
        _write_cues(path, extras.cues, rate)


def _read_cover(path: Path) -> Cover | None:
    import av
    from av.error import FFmpegError
    from av.stream import Disposition

    options = {"format_whitelist": CONTAINERS}
    with (
        suppress(FFmpegError, StopIteration),
        path.open("rb") as file,
        av.open(
            PatientFile(file), "r", container_options=options, metadata_errors="ignore"
        ) as container,
    ):
        for stream in container.streams.video:
            mime = _MIMES.get(stream.codec_context.name)
            if mime is None or not stream.disposition & Disposition.attached_pic:
                continue
            content = bytes(next(container.demux(stream)))
            if 0 < len(content) <= _LARGEST:
                size = stream.codec_context
                return Cover(content, mime, size.width, size.height)
    return None


def _write_cover(path: Path, cover: Cover) -> None:
    """Put a PICTURE block behind the first block, STREAMINFO (RFC 9639, 8.8)."""
    mime = cover.mime.encode()
    body = b"".join(
        (
            struct.pack(">II", 3, len(mime)),  # 3: the front cover
            mime,
            struct.pack(">I", 0),  # no description
            struct.pack(">4I", cover.width, cover.height, 24, 0),
            struct.pack(">I", len(cover.content)),
            cover.content,
        )
    )
    with path.open("rb") as source, atomic_path(path) as partial, partial.open("wb") as target:
        head = source.read(42)  # marker, header and 34 bytes of STREAMINFO
        last = head[4] & 0x80
        target.write(head[:4] + bytes([head[4] & 0x7F]) + head[5:])
        target.write(struct.pack(">I", (last | 6) << 24 | len(body)) + body)
        while block := source.read(1 << 20):
            target.write(block)


def _chunks(file: BinaryIO) -> Iterator[tuple[bytes, int]]:
    """Name and length of each chunk of a WAV; the file is at its content."""
    head = file.read(12)
    if head[:4] != b"RIFF" or head[8:] != b"WAVE":
        return
    place = 12
    while len(header := file.read(8)) == 8:
        name, size = struct.unpack("<4sI", header)
        yield name, size
        place += 8 + size + size % 2
        file.seek(place)


def _read_cues(file: BinaryIO) -> Sequence[Cue]:
    rate, offsets, labels = 0, {}, {}
    for name, size in _chunks(file):
        if name == b"fmt ":
            rate = struct.unpack("<HHI", file.read(8))[2]
        elif name == b"cue ":
            count = min(struct.unpack("<I", file.read(4))[0], size // 24, _MOST_CUES)
            for _ in range(count):
                number, *_, offset = struct.unpack("<II4sIII", file.read(24))
                offsets[number] = offset
        elif name == b"LIST" and file.read(4) == b"adtl":
            labels |= _read_labels(file.read(min(size - 4, 1 << 20)))
    if not rate:
        return ()
    return tuple(Cue(offset / rate, labels.get(n, "")) for n, offset in offsets.items())


def _read_labels(content: bytes) -> dict[int, str]:
    labels, place = {}, 0
    while place + 12 <= len(content):
        name, size, number = struct.unpack_from("<4sII", content, place)
        if name == b"labl":
            text = content[place + 12 : place + 8 + size].partition(b"\0")[0]
            labels[number] = text.decode(errors="replace")
        place += 8 + size + size % 2
    return labels


def _write_cues(path: Path, cues: Sequence[Cue], rate: int) -> None:
    """Append the chunks `cue ` and, of the labels, `LIST`."""
    points, labels = struct.pack("<I", len(cues)), b"adtl"
    for number, cue in enumerate(cues, 1):
        offset = round(cue.seconds * rate)
        points += struct.pack("<II4sIII", number, offset, b"data", 0, 0, offset)
        if cue.label:
            labels += _chunk(b"labl", struct.pack("<I", number) + cue.label.encode() + b"\0")
    with path.open("r+b") as file:
        end = file.seek(0, os.SEEK_END)
        file.write(b"\0" * (end % 2) + _chunk(b"cue ", points))
        if len(labels) > 4:
            file.write(_chunk(b"LIST", labels))
        size = file.tell() - 8
        file.seek(4)
        file.write(struct.pack("<I", size))


def _chunk(name: bytes, content: bytes) -> bytes:
    return struct.pack("<4sI", name, len(content)) + content + b"\0" * (len(content) % 2)
