"""Does every switch of research compose and take a step, with a gradient that arrives?"""

import itertools
from pathlib import Path
from typing import Any

import pytest
import torch
from omegaconf import OmegaConf

from audiosr.entry import compose_config
from audiosr.errors import UsageError
from audiosr.files import config_folder
from audiosr.model import DiffusionSettings
from audiosr.training.draws import draws_of_names
from audiosr.training.finetune import place_start
from audiosr.training.resolve import check
from audiosr.training.run import build_stage
from audiosr.training.stage import BatchPart
from tests.tiny import save_tiny_model
from tests.training.conftest import MICRO

CLIPS = ["a", "b"]


@pytest.fixture(scope="module")
def frozen(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A model folder to stand on."""
    return save_tiny_model(tmp_path_factory.mktemp("model") / "frozen")


def choices(group: str) -> list[str]:
    return sorted(path.stem for path in (config_folder() / group).glob("*.yaml"))


def batch() -> dict[str, Any]:
    waves = 0.1 * torch.randn(2, 1, 30720, generator=torch.Generator().manual_seed(2))
    return {
        "waveform": waves,
        "degraded": 0.5 * waves,
        "cutoff_hz": torch.tensor([4000.0, 8000.0]),
        "bandwidth_hz": torch.tensor([24000.0, 20000.0]),
        "key": CLIPS,
        "domain": CLIPS,
    }


def first_part() -> BatchPart:
    return BatchPart(batch(), draws_of_names(CLIPS, CLIPS, torch.device("cpu")), 1.0)


def diffusion_stage(frozen: Path, *overrides: str, micro: bool = True) -> Any:
    given = [f"stage.autoencoder={frozen}", f"stage.vocoder={frozen}", "stage.module.valid_steps=2"]
    cfg = compose_config("train", ["stage=ldm", *(MICRO["ldm"] * micro), *given, *overrides])
    check(cfg)
    stage: Any = build_stage(cfg)
    stage.latent_scale.fill_(0.5)
    stage.frozen.latent = stage.export().latent
    return stage


TOGETHER = [
    ["objective=v", "schedule=shifted", "weighting=min_snr", "start=noise"],
    ["objective=epsilon", "schedule=linear", "weighting=even"],
    ["objective=x0", "schedule=sigmoid", "start=condition"],
    ["objective=rectified_flow", "schedule=rectified"],
    ["schedule=linear_zero"],
    ["schedule=cosine", "start=condition", "weighting=min_snr"],
]


def test_every_choice_is_tried() -> None:
    tried = set(itertools.chain.from_iterable(TOGETHER))

    for group in ("objective", "schedule", "weighting", "start"):
        assert {f"{group}={choice}" for choice in choices(group)} <= tried


@pytest.mark.parametrize("switch", TOGETHER, ids=lambda switch: "+".join(switch))
def test_every_switch_takes_a_step_and_is_exported(frozen: Path, switch: list[str]) -> None:
    stage = diffusion_stage(frozen, *switch)

    loss = stage.losses(first_part())["loss"]
    loss.backward()

    assert loss.isfinite()
    gradients = [p.grad for p in stage.denoiser.parameters() if p.grad is not None]
    assert any(float(g.abs().max()) > 0 for g in gradients)
    _, restored, _, _ = stage.restore(batch(), first_part().draws)
    assert restored.isfinite().all()
    exported = stage.export()
    assert exported.diffusion == stage.frozen.diffusion
    cfg = compose_config("train", ["stage=ldm", *switch])
    assert len(switch) < 2 or exported.diffusion != DiffusionSettings()
    for name in ("schedule", "objective", "start"):
        assert getattr(exported.diffusion, name) == dict(cfg[name])


@pytest.mark.parametrize("name", choices("denoiser"))
def test_every_denoiser_takes_a_step(frozen: Path, name: str) -> None:
    narrow = {
        "dit": ["denoiser.network.blocks=1", "denoiser.network.channels=32"],
        "unet": ["denoiser.network.multipliers=[1,1]", "denoiser.network.attention_rates=[2]"],
        "frames_alone": ["denoiser.blocks=1", "denoiser.channels=32"],
    }[name]
    added = [f"+{o}" if name == "unet" else o for o in narrow]
    stage = diffusion_stage(frozen, f"denoiser={name}", *added, micro=False)

    loss = stage.losses(first_part())["loss"]
    loss.backward()

    assert loss.isfinite()
    assert any(p.grad is not None and p.grad.any() for p in stage.denoiser.parameters())
    named = stage.export().architectures["denoiser"]
    assert named == OmegaConf.to_container(
        compose_config("train", ["stage=ldm", f"denoiser={name}", *added]).denoiser
    )


@pytest.mark.parametrize("name", choices("discriminators"))
def test_every_set_of_discriminators_takes_a_step(name: str) -> None:
    small = ["size.vocoder.channels=32", "size.vocoder.blocks=1"]
    stage: Any = build_stage(
        compose_config("train", ["stage=vocoder", f"discriminators={name}", *small])
    )
    stage.float()
    part = first_part()
    part.batch["waveform"] = part.batch["waveform"][..., :7680]

    made = stage.generate(part)
    stage.discriminator_losses(made)["loss"].backward()

    assert any(p.grad is not None and p.grad.any() for p in stage.discriminator.parameters())
    assert stage.generator_losses(made, None, heard=True)["loss"].isfinite()


NARROW_UNET = ["+size.denoiser.channels=32", "+size.denoiser.multipliers=[1,1]"]
NARROW = {
    "audiosr": [*NARROW_UNET, "+size.denoiser.blocks=1", "+size.denoiser.attention_rates=[2]"],
    "speech": [*NARROW_UNET, "+size.denoiser.blocks=1", "+size.denoiser.attention_rates=[2]"],
    "compact": ["+size.denoiser.network.blocks=1", *MICRO["ldm"][2:]],
    "dit": ["denoiser.network.blocks=1", "denoiser.network.channels=32"],
    "dac_judges": ["size.vocoder.channels=32", "size.vocoder.blocks=1"],
    "flashsr": MICRO["distill"],
    "post_training": MICRO["distill"],
}
STAGE = {"dac_judges": "vocoder", "flashsr": "distill", "post_training": "distill"}


@pytest.mark.parametrize("name", choices("experiment"))
def test_every_experiment_takes_a_step(frozen: Path, tmp_path: Path, name: str) -> None:
    stage_name = STAGE.get(name, "ldm")
    more = NARROW.get(name, MICRO["ldm"])
    if stage_name == "distill":
        frozen = diffusion_stage(frozen).export().save(tmp_path / "teacher")
        more = [*more, f"stage.teacher={frozen}", "stage.module.condition_on=[cutoff]"]
    if stage_name != "vocoder":
        more = [*more, f"stage.autoencoder={frozen}", f"stage.vocoder={frozen}"]
    cfg = compose_config("train", [f"stage={stage_name}", f"experiment={name}", *more])
    check(cfg)
    stage: Any = build_stage(cfg)
    if stage_name == "ldm":
        stage.frozen.latent = stage.export().latent
    part = first_part()

    if stage_name == "ldm":
        losses = stage.losses(part)
    else:
        losses = stage.generator_losses(stage.generate(part), None, heard=True)
    losses["loss"].backward()

    learnt = getattr(stage, stage.part)
    assert losses["loss"].isfinite()
    assert any(p.grad is not None and p.grad.any() for p in learnt.parameters())


def test_switches_that_contradict_each_other_are_said_before_a_run(frozen: Path) -> None:
    with pytest.raises(UsageError, match="schedule=linear"):
        diffusion_stage(frozen, "objective=epsilon")


def test_a_denoiser_goes_on_with_the_process_it_was_trained_in(
    frozen: Path, tmp_path: Path
) -> None:
    stage = diffusion_stage(frozen, "objective=x0", "schedule=sigmoid")
    folder = stage.export().save(tmp_path / "model")

    cfg = compose_config("train", ["stage=ldm", *MICRO["ldm"]])
    place_start(cfg, folder)
    other = compose_config("train", ["stage=ldm", *MICRO["ldm"], "objective=rectified_flow"])

    assert cfg.objective._target_ == "audiosr.diffusion.objective.PredictClean"
    assert cfg.schedule._target_ == "audiosr.diffusion.schedule.sigmoid_alphas_cumprod"
    with pytest.raises(UsageError, match="trained with another objective"):
        place_start(other, folder)


def test_validation_is_told_what_a_recording_is_and_training_what_the_clip_is(
    frozen: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    told = ["stage.module.condition_on=[cutoff,bandwidth]", "stage.module.fill.bandwidth_hz=12000"]
    stage = diffusion_stage(frozen, *told, "size.denoiser.network.condition_channels=34")
    seen: list[torch.Tensor] = []
    condition = stage.frozen.condition

    def watched(latent: torch.Tensor, cutoff: torch.Tensor, bandwidth: torch.Tensor) -> Any:
        seen.append(bandwidth)
        return condition(latent, cutoff, bandwidth)

    monkeypatch.setattr(stage.frozen, "condition", watched)
    stage.losses(first_part())
    stage.restore(batch(), draws_of_names(CLIPS, CLIPS, torch.device("cpu")))

    assert [hz.tolist() for hz in seen] == [[24000.0, 20000.0], [12000.0, 12000.0]]
    assert stage.export().fill.bandwidth_hz == 12000.0
