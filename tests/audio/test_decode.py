"""Is every kind of file decoded to its end, and is what is broken or missing named?

In one piece: whole, cut and damaged files are made of the same kinds.
"""

import io
import struct
import zlib
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest
import soundfile

from audiosr.audio.decode import open_audio
from audiosr.audio.ffmpeg import open_track
from audiosr.audio.io import read_audio
from audiosr.errors import AudioFileError, UsageError
from tests.audio.containers import LOSSLESS, coded, encode, heard, sound

TRIMMED = [
    ("ogg", "vorbis", 1024),
    ("webm", "vorbis", 1024),
    ("ogg", "libopus", 960),
    ("webm", "libopus", 960),
    ("mp4", "libopus", 960),
    ("mp3", "libmp3lame", 1152),
    ("matroska", "libmp3lame", 1152),
    ("mp4", "libmp3lame", 1152),
    ("ipod", "aac", 1024),
    ("mov", "aac", 1024),
    ("matroska", "aac", 1024),
    ("3gp", "aac", 1024),
    ("matroska", "ac3", 1536),
    ("asf", "wmav2", 2048),
    ("amr", "amr_nb", 160),
    ("3gp", "amr_nb", 160),
]
DELAYED = [
    # Nothing in these tells the delay of the encoder. What is left of it: codec, frame, delay.
    ("adts", "aac", 1024, 0),
    ("latm", "aac", 1024, 0),
    ("flv", "aac", 1024, 0),
    ("avi", "aac", 1024, 0),
    ("nut", "aac", 1024, 0),
    ("mpegts", "aac", 1024, 0),
    ("mpegts", "libopus", 960, 0),
    ("wav", "libmp3lame", 1152, 0),
    ("avi", "libmp3lame", 1152, 0),
    ("nut", "libmp3lame", 1152, 0),
    ("mpegts", "libmp3lame", 1152, 0),
    ("mp2", "mp2", 1152, 481),
    ("mpeg", "mp2", 1152, 481),
    ("ac3", "ac3", 1536, 256),
    ("eac3", "eac3", 1536, 256),
    ("vob", "ac3", 1536, 256),
    ("wav", "adpcm_ms", 1012, 0),
    ("wav", "g722", 320, 22),
]


@pytest.mark.parametrize("piped", [False, True])
@pytest.mark.parametrize(("container", "codec"), LOSSLESS)
def test_lossless_files_come_back_sample_by_sample(container: str, codec: str, piped: bool):
    if piped and container in {"mov", "ipod", "mp4"} | ({"caf"} if codec == "alac" else set()):
        pytest.skip("cannot be written into a pipe")
    content, _ = coded(container, codec, piped=piped)
    bits = {"pcm_u8": 8, "pcm_s16le": 16, "pcm_s16be": 16}.get(codec, 24)

    wave, rate = read_audio(content)

    assert rate == 48000
    assert wave.shape == sound().shape
    assert np.abs(wave - sound()).max() <= 1.01 * 2.0 ** (1 - bits)


@pytest.mark.parametrize("seconds", [0.01, 0.5, 0.7])
@pytest.mark.parametrize("container", ["caf", "ipod"])
def test_the_last_packet_of_alac_is_cut_once(container: str, seconds: float):
    content, samples = coded(container, "alac", seconds)

    wave, damage = heard(content)

    assert (wave.shape[1], damage) == (samples, "")


@pytest.mark.parametrize("subtype", ["FLOAT", "PCM_24", "PCM_16"])
def test_samples_are_those_of_the_file_bit_for_bit(tmp_path: Path, subtype: str):
    path = tmp_path / "a.wav"
    soundfile.write(path, sound().T, 44100, subtype)

    assert np.array_equal(read_audio(path)[0].T, soundfile.read(path, dtype="float32")[0])


@pytest.mark.parametrize(("container", "codec", "frame"), TRIMMED)
def test_lossy_files_lose_what_their_encoder_added(container: str, codec: str, frame: int):
    content, samples = coded(container, codec)

    wave, rate = read_audio(content)

    assert abs(wave.shape[1] - samples) < frame
    if rate == 48000:  # in time, too
        assert np.corrcoef(wave[0, 9000:20000], sound()[0, 9000:20000])[0, 1] > 0.9


@pytest.mark.parametrize(("container", "codec", "frame", "delay"), DELAYED)
def test_without_a_word_on_the_delay_no_sound_is_cut(
    container: str, codec: str, frame: int, delay: int
):
    content, samples = coded(container, codec)

    wave, _ = read_audio(content)

    assert samples <= wave.shape[1] < samples + delay + frame


@pytest.mark.parametrize(
    ("container", "codec"),
    [("mpegts", "aac"), ("mpegts", "libmp3lame"), ("mpegts", "libopus"), ("asf", "wmav2")],
)
def test_where_no_header_tells_the_delay_sound_begins_where_it_did(container: str, codec: str):
    wave = np.random.default_rng(1).normal(0, 0.05, (1, 33_607))
    wave[0, :200] += 0.5 * np.sin(0.3 * np.arange(200))
    content = encode(wave, 48000, container, codec, bit_rate=192_000)

    back, damage = heard(content)

    match = np.correlate(back[0, :8_000], wave[0, :4_000])
    assert damage == ""
    assert int(match.argmax()) == 0
    assert np.corrcoef(back[0, :200], wave[0, :200])[0, 1] > 0.95


def test_of_an_mp3_whose_encoder_is_not_known_only_what_none_can_fill_is_cut():
    content = encode(sound(), 48000, "mpegts", "libmp3lame")

    unknown = read_audio(content.replace(b"LAME3.", b"UUUUUU"))[0]

    assert unknown.shape[1] == read_audio(content)[0].shape[1] + 48


@pytest.mark.parametrize("codec", ["aac", "libmp3lame"])
def test_beside_another_track_the_delay_stays_since_sound_is_timed_by_it(codec: str):
    alone, two = (encode(sound(), 48000, "mpegts", codec, tracks=tracks) for tracks in (1, 2))

    longer = read_audio(two)[0].shape[1] - read_audio(alone)[0].shape[1]

    assert longer == {"aac": 1024, "libmp3lame": 1105}[codec]


def test_an_mp3_whose_header_counts_frames_alone_does_not_end_early():
    content, samples = coded("mp3", "libmp3lame", 1.0)
    lame = content.index(b"Info") + 120  # behind frames, bytes, table and quality

    wave, damage = heard(content[:lame] + bytes(24) + content[lame + 24 :])

    assert damage == ""
    assert 0 <= wave.shape[1] - samples < 48 + 1152


@pytest.mark.parametrize("total", [0, 1000, 10**6, 2**36 - 1])
def test_a_flac_is_as_long_as_what_is_in_it(total: int):
    content = bytearray(coded("flac", "flac")[0])
    content[21] = content[21] & 0xF0 | total >> 32
    content[22:26] = struct.pack(">I", total & 0xFFFFFFFF)

    wave, damage = heard(bytes(content))

    assert wave.shape == sound().shape
    assert ("ends" in damage) == (total > sound().shape[1])


@pytest.mark.parametrize("frames", [0, 5, 10**6])
def test_an_mp3_is_as_long_as_what_is_in_it(frames: int):
    content, samples = coded("mp3", "libmp3lame")
    tag = next(content.index(name) for name in (b"Xing", b"Info") if name in content)
    content = content[: tag + 8] + struct.pack(">I", frames) + content[tag + 12 :]

    wave, _ = heard(content)

    assert 0 <= wave.shape[1] - samples < 2 * 1152


@pytest.mark.parametrize("quiet", [slice(0, 72_000), slice(72_000, None)])
def test_an_mp3_of_variable_rate_needs_no_header(quiet: slice):
    """Small frames or large ones come first, by which too long or too short a length is guessed."""
    wave = sound(3.0)
    wave[:, quiet] *= 0.02
    whole = io.BytesIO()
    soundfile.write(
        whole, wave.T, 48000, format="MP3", bitrate_mode="VARIABLE", compression_level=0.5
    )
    content = whole.getvalue()
    tag = content.index(b"Xing") - 36
    second = content.index(content[tag : tag + 2], tag + 40)

    back, _ = read_audio(content[second:])

    assert 0 <= back.shape[1] - wave.shape[1] < 2 * 1152


@pytest.mark.parametrize("size", [0, 36, 2**32 - 1, 5000])
def test_a_wav_is_as_long_as_what_is_in_it(size: int):
    content, samples = coded("wav", "pcm_s16le")
    at = content.index(b"data") + 4

    wave, _ = heard(
        content[:4]
        + struct.pack("<I", size)
        + content[8:at]
        + struct.pack("<I", size)
        + content[at + 4 :]
    )

    assert wave.shape[1] == samples


@pytest.mark.parametrize("codec", ["vorbis", "libopus", "flac"])
@pytest.mark.parametrize("granule", [0, 10**7, 2**62])
def test_the_last_granule_of_an_ogg_does_not_decide(codec: str, granule: int):
    content, samples = coded("ogg", codec, seconds=1.5)
    at = content.rindex(b"OggS")
    page = bytearray(content[at:])
    page[6:14], page[22:26] = struct.pack("<q", granule), bytes(4)
    page[22:26] = struct.pack("<I", ogg_crc(bytes(page)))

    wave, _ = heard(content[:at] + bytes(page))

    assert abs(wave.shape[1] - samples) < 960


@pytest.mark.parametrize(("container", "codec"), [("ogg", "vorbis"), ("mp3", "libmp3lame")])
def test_joined_files_are_heard_to_the_end(container: str, codec: str):
    content, samples = coded(container, codec)

    wave, damage = heard(content + content)

    assert damage == ""
    assert abs(wave.shape[1] - 2 * samples) < 4 * 1152


def test_joined_files_of_other_rates_and_channels_take_those_of_the_first():
    first, samples = coded("mp3", "libmp3lame")
    second = encode(sound(rate=24000, channels=1), 24000, "mp3", "libmp3lame")

    wave, damage = heard(first + second)

    assert damage == ""
    assert len(wave) == 2
    assert abs(wave.shape[1] - 2 * samples) < 6 * 1152
    assert np.array_equal(*wave[:, -20000:])


def test_the_audio_track_of_a_video_can_be_chosen():
    content = encode(sound(), 48000, "matroska", "flac", tracks=3)
    levels = [np.abs(read_audio(content, track=track)[0]).max() for track in (None, 1, 2, 3)]

    assert levels[0] == levels[1] == pytest.approx(2 * levels[2], rel=1e-3)
    assert levels[2] == pytest.approx(2 * levels[3], rel=1e-3)
    with pytest.raises(UsageError, match="track=4: audio in memory has 3 audio tracks"):
        read_audio(content, track=4)


def test_a_file_in_a_pipe_takes_the_memory_of_what_is_in_it():
    header, rest = soundfile_flac(np.zeros((48000, 2)))

    with open_audio(header + rest) as reader:
        assert reader.seconds is None
        assert sum(block.shape[1] for block in reader.blocks()) == 48000


def soundfile_flac(wave: np.ndarray) -> tuple[bytes, bytes]:
    """A FLAC as it comes out of a pipe, up to and behind its length."""
    file = io.BytesIO()
    soundfile.write(file, wave, 48000, format="FLAC")
    content = bytearray(file.getvalue())
    content[21] &= 0xF0
    content[22:26] = bytes(4)
    return bytes(content[:26]), bytes(content[26:])


def test_long_files_come_in_blocks_of_one_size(tmp_path: Path):
    path = tmp_path / "long.flac"
    soundfile.write(path, np.zeros((48000 * 60, 2)), 48000)

    with open_audio(path) as reader:
        sizes = [block.shape[1] for block in reader.blocks()]

    assert sum(sizes) == 48000 * 60
    assert max(sizes) < 80_000
    assert min(sizes[:-1]) >= 65_536


def test_a_playlist_opens_no_other_file(tmp_path: Path):
    soundfile.write(tmp_path / "other.wav", sound().T, 48000)
    (tmp_path / "list.ffconcat").write_text("ffconcat version 1.0\nfile other.wav\n")
    (tmp_path / "list.m3u8").write_text("#EXTM3U\n#EXTINF:1,\nother.wav\n#EXT-X-ENDLIST\n")

    for name in ("list.ffconcat", "list.m3u8"):
        with pytest.raises(AudioFileError, match="not audio"):
            read_audio(tmp_path / name)


def test_a_video_without_sound_is_named():
    import av

    file = io.BytesIO()
    with av.open(file, "w", format="matroska") as out:
        stream = out.add_stream("mpeg4", rate=10, width=32, height=32)
        for _ in range(3):
            out.mux(stream.encode(av.VideoFrame(32, 32, "yuv420p")))
        out.mux(stream.encode(None))

    with pytest.raises(AudioFileError, match="holds no audio track"):
        read_audio(file.getvalue())


def ogg_crc(page: bytes) -> int:
    """The checksum of an Ogg page, which is that of zlib with all bits mirrored."""

    def mirrored(value: int, bits: int) -> int:
        return int(f"{value:0{bits}b}"[::-1], 2)

    crc = zlib.crc32(bytes(mirrored(byte, 8) for byte in page), 0xFFFFFFFF) ^ 0xFFFFFFFF
    return mirrored(crc, 32)


def test_files_opened_at_once_do_not_take_what_ffmpeg_says_of_each_other():
    content, _ = coded("mp3", "libmp3lame")
    tag = next(content.index(name) for name in (b"Xing", b"Info") if name in content)
    content = content[:tag] + bytes(4) + content[tag + 4 :]

    def promised(_: int) -> float | None:
        track = open_track("a.mp3", io.BytesIO(content), None)
        assert track is not None
        return track.promised

    with ThreadPoolExecutor(8) as pool:
        assert set(pool.map(promised, range(300))) == {None}
