"""Is a shard that means harm passed over, counted, and never obeyed?"""

import functools
import hashlib
import io
import json
import pickle
import tarfile
import warnings
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import soundfile

from audiosr.entry import compose_config
from audiosr.errors import DataError
from audiosr.shards.corpus import Corpus
from audiosr.shards.index import Index, Shard
from audiosr.shards.ledger import Ledger
from audiosr.shards.reader import NumberedClips, Reader
from audiosr.shards.stream import StreamReader
from audiosr.training.resolve import resolved
from audiosr.training.run import train
from tests.shards.conftest import add_member, flac
from tests.training.conftest import COMMON, MICRO

REASONS = {
    "JSON is broken or says what cannot be": 5,
    "SHA-256 of the audio is not what the JSON says": 1,
    "audio is broken": 4,
    "bandwidth is not what the JSON says": 2,
    "channels or rate are not what the JSON says": 1,
    "length is not what the JSON says": 1,
    "link, device or sparse file": 2,
    "name points outside": 2,
    "no JSON beside the audio": 1,
    "no audio beside the JSON": 4,
    "no samples, too many or too many channels": 2,
    "shard cut short or changed": 1,
}
"""What the hostile shard holds, by the words that it is counted under."""

FOREIGN = {".npy ending": 1, ".pkl ending": 1, ".pth ending": 1, ".pyd ending": 1, ".py ending": 1}


class Payload:
    """Unpickled, it touches a file."""

    def __init__(self, canary: Path) -> None:
        self.canary = canary

    def __reduce__(self):
        return (Path.touch, (self.canary,))


def claims_hours(audio: bytes) -> bytes:
    """A FLAC whose header says three hours (STREAMINFO, the low 36 bits of bytes 18 to 25)."""
    header = bytearray(audio)
    header[22:26] = (48000 * 3600 * 3).to_bytes(4, "big")
    return bytes(header)


@functools.lru_cache
def hours_of_silence() -> bytes:
    """An Ogg Vorbis file of 21 minutes in a few kilobytes per minute."""
    buffer = io.BytesIO()
    with soundfile.SoundFile(buffer, "w", 48000, 1, "VORBIS", format="OGG") as file:
        for _ in range(21 * 60):  # libsndfile's encoder crashes on long blocks
            file.write(np.zeros(48000, np.float32))
    return buffer.getvalue()


def band_limited(noise: np.ndarray, hz: float) -> np.ndarray:
    spectrum = np.fft.rfft(noise)
    spectrum[:, round(hz * noise.shape[1] / 48000) :] = 0
    return np.fft.irfft(spectrum).astype(np.float32)


@pytest.fixture
def hostile(
    make_shards: Callable[..., Path], noise: Callable[..., np.ndarray], tmp_path: Path
) -> Callable[[int], tuple[Path, Path]]:
    """Maker of good clips beside one shard that holds each harmful member; root and canary."""
    canary = tmp_path / "canary"
    poison = pickle.dumps(Payload(canary))
    wave = noise(1.0)
    good = flac(wave)
    broken = bytearray(good)
    broken[len(good) // 4 : len(good) // 2] = bytes(len(good) // 2 - len(good) // 4)
    objects = io.BytesIO()
    np.save(objects, np.array([Payload(canary)], object), allow_pickle=True)
    zipped = b"PK\x03\x04" + poison
    members: list[tuple[str, bytes, object]] = [
        ("corrupt", bytes(broken), {}),
        ("pickled", poison, {}),
        ("object_array", objects.getvalue(), {}),
        ("zip", zipped, {}),
        ("claims_hours", claims_hours(good), {}),
        ("silence", hours_of_silence(), {}),
        ("low", flac(band_limited(wave, 6000)), {}),
        ("said_low", good, {"bandwidth_hz": 6000}),
        ("seconds", good, {"seconds": 7200}),
        ("seconds_nan", good, {"seconds": float("nan")}),
        ("channels", good, {"channels": 2}),
        ("sha256", good, {"sha256": "0" * 64}),
        ("nan", good, {"bandwidth_hz": float("nan")}),
        ("deep", good, b"[" * 500_000),
        ("digits", good, b'{"bandwidth_hz": ' + b"9" * 4000 + b"}"),
        ("list", good, b"[1, 2]"),
        ("../../outside", good, {}),
        ("/tmp/absolute", good, {}),
    ]

    def make(count: int) -> tuple[Path, Path]:
        waves = [noise(1.0, seed=n) for n in range(count)]
        root = make_shards({"train/speech": waves}, per_shard=count)
        path = root / "train" / "speech-000001.tar"
        with tarfile.open(path, "w") as tar:
            for name, audio, about in members:
                add_member(tar, f"{name}.{'ogg' if name == 'silence' else 'flac'}", audio)
                if isinstance(about, dict):
                    about = json.dumps({"bandwidth_hz": 23000} | about).encode()
                assert isinstance(about, bytes)
                add_member(tar, f"{name}.json", about)
            for ending in ("pkl", "pth", "npy", "pyd"):
                add_member(tar, f"bad_{ending}.{ending}", poison)
                add_member(tar, f"bad_{ending}.json", b"{}")
            add_member(tar, "setup.py", f"open({str(canary)!r}, 'w')".encode())
            add_member(tar, "alone.flac", good)
            for name, kind in (("link", tarfile.SYMTYPE), ("hard", tarfile.LNKTYPE)):
                entry = tarfile.TarInfo(f"{name}.flac")
                entry.type, entry.linkname = kind, "/etc/passwd"
                tar.addfile(entry)
            huge = tarfile.TarInfo("huge.flac")
            huge.size = 1 << 40
            assert tar.fileobj is not None
            tar.fileobj.write(huge.tobuf(tarfile.GNU_FORMAT))
        content = path.read_bytes()
        path.write_bytes(content[: content.rindex(b"huge.flac") + 700])  # and cut short
        index = Index.load(root)
        digest = hashlib.sha256(path.read_bytes()).hexdigest()
        clips = sum(REASONS.values())
        bad = Shard("train/speech-000001.tar", clips, path.stat().st_size, 1.0, digest)
        shards = (*index.splits["train"]["speech"], bad)
        Index(root, {"train": {"speech": shards}}, "test", "test").save()
        return root, canary

    return make


@pytest.mark.parametrize("kind", [Reader, StreamReader])
def test_every_harmful_member_is_counted_under_its_reason_and_none_is_obeyed(
    hostile, tmp_path, kind: type[NumberedClips]
):
    root, canary = hostile(8)
    before = sorted(tmp_path.rglob("*"))
    reader = kind(Corpus.open(root), "train", max_bad_fraction=1.0)  # pyright: ignore

    found = [reader.read("speech", number) for number in range(reader.clips("speech"))]

    assert [clip.key for clip in found if clip] == [f"speech{n}" for n in range(8)]
    assert reader.ledger.by_reason() == REASONS
    assert dict(reader.ledger.foreign) == FOREIGN
    assert sorted(tmp_path.rglob("*")) == before
    assert not canary.exists()


def arguments(root: Path, folder: Path, *more: str) -> list[str]:
    return [
        "stage=vocoder",
        *COMMON,
        *MICRO["vocoder"],
        f"data.root={root}",
        f"paths.outputs={folder}",
        "max_steps=3",
        "panels.clips=0",
        "data.check_every=1",
        *more,
    ]


@pytest.mark.slow
def test_training_goes_on_below_the_budget_and_stops_with_the_list_above_it(hostile, tmp_path):
    root, canary = hostile(40)

    given = arguments(root, tmp_path / "runs", "data.max_bad_fraction=0.5")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        metrics, _ = train(resolved(compose_config("train", given)))
        assert np.isfinite(metrics["train/loss_mel"])

        given = arguments(root, tmp_path / "runs2", "data.max_bad_fraction=0.02", "max_steps=50")
        with pytest.raises(DataError, match=r"^\d+ of 66 clips in .* cannot be used") as raised:
            train(resolved(compose_config("train", given)))

    assert "(2 x name points outside): " in str(raised.value)
    for name in ("../../outside", "/tmp/absolute"):
        assert f".tar: {name}" in str(raised.value)
    assert "\n" not in str(raised.value)
    assert not canary.exists()


def test_names_in_messages_are_harmless_to_a_terminal():
    ledger = Ledger("here", total=1, max_fraction=0.0)

    with pytest.raises(DataError) as raised:
        ledger.add("\x1b]0;title\x07\nname" + "x" * 10_000, "broken")

    assert str(raised.value).isprintable()
    assert len(str(raised.value)) < 500
