"""How many bytes should a file, its samples and its frames have, by their own account?"""

import os
import struct
from typing import BinaryIO

import numpy as np

_OGG_PAGE = 65_307  # most bytes of a page
_OGG_HEADER = 27  # bytes of it before the table of its segments
_TRAILER = 4096  # so many bytes behind the samples may be a tag of some kind

_TS_PACKETS = ((188, 0), (192, 4))
"""Bytes of a packet of a transport stream and where in it 0x47 stands: broadcast, and Blu-ray."""

_TS_LOOKED_AT = 5

_ASF = bytes.fromhex("3026b2758e66cf11a6d900aa0062ce6c")  # the object that an ASF file begins with
_ASF_DATA = bytes.fromhex("3626b2758e66cf11a6d900aa0062ce6c")  # and that which holds the packets
_ASF_NO_PACKETS = 50  # bytes of it without them, as of a stream that is recorded as it comes
_EBML, _SEGMENT = b"\x1a\x45\xdf\xa3", b"\x18\x53\x80\x67"  # of Matroska and WebM

# Bit rates in kbit/s by the version and layer of MPEG audio (ISO 11172-3 2.4.2.3, 13818-3 2.4.2.3).
_LAYER_1 = (0, *range(32, 449, 32))
_LAYER_2 = (0, 32, 48, 56, 64, 80, 96, 112, 128, 160, 192, 224, 256, 320, 384)
_LAYER_3 = (0, 32, 40, 48, 56, 64, 80, 96, 112, 128, 160, 192, 224, 256, 320)
_LOW_LAYER_1 = (0, 32, 48, 56, 64, 80, 96, 112, 128, 144, 160, 176, 192, 224, 256)
_LOW_LAYER_2 = (0, 8, 16, 24, 32, 40, 48, 56, 64, 80, 96, 112, 128, 144, 160)
_RATES = (44_100, 48_000, 32_000)


def is_cut_off(file: BinaryIO) -> bool:
    """Whether an open file lacks bytes at its end, by the sizes and marks of its kind.

    A size of nothing or of everything, as what is written into a pipe has it, tells nothing.
    """
    size = file.seek(0, os.SEEK_END)
    file.seek(0)
    head = file.read(24).ljust(24, b"\0")
    if head.startswith(b"RIFF"):
        told = struct.unpack("<I", head[4:8])[0]
        return told < 0xFFFF_FF00 and size < told + 8
    if head.startswith(b"riff"):
        told = struct.unpack("<Q", head[16:24])[0]
        return told < 1 << 62 and size < told
    if head.startswith(b"caff"):
        return _caf_end(file) > size or _goes_on_behind_caf(file, size)
    if head[4:8] == b"ftyp":
        return _mp4_end(file, size) > size
    if head.startswith(_ASF):
        return _asf_end(file) > size
    if head.startswith(_EBML):
        return _matroska_end(file) > size
    if head.startswith(b"OggS"):
        file.seek(max(0, size - _OGG_PAGE))
        tail = file.read()
        last = tail.rfind(b"OggS\0")
        return last < 0 or not _is_last_ogg_page(tail[last:])
    return _ends_in_ts_packet(file, size)


def goes_on_behind_data(file: BinaryIO) -> bool:
    """Whether what follows the samples of a WAV file, by its own account of them, are more.

    Recorders that are switched off leave a size that was right a while before.
    """
    size = file.seek(0, os.SEEK_END)
    file.seek(0)
    if file.read(4) != b"RIFF":
        return False
    kind, start, told = b"", 12, 0
    while kind != b"data":
        file.seek(start)
        kind, told = struct.unpack("<4sI", file.read(8).ljust(8, b"\0"))
        start += 8 + told + told % 2
        if start + _TRAILER > size:
            return False
    if told == 0:  # not known
        return False
    file.seek(start)
    kind, told = struct.unpack("<4sI", file.read(8))
    return not kind.strip().isalnum() or start + 8 + told > size + 1


def avi_index(file: BinaryIO) -> dict[int, list[int]] | None:
    """Where the chunks of each track of sound in an AVI file hold it; None of other files.

    By the index behind the chunks, if there is one; that of a large file lists its beginning.
    """
    size = file.seek(0, os.SEEK_END)
    file.seek(0)
    head = file.read(12)
    if head[:4] != b"RIFF" or head[8:] != b"AVI ":
        return None
    at, first, index = 12, 0, b""
    while at + 8 <= size and not index:
        file.seek(at)
        kind, told = struct.unpack("<4sI", file.read(8))
        if kind == b"LIST" and file.read(4) == b"movi":
            first = at + 12
        elif kind == b"idx1":
            index = file.read(told)
        at += 8 + told + told % 2
    fields = [("kind", "S4"), ("flags", "<u4"), ("place", "<u4"), ("size", "<u4")]
    listed = np.frombuffer(index, fields, count=len(index) // 16)
    places: dict[int, list[int]] = {}
    for kind, _, place, length in listed.tolist():
        if kind[2:] == b"wb" and kind[:2].isdigit() and length:
            # Some count from the beginning of the file, some from that of the chunks.
            start = first + 8 + place - int(listed["place"][0])
            places.setdefault(int(kind[:2]), []).append(start)
    return places


def _is_last_ogg_page(page: bytes) -> bool:
    """Whether a page ends its stream and is whole, whatever comes behind it (RFC 3533, 6)."""
    if len(page) < _OGG_HEADER:
        return False
    end_of_stream, segments = page[5] & 4, page[_OGG_HEADER - 1]
    sizes = page[_OGG_HEADER : _OGG_HEADER + segments]
    whole = len(sizes) == segments and len(page) >= _OGG_HEADER + segments + sum(sizes)
    return bool(end_of_stream) and whole


def _ends_in_ts_packet(file: BinaryIO, size: int) -> bool:
    """Whether the last packet of a transport stream is not whole; False of other files."""
    for packet, mark in _TS_PACKETS:
        file.seek(0)
        marks = file.read(_TS_LOOKED_AT * packet)[mark::packet]
        if len(marks) == _TS_LOOKED_AT and marks.count(0x47) >= _TS_LOOKED_AT - 1:
            return size % packet != 0
    return False


def _caf_end(file: BinaryIO) -> int:
    """Where the chunk of samples ends by its own account; 0 where there is none."""
    at = 8
    while True:
        file.seek(at)
        kind, size = struct.unpack(">4sq", file.read(12).ljust(12, b"\xff"))
        if size < 0:
            return 0
        at += 12 + size
        if kind == b"data":
            return at


def _goes_on_behind_caf(file: BinaryIO, length: int) -> bool:
    """Whether what follows the samples, by their own account, is no chunk."""
    at = _caf_end(file)
    if at == 0 or at + _TRAILER > length:
        return False
    file.seek(at)
    kind, size = struct.unpack(">4sq", file.read(12))
    return not kind.strip().isalnum() or not 0 <= size <= length - at - 12


def _mp4_end(file: BinaryIO, length: int) -> int:
    """Where the last box ends by its own account."""
    at = 0
    while at + 8 <= length:
        file.seek(at)
        size, _, long_size = struct.unpack(">I4sQ", file.read(16).ljust(16, b"\0"))
        if size == 0:  # up to the end
            return length
        at += max(8, long_size if size == 1 else size)
    return at


def _asf_end(file: BinaryIO) -> int:
    """Where the packets end by their own account; 0 where that is not known."""
    file.seek(16)
    at = struct.unpack("<Q", file.read(8).ljust(8, b"\0"))[0]
    file.seek(min(at, 1 << 62))
    kind, size = struct.unpack("<16sQ", file.read(24).ljust(24, b"\0"))
    return at + size if kind == _ASF_DATA and size > _ASF_NO_PACKETS else 0


def _matroska_end(file: BinaryIO) -> int:
    """Where the first segment ends by its own account; 0 where that is not known."""
    at, kind = 0, _EBML
    while kind != _SEGMENT:
        file.seek(at)
        head = file.read(12).ljust(12, b"\0")
        kind, digits = head[:4], 9 - head[4].bit_length()
        size = int.from_bytes(head[4 : 4 + digits], "big") & (1 << 7 * digits) - 1
        if kind not in (_EBML, _SEGMENT) or digits > 8 or size == (1 << 7 * digits) - 1:
            return 0
        at += 4 + digits + size
    return at


def mpeg_audio_bytes(frame: bytes) -> int:
    """How long a frame of MPEG audio is by its header; 0 if it does not say, or is none."""
    head = int.from_bytes(frame[:4], "big")
    version, layer = head >> 19 & 3, 4 - (head >> 17 & 3)
    index, rate = head >> 12 & 15, head >> 10 & 3
    if head >> 21 != 0x7FF or version == 1 or layer == 4 or index in (0, 15) or rate == 3:
        return 0
    full, low = (_LAYER_1, _LAYER_2, _LAYER_3), (_LOW_LAYER_1, _LOW_LAYER_2, _LOW_LAYER_2)
    kbps = (full if version == 3 else low)[layer - 1][index]
    hz = _RATES[rate] >> {3: 0, 2: 1, 0: 2}[version]
    padded = head >> 9 & 1
    if layer == 1:
        return 4 * (12_000 * kbps // hz + padded)
    samples = 576 if layer == 3 and version != 3 else 1152
    return samples // 8 * 1000 * kbps // hz + padded


def is_amr_frame(frame: bytes) -> bool:
    """Whether the first byte of a frame of AMR is that of one (RFC 4867, 5.3)."""
    return not frame[0] & 0b1000_0011
