"""Is what is broken or missing in a file named, and the rest heard?"""

import io
import re
import struct

import av
import numpy as np
import pytest

from audiosr.audio.extras import Extras, read_extras
from audiosr.audio.io import read_audio
from audiosr.audio.sizes import is_cut_off, mpeg_audio_bytes
from audiosr.errors import AudioFileError
from tests.audio.containers import LOSSLESS, coded, encode, heard, sound

FUZZED = [
    *(("wav", "pcm_s16le"), ("wav", "adpcm_ms"), ("aiff", "pcm_s24be"), ("caf", "alac")),
    *(("flac", "flac"), ("ogg", "flac"), ("ogg", "vorbis"), ("ogg", "libopus"), ("tta", "tta")),
    *(("mp3", "libmp3lame"), ("ipod", "aac"), ("adts", "aac"), ("webm", "libopus")),
    *(("matroska", "flac"), ("mov", "pcm_s16le"), ("wv", "wavpack"), ("asf", "wmav2")),
    *(("avi", "pcm_s16le"), ("ac3", "ac3"), ("mp4", "libopus")),
    *(("mpegts", "aac"), ("mpegts", "libopus"), ("mpeg", "mp2")),
]


@pytest.mark.parametrize(
    ("container", "codec"),
    [(c, k) for c, k in LOSSLESS if c not in {"mov", "ipod", "mp4", "nut"} and k != "alac"]
    + [("ogg", "vorbis"), ("ogg", "libopus"), ("webm", "libopus"), ("mp3", "libmp3lame")],
)
def test_a_file_that_is_cut_off_is_heard_up_to_there_and_named(container: str, codec: str):
    content, samples = coded(container, codec, seconds=2.5)

    wave, damage = heard(content[: len(content) * 3 // 4])

    assert 0.3 * samples < wave.shape[1] < 0.85 * samples
    assert re.search("ends, though 2.5. s are promised|is cut off", damage)


@pytest.mark.parametrize(
    ("container", "codec"),
    [
        ("mpegts", "aac"),
        ("mpegts", "libopus"),
        ("mpeg", "mp2"),
        ("voc", "pcm_u8"),
        ("mp3", "libmp3lame"),
    ],
)
def test_without_a_length_in_the_header_a_cut_is_seen_where_it_ends(container: str, codec: str):
    content = encode(sound(1.5), 48000, container, codec, write_xing="0")

    whole, damage = heard(content)
    cut, named = heard(content[: len(content) * 2 // 3 + 1])

    assert damage == ""
    assert 0.5 * whole.shape[1] < cut.shape[1] < 0.75 * whole.shape[1]
    assert re.fullmatch(r"at [01]\.\d\d s it is (broken|cut off)", named)


@pytest.mark.parametrize("codec", ["mp2", "libmp3lame"])
@pytest.mark.parametrize("rate", [16000, 22050, 24000, 32000, 44100, 48000])
def test_the_header_of_a_frame_of_mpeg_audio_says_how_long_it_is(codec: str, rate: int):
    content = encode(sound(0.5, rate), rate, "mp2" if codec == "mp2" else "mp3", codec)

    with av.open(io.BytesIO(content)) as container:
        frames = [bytes(packet) for packet in container.demux(audio=0) if packet.size]

    assert len(frames) > 5
    assert [mpeg_audio_bytes(frame) for frame in frames] == [len(frame) for frame in frames]
    assert mpeg_audio_bytes(b"none") == 0


@pytest.mark.parametrize(
    ("container", "codec"),
    [
        ("flac", "flac"),
        ("mp3", "libmp3lame"),
        ("adts", "aac"),
        ("ipod", "aac"),
        ("mp4", "libopus"),
        ("matroska", "flac"),
        ("ac3", "ac3"),
    ],
)
def test_a_broken_place_is_silent_and_named_by_its_second(container: str, codec: str):
    content, samples = coded(container, codec, seconds=3.0)
    at = len(content) * 2 // 5
    content = content[:at] + np.random.default_rng(0).bytes(600) + content[at + 600 :]

    wave, damage = heard(content)

    assert abs(wave.shape[1] - samples) < 5000
    assert (place := re.search(r"at (\d\.\d\d) s it is broken", damage))
    assert 0.9 < float(place[1]) < 1.4


def test_a_page_that_ogg_loses_is_named():
    content, samples = coded("ogg", "vorbis", seconds=4.0)
    pages = [match.start() for match in re.finditer(b"OggS", content)]
    content = content[: pages[4]] + content[pages[5] :]

    wave, damage = heard(content)

    assert wave.shape[1] < 0.8 * samples
    assert re.search(r"at \d\.\d\d s it skips (0\.9|1\.0)\d s", damage)


@pytest.mark.parametrize("codec", ["flac", "vorbis", "libopus"])
@pytest.mark.parametrize("missing", [1, 0.5, 0.9, 0.999])
def test_an_ogg_that_ends_within_its_last_page_is_cut_off(codec: str, missing: float):
    content, _ = coded("ogg", codec, seconds=4.0)
    last = len(content) - content.rindex(b"OggS")
    short = content[: len(content) - max(1, int(missing * last))]

    assert heard(content)[1] == heard(content + b"TAG" + bytes(125))[1] == ""
    assert "is cut off" in heard(short)[1]


@pytest.mark.parametrize("part", [0.5, 0.9, 0.97, 0.995])
@pytest.mark.parametrize("codec", ["aac", "pcm_s16le"])
def test_of_a_nut_that_is_cut_off_what_is_there_is_heard(tmp_path, codec: str, part: float):
    content, samples = coded("nut", codec)
    path = tmp_path / "cut.nut"
    path.write_bytes(content[: int(part * len(content))])

    wave, _ = read_audio(path, damage=[])

    assert wave.shape[1] == pytest.approx(part * samples, rel=0.1)
    assert read_extras(path) == Extras()


@pytest.mark.parametrize(
    ("container", "codec"),
    [
        *(("aiff", "pcm_s24be"), ("au", "pcm_s16be"), ("caf", "pcm_s24be"), ("wav", "pcm_s16le")),
        *(("matroska", "pcm_s16le"), ("webm", "vorbis"), ("asf", "wmav2")),
    ],
)
def test_a_few_bytes_that_are_missing_are_named(container: str, codec: str):
    content, _ = coded(container, codec)
    at = len(content) * 19 // 20

    assert heard(content[:at] + content[at + 24 :])[1]


def test_samples_that_a_header_leaves_out_are_named():
    content, samples = coded("caf", "pcm_s24be")
    size = content.index(b"data") + 4
    shorter = struct.pack(">q", struct.unpack(">q", content[size : size + 8])[0] - 6000)

    wave, damage = heard(content[:size] + shorter + content[size + 8 :])

    assert wave.shape[1] == samples - 1000
    assert "is cut off" in damage


@pytest.mark.parametrize(
    ("container", "codec"),
    [
        *(("wav", "pcm_s16le"), ("w64", "pcm_s16le"), ("caf", "pcm_s16be"), ("mp4", "aac")),
        *(("asf", "wmav2"), ("webm", "libopus"), ("matroska", "flac"), ("ogg", "vorbis")),
        *(("avi", "pcm_s16le"), ("mpegts", "aac")),
    ],
)
def test_a_file_tells_how_many_bytes_it_should_have(container: str, codec: str):
    content, _ = coded(container, codec)

    assert not is_cut_off(io.BytesIO(content))
    assert is_cut_off(io.BytesIO(content[:-1]))


@pytest.mark.parametrize(("container", "codec"), [("matroska", "flac"), ("asf", "wmav2")])
def test_a_file_that_was_written_into_a_pipe_tells_no_size(container: str, codec: str):
    content, _ = coded(container, codec, piped=True)

    assert not is_cut_off(io.BytesIO(content[:-1]))


def test_an_amr_that_lost_its_step_is_named():
    content, _ = coded("amr", "amr_nb")

    assert "broken" in heard(content[:200] + content[205:])[1]
    # What then stands where frames begin is none of theirs, and FFmpeg takes it all the same.
    for cut, missing in ((123, 11), (261, 5), (284, 5)):
        assert "broken" in heard(content[:cut] + content[cut + missing :])[1]


def test_a_flv_that_ends_before_its_length_is_named():
    content, _ = coded("flv", "aac")
    whole, _ = heard(content)
    tag = [match.start() for match in re.finditer(rb"\x08\0[\0-\2].\0..\0\0\0\0\xaf", content)]

    wave, damage = heard(content[: tag[len(tag) // 2]])

    assert wave.shape[1] < 0.6 * whole.shape[1]
    assert re.search(r"ends, though 0\.7\d s are promised", damage)


@pytest.mark.parametrize("seed", range(4))
def test_an_avi_with_a_broken_index_is_heard_in_full(seed: int):
    content, _ = coded("avi", "aac", seconds=1.0)
    harmed = content.rindex(b"idx1") + 162
    harm = np.random.default_rng(seed).bytes(272)

    wave, _ = heard(content[:harmed] + harm + content[harmed + 272 :])

    assert np.array_equal(wave, heard(content)[0])


@pytest.mark.parametrize("codec", ["pcm_s16le", "aac", "libmp3lame"])
def test_chunks_of_an_avi_that_are_passed_over_are_named(codec: str):
    content, _ = coded("avi", codec)
    chunks = [match.start() for match in re.finditer(b"00wb|01wb", content)]
    middle = chunks[len(chunks) // 4]  # the index, too, has these names

    assert heard(content)[1] == ""
    assert "broken" in heard(content[:middle] + b"\xff" * 300 + content[middle + 300 :])[1]
    index = content.rindex(b"idx1")
    last = [chunk for chunk in chunks if chunk < index][-2]
    assert "broken" in heard(content[:last] + b"\xff" * (index - last) + content[index:])[1]


@pytest.mark.parametrize(("container", "codec"), [("mpegts", "libopus"), ("matroska", "aac")])
def test_two_frames_that_are_missing_are_named_with_their_length(container: str, codec: str):
    wave, written = sound(1.0), io.BytesIO()
    with av.open(io.BytesIO(encode(wave, 48000, container, codec))) as whole:
        track = whole.streams.audio[0]
        with av.open(written, "w", format=container) as out:
            stream = out.add_stream_from_template(track)
            for number, packet in enumerate(whole.demux(track)):
                if packet.size and number not in (20, 21):
                    packet.stream = stream
                    out.mux(packet)

    assert re.fullmatch(r"at 0\.4\d s it skips 0\.04 s", heard(written.getvalue())[1])


def test_a_damaged_file_is_an_error_for_those_who_do_not_ask():
    content, _ = coded("flac", "flac")

    with pytest.raises(AudioFileError, match=r"is damaged: at 0\.\d\d s it ends"):
        read_audio(content[: len(content) // 2])


def test_what_is_joined_to_an_ogg_at_another_rate_is_named():
    first, _ = coded("ogg", "vorbis")

    assert "is broken" in heard(first + encode(sound(rate=24000), 24000, "ogg", "vorbis"))[1]


def test_tags_at_the_end_are_no_damage():
    for container, codec in (("flac", "flac"), ("mp3", "libmp3lame")):
        content, samples = coded(container, codec)

        wave, damage = heard(content + b"TAG" + bytes(125))

        assert damage == ""
        assert abs(wave.shape[1] - samples) < 1152


@pytest.mark.parametrize(("container", "codec"), FUZZED)
def test_fuzzed_files_are_read_named_or_refused(
    container: str, codec: str, capfd: pytest.CaptureFixture[str]
):
    whole, _ = coded(container, codec, seconds=0.5)
    samples, rate = (wave := heard(whole)[0]).shape[1], 48000
    for seed in range(10):
        content = fuzzed(whole, np.random.default_rng(seed))
        try:
            damage = []
            wave, rate = read_audio(content, max_seconds=60, damage=damage)
        except AudioFileError:
            continue
        assert np.isfinite(wave).all()
        assert damage or wave.shape[1] / rate > 0.9 * samples / 48000
    assert capfd.readouterr() == ("", "")


@pytest.mark.filterwarnings("error::pytest.PytestUnraisableExceptionWarning")
def test_libsndfile_that_seeks_before_the_beginning_prints_nothing(
    capfd: pytest.CaptureFixture[str],
):
    content = coded("aiff", "pcm_s24be")[0].replace(b"SSND", b"SSN\xc9")

    with pytest.raises(AudioFileError, match="not audio"):
        read_audio(content)

    assert capfd.readouterr() == ("", "")


def fuzzed(content: bytes, random: np.random.Generator) -> bytes:
    """A few bytes changed, half the time in the header, and sometimes the end cut off."""
    broken = bytearray(content)
    end = 400 if random.random() < 0.5 else len(broken)
    for _ in range(random.integers(1, 12)):
        broken[random.integers(min(end, len(broken)))] = random.integers(256)
    return bytes(broken[: random.integers(1, len(broken))] if random.random() < 0.3 else broken)
