"""What goes wrong in the runs of the tests? Callbacks that kill, tell to stop, spoil batches."""

import os
import signal
from pathlib import Path
from typing import Any

import lightning as L
import torch
from lightning.pytorch.callbacks import Callback


class Tell(Callback):
    """Sends the signal `told` to the process of one rank, after `step` steps.

    Before the next step is done, or where `validating` in the validation that follows.
    """

    def __init__(self, step: int, told: str, *, rank: int = 0, validating: bool = False) -> None:
        self.step, self.told, self.rank = step, signal.Signals[told], rank
        self.validating = validating

    def on_train_batch_start(
        self, trainer: L.Trainer, pl_module: L.LightningModule, batch: Any, batch_idx: int
    ) -> None:
        if not self.validating:
            self._tell(trainer)

    def on_validation_start(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        if self.validating:
            self._tell(trainer)

    def _tell(self, trainer: L.Trainer) -> None:
        if (trainer.global_step, trainer.global_rank) == (self.step, self.rank):
            os.kill(os.getpid(), self.told)


class Spoil(Callback):
    """Makes a sample of the batch after `step` steps NaN, on one rank."""

    def __init__(self, step: int, rank: int) -> None:
        self.step, self.rank = step, rank

    def on_train_batch_start(
        self, trainer: L.Trainer, pl_module: L.LightningModule, batch: Any, batch_idx: int
    ) -> None:
        if (trainer.global_step, trainer.global_rank) == (self.step, self.rank):
            batch["waveform"][0, 0, 5] = torch.nan


class Keep(Callback):
    """Writes the weights that each rank ends with to `folder/rank=N.pt`."""

    def __init__(self, folder: str) -> None:
        self.folder = Path(folder)

    def on_train_end(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        torch.save(pl_module.state_dict(), self.folder / f"rank={trainer.global_rank}.pt")
