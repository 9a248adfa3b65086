"""How does a run show how far it is? Steps of all, the loss, and the time that is left."""

from typing import Any

import lightning as L
from lightning.pytorch.callbacks import ProgressBar

from audiosr.progress import progress_bars
from audiosr.training.metrics_csv import has_row
from audiosr.training.record import say_and_log
from audiosr.training.stage import Stage


class StepBar(ProgressBar):
    """One bar of optimiser steps over the whole run; Lightning's own starts anew every epoch.

    It is drawn on a terminal. A line tells of each validation wherever the run prints to.
    """

    def __init__(self) -> None:
        super().__init__()
        self._bars: Any = None
        self._task: Any = None
        self._enabled = True

    def enable(self) -> None:
        """Draw."""
        self._enabled = True

    def disable(self) -> None:
        """Draw nothing, as on ranks but the first."""
        self._enabled = False

    def on_train_start(self, trainer: L.Trainer, pl_module: Stage) -> None:
        """Draw the bar, of what is done already too."""
        if self._enabled:
            self._bars = progress_bars()
            self._bars.start()
            total = trainer.max_steps if trainer.max_steps > 0 else None
            self._task = self._bars.add_task(pl_module.name, total=total)
            self._bars.update(self._task, completed=trainer.global_step)

    def on_train_batch_end(self, trainer: L.Trainer, pl_module: Stage, *_: Any) -> None:
        """Move on; tell the loss where it is logged, since asking for it waits for the device."""
        if self._bars is None:
            return
        self._bars.update(self._task, completed=trainer.global_step)
        if has_row(trainer) and "train/loss" in trainer.callback_metrics:
            loss = float(trainer.callback_metrics["train/loss"])
            self._bars.update(self._task, description=f"{pl_module.name}, loss {loss:.4g}")

    def on_validation_end(self, trainer: L.Trainer, pl_module: Stage) -> None:
        """Tell the figures."""
        if trainer.is_global_zero and not trainer.sanity_checking:
            figures = ", ".join(
                f"{name.removeprefix('valid/')} {float(value):.4g}"
                for name, value in trainer.callback_metrics.items()
                if name.startswith("valid/")
            )
            say_and_log(f"step {trainer.global_step} of {trainer.max_steps}: {figures}")

    def teardown(self, *_: Any, **__: Any) -> None:
        """Leave the terminal as it was."""
        if self._bars is not None:
            self._bars.stop()
            self._bars = None

    on_exception = teardown
