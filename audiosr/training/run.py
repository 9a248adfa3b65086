"""How does a training run go, whatever its stage? `train(cfg)` builds, fits, and returns.

The configuration comes composed.
"""

import logging
import warnings
from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import Any

import lightning as L
import torch
from hydra.utils import instantiate
from lightning.pytorch.callbacks import Callback, RichProgressBar
from omegaconf import DictConfig, OmegaConf

from audiosr.audio.mel import MelSettings
from audiosr.errors import UsageError
from audiosr.training import finetune
from audiosr.training.callbacks import Export, Panels, Speed
from audiosr.training.ema import EMA
from audiosr.training.metrics_csv import MetricsCSV
from audiosr.training.resume import Checkpoints, ResumeMetrics, SaveWhenStopped
from audiosr.training.runs import claim_folder, find_model, find_run, load_frozen, release_folder
from audiosr.training.stage import OptimiserSettings, Stage


def train(
    cfg: DictConfig, overrides: Sequence[str] = ()
) -> tuple[dict[str, float], dict[str, Any]]:
    """Train one stage as `cfg` says; the configuration is `conf/train.yaml`.

    Args:
        cfg: the composed configuration.
        overrides: what the user typed; a resumed run takes its saved configuration and then these.

    Returns:
        The last logged metrics, and the objects of the run: `cfg`, `stage`, `data`, `trainer`,
        `folder`.
    """
    folder, checkpoint = None, None
    if cfg.resume is not None:
        folder, checkpoint = find_run(str(cfg.resume), cfg.paths.outputs, cfg.stage.name)
        cfg = resumed(cfg, folder, overrides)
    check(cfg)
    if cfg.threads is not None:
        torch.set_num_threads(cfg.threads)
    try:
        named = any(o.startswith("run_dir=") for o in overrides)
        folder = claim_folder(folder or cfg.run_dir, resumed=folder is not None, named=named)
        return _fit(cfg, folder, checkpoint)
    finally:
        release_folder()


def resumed(cfg: DictConfig, folder: Path, overrides: Sequence[str]) -> DictConfig:
    """The configuration saved in `folder`, changed by those of `overrides` that set a value."""
    saved = OmegaConf.load(folder / "config.yaml")
    assert isinstance(saved, DictConfig)
    if saved.stage.name != cfg.stage.name:
        raise UsageError(f"{folder} is a run of stage {saved.stage.name}, not {cfg.stage.name}")
    OmegaConf.set_struct(saved, True)
    for override in overrides:
        key = override.split("=", 1)[0].lstrip("+~")
        # Group choices (stage, size, experiment, ...) were made when the run started.
        value = OmegaConf.select(cfg, key)
        # So were the weights that it started from, which its checkpoints have left behind.
        if key not in ("resume", "experiment", "init") and not isinstance(value, DictConfig):
            OmegaConf.update(saved, key, value)
    return saved


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


def _fit(
    cfg: DictConfig, folder: Path, checkpoint: Path | None
) -> tuple[dict[str, float], dict[str, Any]]:
    # Ranks must not differ in anything but their own draws, which come from explicit generators.
    L.seed_everything(cfg.seed, workers=False, verbose=False)
    data = instantiate(cfg.data, _convert_="all")
    data.setup("fit")  # what is missing is said before a folder is made
    start = None
    if checkpoint is None and cfg.init is not None:
        start = finetune.read_start(cfg)
    stage = build_stage(cfg)
    if start is not None:
        stage.start_from(start.model)
    logging.getLogger("lightning.pytorch").setLevel(logging.WARNING)  # no tips, no advertisements
    loggers: list[Any] = [MetricsCSV(folder)]
    if cfg.logger:
        loggers.append(instantiate(cfg.logger, save_dir=str(folder), _convert_="all"))
    trainer: L.Trainer = instantiate(
        cfg.trainer,
        logger=loggers,
        callbacks=_callbacks(cfg, folder, start and start.provenance),
        default_root_dir=str(folder),
        _convert_="all",
    )
    if trainer.is_global_zero:
        folder.mkdir(parents=True, exist_ok=True)
        cfg.run_dir, cfg.resume = str(folder), None
        OmegaConf.save(cfg, folder / "config.yaml")
        print(f"run folder {folder}", flush=True)
        if start is not None:
            print(finetune.announcement(start, stage), flush=True)
    with warnings.catch_warnings():
        # One process per device feeds itself; the number of workers is the user's choice.
        warnings.filterwarnings("ignore", ".*does not have many workers.*")
        warnings.filterwarnings("ignore", ".*Checkpoint directory.*exists and is not empty.*")
        # A checkpoint holds the state after its step, as a resumed run needs it.
        warnings.filterwarnings("ignore", ".*no pre-optimization state was saved.*")
        warnings.filterwarnings("ignore", ".*LeafSpec.*")
        trainer.fit(stage, datamodule=data, ckpt_path=checkpoint, weights_only=False)
    metrics = {name: float(value) for name, value in trainer.callback_metrics.items()}
    return metrics, {
        "cfg": cfg,
        "stage": stage,
        "data": data,
        "trainer": trainer,
        "folder": folder,
    }


def build_stage(cfg: DictConfig) -> Stage:
    """The LightningModule that `cfg.stage.module` names, with its networks."""
    make: partial[Stage] = instantiate(cfg.stage.module, _partial_=True, _convert_="all")
    arguments: dict[str, Any] = {
        "features": MelSettings(**cfg.features),
        "optimiser": OptimiserSettings(**instantiate(cfg.optimiser, _convert_="all")),
        "architecture": OmegaConf.to_container(cfg.size[cfg.stage.network], resolve=True),
        "seed": cfg.seed,
        "fine_tuned": cfg.init is not None,
    }
    if "autoencoder" in cfg.stage:
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
        arguments["frozen"] = load_frozen(autoencoder, vocoder)
        arguments["paired"] = cfg.stage.autoencoder == cfg.init
    return make(**arguments)


def _callbacks(
    cfg: DictConfig, folder: Path, origin: dict[str, Any] | None = None
) -> list[Callback]:
    callbacks: list[Callback] = [
        Checkpoints(
            dirpath=folder / "checkpoints",
            filename="{step}",
            every_n_train_steps=cfg.checkpoint.every_n_steps,
            monitor="step",
            mode="max",
            save_top_k=cfg.checkpoint.keep,
            save_last="link",
        ),
        ResumeMetrics(),
        Speed(),
    ]
    if cfg.ema_decay is not None:
        callbacks.append(EMA(cfg.ema_decay))
    callbacks.append(
        Export(
            folder / "model",
            provenance={
                "run": folder.name,
                "size": cfg.size.name,
                "data": str(cfg.data.root),
                "seed": cfg.seed,
            }
            | ({"init": origin} if origin else {}),
        )
    )
    if cfg.panels.clips:
        callbacks.append(Panels(folder / "panels", cfg.panels.clips))
    if cfg.trainer.enable_progress_bar:
        callbacks.append(RichProgressBar(leave=True))
    # Last, so that the others have seen the step after which a run stops.
    callbacks.append(SaveWhenStopped(folder / "checkpoints"))
    return callbacks
