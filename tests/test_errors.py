"""What a process says at its end, and with which exit code, whatever went wrong."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from audiosr.errors import report


@pytest.mark.parametrize("above", ["missing", "file"])
def test_what_the_disk_refuses_is_said_in_one_line(tmp_path, capsys, above):
    (tmp_path / "file").touch()

    assert report(lambda: (tmp_path / above / "folder").mkdir()) == 1

    assert capsys.readouterr().err.startswith(f"error: {tmp_path / above / 'folder'}: N")


@pytest.mark.parametrize(
    "command",
    [
        *(["-m", "audiosr.cli", name, "--help"] for name in ("infer", "train", "evaluate")),
        ["-m", "audiosr.cli", "--help"],
        ["-m", "data_prep", "--help"],
    ],
)
def test_an_output_that_nobody_reads_any_more_ends_quietly(command):
    read, write = os.pipe()
    os.close(read)

    done = subprocess.run(
        [sys.executable, *command],
        stdout=write,
        stderr=subprocess.PIPE,
        cwd=Path(__file__).resolve().parent.parent,
        env=os.environ | {"PYTHONUNBUFFERED": ""},
        check=False,
    )

    os.close(write)
    assert (done.returncode, done.stderr) == (141, b"")


def test_a_broken_pipe_of_another_kind_is_a_fault(capfd):
    def fails() -> None:
        raise BrokenPipeError

    with pytest.raises(BrokenPipeError):
        report(fails)


def test_a_fault_of_ours_keeps_its_traceback():
    def fails() -> None:
        raise OSError("nothing of the disk")

    with pytest.raises(OSError, match="nothing of the disk"):
        report(fails)
