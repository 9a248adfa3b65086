"""Does one bad file, a strange name or a header that lies end the run for the others?"""

import io
import json
import os
import struct
import tracemalloc

import numpy as np
import pytest
import soundfile

from audiosr.errors import UsageError
from audiosr.shards.index import Index
from audiosr.shards.reader import evaluation_clips
from data_prep.__main__ import main
from data_prep.clips import Drop, Item, Settings, cut


def encoded(wave, rate=48000, **options):
    """The bytes of a file."""
    buffer = io.BytesIO()
    soundfile.write(buffer, wave.T, rate, **options)
    return buffer.getvalue()


def made(path, settings):
    """What becomes of a file."""
    return list(cut(Item(path, path.name, "train", "audio", "source"), settings))


@pytest.mark.parametrize(
    "name",
    [b"caf\xe9.wav", "长".encode() * 80 + b".wav", b"a [b], {c} 'd' \"e\"=%s.wav", b"-rf.wav"],
)
def test_file_of_any_name_becomes_a_clip_beside_its_neighbours(tmp_path, noise, capfd, name):
    source = tmp_path / "own"
    for folder in (source / "plain", source / os.fsdecode(b"caf\xe9")):
        folder.mkdir(parents=True)
        (folder / os.fsdecode(name)).write_bytes(
            encoded(noise(2, seed=len(str(folder))), format="WAV")
        )
    out = tmp_path / "out"

    assert main(["folder", "--source", str(source), "--out", str(out), "--workers", "1"]) == 0

    files = [
        c.meta.source_file for split in Index.load(out).splits for c in evaluation_clips(out, split)
    ]
    assert sorted(os.fsencode(file) for file in files) == sorted(
        [b"plain/" + name, b"caf\xe9/" + name]
    )
    assert "left out" not in capfd.readouterr().out


def test_folders_of_any_name_are_taken_and_written(tmp_path, noise):
    source, out = (tmp_path / os.fsdecode(name) for name in (b"in \xe9", b"out \xe9"))
    source.mkdir()
    (source / "a.wav").write_bytes(encoded(noise(2), format="WAV"))

    assert main(["folder", "--source", str(source), "--out", str(out), "--workers", "1"]) == 0

    assert json.loads((out / "index.json").read_text())["splits"].keys() == {"train"}


def test_single_sample_at_a_high_rate_is_too_short(audio_file):
    path = audio_file("one.wav", np.array([[0.3]]), 192000, subtype="PCM_16")

    (drop,) = made(path, Settings(min_seconds=0, min_bandwidth=0))

    assert isinstance(drop, Drop)
    assert drop.reason == "too short"


@pytest.mark.parametrize(
    ("low", "rest", "said"),
    [
        (0, b"\0" * 4, []),
        (0x0F, b"\xff" * 4, ["at 3.00 s it ends, though 1431655.77 s are promised"]),
    ],
)
def test_flac_of_unknown_or_endless_length_is_kept_and_takes_no_memory(
    tmp_path, noise, low, rest, said
):
    """A pipe leaves the length 0, which means unknown; the most that a header can say is 397 h."""
    content = bytearray(encoded(noise(3), format="FLAC"))
    content[21:26] = bytes([content[21] & 0xF0 | low]) + rest
    (path := tmp_path / "piped.flac").write_bytes(content)

    (clip, *drops), most = with_memory(lambda: made(path, Settings()))

    assert not isinstance(clip, Drop)
    assert clip.meta.seconds == 3
    assert [drop.detail for drop in drops if isinstance(drop, Drop)] == said
    assert most < 20e6


def with_memory(work):
    """What `work` returns, and the most bytes that Python and numpy held for it."""
    tracemalloc.start()
    try:
        return work(), tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()


def test_silence_that_packs_well_is_believed_its_length(audio_file):
    path = audio_file("quiet.flac", np.zeros((1, 60 * 48000)), subtype="PCM_16")

    drops = made(path, Settings())

    assert path.stat().st_size * 100 < 60 * 48000
    assert [drop.reason for drop in drops if isinstance(drop, Drop)] == ["silent"] * 6


def test_claim_of_endless_ogg_is_bounded_by_what_is_decoded(tmp_path, noise):
    content = bytearray(encoded(noise(3), format="OGG", subtype="VORBIS"))
    last = content.rindex(b"OggS")
    content[last + 6 : last + 14] = struct.pack("<q", 1 << 50)
    content[last + 22 : last + 26] = bytes(4)
    content[last + 22 : last + 26] = struct.pack("<I", ogg_checksum(content[last:]))
    (path := tmp_path / "endless.ogg").write_bytes(content)
    with soundfile.SoundFile(path) as file:
        assert file.frames > 1 << 40

    clips = made(path, Settings(clip_seconds=2))

    seconds = [c.meta.seconds for c in clips if not isinstance(c, Drop)]
    assert sum(seconds) == pytest.approx(3, abs=0.1)


def ogg_checksum(page):
    """CRC-32 with the polynomial 0x04C11DB7, not reflected (RFC 3533)."""
    value = 0
    for byte in page:
        value ^= byte << 24
        for _ in range(8):
            value = ((value << 1) ^ (0x04C11DB7 if value >> 31 else 0)) & 0xFFFFFFFF
    return value


def without_its_first_frame(content):
    """An MP3 whose first frame, which says how long it is, is gone."""
    return content[content.index(content[:2], 200) :]


def mp3(wave, rate, mode):
    buffer = io.BytesIO()
    how = {"compression_level": 0.5, "bitrate_mode": mode}
    with soundfile.SoundFile(buffer, "w", rate, 1, "MPEG_LAYER_III", format="MP3", **how) as file:
        file.write(wave[0])
    return buffer.getvalue()


@pytest.mark.parametrize("kind", ["cbr", "vbr", "joined mp3", "chained ogg"])
def test_file_whose_header_does_not_say_its_length_is_kept_to_its_end(tmp_path, noise, kind):
    quiet_then_loud = np.concatenate([0.02 * noise(2, rate=44100), noise(2, rate=44100)], axis=1)
    half = noise(2, rate=44100)
    content = {
        "cbr": lambda: without_its_first_frame(mp3(quiet_then_loud, 44100, "CONSTANT")),
        "vbr": lambda: without_its_first_frame(mp3(quiet_then_loud, 44100, "VARIABLE")),
        "joined mp3": lambda: mp3(half, 44100, "CONSTANT") * 2,
        "chained ogg": lambda: encoded(half, 44100, format="OGG", subtype="VORBIS") * 2,
    }[kind]()
    (path := tmp_path / "audio").write_bytes(content)

    clips = made(path, Settings(clip_seconds=1.5, min_seconds=0.5, min_bandwidth=0))

    kept = [clip for clip in clips if not isinstance(clip, Drop)]
    assert len(kept) == len(clips)
    assert sum(clip.meta.seconds for clip in kept) == pytest.approx(4, abs=0.1)


def test_damaged_clip_is_named_and_its_neighbours_are_kept(tmp_path, noise):
    content = bytearray(encoded(noise(8), format="FLAC"))
    middle = len(content) * 9 // 16  # at 4.5 s
    content[middle : middle + 600] = bytes(600)
    (path := tmp_path / "damaged.flac").write_bytes(content)

    clips = made(path, Settings(clip_seconds=1, min_seconds=0.5))

    kept = [clip.meta.source_start for clip in clips if not isinstance(clip, Drop)]
    drops = [clip for clip in clips if isinstance(clip, Drop)]
    assert {0, 1, 2, 3, 6, 7} <= {round(start) for start in kept}
    assert drops[0].name == "damaged.flac@4s"
    assert drops[0].reason == "broken"
    assert drops[0].detail.startswith("at 4.")


def test_end_that_is_missing_is_named_and_what_is_there_is_kept(tmp_path, noise):
    content = encoded(noise(4), format="WAV", subtype="PCM_16")
    (path := tmp_path / "cut.wav").write_bytes(content[: len(content) // 2])

    clip, drop = made(path, Settings())

    assert not isinstance(clip, Drop)
    assert clip.meta.seconds == pytest.approx(2, abs=0.01)
    assert isinstance(drop, Drop)
    assert (drop.name, drop.reason) == ("cut.wav", "broken")
    assert drop.detail == "at 2.00 s it is cut off"


@pytest.mark.parametrize("below", ["file/out", "long" * 100])
def test_output_that_cannot_be_is_said(tmp_path, noise, below):
    (tmp_path / "own").mkdir()
    (tmp_path / "own/a.wav").write_bytes(encoded(noise(2), format="WAV"))
    (tmp_path / "file").touch()
    argv = ["folder", "--source", str(tmp_path / "own"), "--out", str(tmp_path / below)]

    with pytest.raises(UsageError, match="cannot be made"):
        main([*argv, "--workers", "1"])
