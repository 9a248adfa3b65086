"""Does a run survive being killed, told to stop, split over ranks, or asked for nonsense?"""

import csv
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from omegaconf import OmegaConf

from audiosr.entry import compose_config
from audiosr.errors import UsageError
from audiosr.training.metrics_csv import MetricsCSV
from audiosr.training.resolve import check, resolved
from audiosr.training.run import train
from audiosr.training.runs import find_run, runs
from tests.training.conftest import with_dropout

Run = Callable[..., tuple[dict[str, float], dict[str, Any]]]
ROOT = Path(__file__).parents[2]


def _start(arguments: list[str], **environment: str) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, str(ROOT / "train.py"), *arguments],
        cwd=ROOT,
        env=os.environ | environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        start_new_session=True,
    )


def _rows(path: Path) -> list[dict[str, str]]:
    with path.open(newline="") as file:
        return list(csv.DictReader(file))


def _wait_for(process: subprocess.Popen[str], pattern: str, folder: Path) -> None:
    for _ in range(1200):
        if list(folder.glob(pattern)):
            return
        assert process.poll() is None, process.stdout and process.stdout.read()
        time.sleep(0.1)
    raise AssertionError(f"no {pattern} in two minutes")


@pytest.mark.parametrize("stage", ["vae", "vocoder", pytest.param("ldm", marks=pytest.mark.slow)])
def test_an_unbroken_run_and_a_resumed_one_end_in_the_same_weights(
    stage: str, run: Run, tmp_path: Path
) -> None:
    if stage == "ldm":
        run("vae", 1)
    _, whole = run(stage, 4, "run_dir=" + str(tmp_path / "whole"))
    run(
        stage,
        2,
        "run_dir=" + str(tmp_path / "outputs" / stage / "half"),
        "optimiser.decay=constant",
    )
    _, unbroken = run(stage, 4, "run_dir=" + str(tmp_path / "constant"), "optimiser.decay=constant")
    _, resumed = run(stage, 4, "resume=last", "trainer.max_steps=4")

    weights = [o["stage"].state_dict() for o in (unbroken, resumed, whole)]
    assert all(torch.equal(weights[0][name], weights[1][name]) for name in weights[0])
    # The comparison can fail: another schedule ends elsewhere.
    assert not all(torch.equal(weights[0][name], weights[2][name]) for name in weights[0])


def test_dropout_after_a_resumption_is_that_of_the_unbroken_run(
    arguments: Callable[..., list[str]], tmp_path: Path
) -> None:
    def weights(*more: str) -> dict[str, torch.Tensor]:
        given = with_dropout(arguments("vae", 4, "panels.clips=0", "optimiser.decay=constant"))
        given += ["data.batch_size=1", *more]
        return train(resolved(compose_config("train", given), given))[1]["stage"].state_dict()

    whole = weights(f"run_dir={tmp_path / 'whole'}")
    half = weights(f"run_dir={tmp_path / 'half'}", "trainer.max_steps=2")
    resumed = weights(f"resume={tmp_path / 'half'}", "trainer.max_steps=4")

    assert all(torch.equal(whole[name], resumed[name]) for name in whole)
    assert not all(torch.equal(whole[name], half[name]) for name in whole)


def test_a_run_killed_right_after_a_checkpoint_loses_no_number(run: Run) -> None:
    _, objects = run("vae", 4, "trainer.log_every_n_steps=1", "valid_every_n_steps=2")
    folder, metrics = objects["folder"], objects["folder"] / "metrics.csv"
    whole = _rows(metrics)

    # As if killed after the checkpoint of step 2 and before another line was written.
    validated, at_3 = whole[1], whole[2]
    assert validated["valid/lsd"]
    kept = torch.load(folder / "checkpoints/step=2.ckpt", weights_only=False)
    assert kept["callbacks"]["Export"]["best"] == pytest.approx(float(validated["valid/lsd"]))
    with metrics.open("w", newline="") as file:
        writer = csv.DictWriter(file, whole[0].keys())
        writer.writeheader()
        writer.writerow(whole[0])
    run("vae", 4, f"resume='{folder}/checkpoints/step=2.ckpt'")

    resumed = _rows(metrics)
    assert [row["step"] for row in resumed] == ["0", "1", "2", "3"]
    for name in ("train/loss", "train/loss_rec", "train/lr"):
        assert resumed[1][name] == validated[name]
        assert resumed[2][name] == at_3[name]
    assert resumed[3]["valid/lsd"] == whole[3]["valid/lsd"]


@pytest.mark.slow
def test_a_killed_run_goes_on_from_its_last_checkpoint(
    arguments: Callable[..., list[str]], run: Run, tmp_path: Path
) -> None:
    outputs = tmp_path / "outputs"
    process = _start(arguments("vae", 100000, "trainer.log_every_n_steps=1"))
    _wait_for(process, "vae/*/checkpoints/step=4.ckpt", outputs)
    process.send_signal(signal.SIGKILL)
    process.wait()
    folder = runs(outputs, "vae")[0]
    steps = [int(p.stem.split("=")[1]) for p in (folder / "checkpoints").glob("step=*.ckpt")]

    _, objects = run("vae", 100000, "resume=last", f"trainer.max_steps={max(steps) + 3}")

    assert objects["folder"] == folder
    assert objects["trainer"].global_step == max(steps) + 3
    with (folder / "metrics.csv").open(newline="") as file:
        logged = [int(row["step"]) for row in csv.DictReader(file)]
    assert logged == list(range(max(steps) + 3))
    assert runs(outputs, "vae") == [folder]


@pytest.mark.slow
@pytest.mark.parametrize("told", [signal.SIGTERM, signal.SIGUSR1, signal.SIGINT])
def test_a_run_that_is_told_to_stop_saves_a_whole_step_and_ends(
    told: signal.Signals, arguments: Callable[..., list[str]], tmp_path: Path
) -> None:
    given = ["checkpoint.every_n_steps=100000", "data.num_workers=2"]
    process = _start(arguments("vae", 100000, *given))
    _wait_for(process, "vae/*/panels/step=4/mel.png", tmp_path / "outputs")
    # SLURM, `timeout` and a terminal tell every process, those that load data too.
    os.killpg(process.pid, told)

    output, _ = process.communicate(timeout=120)

    folder, checkpoint = find_run("last", tmp_path / "outputs", "vae")
    kept = torch.load(checkpoint, weights_only=False)
    step = kept["global_step"]
    assert step >= 4
    assert checkpoint == folder / f"checkpoints/step={step}.ckpt"
    # The next batch is that of the next step: none is lost.
    assert kept["loops"]["fit_loop"]["state_dict"]["combined_loader"] == [{"position": step}]
    assert "Traceback" not in output
    if told == signal.SIGINT:
        assert "stopping after this batch" in output
        assert process.returncode == 130


@pytest.mark.slow
def test_a_sweep_over_runs_of_two_ranks_trains_each_once(
    arguments: Callable[..., list[str]], tmp_path: Path
) -> None:
    ddp = [a for a in arguments("vae", 1, "panels.clips=0") if a != "trainer=cpu"]
    process = _start(["-m", *ddp, "trainer=ddp", "trainer.accelerator=cpu", "seed=1,2"])

    output, _ = process.communicate(timeout=300)

    assert process.returncode == 0, output
    seeds = [OmegaConf.load(run / "config.yaml").seed for run in runs(tmp_path / "outputs", "vae")]
    assert sorted(seeds) == [1, 2]


@pytest.mark.slow
@pytest.mark.parametrize("stage", ["vocoder", "ldm"])
def test_two_ranks_train_without_hanging_and_share_one_folder(
    stage: str, arguments: Callable[..., list[str]], run: Run, tmp_path: Path
) -> None:
    if stage == "ldm":
        run("vae", 2)
    ddp = [a for a in arguments(stage, 4) if a != "trainer=cpu"]
    process = _start([*ddp, "trainer=ddp", "trainer.accelerator=cpu"], OMP_NUM_THREADS="1")

    output, _ = process.communicate(timeout=300)

    assert process.returncode == 0, output
    (folder,) = runs(tmp_path / "outputs", stage)
    assert torch.load(folder / "checkpoints/step=4.ckpt", weights_only=False)["global_step"] == 4
    assert OmegaConf.load(folder / "config.yaml").trainer.precision == "bf16-mixed"


def test_a_broken_newest_checkpoint_falls_back_to_the_one_before(
    run: Run, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    _, objects = run("vae", 4)
    newest = objects["folder"] / "checkpoints/step=4.ckpt"
    newest.write_bytes(newest.read_bytes()[:1000])

    _, checkpoint = find_run("last", tmp_path / "outputs", "vae")

    assert checkpoint.name == "step=2.ckpt"
    assert "step=4.ckpt is broken" in capsys.readouterr().out


def test_a_folder_that_holds_a_run_is_not_overwritten(run: Run, tmp_path: Path) -> None:
    run("vae", 2, f"run_dir={tmp_path / 'mine'}")

    with pytest.raises(UsageError, match="resume="):
        run("vae", 2, f"run_dir={tmp_path / 'mine'}")


def test_resume_with_nothing_to_resume_says_so(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="nothing to resume"):
        find_run("last", tmp_path, "vae")


@pytest.mark.parametrize(
    ("override", "message"),
    [
        ("data.crop_seconds=2.5", "multiple of 0.64 s"),
        ("degrade.cutoff_hz=[2000,24000]", "24000"),
        ("+trainer.gradient_clip_val=1", "clip_norm"),
        ("trainer.precision=16-mixed", "choose 32-true or bf16-mixed"),
        ("trainer.precision=fp8", "choose 32-true or bf16-mixed"),
        ("trainer.precision=bf16-true", "choose 32-true or bf16-mixed"),
        ("optimiser.lr=fast", "optimiser.lr=fast: input should be a valid number"),
        ("data.batch_size=big", "data.batch_size=big: input should be a valid integer"),
        ("data.batch_size=2.5", "data.batch_size=2.5: input"),
        ("max_steps=many", "^max_steps=many: input should be a valid integer"),
        ("size.denoiser.network.channels=wide", "size.denoiser.network.channels=wide: input"),
        ("data.domain_weights={speech: much}", "data.domain_weights=.*much.*: input"),
    ],
)
def test_knobs_that_contradict_each_other_are_refused(override: str, message: str) -> None:
    cfg = compose_config("train", ["stage=ldm", override])

    with pytest.raises(UsageError, match=message):
        check(cfg)


def test_metrics_of_a_resumed_run_continue_the_file(tmp_path: Path) -> None:
    before = MetricsCSV(tmp_path)
    for step in range(5):
        before.log_metrics({"train/loss": 1.0 + step}, step)
    before.save()

    after = MetricsCSV(tmp_path)
    after.forget_after(3)
    after.log_metrics({"train/loss": 9.0, "valid/lsd": 0.5}, 3)
    after.save()

    with (tmp_path / "metrics.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    assert [(row["step"], row["train/loss"], row["valid/lsd"]) for row in rows] == [
        ("0", "1.0", ""),
        ("1", "2.0", ""),
        ("2", "3.0", ""),
        ("3", "9.0", "0.5"),
    ]
