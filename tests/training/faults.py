"""What goes wrong in the runs of the tests? Callbacks that kill, tell to stop, spoil, and watch."""

import hashlib
import os
import signal
from pathlib import Path
from typing import Any

import lightning as L
import torch
from lightning.pytorch.callbacks import Callback
from torch import Tensor, nn


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


class Masks(Callback):
    """Writes a line `STEP DIGEST` per step to `folder/masks-rank=N`: of what dropout left out."""

    def __init__(self, folder: str) -> None:
        self.folder = Path(folder)
        self._digest = hashlib.sha256()

    def on_train_start(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        for module in pl_module.modules():
            if isinstance(module, nn.Dropout):
                module.register_forward_hook(self._see)

    def on_train_batch_end(
        self,
        trainer: L.Trainer,
        pl_module: L.LightningModule,
        outputs: Any,
        batch: Any,
        batch_idx: int,
    ) -> None:
        with (self.folder / f"masks-rank={trainer.global_rank}").open("a") as file:
            file.write(f"{trainer.global_step} {self._digest.hexdigest()}\n")
        self._digest = hashlib.sha256()

    def _see(self, module: nn.Module, inputs: tuple[Tensor], output: Tensor) -> None:
        if module.training:
            left_out = (output == 0) & (inputs[0] != 0)
            self._digest.update(left_out.numpy().tobytes())
