"""Is an output that cannot be written named in one sentence by every command, and nothing lost?"""

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
import soundfile

from tests.tiny import save_tiny_model

ROOT = Path(__file__).resolve().parent.parent
COMMANDS = ["infer", "data_prep", "evaluate"]
AS_ANYONE = ["setpriv"] + [f"--{which}=-dac_override" for which in ("bounding-set", "inh-caps")]
FULL = ["bash", "-c", "ulimit -f 4; trap '' XFSZ; exec \"$@\"", "bash"]
"""No file above 4 KiB."""


@pytest.fixture(scope="module")
def inputs(tmp_path_factory):
    """A folder with recordings, shards of them, and a model."""
    folder = tmp_path_factory.mktemp("inputs")
    source = folder / "own/sounds"
    source.mkdir(parents=True)
    for path in sorted((ROOT / "demo/audio/test/speech").glob("*.flac"))[:2]:
        shutil.copy(path, source)
    save_tiny_model(folder / "model")
    done = run(words("data_prep", folder, folder / "shards"))
    assert done.returncode == 0, done.stderr
    return folder


def words(command: str, inputs: Path, out: Path) -> list[str]:
    if command == "infer":
        source = next((inputs / "own/sounds").iterdir())
        options = [f"input={source}", f"output={out}.wav", f"model={inputs / 'model'}", "steps=1"]
        return [str(ROOT / "infer.py"), *options]
    if command == "data_prep":
        source = str(inputs / "own")
        return ["-m", "data_prep", "folder", "--source", source, "--out", str(out), "--workers=1"]
    shards = inputs / "shards"
    split = next(path.name for path in shards.iterdir() if path.is_dir())
    return [
        str(ROOT / "evaluate.py"),
        *("system=[unprocessed]", "metrics=quick", "cutoffs=[4000]", "report.clips=0"),
        *(f"benchmark.parts.demo.root={shards}", f"benchmark.parts.demo.split={split}"),
        f"out={out}",
    ]


def run(words: list[str], before: list[str] | None = None) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [*(before or []), sys.executable, *words],
        cwd=ROOT,
        env=os.environ | {"PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
    )


def is_one_sentence_about(out: Path, done: subprocess.CompletedProcess[str]) -> bool:
    return done.stderr.startswith(f"error: {out}") and done.stderr.count("\n") == 1


@pytest.mark.parametrize("command", COMMANDS)
def test_a_folder_that_may_not_be_written_is_named(inputs, tmp_path, command):
    before = AS_ANYONE if os.geteuid() == 0 else []
    if before and not shutil.which("setpriv"):
        pytest.skip("root writes everywhere, and no setpriv to be less")
    (tmp_path / "theirs").mkdir()
    (tmp_path / "theirs/kept").touch()
    (tmp_path / "theirs").chmod(0o555)

    done = run(words(command, inputs, tmp_path / "theirs/out"), before)

    assert is_one_sentence_about(tmp_path / "theirs/out", done), done.stderr
    assert "Permission denied" in done.stderr
    assert done.returncode == (2 if command == "data_prep" else 1)
    assert [path.name for path in (tmp_path / "theirs").iterdir()] == ["kept"]


@pytest.mark.parametrize("command", COMMANDS)
def test_a_full_disk_is_named(inputs, tmp_path, command):
    done = run(words(command, inputs, tmp_path / "out"), FULL)

    assert is_one_sentence_about(tmp_path / "out", done), done.stderr
    assert "File too large" in done.stderr
    assert done.returncode == 1
    left = [path for path in tmp_path.rglob("*") if ".partial" in path.name]
    assert left == []
    again = run(words(command, inputs, tmp_path / "out"))
    assert again.returncode == 0, again.stderr
    if command == "infer":
        assert soundfile.info(tmp_path / "out.wav").frames > 0
