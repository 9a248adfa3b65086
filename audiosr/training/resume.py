"""What makes a run that was stopped go on as if it never had been?"""

import signal
import sys
import threading
from pathlib import Path
from typing import Any

import lightning as L
from lightning.pytorch.callbacks import Callback, ModelCheckpoint
from lightning.pytorch.utilities.exceptions import SIGTERMException

from audiosr.training.metrics_csv import MetricsCSV, has_row


class Checkpoints(ModelCheckpoint):
    """Saves a step that is validated after its validation.

    Lightning saves before, so that a run killed in between would lose the validation and its part
    in the choice of the exported model.
    """

    def on_train_batch_end(
        self,
        trainer: L.Trainer,
        pl_module: L.LightningModule,
        outputs: Any,
        batch: Any,
        batch_idx: int,
    ) -> None:
        """Save, unless validation follows."""
        batches = trainer.fit_loop.total_batch_idx + 1
        if not sum(trainer.num_val_batches) or batches % (trainer.val_check_batch or batches):
            super().on_train_batch_end(trainer, pl_module, outputs, batch, batch_idx)

    def on_validation_end(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        """Save what was put off."""
        super().on_train_batch_end(trainer, pl_module, None, None, 0)


class ResumeMetrics(Callback):
    """Continues `metrics.csv` at the step where a resumed run starts."""

    def on_save_checkpoint(
        self, trainer: L.Trainer, pl_module: L.LightningModule, checkpoint: dict[str, Any]
    ) -> None:
        """Keep the row of the step: it is logged after the checkpoint, perhaps never."""
        if has_row(trainer):
            checkpoint["metrics_row"] = {
                name: float(value)
                for name, value in trainer.logged_metrics.items()
                if name.startswith("train/")
            }
            for logger in trainer.loggers:
                if isinstance(logger, MetricsCSV):  # the learning rates are there already
                    checkpoint["metrics_row"] |= logger.rows.get(trainer.global_step - 1, {})

    def on_train_batch_start(
        self, trainer: L.Trainer, pl_module: L.LightningModule, batch: Any, batch_idx: int
    ) -> None:
        """Number the rows by the steps of the optimiser.

        Lightning's own count is one behind after a checkpoint of a validated step, where the
        resumed run validates at other steps.
        """
        trainer.fit_loop.epoch_loop._batches_that_stepped = trainer.global_step

    def on_load_checkpoint(
        self, trainer: L.Trainer, pl_module: L.LightningModule, checkpoint: dict[str, Any]
    ) -> None:
        """Drop rows that the resumed run will write again, and add the one that may be missing."""
        step = checkpoint["global_step"]
        for logger in trainer.loggers:
            if isinstance(logger, MetricsCSV):
                logger.forget_after(step)
                if "metrics_row" in checkpoint:
                    known = logger.rows.get(step - 1, {})
                    logger.log_metrics(checkpoint["metrics_row"] | known, step - 1)


class SaveWhenStopped(Callback):
    """Saves a checkpoint when the run is told to stop: by SIGTERM, or in one process by Ctrl-C.

    Both wait for the end of the step, so that what is saved is whole. A second Ctrl-C, or one in a
    run of several processes, stops at once and saves nothing.

    Args:
        folder: where checkpoints go.
    """

    def __init__(self, folder: str | Path) -> None:
        self.folder = Path(folder)
        self._asked = self._whole = False
        self._before: Any = None

    def on_train_start(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        """Listen to Ctrl-C."""
        # Ranks would have to agree on a step; they are in the same one at the end of it at most.
        alone = trainer.world_size == 1
        if alone and threading.current_thread() is threading.main_thread():
            self._before = signal.signal(signal.SIGINT, self._ask)

    def on_train_batch_end(
        self,
        trainer: L.Trainer,
        pl_module: L.LightningModule,
        outputs: Any,
        batch: Any,
        batch_idx: int,
    ) -> None:
        """Stop here if asked to."""
        if self._asked:
            self._whole = True
            raise KeyboardInterrupt

    def on_exception(
        self, trainer: L.Trainer, pl_module: L.LightningModule, exception: BaseException
    ) -> None:
        """Save after a whole step; after a broken one the last checkpoint is the good one."""
        whole = self._whole or isinstance(exception, SIGTERMException)
        if whole and trainer.global_step > 0:
            trainer.save_checkpoint(self.folder / f"step={trainer.global_step}.ckpt")
        self.teardown(trainer, pl_module, "fit")  # which Lightning leaves out here

    def teardown(self, trainer: L.Trainer, pl_module: L.LightningModule, stage: str) -> None:
        """Leave Ctrl-C as it was."""
        if self._before is not None:
            signal.signal(signal.SIGINT, self._before)
            self._before = None

    def _ask(self, *_: object) -> None:
        print("stopping after this step; Ctrl-C again stops at once", file=sys.stderr, flush=True)
        self._asked = True
        signal.signal(signal.SIGINT, signal.default_int_handler)
