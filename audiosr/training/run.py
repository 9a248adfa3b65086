"""How does a training run go, whatever its stage? `train(cfg)` builds, fits, and returns."""

import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import Any

import lightning as L
import torch
from hydra.errors import InstantiationException
from hydra.utils import instantiate
from lightning.fabric.utilities.exceptions import MisconfigurationException
from lightning.pytorch.callbacks import Callback, ProgressBar
from lightning.pytorch.loggers.logger import Logger
from omegaconf import DictConfig, OmegaConf

from audiosr.audio.mel import MelSettings
from audiosr.errors import UsageError
from audiosr.files import naming
from audiosr.training import finetune
from audiosr.training.frozen import load_frozen
from audiosr.training.hardware import TunedTrainer
from audiosr.training.metrics_csv import MetricsCSV
from audiosr.training.optimiser import OptimiserSettings
from audiosr.training.record import kept_log, say_and_log
from audiosr.training.runs import occupied
from audiosr.training.stage import Stage
from audiosr.training.tracking import describe_run, end_tracking


def train(cfg: DictConfig) -> tuple[dict[str, float], dict[str, Any]]:
    """Train one stage as `cfg` says, a configuration that `resolved` has made.

    Returns:
        The last logged metrics, and the objects of the run: `cfg`, `stage`, `data`, `trainer`,
        `folder`.
    """
    folder = Path(cfg.run_dir)
    with occupied(folder, resumed=cfg.resume is not None), kept_log(folder), naming(folder):
        if cfg.threads is not None:
            torch.set_num_threads(cfg.threads)
        # Ranks must not differ in anything but their own draws, which come from explicit
        # generators.
        L.seed_everything(cfg.seed, workers=False, verbose=False)
        data = _build(cfg, "data")
        data.setup("fit")  # what is missing is said before anything else is built
        stage = build_stage(cfg)
        start = None
        if cfg.init is not None and cfg.resume is None:
            start = finetune.read_start(cfg)
            stage.start_from(start.model, start.provenance)
        trainer = build_trainer(cfg)
        trainer.tuning.networks(stage)  # that are to be compiled are there
        if trainer.is_global_zero:
            OmegaConf.save(cfg, folder / "config.yaml")
            say_and_log(f"run folder {folder}")
            if start is not None:
                say_and_log(finetune.announcement(start, stage))
            describe_run(trainer, stage, cfg)
        try:
            _fit(trainer, stage, data, cfg.resume)
        finally:
            end_tracking(trainer)
    metrics = {name: float(value) for name, value in trainer.callback_metrics.items()}
    objects = {"cfg": cfg, "stage": stage, "data": data, "trainer": trainer, "folder": folder}
    return metrics, objects


def build_stage(cfg: DictConfig) -> Stage:
    """The LightningModule that `cfg.stage.module` names, with its networks."""
    make: partial[Stage] = _build(cfg, "stage.module", _partial_=True)
    with _told("optimiser"):
        optimiser = OptimiserSettings(**_build(cfg, "optimiser"))
    arguments: dict[str, Any] = {
        "features": MelSettings(**cfg.features),
        "optimiser": optimiser,
        "architecture": OmegaConf.to_container(cfg.size[cfg.stage.network], resolve=True),
        "seed": cfg.seed,
        "fine_tuned": cfg.init is not None,
        "accumulate": cfg.trainer.accumulate_grad_batches,
    }
    if "autoencoder" in cfg.stage:
        arguments["frozen"] = load_frozen(cfg)
        arguments["paired"] = cfg.stage.autoencoder == cfg.init
        arguments["diffusion"] = finetune.diffusion_settings(cfg)
    return make(**arguments)


def build_trainer(cfg: DictConfig) -> TunedTrainer:
    """The trainer with the loggers and callbacks that `cfg` names, in their order."""
    callbacks: dict[str, Callback | None] = _build(cfg, "callbacks")
    loggers: dict[str, Logger] = _build(cfg, "logger") if cfg.logger else {}
    return _build(
        cfg,
        "trainer",
        logger=[MetricsCSV(cfg.run_dir), *loggers.values()],
        callbacks=[
            callback
            for callback in callbacks.values()
            if callback is not None
            and (cfg.trainer.enable_progress_bar or not isinstance(callback, ProgressBar))
        ],
        default_root_dir=cfg.run_dir,
        accumulate_grad_batches=1,  # a batch holds all of a step, and the stage divides it
    )


def _build(cfg: DictConfig, key: str, **more: Any) -> Any:
    """What the node `key` describes; Hydra would write the values of interpolations into it."""
    node = OmegaConf.to_container(OmegaConf.select(cfg, key), resolve=True)
    with _told(key):
        return instantiate(node, _convert_="all", **more)


@contextmanager
def _told(key: str) -> Iterator[None]:
    """What a class has against its arguments in `key`, as one sentence."""
    try:
        yield
    except (InstantiationException, ValueError) as error:
        cause: BaseException = error
        while cause.__cause__ is not None:
            cause = cause.__cause__
        if isinstance(cause, ValueError | TypeError | MisconfigurationException):
            raise UsageError(f"{key}: {' '.join(str(cause).split())}") from error
        raise


def _fit(
    trainer: L.Trainer, stage: Stage, data: L.LightningDataModule, checkpoint: str | None
) -> None:
    with warnings.catch_warnings():
        # One process per device feeds itself; the number of workers is the user's choice.
        warnings.filterwarnings("ignore", ".*does not have many workers.*")
        warnings.filterwarnings("ignore", ".*LeafSpec.*")
        # The data module does nothing before a batch is transferred.
        warnings.filterwarnings("ignore", ".*overridden `on_before_batch_transfer`.*")
        # That nothing is validated has been said.
        warnings.filterwarnings("ignore", ".*across ranks is zero.*")
        try:
            trainer.fit(stage, datamodule=data, ckpt_path=checkpoint, weights_only=False)
        except SystemExit as stop:
            # What Lightning makes of Ctrl-C.
            if isinstance(stop.__context__, KeyboardInterrupt):
                raise KeyboardInterrupt from None
            raise
