"""Is an output that cannot be written named in one sentence by every command, and nothing lost?"""

import ctypes
import shutil
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
import soundfile

from audiosr import cli
from audiosr.errors import report
from data_prep.__main__ import main as data_prep
from tests.tiny import save_tiny_model
from tests.training.conftest import COMMON, MICRO

CLIPS = Path(__file__).resolve().parent.parent / "demo/audio/test/speech"
COMMANDS = ["infer", "data_prep", "evaluate", "train"]


@pytest.fixture(scope="module")
def inputs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with recordings, shards of them, and a model."""
    folder = tmp_path_factory.mktemp("inputs")
    for split, path in zip(("train", "valid"), sorted(CLIPS.glob("*.flac")), strict=False):
        (folder / f"own/{split}").mkdir(parents=True)
        shutil.copy(path, folder / f"own/{split}/a.flac")
    save_tiny_model(folder / "model")
    assert run("data_prep", folder, folder / "shards") == 0
    return folder


def run(command: str, inputs: Path, out: Path) -> int:
    """The exit code of a command that writes to `out`."""
    if command == "data_prep":
        options = [f"--source={inputs / 'own'}", f"--out={out}", "--workers=1"]
        return report(lambda: data_prep(["folder", *options]))
    options = {
        "infer": [
            f"input={inputs / 'own/valid/a.flac'}",
            *(f"output={out}.wav", f"model={inputs / 'model'}", "steps=1"),
        ],
        "evaluate": [
            *("system=[unprocessed]", "metrics=quick", "cutoffs=[4000]", "report.clips=0"),
            f"benchmark.parts.demo.root={inputs / 'shards'}",
            *("benchmark.parts.demo.split=valid", f"out={out}"),
        ],
        "train": [
            *("stage=vocoder", *COMMON, *MICRO["vocoder"], "max_steps=1", "panels.clips=0"),
            *(f"data.root={inputs / 'shards'}", f"run_dir={out}"),
        ],
    }
    return cli.main([command, *options[command]])


@contextmanager
def as_anyone() -> Iterator[None]:
    """This thread without root's right to write where nobody may (CAP_DAC_OVERRIDE)."""
    libc = ctypes.CDLL(None, use_errno=True)
    header = (ctypes.c_uint32 * 2)(0x20080522, 0)  # version 3 of the call, this thread
    held = (ctypes.c_uint32 * 6)()  # effective, permitted, inheritable; then those above 31
    assert libc.capget(header, held) == 0
    fewer = (ctypes.c_uint32 * 6)(held[0] & ~(1 << 1), *held[1:])
    assert libc.capset(header, fewer) == 0
    try:
        yield
    finally:
        assert libc.capset(header, held) == 0


@pytest.fixture
def said(capsys: pytest.CaptureFixture[str]) -> Callable[[], str]:
    """What stands on stderr since it was asked last."""
    return lambda: capsys.readouterr().err


@pytest.mark.parametrize("command", COMMANDS)
def test_a_folder_that_may_not_be_written_is_named(inputs, tmp_path, said, command):
    theirs = tmp_path / "theirs"
    theirs.mkdir()
    (theirs / "kept").touch()
    theirs.chmod(0o555)

    with as_anyone():
        code = run(command, inputs, theirs / "out")

    words = said()
    assert words.startswith("error: ")
    assert words.count("\n") == 1
    assert str(theirs) in words
    assert code == (2 if command in ("data_prep", "train") else 1)
    assert [path.name for path in theirs.iterdir()] == ["kept"]


@pytest.mark.parametrize(
    ("command", "size"), [*((command, 4096) for command in COMMANDS), ("train", 1 << 16)]
)
def test_a_full_disk_is_named(inputs, tmp_path, said, full_disk, command, size):
    with full_disk(size):
        code = run(command, inputs, tmp_path / "out")

    words = said()
    assert words.startswith(f"error: {tmp_path / 'out'}")
    assert words.count("\n") == 1
    assert "File too large" in words
    assert code == 1
    assert not [path for path in tmp_path.rglob("*") if ".partial" in path.name]
    assert run(command, inputs, tmp_path / "out") == 0
    if command == "infer":
        assert soundfile.info(tmp_path / "out.wav").frames > 0
