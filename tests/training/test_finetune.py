"""Does a run that starts from trained weights start there, learn, and say what it came from?"""

import hashlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from omegaconf import OmegaConf
from torch import nn

from audiosr.degrade.paper import PaperDegradation
from audiosr.degrade.twins import degrade_batch
from audiosr.entry import compose_config
from audiosr.errors import AudioSRError, UsageError
from audiosr.model import FillSettings, LatentSettings, Model
from audiosr.networks.build import build_network
from audiosr.training import finetune
from audiosr.training.adversarial import AdversarialStage
from audiosr.training.draws import draws_of_names
from audiosr.training.resolve import resolved
from audiosr.training.run import build_stage
from tests.shards.conftest import make_shards  # noqa: F401  a fixture
from tests.training.conftest import MICRO

Run = Callable[..., tuple[dict[str, float], dict[str, Any]]]
Arguments = Callable[..., list[str]]
STAGES = ("vae", "ldm", "vocoder")
PARTS = {"vae": "autoencoder", "ldm": "denoiser", "vocoder": "vocoder"}


@pytest.fixture
def folder(arguments: Arguments, chord: Callable[..., np.ndarray], tmp_path: Path) -> Path:
    """A folder of all three networks, of the sizes that the tests train; the first is fitted."""
    cfgs = {stage: compose_config("train", arguments(stage, 1)) for stage in STAGES}
    specs: dict[str, Any] = {
        part: OmegaConf.to_container(cfgs[stage].size[part], resolve=True)
        for stage, part in PARTS.items()
    }
    networks = {part: build_network(spec) for part, spec in specs.items()}
    model = Model(
        latent=LatentSettings(0.625, -7.5, ["cutoff"]),
        fill=FillSettings(steps=3, bandwidth_hz=20000.0, expansion=1.25),
        architectures=specs,
        provenance={stage: {"run": "first", "size": "tiny"} for stage in STAGES},
        **networks,
    )
    waves = torch.from_numpy(chord(2.56, seed=9, channels=2))[:, None]
    networks["autoencoder"].fit(model.log_mel(waves))
    for parameter in networks["denoiser"].network.out.parameters():
        nn.init.normal_(parameter, std=0.1)
    return model.save(tmp_path / "first/model")


def weights(model: Any, part: str) -> dict[str, torch.Tensor]:
    return {name: value.clone() for name, value in getattr(model, part).state_dict().items()}


def equal(one: dict[str, torch.Tensor], other: dict[str, torch.Tensor]) -> bool:
    return all(torch.equal(one[name], other[name]) for name in one)


@pytest.mark.parametrize("stage", STAGES)
def test_a_run_starts_from_the_weights_in_the_folder(stage: str, folder: Path, run: Run) -> None:
    part = PARTS[stage]

    # A step of size zero leaves the network where it started, after all that precedes training.
    _, objects = run(stage, 1, f"init={folder}", "optimiser.lr=0.0", "panels.clips=0", "seed=5")

    assert equal(weights(Model.load(folder), part), weights(objects["stage"], part))
    origin = Model.load(objects["folder"] / "model").provenance[stage]["init"]
    assert origin["model"] == str(folder)
    assert origin["provenance"] == Model.load(folder).provenance[stage]
    file = (folder / f"{part}.safetensors").read_bytes()
    assert origin["sha256"] == hashlib.sha256(file).hexdigest()


def test_how_a_model_fills_and_what_it_is_told_outlive_a_resume(
    folder: Path, run: Run, tmp_path: Path
) -> None:
    tuned = f"run_dir={tmp_path / 'tuned'}"
    run("ldm", 1, f"init={folder}", tuned, "panels.clips=0")

    _, resumed = run("ldm", 2, f"resume={tmp_path / 'tuned'}", "panels.clips=0")

    first, last = Model.load(folder), Model.load(resumed["folder"] / "model")
    assert last.fill == first.fill
    assert last.latent == first.latent


def test_what_a_run_starts_from_is_validated_and_shown_but_not_exported(
    folder: Path, run: Run
) -> None:
    _, objects = run("vocoder", 1, f"init={folder}", "panels.clips=1", "optimiser.lr=0.0")
    _, fresh = run("vocoder", 1, "panels.clips=1", "run_suffix=-fresh")

    start, exported = objects["folder"] / "panels/step=0/mel.png", objects["folder"] / "model"
    (row,) = (objects["folder"] / "metrics.csv").read_text().splitlines()[1:]
    columns = (objects["folder"] / "metrics.csv").read_text().splitlines()[0].split(",")
    assert float(dict(zip(columns, row.split(","), strict=True))["valid/lsd"]) > 0
    assert start.is_file()
    assert Model.load(exported).provenance["vocoder"]["step"] == 1
    assert not (fresh["folder"] / "panels").exists()


def test_a_denoiser_brings_its_scale_null_condition_and_autoencoder(folder: Path, run: Run) -> None:
    model = Model.load(folder)
    run("vae", 1, "seed=9")  # a newer autoencoder, which is not the one that was asked for

    _, objects = run("ldm", 2, f"init={folder}")

    exported = Model.load(objects["folder"] / "model")
    assert exported.latent == model.latent
    assert exported.fill == model.fill
    assert equal(weights(model, "autoencoder"), weights(exported, "autoencoder"))
    condition = objects["stage"].frozen.null_condition(torch.zeros(1, 17))[:, :16]
    assert (condition == -7.5 * 0.625).all()


def test_an_autoencoder_that_is_named_goes_before_the_one_in_the_folder(
    folder: Path, run: Run, tmp_path: Path
) -> None:
    _, other = run("vae", 1, "seed=9", f"run_dir={tmp_path / 'other'}")

    _, objects = run("ldm", 1, f"init={folder}", f"stage.autoencoder={tmp_path / 'other'}")

    ours = weights(objects["stage"].frozen, "autoencoder")
    assert equal(ours, weights(Model.load(other["folder"] / "model"), "autoencoder"))


def test_an_untrained_autoencoder_is_remarked_on_or_where_it_was_named_refused(
    folder: Path, run: Run, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    model = Model.load(folder)
    for parameter in model.parts["autoencoder"].parameters():
        nn.init.normal_(parameter, std=0.02)
    untrained = model.save(tmp_path / "untrained")

    run("ldm", 1, f"init={untrained}")
    with pytest.raises(AudioSRError, match="never trained"):
        run("ldm", 1, f"init={folder}", f"stage.autoencoder={untrained}", "run_suffix=-refused")

    assert "warning: the autoencoder reconstructs" in capsys.readouterr().out


@torch.no_grad()
def loss_on(clip: torch.Tensor, stage: Any) -> float:
    """What a stage minimises first of all, on `clip (B, 1, T)` with the same draws every time."""
    if stage.part == "denoiser":
        draws = draws_of_names(["music"] * 8, [str(n) for n in range(8)], clip.device)
        batch = {"waveform": clip.expand(8, 1, -1), "bandwidth_hz": torch.full((8,), 24e3)}
        batch |= degrade_batch(batch["waveform"], PaperDegradation(), [(3, n) for n in range(8)])
        latent, condition = stage.latents(batch, draws)[:2]
        return float(stage.loss(latent, condition, batch, draws).mean())
    mel = stage.log_mel(clip)
    if stage.part == "vocoder":
        return float((stage.log_mel(stage.vocoder(mel)) - mel).abs().mean())
    rebuilt = stage.autoencoder.decode(stage.autoencoder.encode(mel).mode())
    return float((rebuilt - mel).abs().mean())


@pytest.mark.parametrize("stage", STAGES)
def test_the_loss_on_a_repeated_batch_goes_down(
    stage: str,
    folder: Path,
    run: Run,
    make_shards: Callable[..., Path],  # noqa: F811
    chord: Callable[..., np.ndarray],
) -> None:
    seconds = compose_config("train", [f"stage={stage}", *MICRO[stage]]).data.crop_seconds
    clip = chord(seconds, seed=1)
    shards = make_shards({"train/speech": [clip]})
    given = [f"init={folder}", f"data.root={shards}", "panels.clips=0"]
    steps = (
        60 if stage == "vae" else 12
    )  # a closed-form start leaves the autoencoder little to gain

    before, after = (
        run(stage, steps, *given, f"optimiser.lr={lr}", f"run_suffix=-{lr}")[1]["stage"]
        for lr in ("0.0", "0.0005")
    )

    wave = torch.from_numpy(clip)[None]
    assert loss_on(wave, after) < loss_on(wave, before)


@pytest.mark.parametrize(
    ("changed", "message"),
    [
        (["size.vocoder.channels=16"], r"Vocos\(channels=32\).*Vocos\(channels=16\).*size.vocoder"),
        (["size=base"], r"is Vocos, that of size=base is HiFiGAN: choose size=tiny"),
    ],
)
def test_another_architecture_is_refused_with_both_names(
    changed: list[str], message: str, folder: Path, arguments: Arguments
) -> None:
    given = arguments("vocoder", 1, f"init={folder}")
    if "size=base" in changed:
        given = [a for a in given if not a.startswith("size.")]

    with pytest.raises(UsageError, match=message) as error:
        resolved(compose_config("train", [*given, *changed]))

    assert "\n" not in str(error.value)


def test_what_does_not_change_the_meaning_of_weights_may_differ(tmp_path: Path) -> None:
    spec = {"_target_": "audiosr.networks.autoencoder.Autoencoder", "multipliers": (1, 2, 4, 8)}
    other = {"_target_": spec["_target_"], "dropout": 0.0, "channels": 128}

    assert finetune._complete(spec) == finetune._complete(other)
    assert finetune._complete(spec) != finetune._complete(other | {"blocks": 1})


def test_a_folder_without_the_part_is_refused(folder: Path, arguments: Arguments) -> None:
    Model.load(folder, parts=["vocoder"]).save(folder)

    with pytest.raises(UsageError, match="holds no autoencoder"):
        resolved(compose_config("train", arguments("vae", 1, f"init={folder}")))


@pytest.mark.parametrize("stage", ["vae", "vocoder"])
def test_a_fresh_discriminator_learns_before_it_is_heard(
    stage: str, folder: Path, run: Run, capsys: pytest.CaptureFixture[str]
) -> None:
    part = PARTS[stage]
    common = [f"init={folder}", "panels.clips=0", "valid_every_n_steps=9"]
    capsys.readouterr()

    def after(warmup: int, *more: str) -> tuple[dict[str, float], dict[str, torch.Tensor]]:
        given = [*common, f"stage.module.discriminator_warmup={warmup}", *more]
        metrics, objects = run(stage, 2, *given, "trainer.log_every_n_steps=1")
        return metrics, weights(objects["stage"], part)

    warm, while_warming = after(2, f"run_suffix={stage}-warming")
    said = capsys.readouterr().out
    heard, while_heard = after(1, f"run_suffix={stage}-heard")
    weight = (
        "stage.module.adversarial_weight=0"
        if stage == "vae"
        else "stage.module.weights.adversarial=0"
    )
    _, without = after(1, f"run_suffix={stage}-without", weight)

    assert "the discriminator starts fresh" in said
    assert f"reaches the {part} from step 2" in said
    assert "train/loss_disc" in warm
    assert "train/loss_adv" not in warm
    assert "train/loss_adv" in heard
    assert equal(while_warming, without)
    assert not equal(while_warming, while_heard)


@pytest.mark.parametrize("stage", STAGES)
def test_a_resumed_run_goes_on_without_init_and_knows_its_origin(
    stage: str, folder: Path, run: Run, tmp_path: Path
) -> None:
    keep = ["optimiser.decay=constant", "valid_every_n_steps=9", "panels.clips=0"]
    _, whole = run(stage, 4, f"init={folder}", *keep, f"run_dir={tmp_path / 'whole'}")
    half = tmp_path / "half"
    run(stage, 2, f"init={folder}", *keep, f"run_dir={half}")
    if stage == "ldm":  # its frozen autoencoder is in no checkpoint, its denoiser is
        (folder / "denoiser.safetensors").unlink()
    else:
        folder.rename(tmp_path / "gone")

    _, resumed = run(stage, 4, f"resume={half}", "trainer.max_steps=4")

    assert equal(whole["stage"].state_dict(), resumed["stage"].state_dict())
    origin = Model.load(resumed["folder"] / "model").provenance[stage]["init"]
    assert origin["model"] == str(folder)


@pytest.mark.parametrize("stage", STAGES)
def test_the_recipe_for_speech_fits_every_stage(stage: str) -> None:
    cfg = compose_config("train", [f"stage={stage}", "experiment=speech"])
    base = compose_config("train", [f"stage={stage}", "size=base"])

    assert cfg.size == base.size
    assert cfg.optimiser.lr < base.optimiser.lr
    assert cfg.optimiser.betas == base.optimiser.betas
    assert cfg.max_steps == cfg.trainer.max_steps < base.max_steps
    assert cfg.data.domain_weights == {"speech": 1}


def test_a_run_on_speech_alone(folder: Path, run: Run, make_shards: Callable[..., Path]) -> None:  # noqa: F811
    rng = np.random.default_rng(0)
    domains = ("train/speech", "train/music", "valid/speech")
    waves = {d: [0.1 * rng.standard_normal((1, 30720)).astype(np.float32)] for d in domains}
    given = [f"init={folder}", "experiment=speech", "size=tiny", f"data.root={make_shards(waves)}"]

    _, objects = run("ldm", 1, *given)

    assert objects["stage"].optimiser.lr == 2e-5
    assert objects["folder"].name.endswith("-speech")
    assert next(iter(objects["data"].train_dataloader()))["domain"] == ["speech"] * 2


def test_from_random_weights_the_discriminator_waits_for_the_generator() -> None:
    cfg = compose_config("train", ["stage=vocoder", "stage.module.adversarial_start=7"])

    stage = build_stage(cfg)

    assert isinstance(stage, AdversarialStage)
    assert (stage.learns_from, stage.heard_from) == (7, 7)
