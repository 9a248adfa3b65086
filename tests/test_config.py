"""Does every configuration in `conf/` compose, agree with itself, and build what it names?"""

import inspect
from collections.abc import Iterator
from dataclasses import asdict
from functools import lru_cache
from pathlib import Path
from typing import Any

import pytest
import torch
import wandb
from hydra.utils import get_object, instantiate
from lightning.pytorch.loggers import WandbLogger
from omegaconf import DictConfig, ListConfig, OmegaConf

from audiosr.audio.mel import MelSettings
from audiosr.entry import compose_config
from audiosr.errors import UsageError
from audiosr.files import config_folder
from audiosr.model import LatentSettings, Model
from audiosr.training.optimiser import OptimiserSettings
from audiosr.training.resolve import check
from audiosr.training.run import build_stage
from tests.networks import released
from tests.tiny import save_tiny_model

STAGES = ("vae", "ldm", "vocoder", "distill")
SIZES = ("tiny", "compact", "small", "base")
# Drawing the weights of size small takes seconds.
BUILT = ["tiny", pytest.param("small", marks=pytest.mark.slow)]
NETWORK = {"vae": "autoencoder", "ldm": "denoiser", "vocoder": "vocoder", "distill": "student"}
RELEASED = {
    "autoencoder": ["encoder", "decoder", "quant_conv", "post_quant_conv"],
    "denoiser": ["unet"],
    "vocoder": ["vocoder"],
}
# The stage of an experiment that is one of its own.
STAGE_OF = {"dit": "ldm", "flashsr": "distill", "post_training": "distill"}
GROUPS = ("data", "degrade", "trainer", "logger", "callbacks", "experiment", "hparams_search")
CHOICES = [
    (group, path.stem)
    for group in GROUPS
    for path in sorted((config_folder() / group).glob("*.yaml"))
]


@lru_cache
def _composed(*overrides: str) -> DictConfig:
    return compose_config("train", overrides)


def composed(stage: str, size: str = "tiny", *more: str) -> DictConfig:
    return _composed(f"stage={stage}", f"size={size}", *more).copy()


def settings_of(node: Any, path: str = "") -> Iterator[tuple[str, DictConfig]]:
    """Every mapping below `node` that names a class, with its dotted place."""
    if isinstance(node, DictConfig):
        if "_target_" in node:
            yield path, node
        for key in node:
            yield from settings_of(node[key], f"{path}.{key}".lstrip("."))
    elif isinstance(node, ListConfig):
        for i, item in enumerate(node):
            yield from settings_of(item, f"{path}.{i}")


def accepted(target: str) -> set[str]:
    """The arguments of a class, also those that it hands on to its bases or to `wandb.init`."""
    found = get_object(target)
    names = set(inspect.signature(wandb.init).parameters) if found is WandbLogger else set()
    for base in found.__mro__ if isinstance(found, type) else (found,):
        if base is not object:
            names |= set(inspect.signature(base).parameters)
    return names


def unaccepted(cfg: DictConfig) -> list[str]:
    return [
        f"{path}.{key}"
        for path, node in settings_of(cfg)
        for key in node
        if key != "_target_" and key not in accepted(node["_target_"])
    ]


def count(network: torch.nn.Module) -> int:
    return sum(p.numel() for p in network.parameters())


@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize("stage", STAGES)
def test_every_stage_and_size_composes_and_agrees_with_itself(stage: str, size: str) -> None:
    cfg = composed(stage, size)

    check(cfg)
    assert (cfg.stage.name, cfg.size.name) == (stage, size)
    assert cfg.stage.network == NETWORK[stage]
    OptimiserSettings(**cfg.optimiser)
    assert not unaccepted(cfg)


@pytest.mark.parametrize("choice", CHOICES, ids="=".join)
def test_every_choice_of_every_group_composes(choice: tuple[str, str]) -> None:
    group, name = choice
    more = ["data.root=shards"] if choice == ("data", "shards") else []

    # The recipe of base leaves trainer and data as the groups say.
    stage = STAGE_OF.get(name, "vae")
    cfg = composed(stage, "base", f"{group}={name}", *more)

    check(cfg)
    assert not unaccepted(cfg)


def test_there_are_choices_to_compose() -> None:
    assert {group for group, _ in CHOICES} == set(GROUPS)
    recipes = {path.stem for path in (config_folder() / "recipe").glob("*.yaml")}
    assert recipes == {f"{stage}_{size}" for stage in STAGES for size in SIZES}
    for group, names in (("stage", STAGES), ("size", SIZES)):
        assert {path.stem for path in (config_folder() / group).glob("*.yaml")} == set(names)


def test_every_file_says_what_it_is_for() -> None:
    silent = [
        str(path.relative_to(config_folder()))
        for path in config_folder().rglob("*.yaml")
        if "#" not in path.read_text().replace("# @package _global_", "")
        and path.parent.name not in ("paths", "recipe")
    ]

    assert not silent


@pytest.mark.parametrize("size", BUILT)
@pytest.mark.parametrize("stage", STAGES[:3])  # the fourth is built around a teacher
def test_every_stage_is_built(stage: str, size: str, tmp_path: Path) -> None:
    frozen = []
    if stage == "ldm":
        frozen = [
            f"stage.autoencoder={save_tiny_model(tmp_path / 'autoencoder', 'autoencoder')}",
            f"stage.vocoder={save_tiny_model(tmp_path / 'vocoder', 'vocoder')}",
        ]
    cfg = composed(stage, size, *frozen)

    module = build_stage(cfg)

    network = getattr(module, NETWORK[stage])
    assert type(network).__name__ == cfg.size[NETWORK[stage]]["_target_"].rpartition(".")[2]
    assert module.seed == cfg.seed
    assert asdict(module.features) == dict(cfg.features)
    assert module.optimiser.lr == cfg.optimiser.lr
    assert NETWORK[stage] in module.export().architectures


@pytest.mark.parametrize("part", ["autoencoder", "denoiser", "vocoder"])
def test_base_is_of_the_released_size(part: str) -> None:
    with torch.device("meta"):
        network = instantiate(composed("vae", "base").size[part], _convert_="all")

    assert count(network) == sum(released.names(group)["parameters"] for group in RELEASED[part])


@pytest.mark.parametrize("part", ["patch_discriminator", "wave_discriminator"])
def test_base_builds_its_discriminators(part: str) -> None:
    assert count(instantiate(composed("vae", "base").size[part], _convert_="all")) > 1e6


@pytest.mark.parametrize("size", BUILT)
def test_the_denoiser_fits_the_latents_of_its_size(size: str) -> None:
    cfg = composed("ldm", size)
    with torch.no_grad():
        mel = torch.randn(1, 1, 16, cfg.features.n_mels)
        latent = instantiate(cfg.size.autoencoder, _convert_="all").encode(mel).mode()
        told = LatentSettings(condition_on=cfg.stage.module.condition_on)
        hz = torch.tensor([8000.0])
        condition = Model(latent=told).condition(latent, hz, hz)
        v = instantiate(cfg.size.denoiser, _convert_="all")(latent, torch.tensor([500]), condition)

    assert v.shape == latent.shape


def test_the_features_are_those_of_the_release() -> None:
    assert MelSettings(**composed("vae").features) == MelSettings()


@pytest.mark.parametrize(
    "key", ["max_step", "stage.module.kl_wieght", "trainer.device", "size.autoencoder.wdth"]
)
def test_an_unknown_key_does_not_pass(key: str) -> None:
    with pytest.raises(UsageError, match=f"unknown key {key}") as error:
        composed("vae", "tiny", f"{key}=1")

    assert "\n" not in str(error.value)


@pytest.mark.parametrize("place", ["stage.module", "optimiser", "features", "size.autoencoder"])
def test_a_key_that_was_forced_in_is_refused_when_the_stage_is_built(place: str) -> None:
    cfg = composed("vae")
    OmegaConf.update(cfg, f"{place}.forced", 1, force_add=True)

    with pytest.raises(Exception, match="forced"):
        build_stage(cfg)


def test_derived_values_follow_what_they_are_derived_from() -> None:
    cfg = composed(
        "vae",
        "tiny",
        "max_steps=123",
        "valid_every_n_steps=7",
        "seed=5",
        "features.rate=44100",
        "size.autoencoder.width=24",
        "size.patch_discriminator.channels=3",
        "paths.outputs=/elsewhere",
        "experiment=demo",
    )

    assert (cfg.trainer.max_steps, cfg.trainer.val_check_interval) == (123, 7)
    assert cfg.data.seed == 5
    assert cfg.degrade.rate == 44100
    assert cfg.stage.module.autoencoder.width == 24
    assert cfg.stage.module.discriminator.channels == 3
    assert cfg.run_dir.startswith("/elsewhere/vae/")
    assert cfg.run_dir.endswith("-demo")


@pytest.mark.parametrize("size", SIZES)
def test_a_stage_takes_its_networks_from_the_size(size: str) -> None:
    vae, ldm, vocoder = (composed(stage, size) for stage in STAGES[:3])

    assert vae.stage.module.autoencoder == vae.size.autoencoder
    assert vae.stage.module.discriminator == vae.size.patch_discriminator
    assert ldm.stage.module.denoiser == ldm.size.denoiser
    assert ldm.data.degrade == ldm.degrade
    assert vae.data.degrade is None
    assert vocoder.data.degrade is None
    assert vocoder.stage.module.vocoder == vocoder.size.vocoder
    assert vocoder.stage.module.discriminator == vocoder.size.wave_discriminator


def test_the_recipe_is_that_of_the_stage_and_the_size() -> None:
    for stage in STAGES:
        for size in SIZES:
            recipe = OmegaConf.load(config_folder() / "recipe" / f"{stage}_{size}.yaml")
            cfg = composed(stage, size)
            assert isinstance(recipe, DictConfig)
            assert cfg.max_steps == recipe.max_steps
            assert cfg.optimiser == recipe.optimiser


def test_what_the_user_types_wins_over_the_recipe() -> None:
    cfg = composed("ldm", "tiny", "max_steps=3", "data.batch_size=1", "ema_decay=null")

    assert (cfg.max_steps, cfg.data.batch_size, cfg.ema_decay) == (3, 1, None)
