"""Does each stage learn, count its steps as the user means them, and keep what it should?"""

import csv
from collections.abc import Callable
from itertools import islice
from pathlib import Path
from typing import Any

import pytest
import torch

from audiosr.entry import compose_config
from audiosr.errors import AudioSRError, UsageError
from audiosr.model import Model, shipped_model
from audiosr.training.callbacks import Export
from audiosr.training.ema import EMA
from audiosr.training.frozen import load_frozen, place_frozen

Run = Callable[..., tuple[dict[str, float], dict[str, Any]]]


def _rows(folder: Path) -> list[dict[str, str]]:
    with (folder / "metrics.csv").open(newline="") as file:
        return list(csv.DictReader(file))


@pytest.mark.parametrize("stage", ["vae", "vocoder"])
def test_two_optimisers_count_as_one_step(stage: str, run: Run) -> None:
    _, objects = run(stage, 4, "trainer.log_every_n_steps=1")
    trainer, folder = objects["trainer"], objects["folder"]

    assert trainer.global_step == 4
    assert trainer.fit_loop.epoch_loop.total_batch_idx + 1 == 4
    assert sorted(p.name for p in (folder / "checkpoints").glob("step=*")) == [
        "step=2.ckpt",
        "step=4.ckpt",
    ]
    rows = [row for row in _rows(folder) if row["train/loss"]]
    assert [int(row["step"]) for row in rows] == [0, 1, 2, 3]
    assert [bool(row["train/loss_disc"]) for row in rows] == [False, True, True, True]
    # The schedule moves once per batch as well: at step 3 of 4 it has three quarters behind it.
    assert float(rows[3]["train/lr"]) < 0.5 * float(rows[0]["train/lr"])


@pytest.mark.parametrize("stage", ["vae", "vocoder"])
def test_the_discriminator_learns_and_is_in_the_checkpoint(stage: str, run: Run) -> None:
    _, objects = run(stage, 2, "stage.module.adversarial_start=0")

    kept = torch.load(objects["folder"] / "checkpoints/step=2.ckpt", weights_only=False)

    states = kept["optimizer_states"]
    assert [len(state["state"]) > 0 for state in states] == [True, True]
    assert any(name.startswith("discriminator.") for name in kept["state_dict"])
    # Once for what is real and once for what was made, by each player that needs it.
    module = objects["stage"]
    asked: list[int] = []
    module.discriminator.register_forward_hook(lambda *_: asked.append(1))
    module.record = lambda *args, **values: None
    module.training_step(next(iter(objects["data"].train_dataloader())), 0)
    assert len(asked) == {"vae": 3, "vocoder": 4}[stage]


@pytest.mark.parametrize("stage", ["vae", "vocoder"])
def test_gradients_are_clipped_for_both_networks(stage: str, run: Run) -> None:
    clip = 1e-3

    _, objects = run(stage, 2, f"optimiser.clip_norm={clip}", "stage.module.adversarial_start=0")

    module = objects["stage"]
    for network in (getattr(module, objects["cfg"].stage.network), module.discriminator):
        gradients = [p.grad for p in network.parameters() if p.grad is not None]
        norm = torch.linalg.vector_norm(torch.stack([g.norm() for g in gradients]))
        assert 0 < norm <= clip * 1.01


@pytest.mark.parametrize("stage", ["vae", "vocoder"])
def test_bf16_keeps_the_losses_in_float32(stage: str, run: Run) -> None:
    metrics, objects = run(stage, 2, "trainer.precision=bf16-mixed", "trainer.log_every_n_steps=1")
    parameters = getattr(objects["stage"], objects["cfg"].stage.network).parameters()

    assert all(p.dtype == torch.float32 for p in parameters)
    values = [v for name, v in metrics.items() if "loss" in name]
    # A bf16 number has 8 significant bits; a float32 loss that fits into them is a coincidence.
    assert any(torch.tensor(v).bfloat16().item() != v for v in values)


def test_the_diffusion_stage_trains_on_a_frozen_autoencoder_that_no_checkpoint_holds(
    run: Run,
) -> None:
    run("vae", 2)
    metrics, objects = run("ldm", 4)
    folder, stage = objects["folder"], objects["stage"]

    kept = torch.load(folder / "checkpoints/step=4.ckpt", weights_only=False)

    assert {name.split(".")[0] for name in kept["state_dict"]} == {
        *("denoiser", "envelope", "latent_scale"),
    }
    assert all(not p.requires_grad for p in stage.frozen.autoencoder.parameters())
    assert metrics["valid/lsd_hf"] > 0
    assert float(kept["state_dict"]["latent_scale"]) > 0
    first = _rows(folder)[0]
    assert float(first["valid/lsd_autoencoder"]) > 0
    heard = {path.stem.rpartition("_")[2] for path in folder.glob("panels/step=4/*.flac")}
    assert {"low", "reference"} <= heard


def test_the_validation_loss_of_the_denoiser_changes_with_its_weights_alone(run: Run) -> None:
    def losses(lr: float) -> list[float]:
        _, objects = run("ldm", 4, "valid_every_n_steps=2", f"optimiser.lr={lr}")
        return [float(r["valid/loss"]) for r in _rows(objects["folder"]) if r["valid/loss"]]

    run("vae", 2)
    still, moved = losses(0.0), losses(1e-2)

    assert still[0] == still[1]
    assert moved[0] != moved[1]


def test_the_latent_scale_makes_what_is_left_to_generate_of_unit_spread(run: Run) -> None:
    run("vae", 2)
    _, objects = run("ldm", 2, "stage.module.scale_clips=16")
    stage, batches = objects["stage"], objects["data"].train_dataloader()
    whole, left = [], []
    # Beyond the batches that the fit has seen.
    for step, batch in enumerate(islice(batches, 8, 16)):
        latent, low = stage.latents(batch, stage.draws(len(batch["waveform"]), step))[:2]
        above = stage.frozen.share_below(batch["cutoff_hz"]) < 1  # what is heard of the result
        above = above[:, None, None].expand_as(latent)
        whole.append(latent[above])
        left.append((latent - stage.denoiser.prior(stage.told(low, batch)))[above])

    assert float(torch.cat(left).std()) == pytest.approx(1.0, abs=0.5)
    assert float(torch.cat(whole).std()) > 1.5 * float(torch.cat(left).std())


def test_diffusion_refuses_an_autoencoder_that_was_never_trained(run: Run, tmp_path: Path) -> None:
    run("vae", 2)
    trained = next((tmp_path / "outputs/vae").glob("*/model"))
    model = Model.load(trained)
    for parameter in model.parts["autoencoder"].parameters():
        torch.nn.init.normal_(parameter, std=0.02)
    model.save(tmp_path / "untrained")

    with pytest.raises(AudioSRError, match="never trained"):
        run("ldm", 2, f"stage.autoencoder={tmp_path / 'untrained'}")


def test_a_network_that_is_no_autoencoder_is_refused_before_it_trains(run: Run) -> None:
    with pytest.raises(UsageError, match="Vocos is no autoencoder: it needs encode"):
        run("vae", 2, "stage.module.autoencoder=${size.vocoder}")


def test_diffusion_without_an_autoencoder_names_the_command_to_run_first(tmp_path: Path) -> None:
    untrained = ["stage=ldm", "size=base", f"paths.outputs={tmp_path}"]

    with pytest.raises(UsageError, match=r"python train\.py stage=vae size=base"):
        place_frozen(compose_config("train", untrained))


@pytest.mark.parametrize(
    ("vocoder", "used"), [("newest", shipped_model("compact")), ("null", None)]
)
def test_diffusion_before_any_training_stands_on_the_model_that_the_package_carries(
    vocoder: str, used: Path | None, tmp_path: Path
) -> None:
    untrained = ["stage=ldm", f"stage.vocoder={vocoder}", f"paths.outputs={tmp_path}"]
    cfg = compose_config("train", untrained)

    place_frozen(cfg)

    assert cfg.stage.autoencoder == str(shipped_model("compact"))
    assert cfg.stage.vocoder == (used and str(used))
    assert load_frozen(cfg).parts.keys() >= {"autoencoder"}


def test_condition_is_dropped_per_draw(run: Run) -> None:
    run("vae", 2)
    _, objects = run("ldm", 2, "stage.module.condition_dropout=0.5", "data.batch_size=16")
    stage = objects["stage"]
    seen: list[torch.Tensor] = []
    stage.denoiser.register_forward_pre_hook(lambda _, inputs: seen.append(inputs[2]))
    stage.record = lambda *args, **values: None
    batch = next(iter(objects["data"].train_dataloader()))

    stage.training_step(batch, 0)

    null = stage.frozen.null_condition(seen[0])
    dropped = (seen[0] == null).flatten(1).all(1)
    assert len(dropped) == 16 * stage.draws_per_clip
    assert 0 < int(dropped.sum()) < len(dropped)


def test_each_encoded_pair_is_denoised_at_several_times_under_several_noises(run: Run) -> None:
    run("vae", 2)
    several = ("stage.module.draws_per_clip=4", "stage.module.condition_dropout=0")
    _, objects = run("ldm", 2, *several)
    stage, batch = objects["stage"], next(iter(objects["data"].train_dataloader()))
    stage.record = lambda *args, **values: None
    autoencoder = stage.frozen.autoencoder
    encode = autoencoder.encode
    encoded: list[int] = []
    denoised: list[tuple[torch.Tensor, ...]] = []
    autoencoder.encode = lambda mel: encoded.append(len(mel)) or encode(mel)
    stage.denoiser.register_forward_pre_hook(lambda _, inputs: denoised.append(inputs))

    stage.training_step(batch, 0)

    ((x, timesteps, condition),) = denoised
    assert encoded == [2 * 2]  # two clips and their twins, once
    assert len(set(timesteps.tolist())) == len(x) == 2 * 4
    latent, _ = stage.latents(batch, stage.draws(2))[:2]
    abar = stage.frozen.alphas_cumprod[timesteps][:, None, None, None]
    noises = (x - abar.sqrt() * latent.repeat_interleave(4, 0)) / (1 - abar).sqrt()
    alike = torch.corrcoef(noises.flatten(1)) - torch.eye(8)
    assert alike.abs().max() < 0.1
    of_clips = condition.unflatten(0, (2, 4))
    assert torch.equal(of_clips, of_clips[:, :1].expand_as(of_clips))
    assert not torch.equal(of_clips[0], of_clips[1])


def test_bands_that_the_recording_keeps_weigh_less_in_the_loss(run: Run) -> None:
    run("vae", 2)
    _, objects = run("ldm", 2, "stage.module.low_weight=0")
    stage, batch = objects["stage"], next(iter(objects["data"].train_dataloader()))
    batch["cutoff_hz"][:] = 8000.0
    below = int((stage.frozen.share_below(batch["cutoff_hz"])[0] == 1).sum())
    draws = stage.draws(len(batch["waveform"]), 0)
    latent, condition = stage.latents(batch, draws)[:2]
    v = stage.denoiser.forward
    # What is added is seen in the loss of the bands above the cutoff alone, as a mean over them.
    added = torch.zeros(32)

    def off(*inputs: torch.Tensor) -> torch.Tensor:
        return v(*inputs) + added

    stage.denoiser.forward = off
    with torch.no_grad():
        before = stage.loss(latent, condition, batch, draws)
        added[:below] = 1e3
        low = stage.loss(latent, condition, batch, draws)
        added[below:] = 1e3
        high = stage.loss(latent, condition, batch, draws)

    assert 0 < below < 32
    assert torch.equal(before, low)
    torch.testing.assert_close(high, torch.full_like(high, 1e6), rtol=0.02, atol=0)


def test_validation_and_export_see_the_average_and_training_goes_on_without_it(run: Run) -> None:
    run("vae", 2)
    _, objects = run("ldm", 4, "ema_decay=0.5")
    trainer, stage = objects["trainer"], objects["stage"]
    average = next(c for c in trainer.callbacks if isinstance(c, EMA))

    exported = Model.load(objects["folder"] / "model").parts["denoiser"].state_dict()

    assert average.updates == 4
    name = "network.out.weight"
    assert torch.equal(exported[name], average.average[f"denoiser.{name}"])
    assert not torch.equal(exported[name], stage.denoiser.state_dict()[name])


def test_the_exported_model_is_the_best_validated_one(run: Run) -> None:
    _, objects = run("vae", 4, "valid_every_n_steps=2")
    export = next(c for c in objects["trainer"].callbacks if isinstance(c, Export))

    provenance = Model.load(objects["folder"] / "model").provenance["vae"]

    validated = [float(row["valid/lsd"]) for row in _rows(objects["folder"]) if row["valid/lsd"]]
    assert len(validated) == 2
    assert export.best == pytest.approx(min(validated))
    assert provenance["valid/lsd"] == pytest.approx(min(validated))


def test_panels_show_the_same_clips_throughout(run: Run) -> None:
    _, objects = run("vocoder", 4, "valid_every_n_steps=2", "panels.clips=1")

    panels = [
        sorted(p.name for p in (objects["folder"] / f"panels/step={n}").iterdir()) for n in (2, 4)
    ]

    assert panels[0] == panels[1]
    assert "mel.png" in panels[0]
    assert sum(name.endswith(".flac") for name in panels[0]) == 2


@pytest.mark.parametrize("stage", ["vae", "vocoder"])
def test_both_players_and_the_logits_are_logged(stage: str, run: Run) -> None:
    metrics, _ = run(stage, 2, "trainer.log_every_n_steps=1")

    assert metrics["train/grad_norm"] > 0
    assert metrics["train/grad_norm_disc"] > 0
    # What least squares and the hinge pull apart.
    assert metrics["train/real_disc"] != metrics["train/fake_disc"]
    assert stage != "vae" or metrics["train/latent_std"] > 0


def test_the_spread_of_the_scaled_latents_is_logged(run: Run) -> None:
    run("vae", 2)
    metrics, _ = run("ldm", 1, "trainer.log_every_n_steps=1")

    assert metrics["train/latent_std"] > 0
