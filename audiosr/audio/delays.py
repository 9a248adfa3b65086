"""How many samples at the beginning of a track hold no sound, where FFmpeg leaves them in?

Less where it is not known: no sound is cut.
"""

import os
from dataclasses import dataclass
from typing import TYPE_CHECKING, BinaryIO

if TYPE_CHECKING:  # imported where it is used: nobody who opens no file waits for it
    from av import AudioStream
    from av.container import InputContainer

_WITHOUT_DELAY = frozenset({"aac", "loas", "mp3", "wav", "avi", "flv", "mpegts", "nut", "asf"})
"""FFmpeg's names of formats that say nothing to it of what an encoder puts in front."""

_MP3_DELAY = 481 + 576
"""Samples of both filter banks of layer 3 and of the overlap of its first granule."""

_LAME_DELAY = 529 + 576
"""Of a decoder and of LAME, as it has been since version 3.55."""

_LAME = b"LAME3."  # in what LAME fills frames with: where little is to be coded, and at the end
_LOOKED_AT = 1 << 16
_PES, _PES_HEADER = b"\0\0\1\xbd", 9  # how a packet of Opus begins in a transport stream


@dataclass(frozen=True)
class Ends:
    """The first and the last bytes of a file."""

    head: bytes
    tail: bytes

    @classmethod
    def of(cls, file: BinaryIO) -> "Ends":
        """Those of an open file."""
        file.seek(0)
        head = file.read(_LOOKED_AT)
        file.seek(max(0, file.seek(0, os.SEEK_END) - _LOOKED_AT))
        return cls(head, file.read())


def skip_by_hand(stream: "AudioStream") -> None:
    """Have a decoder give all that it has, where it would leave a part of the sound out.

    Of WMA it skips two frames, which Microsoft's encoder puts in front; others put there one.
    """
    from av.codec.context import Flags2

    if stream.codec_context.name in ("wmav1", "wmav2"):
        stream.codec_context.flags2 |= Flags2.skip_manual


def delay_samples(container: "InputContainer", stream: "AudioStream", ends: Ends) -> int:
    """What a decoder gives before anything can be whole, of a file that says nothing of it.

    The first frame of AAC and WMA and what comes first of MP3 lack what should overlap them, so
    that no encoder can have put sound there. Beside other tracks it stays: sound is timed by it.
    """
    from av.stream import Disposition

    others = [
        each
        for each in (*container.streams.audio, *container.streams.video)
        if each is not stream and not each.disposition & Disposition.attached_pic
    ]
    if container.format.name not in _WITHOUT_DELAY or others:
        return 0
    codec = stream.codec_context
    if codec.name.startswith("mp3"):
        if container.format.name == "mp3" and stream.start_time:  # told by its first frame
            return 0
        return _LAME_DELAY if _LAME in ends.head or _LAME in ends.tail else _MP3_DELAY
    if codec.name.startswith("wmav"):
        return _wma_frame(codec.name, codec.rate)
    if codec.name == "opus":
        return _opus_trim(ends.head)
    return codec.frame_size if codec.name.startswith("aac") else 0


def _wma_frame(codec: str, rate: int) -> int:
    """Samples of a frame of Windows Media Audio, of which only FFmpeg's decoder knows."""
    if rate <= 16_000:
        return 512
    return 1024 if rate <= 22_050 or (rate <= 32_000 and codec == "wmav1") else 2048


def _opus_trim(head: bytes) -> int:
    """What the first packet of Opus in a transport stream says is to be cut in front.

    It stands in the header of an access unit (wiki.xiph.org/OpusTS); FFmpeg reads over it.
    """
    start = head.find(_PES)
    if start < 0 or start + _PES_HEADER > len(head):
        return 0
    unit = head[start + _PES_HEADER + head[start + _PES_HEADER - 1] :][:64]
    if len(unit) < 2 or int.from_bytes(unit[:2], "big") >> 5 != 0x3FF or not unit[1] & 0x10:
        return 0
    sizes = unit[2:].lstrip(b"\xff")
    return int.from_bytes(sizes[1:3], "big") & 0x1FFF
