"""Do cover and cue points of a source come into the result?"""

import struct
from base64 import b64encode
from fractions import Fraction
from io import BytesIO

import av
import numpy as np
import pytest
import soundfile
from av.stream import Disposition
from PIL import Image

from audiosr.audio.extras import Cover, Cue, Extras, read_extras, write_extras
from audiosr.audio.io import read_audio
from audiosr.restore.files import restore_files
from audiosr.restore.plan import plan_restore
from audiosr.restore.restorer import Restorer
from audiosr.restore.settings import load_profile
from tests.audio.containers import coded
from tests.tiny import tiny_model

CUES = (Cue(0.25, "verse"), Cue(0.5, ""), Cue(0.75, "chorus è"))


def picture() -> Cover:
    packed = BytesIO()
    Image.new("RGB", (40, 30), "teal").save(packed, "jpeg")
    return Cover(packed.getvalue(), "image/jpeg", 40, 30)


def tagged_mp3(path, cover: Cover):
    """Put an ID3v2.3 tag with the cover in front of an MP3."""
    body = b"\0image/jpeg\0\x03\0" + cover.content
    frame = b"APIC" + struct.pack(">IH", len(body), 0) + body
    size = bytes(len(frame) >> shift & 0x7F for shift in (21, 14, 7, 0))
    path.write_bytes(b"ID3\x03\0\0" + size + frame + path.read_bytes())


def muxed(path, cover: Cover):
    """A second of silence with the cover, as other programs write M4A and Ogg."""
    m4a = path.suffix == ".m4a"
    with av.open(str(path), "w", format="mp4" if m4a else "ogg") as file:
        sound = file.add_stream("aac" if m4a else "flac", rate=48_000)
        if m4a:
            video = file.add_stream("mjpeg")
            video.width, video.height = cover.width, cover.height
            video.pix_fmt, video.disposition = "yuvj420p", Disposition.attached_pic
            packet = av.Packet(cover.content)
            packet.stream, packet.time_base = video, Fraction(1, 90_000)
            packet.pts = packet.dts = 0
            file.mux(packet)
            silence, kind = np.zeros((1, 48_000), np.float32), "fltp"
        else:
            head = struct.pack(">II10sI4I", 3, 10, b"image/jpeg", 0, 40, 30, 24, 0)
            body = head + struct.pack(">I", len(cover.content)) + cover.content
            sound.metadata["METADATA_BLOCK_PICTURE"] = b64encode(body).decode()
            silence, kind = np.zeros((1, 48_000), np.int16), "s16"
        frame = av.AudioFrame.from_ndarray(silence, kind, "mono")
        frame.rate, frame.pts = 48_000, 0
        for part in (frame, None):
            for each in sound.encode(part):
                file.mux(each)
    return path


def restored(source, target):
    settings = load_profile(steps=1, cutoff_hz=3000.0)
    restore_files(Restorer(tiny_model()), plan_restore([str(source)], str(target)), settings)
    return read_extras(target)


@pytest.mark.parametrize("suffix", ["m4a", "ogg"])
def test_the_covers_of_other_containers_are_found(suffix, tmp_path):
    assert read_extras(muxed(tmp_path / f"song.{suffix}", picture())).cover == picture()


@pytest.mark.parametrize("suffix", ["flac", "mp3"])
def test_a_cover_comes_into_a_flac(suffix, audio_file, noise, tmp_path):
    source, cover = audio_file(f"song.{suffix}", noise(1.0, rate=8000), 8000), picture()
    if suffix == "mp3":
        tagged_mp3(source, cover)
    else:
        write_extras(source, Extras(cover), 8000)

    kept = restored(source, tmp_path / "out.flac")

    assert kept.cover == cover
    assert soundfile.info(tmp_path / "out.flac").frames > 40_000  # whole for libsndfile too


def test_cue_points_come_into_a_wav_at_its_rate(audio_file, noise, tmp_path):
    source = audio_file("take.wav", noise(1.0, rate=8000), 8000)
    write_extras(source, Extras(cues=CUES), 8000)

    kept = restored(source, tmp_path / "out.wav")

    assert kept.cues == CUES
    assert soundfile.info(tmp_path / "out.wav").frames == 48_000
    assert read_audio(tmp_path / "out.wav")[0].shape == (1, 48_000)


@pytest.mark.parametrize("suffix", ["wav", "flac"])
def test_extras_leave_the_sound_as_it_is(suffix, audio_file, noise):
    path = audio_file(f"a.{suffix}", noise(0.51), subtype="PCM_16")
    before = soundfile.read(path)[0]

    write_extras(path, Extras(picture(), CUES), 48_000)

    np.testing.assert_array_equal(soundfile.read(path)[0], before)
    np.testing.assert_array_equal(read_audio(path)[0][0], before.astype(np.float32))


@pytest.mark.parametrize("size", [20, 47, 60, 100])
def test_a_wav_that_breaks_off_among_its_cue_points_is_no_error(size, audio_file, noise):
    path = audio_file("a.wav", noise(0.0001))
    write_extras(path, Extras(cues=CUES), 48_000)
    path.write_bytes(path.read_bytes()[:-size])

    assert len(read_extras(path).cues) <= len(CUES)


def test_a_file_without_extras_has_none(audio_file, noise):
    assert read_extras(audio_file("a.ogg", noise(0.1))) == Extras()


def headerless_mp3(folder):
    """An MP3 that says neither how long it is nor what its encoder added."""
    path = folder / "headerless.mp3"
    content, _ = coded("mp3", "libmp3lame")
    tag = content.index(b"Info") - 36
    path.write_bytes(content[content.index(content[tag : tag + 2], tag + 40) :])
    return path


def test_what_ffmpeg_says_of_a_file_is_not_repeated(tmp_path, caplog):
    path = headerless_mp3(tmp_path)

    read_audio(path)
    read_extras(path)

    assert not caplog.records


def test_a_cover_is_no_track_that_sound_is_timed_by(tmp_path):
    path = headerless_mp3(tmp_path)
    bare = read_audio(path)[0]

    tagged_mp3(path, picture())

    assert read_extras(path).cover == picture()
    np.testing.assert_array_equal(read_audio(path)[0], bare)
