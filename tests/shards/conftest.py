"""Which shards do the tests read?"""

import hashlib
import io
import json
import tarfile
from collections.abc import Callable
from functools import partial
from pathlib import Path

import numpy as np
import pytest
import soundfile

from audiosr.shards.index import Index, Shard


def flac(wave: np.ndarray, rate: int = 48000, subtype: str = "PCM_16") -> bytes:
    """`wave (C, T)` as the bytes of a FLAC file."""
    buffer = io.BytesIO()
    soundfile.write(buffer, wave.T, rate, format="FLAC", subtype=subtype)
    return buffer.getvalue()


def add_member(tar: tarfile.TarFile, name: str, content: bytes) -> None:
    """Append one regular file to an open tar file."""
    entry = tarfile.TarInfo(name)
    entry.size = len(content)
    tar.addfile(entry, io.BytesIO(content))


def write_waves(
    root: Path, contents: dict[str, list[np.ndarray | bytes]], *, per_shard: int = 2, **meta
) -> Path:
    """A folder of shards from `{"SPLIT/DOMAIN": [wave (C, T) or bytes, ...]}`.

    Clip number n is named `DOMAIN<n>`; bytes go into the shard as they are, under the name of a
    FLAC.
    """
    splits: dict[str, dict[str, tuple[Shard, ...]]] = {}
    for place, clips in contents.items():
        split, domain = place.split("/")
        shards = []
        for first in range(0, len(clips), per_shard):
            path = root / f"{place}-{len(shards):06d}.tar"
            path.parent.mkdir(parents=True, exist_ok=True)
            part = clips[first : first + per_shard]
            with tarfile.open(path, "w", format=tarfile.USTAR_FORMAT) as tar:
                for number, clip in enumerate(part, first):
                    audio = clip if isinstance(clip, bytes) else flac(clip)
                    add_member(tar, f"{domain}{number}.flac", audio)
                    about = json.dumps({"bandwidth_hz": 20000.0 + number, "domain": domain} | meta)
                    add_member(tar, f"{domain}{number}.json", about.encode())
            name = path.relative_to(root).as_posix()
            digest = hashlib.sha256(path.read_bytes()).hexdigest()
            shards.append(Shard(name, len(part), path.stat().st_size, 1.0, digest))
        splits.setdefault(split, {})[domain] = tuple(shards)
    Index(root, splits, "test", "test").save()
    return root


@pytest.fixture
def make_shards(tmp_path: Path) -> Callable[..., Path]:
    """Writer of a folder of shards in the test's own folder, as `write_waves` does."""
    return partial(write_waves, tmp_path / "made")


@pytest.fixture
def shards(make_shards: Callable[..., Path], noise: Callable[..., np.ndarray]) -> Path:
    """Three train domains (5, 3 and 4 clips of 1 s, some stereo) and seven valid clips of two
    domains.
    """

    def clips(count: int, seed: int) -> list[np.ndarray]:
        return [noise(1, channels=1 + n % 2, seed=100 * seed + n) for n in range(count)]

    return make_shards(
        {
            "train/speech": clips(5, 1),
            "train/music": clips(3, 2),
            "train/effects": clips(4, 3),
            "valid/music": clips(4, 4),
            "valid/speech": clips(3, 5),
        }
    )
