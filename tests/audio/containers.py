"""Files of many containers and codecs, made by FFmpeg, and what is heard of them."""

from io import BytesIO

import av
import numpy as np
from einops import rearrange

from audiosr.audio.damage import describe_damage
from audiosr.audio.io import read_audio

LOSSLESS = [
    ("wav", "pcm_s16le"),
    ("wav", "pcm_s24le"),
    ("wav", "pcm_f32le"),
    ("wav", "pcm_u8"),
    ("aiff", "pcm_s24be"),
    ("au", "pcm_s16be"),
    ("caf", "pcm_s24be"),
    ("caf", "alac"),
    ("flac", "flac"),
    ("ogg", "flac"),
    ("matroska", "flac"),
    ("matroska", "pcm_s16le"),
    ("mov", "pcm_s16le"),
    ("mov", "alac"),
    ("ipod", "alac"),
    ("mp4", "flac"),
    ("avi", "pcm_s16le"),
    ("nut", "pcm_s16le"),
    ("wv", "wavpack"),
    ("tta", "tta"),
]


def encode(
    wave: np.ndarray,
    rate: int,
    container: str,
    codec: str,
    *,
    piped: bool = False,
    tracks: int = 1,
    bit_rate: int = 0,
    **options: str,
) -> bytes:
    """The bytes of a file that holds `wave (C, T)`, full scale 1.0.

    Args:
        wave: the samples, of one or two channels.
        rate: theirs, in Hz.
        container: FFmpeg's name of the format.
        codec: FFmpeg's name of the encoder.
        piped: whether it goes into a pipe, so that the header cannot be completed at the end.
        tracks: of several, each has half the level of the one before.
        bit_rate: of each track, in bit/s; the encoder's own choice by default.
        options: of the container.
    """
    file = BytesIO()
    with av.open(
        _Pipe(file) if piped else file, "w", format=container, container_options=options
    ) as out:
        streams = [
            out.add_stream(codec, rate=rate, options={"strict": "experimental"})
            for _ in range(tracks)
        ]
        for stream in streams:
            if bit_rate:
                stream.codec_context.bit_rate = bit_rate
            stream.codec_context.layout = "stereo" if len(wave) == 2 else "mono"
            # The widest integers: some encoders list 16 bits before what their format can hold.
            formats = [form.name for form in stream.codec_context.codec.audio_formats or []]
            stream.codec_context.format = next((f for f in formats if "32" in f), formats[0])
        for number, stream in enumerate(streams):
            # FFmpeg cuts it into frames for encoders with frames of a size, not for the others.
            for start in range(0, wave.shape[1], _FRAME):
                part = wave[:, start : start + _FRAME] / 2**number
                frame = _frame(part, rate, stream.codec_context.format.name)
                frame.pts = start
                out.mux(stream.encode(frame))
            out.mux(stream.encode(None))
    return file.getvalue()


_FRAME = 1024


class _Pipe:
    """What can only be written on."""

    def __init__(self, file: BytesIO) -> None:
        self.write = file.write


def _frame(wave: np.ndarray, rate: int, form: str) -> av.AudioFrame:
    kinds = {"u8": (np.uint8, 127), "s1": (np.int16, 2**15 - 1), "s3": (np.int32, 2**31 - 1)}
    if form[:2] in kinds:
        dtype, scale = kinds[form[:2]]
        wave = np.round(wave * scale + (128 if dtype is np.uint8 else 0)).astype(dtype)
    wave = wave.astype(np.float32) if form.startswith("flt") else wave
    packed = wave if form.endswith("p") else rearrange(wave, "c t -> 1 (t c)")
    frame = av.AudioFrame.from_ndarray(
        np.ascontiguousarray(packed), form, "stereo" if len(wave) == 2 else "mono"
    )
    frame.sample_rate = rate
    return frame


def sound(seconds: float = 0.7, rate: int = 48000, channels: int = 2) -> np.ndarray:
    """A tone with noise, (C, T); an odd number of samples."""
    samples = round(seconds * rate) + 7
    tone = 0.3 * np.sin(0.05 * np.arange(samples))
    return tone + np.random.default_rng(0).normal(0, 0.01, (channels, samples))


def coded(
    container: str, codec: str, seconds: float = 0.7, *, piped: bool = False
) -> tuple[bytes, int]:
    """A file, and how many samples it was made of."""
    rate = {"amr_nb": 8000, "g722": 16000}.get(codec, 48000)
    wave = sound(seconds, rate, 1 if rate < 48000 else 2)
    bit_rate = 128_000 if codec == "wmav2" else 0
    return encode(wave, rate, container, codec, bit_rate=bit_rate, piped=piped), wave.shape[1]


def heard(content: bytes) -> tuple[np.ndarray, str]:
    """The samples of a file, and what is said of its damage."""
    damage = []
    wave, _ = read_audio(content, damage=damage)
    return wave, describe_damage(damage)
