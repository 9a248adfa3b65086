"""Does a run that is told to stop save a whole step on all its ranks, and a job queue itself?"""

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest
import torch

from audiosr.training.runs import find_run

ROOT = Path(__file__).parents[2]


@pytest.fixture
def tell(tmp_path: Path) -> Callable[..., tuple[int, str]]:
    """Starts a run, sends it a signal after a few steps; returns exit code and output."""

    def call(arguments: list[str], told: signal.Signals) -> tuple[int, str]:
        script = tmp_path / "bin/scontrol"
        script.parent.mkdir()
        script.write_text(f'#!/bin/sh\necho "$@" > {tmp_path}/asked\n')
        script.chmod(0o755)
        place = {"PATH": f"{script.parent}:{os.environ['PATH']}", "SLURM_JOB_ID": "77"}
        process = subprocess.Popen(
            [sys.executable, str(ROOT / "train.py"), *arguments],
            cwd=ROOT,
            env=os.environ | place | {"OMP_NUM_THREADS": "1"},
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )
        deadline = time.monotonic() + 180
        while not list(tmp_path.glob("outputs/*/*/panels/step=4")):
            assert process.poll() is None, process.stdout and process.stdout.read()
            assert time.monotonic() < deadline
            time.sleep(0.2)
        process.send_signal(told)
        output, _ = process.communicate(timeout=180)
        return process.returncode, output

    return call


@pytest.mark.slow
@pytest.mark.parametrize("told", [signal.SIGTERM, signal.SIGUSR1])
def test_ranks_stop_after_the_same_step_when_one_is_told(
    told: signal.Signals, tell: Callable, arguments: Callable[..., list[str]], tmp_path: Path
) -> None:
    ddp = [a for a in arguments("vae", 100000, "checkpoint.every_n_steps=100000")]
    ddp.remove("trainer=cpu")

    code, output = tell([*ddp, "trainer=ddp", "trainer.accelerator=cpu"], told)

    assert code == 0, output
    assert "Traceback" not in output
    folder, checkpoint = find_run("last", tmp_path / "outputs", "vae")
    kept = torch.load(checkpoint, weights_only=False)
    assert kept["loops"]["fit_loop"]["state_dict"]["combined_loader"] == [
        {"position": kept["global_step"]}
    ]
    # Only the warning that a job's time is up means that it wants to go on.
    asked = tmp_path / "asked"
    assert asked.exists() == (told == signal.SIGUSR1)
    if asked.exists():
        assert asked.read_text() == "requeue 77\n"
    assert not list(folder.glob("hpc_ckpt_*"))
