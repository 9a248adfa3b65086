"""What does a run start from that does not start from random weights? `init=FOLDER`."""

import importlib
import inspect
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from omegaconf import DictConfig, OmegaConf

from audiosr.audio.mel import MelSettings
from audiosr.errors import UsageError
from audiosr.files import file_hash
from audiosr.model import DiffusionSettings, Model
from audiosr.training.adversarial import AdversarialStage
from audiosr.training.stage import Stage

# Arguments of a network that change how it is trained or cropped, not what its weights mean.
_FREE = ("dropout", "checkpointing", "timing")
_PROCESS = ("schedule", "objective", "start")


@dataclass(frozen=True)
class Start:
    """What a fine-tuned run starts from.

    Attributes:
        folder: the model folder.
        model: the network that the stage trains, and the latent settings.
        provenance: where the weights come from, for the model card.
    """

    folder: Path
    model: Model
    provenance: dict[str, Any]


def place_start(cfg: DictConfig, folder: Path) -> None:
    """Let `cfg` start from the weights in a model folder, with what belongs to them.

    With a denoiser come what it follows, how it fills and, where `cfg.stage` names no others, the
    autoencoder in whose latents it works and the vocoder.

    Raises:
        UsageError: the folder's network is another than the configured one, or there is none.
    """
    part = cfg.stage.network
    model = Model.load(folder, parts=[part])
    if part not in model.parts:
        raise UsageError(f"init={folder} holds no {part}, which stage {cfg.stage.name} trains")
    if model.features != MelSettings(**cfg.features):
        raise UsageError(f"init={folder} was trained on other log-mels: give features.* as there")
    _compare(cfg, folder, model)
    cfg.init = str(folder)
    for other in ("autoencoder", "vocoder"):
        if cfg.stage.get(other) == "newest" and (folder / f"{other}.safetensors").is_file():
            cfg.stage[other] = str(folder)
    if part == "denoiser":
        cfg.stage.module.null_value = model.latent.null_value
        cfg.stage.module.condition_on = list(model.latent.condition_on)
        cfg.stage.module.fill = asdict(model.fill)
        cfg.size.envelope = model.architectures.get("envelope")
        take_process(cfg, f"init={folder}", model.diffusion)
        if cfg.stage.autoencoder == "newest":
            raise UsageError(
                f"init={folder} holds no autoencoder: give the one that its denoiser was trained "
                "on as stage.autoencoder=FOLDER"
            )


def read_start(cfg: DictConfig) -> Start:
    """The weights in the model folder `cfg.init`, and where they come from."""
    folder, part = Path(cfg.init), cfg.stage.network
    model = Model.load(folder, parts=[part])
    provenance = {
        "model": str(folder),
        "sha256": file_hash(folder / f"{part}.safetensors"),
        "provenance": model.provenance.get(cfg.stage.name, model.provenance),
    }
    return Start(folder, model, provenance)


def announcement(start: Start, stage: Stage) -> str:
    """One line: what the run starts from, and what becomes of the discriminator."""
    line = f"{stage.part} from {start.folder}"
    if isinstance(stage, AdversarialStage):
        line += (
            "; the discriminator starts fresh: it learns from step 0, and its loss reaches the "
            f"{stage.part} from step {stage.heard_from}"
        )
    return line


def diffusion_settings(cfg: DictConfig) -> DiffusionSettings:
    """The forward process that `cfg` chooses; a run of an earlier version chose nothing."""
    chosen: dict[str, Any] = {
        name: OmegaConf.to_container(cfg[name], resolve=True) for name in _PROCESS if name in cfg
    }
    return DiffusionSettings(**chosen)


def take_process(cfg: DictConfig, named: str, theirs: DiffusionSettings) -> None:
    """Let `cfg` go on with the process of a denoiser, which may not be chosen otherwise.

    Raises:
        UsageError: it was; the sentence says what was `named`.
    """
    ours = diffusion_settings(cfg)
    for name in _PROCESS:
        if getattr(ours, name) not in (getattr(theirs, name), getattr(DiffusionSettings(), name)):
            raise UsageError(
                f"the denoiser of {named} was trained with another {name}: leave {name}= out"
            )
        cfg[name] = getattr(theirs, name)


def _compare(cfg: DictConfig, folder: Path, model: Model) -> None:
    """Refuse a network of another architecture than `cfg.size` says."""
    part, size = cfg.stage.network, cfg.size.name
    theirs = _complete(model.architectures[part])
    ours = _complete(OmegaConf.to_container(cfg.size[part], resolve=True))
    if theirs == ours:
        return
    trained = model.provenance.get(cfg.stage.name, {}).get("size")
    if "released" in model.provenance and theirs == _complete({"_target_": theirs["_target_"]}):
        trained = "base"  # which is the release, and the networks' own defaults
    advice = f"choose size={trained}"
    if trained in (None, size):
        advice = f"choose the size= of that network, or give size.{part}.* as in its model.yaml"
    raise UsageError(
        f"the {part} of init={folder} is {_describe(theirs, ours)}, that of size={size} is "
        f"{_describe(ours, theirs)}: {advice}"
    )


def _complete(value: Any) -> Any:
    """A network's class and arguments with its defaults, comparable with another's."""
    if isinstance(value, Mapping) and "_target_" in value:
        module, name = value["_target_"].rsplit(".", 1)
        parameters = inspect.signature(getattr(importlib.import_module(module), name)).parameters
        defaults = {
            key: parameter.default
            for key, parameter in parameters.items()
            if parameter.default is not parameter.empty
        }
        given = {**defaults, **value}
        return {key: _complete(given[key]) for key in sorted(given) if key not in _FREE}
    if isinstance(value, list | tuple):
        return [_complete(item) for item in value]
    return value


def _describe(network: Any, other: Any) -> str:
    """The class of `network`, with those arguments in which it differs from `other`."""
    if not (isinstance(network, dict) and "_target_" in network):
        return str(network)
    name = network["_target_"].rpartition(".")[2]
    if not isinstance(other, dict) or network["_target_"] != other.get("_target_"):
        return name
    differing = [key for key in network if network[key] != other.get(key)]
    return f"{name}({', '.join(f'{k}={_describe(network[k], other.get(k))}' for k in differing)})"
