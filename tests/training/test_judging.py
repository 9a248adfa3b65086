"""Is what validation says of the high band, of domains and of silence what the user needs?"""

import csv
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from audiosr.audio.mel import MelSettings
from audiosr.metrics.visqol import Visqol
from audiosr.model import Model
from audiosr.training.callbacks import Export
from audiosr.training.high_band import bands_below, high_band_errors

Run = Callable[..., tuple[dict[str, float], dict[str, Any]]]


def test_a_smoothed_high_band_has_its_energy_and_little_variance() -> None:
    target = torch.randn(2, 1, 200, 16, generator=torch.Generator().manual_seed(0))
    first = torch.tensor([8, 8])
    smooth, louder = target.clone(), target.clone()
    smooth[..., 8:] *= 0.1
    louder[..., 8:] += np.log(10) / 2  # ten decibels
    low = target.clone()
    low[..., :8] = 0

    _, smoothed = high_band_errors(smooth, target, first)
    energy, lively = high_band_errors(louder, target, first)

    assert smoothed.tolist() == pytest.approx([-20, -20], abs=1e-3)
    assert energy.tolist() == pytest.approx([10, 10], abs=1e-3)
    assert lively.tolist() == pytest.approx([0, 0], abs=1e-3)
    assert torch.stack(high_band_errors(low, target, first)).abs().max() == 0


def test_the_first_band_is_the_lowest_above_the_cutoff() -> None:
    settings = MelSettings(n_mels=256)

    bands = bands_below(torch.tensor([0.0, 8000.0, 24000.0]), settings)

    assert bands.tolist() == [0, 189, 256]


def test_domains_have_figures_of_their_own_and_silence_has_none(
    make_shards: Callable[..., Path], chord: Callable[..., np.ndarray], run: Run, capsys: Any
) -> None:
    root = make_shards(
        {
            "train/music": [chord(1.3, seed=n) for n in range(2)],
            "train/speech": [chord(1.3, seed=n) for n in range(2, 4)],
            "valid/music": [chord(1.3, seed=4), np.zeros((1, 62400), np.float32)],
            "valid/speech": [0.1 * chord(1.3, seed=5) + 0.02 * chord(1.3, seed=6)],
        },
        per_shard=4,
    )
    crops = ("data.crop_seconds=0.64", "data.valid_crop_seconds=0.64")

    metrics, objects = run("vocoder", 2, f"data.root={root}", *crops, "valid_every_n_steps=2")

    for figure in ("lsd", "loss_mel", "energy_hf", "variance_hf"):
        each = [metrics[f"valid/{figure}_{domain}"] for domain in ("music", "speech")]
        # One clip of each sounds; the silent one, whose loss is 0, is in no mean.
        assert metrics[f"valid/{figure}"] == pytest.approx(sum(each) / 2, rel=1e-5)
    assert min(metrics["valid/loss_mel_music"], metrics["valid/loss_mel_speech"]) > 0
    with (objects["folder"] / "metrics.csv").open(newline="") as file:
        assert any(row["valid/lsd_speech"] for row in csv.DictReader(file))
    said = capsys.readouterr().out
    assert said.count("silent validation clips are left out of the means: ") == 1


def test_a_few_clips_are_listened_to(run: Run) -> None:
    pytest.importorskip("visqol")
    crop = ("data.crop_seconds=0.32", "data.valid_crop_seconds=1.28", "panels.clips=0")
    listened = ("callbacks=listened", "callbacks.visqol.clips=1")

    metrics, objects = run("vocoder", 2, *crop, *listened, "valid_every_n_steps=2")

    vocoder, batch = objects["stage"].vocoder, next(iter(objects["data"].val_dataloader()))
    wave = batch["waveform"][:1]
    with torch.no_grad():
        made = vocoder(objects["stage"].log_mel(wave))
    score = Visqol()
    score.update(made, wave)
    assert metrics["valid/visqol"] == pytest.approx(float(score.compute()["visqol"]), abs=1e-5)
    with (objects["folder"] / "metrics.csv").open(newline="") as file:
        assert [bool(row["valid/visqol"]) for row in csv.DictReader(file)] == [True]


def test_the_best_begins_anew_when_the_discriminator_is_heard_and_the_last_is_kept(
    run: Run,
) -> None:
    steps = ("valid_every_n_steps=2", "stage.module.adversarial_start=4", "ema_decay=0.5")
    _, objects = run("vae", 8, *steps, "optimiser.lr=0.0")
    export = next(c for c in objects["trainer"].callbacks if isinstance(c, Export))

    best = Model.load(objects["folder"] / "model").provenance["vae"]
    last = Model.load(objects["folder"] / "model-last").provenance["vae"]

    # Weights that stand still are never better: 2 was best until the discriminator was heard, at 4.
    assert (best["step"], last["step"]) == (6, 8)
    assert export.best_step == 6
    assert {"valid/lsd", "valid/energy_hf", "valid/variance_hf"} <= set(best)
