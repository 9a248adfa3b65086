"""Does a run that is told to stop save a whole step on all its ranks, and a job queue itself?"""

from collections.abc import Callable
from pathlib import Path

import pytest
import torch

from audiosr.training.runs import find_run
from tests.training.ranks import train_on_two


@pytest.mark.slow
def test_ranks_stop_after_the_same_step_when_one_is_told(
    arguments: Callable[..., list[str]], tmp_path: Path
) -> None:
    given = arguments("vae", 100000, "checkpoint.every_n_steps=100000")
    told = "{_target_:tests.training.faults.Tell,step:2,told:SIGTERM,rank:1}"

    train_on_two(given, f"+callbacks.tell={told}", folder=tmp_path, SLURM_JOB_ID="77")

    folder, checkpoint = find_run("last", tmp_path / "outputs", "vae")
    kept = torch.load(checkpoint, weights_only=False)
    assert kept["global_step"] == 3
    assert kept["loops"]["fit_loop"]["state_dict"]["combined_loader"] == [{"position": 3}]
    assert not list(folder.glob("hpc_ckpt_*"))
