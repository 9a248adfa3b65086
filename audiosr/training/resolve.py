"""Which runs, checkpoints and models does a configuration mean? Names become paths here, once."""

from collections.abc import Callable, Sequence
from pathlib import Path

from omegaconf import DictConfig, OmegaConf

from audiosr.errors import UsageError
from audiosr.training.finetune import place_start
from audiosr.training.runs import claim_folder, find_model, find_run, model_folder, shared_folder


def resolved(
    cfg: DictConfig,
    overrides: Sequence[str] = (),
    *,
    find_start: Callable[[str], Path] = Path,
) -> DictConfig:
    """The configuration that `train` follows: read-only, with a path for every name in `cfg`.

    `resume` becomes a checkpoint, `init`, `stage.autoencoder` and `stage.vocoder` model folders,
    and `run_dir` the folder of this run, which is there and is no other run's.

    Args:
        cfg: the composed configuration, of `conf/train.yaml`.
        overrides: what the user typed; a resumed run takes its saved configuration and then these.
        find_start: from what `init` names to a folder.

    Raises:
        UsageError: something is not there, or parts of the configuration contradict each other.
    """
    if (shared := shared_folder()) is not None:
        # A rank that Lightning has started follows what the first one has resolved and saved.
        return _read_only(_saved(shared))
    folder = None
    if cfg.resume is not None:
        folder, checkpoint = find_run(str(cfg.resume), cfg.paths.outputs, cfg.stage.name)
        cfg = _resumed(cfg, folder, checkpoint, overrides)
    else:
        cfg = cfg.copy()
        if cfg.init is not None:
            place_start(cfg, model_folder("init", find_start(str(cfg.init))))
        if "autoencoder" in cfg.stage:
            _place_frozen(cfg)
    check(cfg)
    dated = "${now:" in str(OmegaConf.to_container(cfg)["run_dir"])  # pyright: ignore
    cfg.run_dir = str(claim_folder(folder or cfg.run_dir, resumed=folder is not None, dated=dated))
    return _read_only(cfg)


def check(cfg: DictConfig) -> None:
    """Refuse a configuration whose parts contradict each other, in the sentence the user needs."""
    hop, rate = cfg.features.hop, cfg.features.rate
    for key in ("crop_seconds", "valid_crop_seconds"):
        frames = cfg.data[key] * rate / hop
        if abs(frames - round(frames)) > 1e-6 or round(frames) % cfg.stage.frames_multiple:
            unit = cfg.stage.frames_multiple * hop / rate
            raise UsageError(
                f"data.{key}={cfg.data[key]} is not a multiple of {unit:g} s, "
                f"which stage {cfg.stage.name} needs"
            )
    if max(cfg.degrade.cutoff_hz) >= rate / 2:
        raise UsageError(f"degrade.cutoff_hz={list(cfg.degrade.cutoff_hz)} reaches {rate / 2:g} Hz")
    if cfg.trainer.get("gradient_clip_val") is not None:
        raise UsageError(
            "trainer.gradient_clip_val does not reach two optimisers: set optimiser.clip_norm"
        )
    if "16" in str(cfg.trainer.precision) and "bf16" not in str(cfg.trainer.precision):
        raise UsageError(f"trainer.precision={cfg.trainer.precision}: choose 32-true or bf16-mixed")


def _resumed(
    cfg: DictConfig, folder: Path, checkpoint: Path, overrides: Sequence[str]
) -> DictConfig:
    """The configuration saved in `folder`, changed by those of `overrides` that set a value."""
    saved = _saved(folder)
    if saved.stage.name != cfg.stage.name:
        raise UsageError(f"{folder} is a run of stage {saved.stage.name}, not {cfg.stage.name}")
    for override in overrides:
        key = override.split("=", 1)[0].lstrip("+~")
        # Group choices (stage, size, experiment, ...) were made when the run started.
        value = OmegaConf.select(cfg, key)
        # So were the weights that it started from, which its checkpoints have left behind.
        if key not in ("resume", "experiment", "init") and not isinstance(value, DictConfig):
            OmegaConf.update(saved, key, value)
    saved.resume = str(checkpoint)
    return saved


def _saved(folder: Path) -> DictConfig:
    cfg = OmegaConf.load(folder / "config.yaml")
    assert isinstance(cfg, DictConfig)
    OmegaConf.set_struct(cfg, True)
    return cfg


def _read_only(cfg: DictConfig) -> DictConfig:
    OmegaConf.set_readonly(cfg, True)
    return cfg


def _place_frozen(cfg: DictConfig) -> None:
    """Put the folders of the frozen networks into `cfg`."""
    where = {"outputs": cfg.paths.outputs, "size": cfg.size.name}
    autoencoder = find_model("stage.autoencoder", cfg.stage.autoencoder, stage="vae", **where)
    if autoencoder is None:
        raise UsageError(
            f"stage {cfg.stage.name} needs a trained autoencoder: "
            f"run `python train.py stage=vae size={cfg.size.name}` first, "
            "or give stage.autoencoder=FOLDER"
        )
    vocoder = find_model("stage.vocoder", cfg.stage.vocoder, stage="vocoder", **where)
    cfg.stage.autoencoder, cfg.stage.vocoder = str(autoencoder), vocoder and str(vocoder)
