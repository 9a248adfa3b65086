"""Can a run be shared: what its folder, its loggers and its checkpoints tell without it?"""

import json
import os
import shlex
import subprocess
import sys
from collections.abc import Callable
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import soundfile
import torch
import yaml

from audiosr import cli
from audiosr.checkpoints.hub import resolve
from audiosr.model import Model
from audiosr.training.record import read_starts
from tests.evaluation.test_tracking import records

Run = Callable[..., tuple[dict[str, float], dict[str, Any]]]
ROOT = Path(__file__).parents[2]


def config(folder: Path) -> tuple[str, dict[str, Any], list[Any]]:
    """Id, configuration and records of the last W&B run in a run folder."""
    stored = max(folder.glob("wandb/offline-run-*/*.wandb"), key=lambda path: path.stat().st_mtime)
    found = records(stored)
    run = next(record.run for record in found if record.run.run_id)
    updates = [*run.config.update, *(u for record in found for u in record.config.update)]
    return run.run_id, {u.key: json.loads(u.value_json) for u in updates if u.key}, found


def names_by_step(found: list[Any]) -> dict[int, set[str]]:
    """What W&B has drawn over each step: figures, pictures and tables."""
    names: dict[int, set[str]] = {}
    for row in (record.history.item for record in found if record.history.item):
        values = {item.key or item.nested_key[0]: item.value_json for item in row}
        names.setdefault(json.loads(values["trainer/global_step"]), set()).update(values)
    return names


def test_wandb_gets_configuration_code_size_sounds_and_the_model(run: Run) -> None:
    _, objects = run("vocoder", 4, "logger=[csv,wandb,tensorboard]", "run_suffix=-shared")
    folder = objects["folder"]
    name, values, found = config(folder)

    assert values["optimiser"]["lr"] == objects["cfg"].optimiser.lr
    assert values["parameters"]["vocoder"] == sum(
        p.numel() for p in objects["stage"].vocoder.parameters()
    )
    assert values["versions"]["torch"] == version("torch")
    (described,) = {r.run.display_name for r in found if r.run.display_name}
    assert described == f"vocoder/{folder.name}"
    assert any("vocoder" in r.run.tags for r in found)
    assert [r.request.log_artifact.artifact.type for r in found if r.request.log_artifact] or any(
        r.artifact.type == "model" for r in found
    )
    assert {"valid/lsd", "panels/mel", "panels/sounds"} <= names_by_step(found)[3]
    (table,) = folder.rglob("media/table/**/*.table.json")
    sounds = json.loads(table.read_text())
    assert sounds["columns"] == ["clip", "domain", "resynthesis", "reference"]
    assert len(sounds["data"]) == 2
    kept = yaml.safe_load((folder / "tensorboard/hparams.yaml").read_text())
    assert kept["optimiser"]["lr"] == objects["cfg"].optimiser.lr

    run("vocoder", 5, f"resume={folder}", "trainer.max_steps=5")

    assert config(folder)[0] == name == objects["cfg"].run_id


def test_a_run_folder_says_how_it_came_about(run: Run) -> None:
    before = os.umask(0o027)
    try:
        _, objects = run("vae", 2, "panels.clips=0", "trainer.profiler=simple")
    finally:
        os.umask(before)
    folder = objects["folder"]

    (start,) = read_starts(folder)
    log = (folder / "train.log").read_text()
    assert start.versions["torch"] == version("torch")
    assert start.command == shlex.join(sys.argv)
    if (ROOT / ".git").exists():
        head = subprocess.run(["git", "-C", str(ROOT), "rev-parse", "HEAD"], capture_output=True)
        assert start.git["commit"] == head.stdout.decode().strip()
    assert "run folder" in log
    assert "run_training_epoch" in log
    assert (folder / "model/autoencoder.safetensors").stat().st_mode & 0o777 == 0o640


def test_checkpoints_and_run_folders_are_models(
    run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("AUDIOSR_CACHE", str(tmp_path / "cache"))
    run("vae", 2, "panels.clips=0")
    _, objects = run("ldm", 4, "panels.clips=0", "ema_decay=0.5")
    folder, stage = objects["folder"], objects["stage"]

    assert cli.main(["export", str(folder), "--which", "last"]) == 0
    assert cli.main(["export", str(folder), "--step", "4", "--which", "ema"]) == 0
    last, ema = (Model.load(line) for line in capsys.readouterr().out.splitlines()[-2:])
    named = Model.load(resolve(folder / "checkpoints/step=4.ckpt"))

    trained, key = stage.denoiser.state_dict(), "network.out.weight"
    assert all(
        torch.equal(trained[name], v) for name, v in last.parts["denoiser"].state_dict().items()
    )
    average = torch.load(folder / "checkpoints/last.ckpt")["callbacks"]["EMA"]["average"]
    for model in (ema, named):
        assert torch.equal(model.parts["denoiser"].state_dict()[key], average[f"denoiser.{key}"])
        assert model.autoencoder is not None
        assert model.latent.scale == float(stage.latent_scale)
    assert cli.main(["export", str(folder), "--step", "3"]) == 2
    assert "there is best, last, step=2, step=4" in capsys.readouterr().err


def test_a_checkpoint_is_evaluated_and_trained_on_and_a_run_folder_restores(
    run: Run,
    arguments: Callable[..., list[str]],
    audio_file: Callable[..., Path],
    chord: Callable[..., np.ndarray],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("AUDIOSR_CACHE", str(tmp_path / "cache"))
    for stage in ("vae", "vocoder"):
        run(stage, 1, "panels.clips=0")
    _, objects = run("ldm", 2, "panels.clips=0", "ema_decay=null")
    folder = objects["folder"]
    checkpoint = folder / "checkpoints/step=2.ckpt"
    clip = audio_file("clips/music/clip.wav", chord(0.4))
    benchmark = ["benchmark=folder", f"benchmark.root={tmp_path / 'clips'}", "cutoffs=[4000]"]
    benchmark += ["device=cpu", "metrics=quick", "system.model.settings.steps=1", "report.clips=0"]

    made = [f"input={clip}", f"output={tmp_path / 'made.wav'}", "steps=1"]
    assert cli.main(["infer", f"model={folder}", *made]) == 0
    out = tmp_path / "out"
    assert cli.main(["evaluate", f"model={checkpoint}", f"out={out}", *benchmark]) == 0
    again = [f"init={checkpoint}", f"run_dir={tmp_path / 'again'}", "panels.clips=0"]
    assert cli.main(["train", *arguments("ldm", 1, *again, "optimiser.lr=0.0")]) == 0

    assert soundfile.info(tmp_path / "made.wav").samplerate == 48000
    systems = {row["system"] for row in json.loads((out / "results.json").read_text())["files"]}
    assert "model" in systems
    tuned = Model.load(tmp_path / "again/model").parts["denoiser"].state_dict()
    trained = objects["stage"].denoiser.state_dict()
    assert all(torch.equal(tuned[name], trained[name]) for name in trained)
