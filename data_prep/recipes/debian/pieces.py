"""How do words and single hits of a second become clips of several? They are tried and joined."""

import hashlib
import json
import math
from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from audiosr.audio.damage import describe_damage
from audiosr.audio.decode import AudioReader, open_audio
from audiosr.audio.edge import widest_edge
from audiosr.audio.io import write_audio
from audiosr.errors import AudioFileError
from data_prep.clips import tell_narrow

SHORT_SECONDS = 5.12
"""Files below this length are joined: a training crop is as long."""

JOINED_SECONDS = (8.0, 10.0)
"""A clip is closed at the first length, and no file is added that takes it above the second."""

GAP_SECONDS = 0.06
"""Silence between two files that are joined."""

PIECE_RATES = (44_100, 48_000)
"""Sampling rates in Hz at which content up to 16 kHz and above is to be expected."""

_NOISY = ("pcm_u8", "pcm_s8", "pcm_mulaw", "pcm_alaw", "adpcm", "gsm")
"""Beginnings of FFmpeg's names of the sample formats whose noise fills the top of the spectrum."""

_SILENCE_DBFS = -50.0
_LEAST_SECONDS = 0.15
_TRIM = 1e-3
"""Ends that stay 60 dB below the peak are cut off."""
_FADE_SECONDS = 0.004
_TOP_HZ = 9_000.0
_LONG_SECONDS = 60.0
"""Of a long file this much is looked at for hiss."""


@dataclass(frozen=True)
class PackagePiece:
    """A file as it was measured."""

    name: str
    path: str
    seconds: float
    """Length, of a short file without the silence at its ends."""
    rate: int
    channels: int
    digest: str
    """Hash of the samples of a short file; empty for a long one."""
    reason: str = ""
    """Why it is left out; empty: it is used."""
    detail: str = ""

    @property
    def short(self) -> bool:
        """Whether it is joined with others."""
        return bool(self.digest)


def measure_file(name: str, path: Path, *, speech: bool, min_bandwidth: float) -> PackagePiece:
    """Look at one file: a long one by its start, a short one by all of its samples.

    Args:
        name: its name in messages.
        path: where it is.
        speech: whether the top of its spectrum must be voice, not hiss.
        min_bandwidth: least effective bandwidth in Hz of a short file. After joining, a wide
            neighbour would hide a narrow one.
    """
    try:
        with open_audio(path) as reader:
            rate, channels = reader.rate, reader.channels
            about = PackagePiece(name, str(path), 0.0, rate, channels, "")
            if rate not in PIECE_RATES:
                return _refused(about, "low bandwidth", f"{rate} Hz sampling rate")
            if reader.codec.startswith(_NOISY):
                return _refused(about, "noisy format", reader.codec)
            wave, samples = _start(reader)
            seconds, damage = samples / rate, list(reader.damage)
    except AudioFileError as error:
        return PackagePiece(name, str(path), 0.0, 0, 0, "", "broken", str(error)[-200:])
    about = replace(about, seconds=seconds)
    if seconds >= SHORT_SECONDS:  # its clips are judged one by one
        if speech and not _voiced_top(wave, rate):
            return _refused(about, "hiss", "above 9 kHz hiss or clicks, not voice")
        return about
    # What is told of the end alone, as that no mark ends an Ogg stream, leaves a word as it is.
    if any(one.second < seconds for one in damage) or not samples:
        return _refused(about, "broken", describe_damage(damage) or "no samples")
    wave = trim(wave, rate)
    digest = hashlib.sha256(np.ascontiguousarray(wave).tobytes()).hexdigest()
    about = PackagePiece(name, str(path), wave.shape[1] / rate, rate, channels, digest)
    if about.seconds < _LEAST_SECONDS:
        return _refused(about, "too short", f"{about.seconds:.3f} s")
    if (level := 10 * math.log10(float(np.mean(np.square(wave))) + 1e-20)) < _SILENCE_DBFS:
        return _refused(about, "silent", f"{level:.0f} dBFS")
    if narrow := tell_narrow(widest_edge(wave, rate), min_bandwidth):
        return _refused(about, "low bandwidth", narrow)
    if speech and not _voiced_top(wave, rate):
        return _refused(about, "hiss", "above 9 kHz hiss or clicks, not voice")
    return about


def group(pieces: Sequence[PackagePiece], *, by_folder: bool) -> list[list[PackagePiece]]:
    """Divide short files, in the order of their names, into those that make one clip each.

    Files of different rates or numbers of channels stay apart, with `by_folder` those of
    different folders too.
    """
    made: list[list[PackagePiece]] = []
    open_groups: dict[tuple[str, int, int], list[PackagePiece]] = {}
    close_at, most = JOINED_SECONDS
    for piece in sorted(pieces, key=lambda piece: piece.name):
        folder = piece.name.rpartition("/")[0] if by_folder else ""
        key = (folder, piece.rate, piece.channels)
        held = open_groups.get(key, [])
        if held and joined_seconds([*held, piece]) > most:
            made.append(held)
            held = []
        held = [*held, piece]
        if joined_seconds(held) >= close_at:
            made.append(held)
            held = []
        open_groups[key] = held
    return made + [held for _, held in sorted(open_groups.items()) if held]


def joined_seconds(pieces: Sequence[PackagePiece]) -> float:
    """Length of what `join` makes of them."""
    return sum(piece.seconds for piece in pieces) + GAP_SECONDS * (len(pieces) - 1)


def join(pieces: Sequence[PackagePiece], path: Path) -> None:
    """Write the files one after the other as FLAC, and beside it as JSON which they are.

    Each loses the silence at its ends and gets short fades, so that nothing clicks. What is there
    already is left as it is.
    """
    if path.exists() and path.with_suffix(".json").exists():
        return
    rate = pieces[0].rate
    gap = np.zeros((pieces[0].channels, round(GAP_SECONDS * rate)), np.float32)
    parts: list[NDArray[np.float32]] = []
    for piece in pieces:
        with open_audio(piece.path) as reader:
            parts += [gap, _faded(trim(_start(reader)[0], rate), rate)]
    wave = np.concatenate(parts[1:], axis=1)
    wave = wave / max(1.0, float(np.abs(wave).max()) / 0.999)
    members = [asdict(piece) for piece in pieces]
    path.parent.mkdir(parents=True, exist_ok=True)
    path.with_suffix(".json").write_text(json.dumps(members, indent=1), encoding="utf-8")
    write_audio(path, wave, rate)


def trim(wave: NDArray[np.float32], rate: int) -> NDArray[np.float32]:
    """Samples (C, T) without the silence at both ends, in steps of 20 ms."""
    step = rate // 50
    peaks = np.abs(np.pad(wave, ((0, 0), (0, -wave.shape[1] % step)))).max(0)
    peaks = peaks.reshape(-1, step).max(1)
    heard = np.flatnonzero(peaks > max(_TRIM * float(peaks.max(initial=0)), 1e-5))
    if not len(heard):
        return wave[:, :0]
    return wave[:, heard[0] * step : (heard[-1] + 1) * step]


def _faded(wave: NDArray[np.float32], rate: int) -> NDArray[np.float32]:
    ramp = np.linspace(0, 1, min(wave.shape[1] // 2, round(_FADE_SECONDS * rate)), dtype=np.float32)
    envelope = np.ones(wave.shape[1], np.float32)
    envelope[: len(ramp)] = ramp
    envelope[len(envelope) - len(ramp) :] = ramp[::-1]
    return wave * envelope


def _start(reader: AudioReader) -> tuple[NDArray[np.float32], int]:
    """The start of a file, as much as is looked at, and how many samples all of it has."""
    blocks: list[NDArray[np.float32]] = []
    samples, most = 0, round(_LONG_SECONDS * reader.rate)
    for block in reader.blocks():
        if samples < most:
            blocks.append(block)
        samples += block.shape[1]
    held = np.concatenate([np.zeros((reader.channels, 0), np.float32), *blocks], axis=1)
    return held[:, :most], samples


def _voiced_top(wave: NDArray[np.float32], rate: int) -> bool:
    """Whether what lies above 9 kHz comes and goes as consonants do.

    Clicks have most of their energy in a few samples: 70 % in half a percent of them. Hiss is
    steady: from the 20th to the 95th percentile of blocks of 20 ms it rises by less than 12 dB. A
    block counts with the median of its eight parts, so that a click in it does not.
    """
    spectrum = np.fft.rfft(wave.mean(0))
    spectrum[: math.ceil(_TOP_HZ * wave.shape[1] / rate)] = 0
    power = np.fft.irfft(spectrum, wave.shape[1]) ** 2
    strongest = np.partition(power, -max(1, len(power) // 200))[-max(1, len(power) // 200) :].sum()
    part = rate // 400
    blocks = power[: len(power) // (8 * part) * 8 * part].reshape(-1, 8, part)
    weak, strong = np.percentile(np.median(blocks.mean(2), axis=1), [20, 95]) + 1e-14
    return bool(strongest < 0.7 * power.sum() and strong > weak * 10**1.2)


def _refused(piece: PackagePiece, reason: str, detail: str) -> PackagePiece:
    return replace(piece, reason=reason, detail=detail)
