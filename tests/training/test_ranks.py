"""Do two ranks go on where they were killed or told to stop, and past a batch that is no number?"""

import csv
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch

from tests.training.conftest import with_dropout
from tests.training.ranks import on_two_ranks, train_on_two

Arguments = Callable[..., list[str]]
Run = Callable[..., tuple[dict[str, float], dict[str, Any]]]
STEADY = ("optimiser.decay=constant", "trainer.log_every_n_steps=1", "data.batch_size=1")


def fault(name: str, **settings: Any) -> str:
    """An override that adds a callback of `tests.training.faults`."""
    given = ",".join(f"{key}:{value}" for key, value in settings.items())
    return f"+callbacks.fault={{_target_:tests.training.faults.{name},{given}}}"


def configured(arguments: Arguments, stage: str, steps: int, *more: str) -> list[str]:
    given = arguments(stage, steps, *STEADY, *more)
    return with_dropout(given) if stage == "vae" else given


def state(run: Path, step: int) -> dict[str, torch.Tensor]:
    return torch.load(run / f"checkpoints/step={step}.ckpt", weights_only=False)["state_dict"]


def equal(one: dict[str, torch.Tensor], other: dict[str, torch.Tensor]) -> bool:
    return one.keys() == other.keys() and all(torch.equal(one[name], other[name]) for name in one)


def rows(run: Path) -> list[dict[str, str]]:
    """What was logged, without the times that it took."""
    timed = ("train/clips_per_s", "train/wait")
    with (run / "metrics.csv").open(newline="") as file:
        return [{k: v for k, v in row.items() if k not in timed} for row in csv.DictReader(file)]


def masks(folder: Path) -> list[dict[int, str]]:
    """Of each rank, what dropout left out by step; where a step was done again, the last time."""
    lines = [(folder / f"masks-rank={rank}").read_text().splitlines() for rank in range(2)]
    return [{int(step): kept for step, kept in map(str.split, of_rank)} for of_rank in lines]


@pytest.mark.slow
def test_dropout_differs_between_ranks_and_steps_and_is_the_same_after_a_kill(
    arguments: Arguments, tmp_path: Path
) -> None:
    whole, broken = tmp_path / "whole", tmp_path / "broken"
    quiet = ("resume=auto", "valid_every_n_steps=100")

    def command(folder: Path) -> list[str]:
        folder.mkdir(exist_ok=True)
        watch = f"+callbacks.masks={{_target_:tests.training.faults.Masks,folder:'{folder}'}}"
        return [*configured(arguments, "vae", 4, *quiet), f"run_dir={folder}/run", watch]

    train_on_two(command(whole), folder=tmp_path)
    told = fault("Tell", step=3, told="SIGKILL", rank=1)
    killed, _ = on_two_ranks(command(broken), told, folder=tmp_path)
    before = masks(broken)
    train_on_two(command(broken), "+callbacks.fault=null", folder=tmp_path)

    assert killed[1] == -9
    assert [max(of_rank) for of_rank in before] == [3, 3]  # step 3 is done again, from step 2
    assert masks(broken) == masks(whole)
    assert [sorted(of_rank) for of_rank in masks(whole)] == [[1, 2, 3, 4]] * 2
    assert len({kept for of_rank in masks(whole) for kept in of_rank.values()}) == 8


@pytest.mark.slow
@pytest.mark.parametrize("stage", ["vae", "vocoder", "ldm"])
def test_two_ranks_killed_after_a_step_or_told_in_a_validation_end_as_if_unbroken(
    stage: str, arguments: Arguments, run: Run, tmp_path: Path
) -> None:
    if stage == "ldm":
        run("vae", 1)
    given = configured(arguments, stage, 6, "resume=auto")
    whole, broken = tmp_path / "whole", tmp_path / "broken"
    command = [*given, f"run_dir={broken}"]
    scontrol = tmp_path / "bin/scontrol"
    scontrol.parent.mkdir()
    scontrol.write_text(f'#!/bin/sh\necho "$@" > {tmp_path}/asked\n')
    scontrol.chmod(0o755)
    job = {"SLURM_JOB_ID": "77", "PATH": f"{scontrol.parent}:{os.environ['PATH']}"}

    train_on_two([*given, f"run_dir={whole}"], folder=tmp_path)
    killed, _ = on_two_ranks(
        command, fault("Tell", step=3, told="SIGKILL", rank=1), folder=tmp_path
    )
    told = fault("Tell", step=4, told="SIGUSR1", rank=1, validating="true")
    train_on_two(command, told, folder=tmp_path, **job)
    stopped = torch.load(broken / "checkpoints/last.ckpt", weights_only=False)
    train_on_two(command, "+callbacks.fault=null", folder=tmp_path)

    assert killed[1] == -9
    assert stopped["global_step"] == 4
    assert (tmp_path / "asked").read_text() == "requeue 77\n"
    assert equal(state(broken, 6), state(whole, 6))
    assert rows(broken) == rows(whole)
    # The comparison can fail: weights move, and validation is among the rows.
    assert not equal(state(whole, 6), state(whole, 4))
    assert rows(whole)[3]["valid/lsd"]


@pytest.mark.slow
def test_a_batch_that_is_no_number_on_one_rank_is_skipped_by_both(
    arguments: Arguments, tmp_path: Path
) -> None:
    given = configured(
        arguments, "vocoder", 4, "valid_every_n_steps=100", f"run_dir={tmp_path}/run"
    )
    keep = f"+callbacks.keep={{_target_:tests.training.faults.Keep,folder:'{tmp_path}'}}"
    often = ("checkpoint.every_n_steps=1", "checkpoint.keep=9")

    train_on_two(given, *often, fault("Spoil", step=2, rank=1), keep, folder=tmp_path)

    run = tmp_path / "run"
    assert equal(state(run, 3), state(run, 2))
    assert not equal(state(run, 4), state(run, 3))
    first, second = (torch.load(tmp_path / f"rank={rank}.pt") for rank in range(2))
    assert equal(first, second)
    assert all(value.isfinite().all() for value in first.values())
    kept = [torch.load(run / f"not_finite/step=3-rank={rank}.pt") for rank in range(2)]
    assert [bool(batch["waveform"].isnan().any()) for batch in kept] == [False, True]


@pytest.mark.slow
def test_two_ranks_start_no_second_run_in_the_folder_of_a_first(
    arguments: Arguments, tmp_path: Path
) -> None:
    given = configured(arguments, "vocoder", 2, f"run_dir={tmp_path / 'run'}")
    train_on_two(given, folder=tmp_path)
    before = (tmp_path / "run/metrics.csv").read_bytes()

    codes, said = on_two_ranks(given, folder=tmp_path)

    assert codes == [2, 2]
    assert "holds a run already: go on with it by resume=" in said
    assert (tmp_path / "run/metrics.csv").read_bytes() == before
