"""What do the loggers learn of a run beside its numbers? Configuration, origin, size, the model."""

from pathlib import Path
from typing import Any, cast

import lightning as L
import wandb
import wandb.errors
from lightning.pytorch.callbacks import Callback
from lightning.pytorch.loggers import WandbLogger
from omegaconf import DictConfig, OmegaConf

from audiosr.errors import AudioSRError
from audiosr.training.record import read_starts
from audiosr.training.stage import Stage


def describe_run(trainer: L.Trainer, stage: Stage, cfg: DictConfig) -> None:
    """Give the loggers the composed configuration, the state of the code and parameter counts.

    Raises:
        AudioSRError: W&B refuses the run, as without a key where it is not offline.
    """
    start = read_starts(Path(cfg.run_dir))[-1]
    values: dict[str, Any] = cast(Any, OmegaConf.to_container(cfg, resolve=True)) | {
        "start": {"command": start.command, "time": start.time, "host": start.host},
        "git": start.git,
        "versions": start.versions,
        "parameters": {
            name: count
            for name, network in stage.named_children()
            if (count := sum(p.numel() for p in network.parameters()))
        },
    }
    for logger in trainer.loggers:
        try:
            logger.log_hyperparams(values)
        except wandb.errors.Error as error:
            raise AudioSRError(f"W&B does not take the run: {error}") from error


def end_tracking(trainer: L.Trainer) -> None:
    """End the W&B run, so that it is whole on the disk and the next run of this process is new."""
    for logger in trainer.loggers:
        if isinstance(logger, WandbLogger) and trainer.is_global_zero:
            logger.experiment.finish()


class ModelArtifact(Callback):
    """Hands the exported model to W&B when the run has come to its end.

    Args:
        folder: `model/` in the run folder.
    """

    def __init__(self, folder: str | Path) -> None:
        self.folder = Path(folder)

    def on_fit_end(self, trainer: L.Trainer, pl_module: Stage) -> None:
        """Log the folder as an artifact of type `model`."""
        if not (trainer.is_global_zero and (self.folder / "model.yaml").is_file()):
            return
        for logger in trainer.loggers:
            if isinstance(logger, WandbLogger):
                artifact = wandb.Artifact(f"{pl_module.name}-{logger.version}", type="model")
                artifact.add_dir(str(self.folder))
                logger.experiment.log_artifact(artifact)
