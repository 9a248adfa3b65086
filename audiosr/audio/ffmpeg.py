"""What does FFmpeg make of a file: which tracks, which samples, and which of them broken?

In one piece: what it says while it opens, reads and skips is heard under one lock.
"""

import logging
import os
from bisect import bisect_right
from collections.abc import Generator, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from threading import Lock
from typing import TYPE_CHECKING, BinaryIO

import numpy as np
from einops import rearrange
from numpy.typing import NDArray

from audiosr.audio.damage import (
    BROKEN,
    EXACT_SECONDS,
    SAMPLE_SECONDS,
    TOLERANCE_SECONDS,
    Damage,
    note_damage,
)
from audiosr.audio.delays import Ends, delay_samples, skip_by_hand
from audiosr.audio.gaps import Find, Piece, gaps_before
from audiosr.audio.sizes import avi_index, goes_on_behind_data, is_amr_frame, mpeg_audio_bytes
from audiosr.errors import AudioFileError, UsageError

if TYPE_CHECKING:  # imported where it is used: nobody who opens no file waits for it
    from av import AudioFrame, AudioStream, Packet
    from av.container import InputContainer

# What FFmpeg may take a file for. Left out: playlists, which would open other files and addresses,
# and what is recognised by nothing but faith, such as raw samples and text art.
CONTAINERS = (
    "wav,w64,aiff,au,caf,voc,nistsphere,ircam,sox,iff,flac,ogg,mp3,aac,loas,amr,ac3,eac3,dts,dtshd,"
    "truehd,mov,matroska,asf,avi,flv,mpeg,mpegts,mxf,nut,rm,wv,tta,ape,tak,mpc,mpc8,dsf,shn,oma,qcp"
)
"""FFmpeg's names of what a file may be."""

# Those whose headers say to the sample how long they are, those that say it roughly, and those
# whose first and last times are known; of all others FFmpeg guesses it.
_EXACT = frozenset({"wav", "w64", "aiff", "au", "caf", "flac", "mp3", "tta", "wv", "ape", "tak"})
_ROUGH = frozenset({"mov,mp4,m4a,3gp,3g2,mj2", "matroska,webm", "asf", "flv"})
_TIMED = frozenset({"ogg", "mpegts", "mpeg"})

# Those whose packets carry times that were written with them, as good as to a millisecond.
_STAMPED = frozenset({"matroska,webm", "mov,mp4,m4a,3gp,3g2,mj2", "asf", "flv", "nut", "mpegts"})
_MOST_OF_A_FRAME = 0.75
_JITTER_SECONDS = 0.002
_OPENING = Lock()
"""One file at a time: captures that overlap would take each other's messages."""
_GUESSED = "Estimating duration"  # so FFmpeg, of a file that does not say

# Those whose blocks have a length of their own; of others FFmpeg knows nothing by finding less.
_IN_BLOCKS = frozenset({"voc", "mpeg"})

# What joined files and some others have between and behind the frames of sound.
_TAGS = (b"ID3", b"TAG", b"APETAGEX", b"LYRICSBEGIN")

_RESTARTS = 100  # so often is reading taken up again behind what cannot be read


class PatientFile:
    """A file for libraries that seek before the beginning of some broken ones.

    Python's own files would raise, which libsndfile prints and FFmpeg gives up at; this one is at
    its end.
    """

    def __init__(self, file: BinaryIO) -> None:
        self.read, self.tell, self._seek = file.read, file.tell, file.seek

    def seek(self, offset: int, whence: int = 0) -> int:
        """As of any file, but to its end where there is no such place."""
        try:
            return self._seek(offset, whence)
        except (OSError, ValueError):
            return self._seek(0, os.SEEK_END)


class ForwardFile:
    """A file that can only be read on, as FFmpeg is to read AVI.

    Where it can seek it goes by the index, and a broken one leads it past most of the sound.
    """

    def __init__(self, file: BinaryIO) -> None:
        self.read = file.read


@dataclass
class FFmpegTrack:
    """One audio track of an open file."""

    container: "InputContainer"
    stream: "AudioStream"
    seconds: float | None
    """How long it is, as the header or FFmpeg has it."""
    promised: float | None
    """The same, where a header says it."""
    suspect: bool
    """Whether FFmpeg found something broken before it decoded anything."""
    delay: int
    """So many samples at the beginning hold no sound, and FFmpeg leaves them in."""
    chunks: list[int]
    """Where its chunks begin in the file, as the index of an AVI file has it; else empty."""

    @property
    def tolerance(self) -> float:
        """By how many seconds what is promised may be off."""
        if self.container.format.name not in _EXACT:
            return TOLERANCE_SECONDS
        return SAMPLE_SECONDS if self.stream.codec_context.codec.lossless else EXACT_SECONDS

    def gap_seconds(self, piece: Piece) -> float:
        """By how much the time of what follows a piece may be off before sound is missing."""
        if self.container.format.name not in _STAMPED:
            return TOLERANCE_SECONDS
        return min(max(_MOST_OF_A_FRAME * piece.seconds, _JITTER_SECONDS), TOLERANCE_SECONDS)

    @property
    def fills_gaps(self) -> bool:
        """Whether there is a length to check its times by that does not come from times."""
        return self.promised is not None and self.container.format.name not in _TIMED

    @property
    def exact_in_16_bits(self) -> bool:
        """Whether 16 bits hold its samples without rounding."""
        return self.stream.codec_context.format.name in ("u8", "u8p", "s16", "s16p")

    @property
    def tags(self) -> dict[str, str]:
        """What the file and the track say about themselves; keys in lower case."""
        said = self.container.metadata | self.stream.metadata
        return {key.lower(): value for key, value in said.items()}


def open_track(name: str, file: BinaryIO, number: int | None) -> FFmpegTrack | None:
    """An audio track of a file; None where FFmpeg does not know the kind of file.

    Args:
        name: of the file, in messages.
        file: open for reading, at its beginning.
        number: which audio track, from 1; by default the one that players would take.

    Raises:
        AudioFileError: no audio track.
        UsageError: no track of this number.
    """
    import av
    from av.error import FFmpegError
    from av.logging import ERROR

    options = {"format_whitelist": CONTAINERS}
    ends = Ends.of(file)
    if goes_on_behind_data(file):
        options["ignore_length"] = "1"
    index = avi_index(file)
    source = file if index is None else ForwardFile(file)
    file.seek(0)
    try:
        # Not only of this thread: FFmpeg looks at videos in others.
        with _OPENING, _listening(local=False) as said:
            container = av.open(source, "r", container_options=options, metadata_errors="ignore")
    except FFmpegError:
        return None
    try:
        stream = _chosen(name, container, number)
    except BaseException:
        container.close()
        raise
    seconds, alone = None, len(container.streams) == 1
    if stream.duration is not None and stream.time_base is not None:
        seconds, alone = float(stream.duration * stream.time_base), True
    elif container.duration is not None:
        seconds = container.duration / av.time_base
    guessed = any(_GUESSED in message for _, _, message in said)
    promises = container.format.name in _EXACT | _ROUGH | _TIMED and alone and not guessed
    skip_by_hand(stream)
    delay = delay_samples(container, stream, ends)
    if seconds is not None and delay and stream.rate:
        seconds = max(0.0, seconds - delay / stream.rate)
    return FFmpegTrack(
        container,
        stream,
        seconds,
        promised=seconds if promises else None,
        delay=delay,
        chunks=index.get(stream.index, []) if index else [],
        suspect=any(heed <= ERROR and of == container.format.name for heed, of, _ in said),
    )


def _chosen(name: str, container: "InputContainer", number: int | None) -> "AudioStream":
    # Broken files have tracks of no known kind, too.
    streams = [stream for stream in container.streams.audio if bool(stream.codec_context)]
    if not streams:
        raise AudioFileError(f"{name} holds no audio track; give a file with sound")
    if number is None:
        best = container.streams.best("audio")
        chosen = next((stream for stream in streams if stream is best), streams[0])
    elif 1 <= number <= len(streams):
        chosen = streams[number - 1]
    else:
        tracks = f"{len(streams)} audio track{'s' * (len(streams) > 1)}"
        raise UsageError(f"track={number}: {name} has {tracks}, counted from 1")
    # In this thread, where its messages are heard.
    chosen.codec_context.thread_count = 1
    return chosen


def decode_track(track: FFmpegTrack, damage: list[Damage]) -> Iterator[Piece]:
    """The samples of every frame, to the end of the file; `damage` takes what is broken.

    Silence takes the place of packets that cannot be decoded, and of those that are not there
    where the length that the header promises has room for them. Elsewhere the sound goes on
    without a pause, since times may be as wrong as anything else.
    """
    second, lost, skipped = 0.0, 0.0, track.delay
    last: Piece | None = None
    for find, gap in gaps_before(_finds(track)):
        if find.piece is None:
            note_damage(damage, second, BROKEN)
            if find.silent and last is not None:
                lost += last.seconds
            continue
        if last is not None and gap > lost + track.gap_seconds(last):
            note_damage(damage, second + lost, f"skips {gap - lost:.2f} s")
            if track.fills_gaps and second + gap <= (track.promised or 0):
                lost = gap
        if lost and last is not None:
            yield last.silence(lost)
            second, lost = second + lost, 0.0
        last = Piece(find.piece.rate, find.piece.wave[:, skipped:])
        skipped = max(0, skipped - find.piece.wave.shape[1])
        yield last
        second += last.seconds
    if track.suspect and not damage:
        note_damage(damage, 0.0, BROKEN)


def _finds(track: FFmpegTrack) -> Iterator[Find]:
    """The pieces of a track with their times, and after those of each packet whether it is broken.

    What is not finite counts as broken, but as PCM, which may be so.
    """
    exact = _is_pcm(track.stream)
    for frames, broken in _decoded(track):
        for frame in frames:
            rate, wave = frame.sample_rate, _samples(frame)
            if rate <= 0 or not wave.size:
                continue
            if not (exact or np.isfinite(wave).all()):
                wave, broken = np.zeros_like(wave), True
            starts = None
            if frame.pts is not None and frame.time_base is not None:
                starts = float(frame.pts * frame.time_base)
            yield Find(Piece(rate, wave), starts)
        if broken:
            yield Find(None, silent=not frames)


def _is_pcm(stream: "AudioStream") -> bool:
    return stream.codec_context.name.startswith("pcm")


def _decoded(track: FFmpegTrack) -> Iterator[tuple[list["AudioFrame"], bool]]:
    """The frames of each packet, and whether FFmpeg finds it broken."""
    from av.error import FFmpegError
    from av.logging import ERROR

    container, stream = track.container, track.stream
    # Of PCM it says so where there is less than a sample, as at the end of a padded chunk.
    unheard = stream.codec_context.name if _is_pcm(stream) else None
    indexed = _AviIndex(track.chunks) if track.chunks else None
    for _ in range(_RESTARTS):
        packets = container.demux(stream)
        while True:
            frames: list[AudioFrame] = []
            broken = False
            with _listening(local=True) as said:
                try:
                    packet = next(packets, None)
                except (FFmpegError, IndexError):  # IndexError: a track that appeared on the way
                    yield [], True
                    break
                try:
                    if packet is not None:
                        if container.format.name in ("ogg", "caf"):
                            _keep_whole(packet)
                        frames = packet.decode()
                except FFmpegError:
                    broken = True
            broken |= any(level <= ERROR and speaker != unheard for level, speaker, _ in said)
            if packet is None:
                if broken or (indexed is not None and indexed.goes_on):
                    yield [], True
                return
            if packet.size and bytes(packet)[:11].startswith(_TAGS):
                continue
            broken |= _is_short(container, packet)
            broken |= indexed is not None and indexed.lacks_before(packet)
            yield frames, broken


class _AviIndex:
    """What the index of an AVI file lists of a track.

    FFmpeg goes on behind a broken place without a word, and times there are but counted.
    """

    def __init__(self, places: list[int]) -> None:
        self._places = places
        self._next = 0

    @property
    def goes_on(self) -> bool:
        """Whether chunks are listed behind the last packet."""
        return self._next < len(self._places)

    def lacks_before(self, packet: "Packet[AudioStream]") -> bool:
        """Whether chunks are listed between the last packet and this one."""
        if packet.pos is None:
            return False
        reached = bisect_right(self._places, packet.pos)
        missing = reached - self._next
        self._next = max(self._next, reached)
        return missing > 1


def _is_short(container: "InputContainer", packet: "Packet[AudioStream]") -> bool:
    """Whether bytes are missing that FFmpeg goes without: those of the last packet, mostly."""
    if packet.is_corrupt and container.format.name in _IN_BLOCKS:
        return True
    codec = packet.stream.codec_context.name
    if codec.startswith("amr") and packet.size:
        return not is_amr_frame(bytes(packet))
    return codec[:2] == "mp" and 0 < packet.size < mpeg_audio_bytes(bytes(packet)[:4])


def _keep_whole(packet: "Packet[AudioStream]") -> None:
    """Have the end of a packet be heard where it is wrongly cut away.

    A packet of Ogg that ends after the last granule: that one may be wrong, what is rightly cut
    away is a part of the last packet. The last one of ALAC in CAF: it says how short it is, and
    FFmpeg takes from that again what the container counts as missing.
    """
    if packet.has_sidedata("skip_samples"):
        skipped = packet.get_sidedata("skip_samples")
        at_end = int.from_bytes(bytes(skipped)[4:8], "little")
        beyond = packet.duration is not None and packet.duration <= 1 < at_end
        if beyond or packet.stream.codec_context.name == "alac":
            skipped.update(bytes(skipped.buffer_size))
            packet.set_sidedata(skipped)


@contextmanager
def _listening(*, local: bool) -> Generator[list[tuple[int, str, str]]]:
    """What FFmpeg says meanwhile, as level, speaker, words; nothing of it is printed."""
    from av import logging as av_logging

    if av_logging.get_level() is None:
        # Where nobody listens, PyAV would log it, which ends on standard error.
        logging.getLogger("libav").setLevel(logging.CRITICAL + 1)
        av_logging.set_level(av_logging.WARNING)
        av_logging.set_skip_repeated(False)
    with av_logging.Capture(local=local) as said:
        yield said


def _samples(frame: "AudioFrame") -> NDArray[np.float32]:
    """Samples (C, n) with full scale 1.0."""
    wave: NDArray[np.generic] = frame.to_ndarray()
    if not frame.format.is_planar:
        wave = rearrange(wave, "1 (t c) -> c t", c=frame.layout.nb_channels)
    if np.issubdtype(wave.dtype, np.floating):
        with np.errstate(all="ignore"):  # what is not finite is told where it is read
            return wave.astype(np.float32)
    full = 2.0 ** (8 * wave.dtype.itemsize - 1)
    middle = full if wave.dtype == np.uint8 else 0.0
    return ((wave.astype(np.float32) - middle) / full).astype(np.float32, copy=False)
