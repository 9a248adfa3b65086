import hashlib
import io
import pickle
from pathlib import Path

import numpy as np
import pytest
import soundfile

from audiosr.errors import DataError
from audiosr.shards.clip import decode
from audiosr.shards.index import Index
from audiosr.shards.ledger import BadClip, Ledger
from audiosr.shards.reader import Reader, evaluation_clips
from tests.shards.conftest import flac


def broken_flac(wave: np.ndarray) -> bytes:
    content = bytearray(flac(wave))
    content[len(content) // 2 : len(content) // 2 + 400] = bytes(400)
    return bytes(content)


def test_evaluation_reads_every_clip_once_and_whole(shards):
    clips = list(evaluation_clips(shards, "train"))

    assert [clip.key for clip in clips] == [
        *(f"effects{n}" for n in range(4)),
        *(f"music{n}" for n in range(3)),
        *(f"speech{n}" for n in range(5)),
    ]
    assert {clip.wave.shape for clip in clips} == {(1, 48000), (2, 48000)}
    assert clips[1].bandwidth_hz == 20001
    assert clips[1].domain == "effects"


@pytest.mark.parametrize("start", [0, 1, 4095, 4096, 30000, 43000])
def test_crop_equals_the_same_part_of_the_whole_clip(noise, start):
    audio = flac(noise(1, channels=2))

    crop = decode(audio, lambda channels, samples: (start, 5000))

    assert np.array_equal(crop, decode(audio)[:, start : start + 5000])


@pytest.mark.parametrize("rate", [44100, 32000, 96000])
@pytest.mark.parametrize("start", [0, 1, 40000, 48000, 100_001, 139_000])
def test_crop_of_another_rate_equals_the_same_part_of_the_resampled_clip(chord, rate, start):
    audio = flac(chord(3, rate=rate), rate)
    whole = decode(audio)

    crop = decode(audio, lambda channels, samples: (start, 5000))

    assert whole.shape == (1, 144_000)
    assert crop == pytest.approx(whole[:, start : start + 5000], abs=1e-4)


def test_crop_does_not_decode_the_rest_of_the_clip(noise):
    audio = broken_flac(noise(4))

    crop = decode(audio, lambda channels, samples: (0, 4800))

    assert crop.shape == (1, 4800)


@pytest.mark.parametrize(
    ("clip", "reason"),
    [
        (b"no audio at all", "audio is broken"),
        (pickle.dumps(Path), "audio is broken"),
        (flac(np.zeros((1, 22050)), 22050), "rate is not from 32000 to 192000 Hz"),
        (
            broken_flac(0.1 * np.random.default_rng(0).standard_normal((1, 48000))),
            "audio is broken",
        ),
    ],
)
def test_bad_clip_is_left_out_and_counted_by_reason(make_shards, noise, clip, reason):
    root = make_shards({"train/speech": [noise(1), clip, noise(1)]})
    reader = Reader(Index.load(root), "train", max_bad_fraction=0.5)

    found = [reader.read("speech", number) for number in range(3)]

    assert [clip is None for clip in found] == [False, True, False]
    assert reader.ledger.reasons == {"train/speech-000000.tar: speech1": reason}
    assert reader.ledger.by_reason() == {reason: 1}


@pytest.mark.parametrize("bandwidth", ["nan", -1, 96000, [], 1e999])
def test_clip_whose_json_lies_is_left_out(make_shards, noise, bandwidth):
    root = make_shards({"train/speech": [noise(1)]}, bandwidth_hz=bandwidth)
    reader = Reader(Index.load(root), "train", max_bad_fraction=1)

    assert reader.read("speech", 0) is None
    assert list(reader.ledger.by_reason()) == ["JSON is broken or says what cannot be"]


def test_tiny_file_that_claims_hours_is_refused_undecoded():
    header = bytearray(flac(np.zeros((1, 4096))))
    # STREAMINFO: the low 36 bits of bytes 18 to 25 of the file are the number of samples.
    header[22:26] = (48000 * 3600 * 3).to_bytes(4, "big")

    with pytest.raises(Exception, match="too many"):
        decode(bytes(header))


def test_more_bad_clips_than_allowed_end_the_run_with_their_list(make_shards, noise):
    root = make_shards({"train/speech": [noise(1), b"bad", noise(1), b"worse"]})

    with pytest.raises(DataError) as raised:
        list(evaluation_clips(root, "train", max_bad_fraction=0.3))

    assert str(raised.value) == (
        f"2 of 4 clips in {root}/train cannot be used, above max_bad_fraction=0.3 "
        "(2 x audio is broken): train/speech-000000.tar: speech1, "
        "train/speech-000001.tar: speech3; prepare the shards again"
    )


def test_bad_clip_is_counted_once_however_often_it_is_drawn(make_shards, noise):
    root = make_shards({"train/speech": [b"bad", noise(1), noise(1)]})
    reader = Reader(Index.load(root), "train", max_bad_fraction=0.34)

    assert [reader.read("speech", 0) for _ in range(5)] == [None] * 5
    assert reader.ledger.clips == 1


def test_lost_shard_counts_with_all_its_clips(shards):
    (shards / "train" / "speech-000001.tar").unlink()
    reader = Reader(Index.load(shards), "train", max_bad_fraction=0.2)

    assert [reader.read("speech", n) is None for n in range(5)] == [False, False, True, True, False]
    assert reader.ledger.clips == 2
    with pytest.raises(DataError, match="shard cannot be opened"):
        list(evaluation_clips(shards, "train"))


def test_long_list_of_bad_clips_is_cut():
    ledger = Ledger("here", total=100, max_fraction=0.3)

    for number in range(30):
        ledger.add(f"clip{number}", "broken")

    with pytest.raises(DataError, match=r"31 of 100 .* and 21 more"):
        ledger.add("clip30", "broken")


def test_metadata_comes_with_the_clip(make_shards, noise):
    root = make_shards({"test/music": [noise(1)]}, licence="CC0", source="ann")

    (clip,) = evaluation_clips(root, "test")

    assert clip.meta.told() == {
        "bandwidth_hz": 20000.0,
        "domain": "music",
        "licence": "CC0",
        "source": "ann",
    }


@pytest.mark.parametrize("ranks", [1, 2, 3, 20])
def test_every_evaluation_clip_is_read_by_one_rank_once(shards, ranks):
    parts = [
        [clip.key for clip in evaluation_clips(shards, "train", rank=rank, ranks=ranks)]
        for rank in range(ranks)
    ]

    assert [key for part in parts for key in part] == [
        clip.key for clip in evaluation_clips(shards, "train")
    ]
    assert max(map(len, parts)) - min(map(len, parts)) <= 1


def test_bandwidth_is_measured_for_some_clips_or_for_all(make_shards, noise):
    root = make_shards({"train/speech": [noise(0.5)] * 32}, bandwidth_hz=8000)

    def bad(every: int) -> int:
        reader = Reader(Index.load(root), "train", max_bad_fraction=1, check_every=every)
        return sum(reader.read("speech", number) is None for number in range(32))

    assert bad(1) == 32
    assert 0 < bad(4) < 20


def test_honest_json_is_believed(make_shards, noise):
    wave = noise(0.5, channels=2)
    about = {"seconds": 0.5, "channels": 2, "rate": 48000, "bandwidth_hz": 24000}
    about["sha256"] = hashlib.sha256(flac(wave)).hexdigest()

    (clip,) = evaluation_clips(make_shards({"test/music": [wave]}, **about), "test")

    assert clip.meta.sha256 == about["sha256"]


@pytest.mark.parametrize("format_", ["AIFF", "AU", "CAF", "MAT5", "NIST", "W64"])
def test_other_formats_are_not_decoded_whatever_their_name(noise, format_):
    buffer = io.BytesIO()
    soundfile.write(buffer, noise(0.1).T, 48000, format=format_, subtype="PCM_16")

    with pytest.raises(BadClip):
        decode(buffer.getvalue())


@pytest.mark.parametrize("format_", ["FLAC", "WAV", "OGG", "MP3"])
def test_four_formats_are_decoded(noise, format_):
    buffer = io.BytesIO()
    soundfile.write(buffer, noise(0.5).T, 48000, format=format_)

    assert decode(buffer.getvalue()).shape[1] == pytest.approx(24000, abs=2400)


def test_clips_of_one_name_in_two_shards_are_two_clips(make_shards, noise):
    root = make_shards({"train/speech": [b"not audio", noise(1)]}, per_shard=1)
    for number in range(2):
        path = root / f"train/speech-{number:06d}.tar"
        path.write_bytes(path.read_bytes().replace(f"speech{number}.".encode(), b"a_clip0."))
    # The header of a member ends in a sum over its bytes.
    for path in root.glob("train/*.tar"):
        _renumber(path)
    reader = Reader(Index.load(root), "train", max_bad_fraction=0.9)

    assert reader.read("speech", 0) is None
    clip = reader.read("speech", 1)

    assert clip is not None
    assert clip.key == "a_clip0"


def _renumber(path):
    """Correct the check sums of a tar file whose names were overwritten."""
    content = bytearray(path.read_bytes())
    for at in range(0, len(content), 512):
        header = content[at : at + 512]
        if header[257:262] == b"ustar":
            header[148:156] = b" " * 8
            content[at + 148 : at + 156] = b"%06o\0 " % sum(header)
    path.write_bytes(content)


def test_ranks_share_the_budget_of_the_split(make_shards, noise):
    clips = [noise(0.2) for _ in range(39)]
    root = make_shards({"test/speech": [*clips[:5], b"not audio", *clips[5:]]}, per_shard=40)

    read = [
        list(evaluation_clips(root, "test", max_bad_fraction=0.03, rank=rank, ranks=4))
        for rank in range(4)
    ]

    assert sum(map(len, read)) == 39
