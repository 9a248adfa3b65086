"""Which corpora do the tests of data_prep work on?"""

import hashlib
import json
from argparse import Namespace
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import soundfile
from scipy.signal import butter, sosfiltfilt

from audiosr.shards.index import Index
from data_prep.clips import Settings
from data_prep.engine import prepare
from data_prep.recipes import folder


def contents(root: Path) -> dict[str, str]:
    """Hash of every file below `root`; of the report, without how long the runs took."""
    found = {}
    for path in sorted(path for path in root.rglob("*") if path.is_file()):
        content = path.read_bytes()
        if path.name == "report.json":
            content = json.dumps(json.loads(content) | {"runs": []}).encode()
        if path.name != "report.html":
            found[str(path.relative_to(root))] = hashlib.sha256(content).hexdigest()
    return found


@pytest.fixture
def mixed_corpus(tmp_path: Path, noise: Callable[..., np.ndarray]) -> Path:
    """A folder with five good files and one of each kind that must be left out."""
    root = tmp_path / "corpus"

    def put(name: str, wave: np.ndarray, rate: int = 48000, subtype: str | None = "PCM_16") -> Path:
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        soundfile.write(root / name, wave.T, rate, subtype=subtype)
        return root / name

    put("train/speech/ann__a.wav", noise(2, seed=1))
    put("train/speech/ann__b.flac", noise(2, seed=2, channels=2))
    put("train/music/bob/long.wav", noise(25, seed=3, rate=44100), 44100)
    put("valid/speech/cid__a.ogg", noise(2, seed=4), subtype="VORBIS")
    kept = put("test/speech/dan__a.wav", noise(2, seed=5))
    (root / "train/speech/ann__copy.wav").write_bytes(kept.read_bytes())
    narrow = sosfiltfilt(butter(8, 6000, fs=48000, output="sos"), noise(2, seed=6))
    put("train/speech/narrow.wav", narrow)
    put("train/speech/telephone.wav", noise(2, seed=7, rate=16000), 16000)
    put("train/speech/silent.wav", np.zeros((1, 96000)))
    put("train/speech/short.wav", noise(0.2, seed=8))
    put("train/speech/nan.wav", np.full((1, 96000), np.nan), subtype="FLOAT")
    (root / "train/speech/text.wav").write_text("this is not audio")
    (root / "train/speech/empty.wav").touch()
    broken = put("train/speech/corrupt.flac", noise(2, seed=9))
    content = bytearray(broken.read_bytes())
    content[len(content) // 2 : len(content) // 2 + 400] = bytes(400)
    broken.write_bytes(content)
    put("extra/outside.wav", noise(2, seed=10))
    (root / "README.txt").write_text("not taken for audio")
    return root


@pytest.fixture
def prepared(tmp_path: Path) -> Callable[..., Index]:
    """Runner of the `folder` recipe; returns the index of what it wrote to `OUT`."""

    def run(source: Path, out: str = "shards", *, workers: int = 1, **options):
        how = {
            name: options.pop(name) for name in ("overwrite", "engine", "part") if name in options
        }
        recipe = {"domain": None, "licence": None, "valid_fraction": 0.0, "test_fraction": 0.0}
        for name in recipe.keys() & options.keys():
            recipe[name] = options.pop(name)
        return prepare(
            folder.items(Namespace(source=source, **recipe)),
            tmp_path / out,
            Settings(**options),
            recipe="folder",
            command="test",
            workers=workers,
            **how,
        )

    return run
