"""What makes a run that was stopped go on as if it never had been?"""

import os
import signal
import subprocess
import sys
import threading
from pathlib import Path
from typing import Any

import lightning as L
import torch
import torch.distributed as dist
from lightning.pytorch.callbacks import Callback
from lightning.pytorch.utilities.exceptions import SIGTERMException

from audiosr.training.metrics_csv import MetricsCSV, has_row
from audiosr.training.stage import Stage


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

    def on_train_batch_start(self, trainer: L.Trainer, *_: Any) -> None:
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


class FirstValidation(Callback):
    """Validates before the first step: what a fine-tuned run starts from, and what was broken off.

    A run that is stopped in the middle of a validation goes on at its beginning, so that nothing is
    missing in its figures.
    """

    def __init__(self) -> None:
        self._open = False

    def on_train_start(self, trainer: L.Trainer, pl_module: Stage) -> None:
        """Validate, as Lightning does between two steps."""
        if self._open or (pl_module.fine_tuned and not trainer.global_step):
            loop = trainer.fit_loop.epoch_loop.val_loop
            loop.restarting = False
            trainer.validating = True
            loop.run()
            trainer.training = True

    def on_validation_start(self, *_: Any) -> None:
        """A checkpoint of now would owe this validation."""
        self._open = True

    def on_validation_end(self, *_: Any) -> None:
        """Nothing is owed."""
        self._open = False

    def state_dict(self) -> dict[str, Any]:
        """Whether a validation has begun and not ended."""
        return {"open": self._open}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Take up what is owed."""
        self._open = state_dict["open"]


class SaveWhenStopped(Callback):
    """Saves a checkpoint when the run is told to stop, at the end of the step that it is in.

    In a validation, after the batch that is looked at: `FirstValidation` begins it anew.

    By SIGTERM, by SIGUSR1, or in one process by Ctrl-C, of which a second one stops at once and
    saves nothing, as does one in a run of several processes. A signal to any rank stops all of
    them, after the same step. SIGUSR1 is what SLURM can send before a job's time is up: the job is
    then put into the queue again.

    Lightning's own answers are replaced. To SIGUSR1 it saves wherever a step happens to be, in a
    file that outlives the checkpoints after it; to SIGTERM its ranks talk to each other at once, in
    the middle of what they are telling each other already, or stop after different steps.
    """

    def __init__(self, folder: str | Path) -> None:
        self.folder = Path(folder)
        self._told, self._whole = 0, False
        self._before: dict[int, Any] = {}
        self._ranks: Any = None

    def on_train_start(self, trainer: L.Trainer, *_: Any) -> None:
        """Listen."""
        alone = trainer.world_size == 1
        if threading.current_thread() is threading.main_thread():
            signals = [signal.SIGTERM, signal.SIGUSR1, *([signal.SIGINT] if alone else [])]
            self._before = {told: signal.signal(told, self._ask) for told in signals}
        if not alone:
            # On the processors, so that no device is waited for, as Lightning does at every step.
            self._ranks = dist.new_group(backend="gloo")
            vars(trainer.fit_loop.epoch_loop)["_broadcast_sigterm_tensor"] = lambda: None

    def on_train_batch_end(self, *_: Any, **__: Any) -> None:
        """Stop here if any rank was told to."""
        if self._ranks is not None:
            told = torch.tensor(self._told)
            dist.all_reduce(told, dist.ReduceOp.MAX, group=self._ranks)
            self._told = int(told)
        if self._told:
            self._whole = True
            raise KeyboardInterrupt if self._told == signal.SIGINT else SIGTERMException

    on_validation_batch_end = on_train_batch_end

    def on_exception(self, trainer: L.Trainer, *_: Any) -> None:
        """Save after a whole step; after a broken one the last checkpoint is the good one."""
        if self._whole and trainer.global_step > 0:
            trainer.save_checkpoint(self.folder / f"step={trainer.global_step}.ckpt")
            if self._told == signal.SIGUSR1 and trainer.is_global_zero:
                requeue_job()
        self.teardown()  # which Lightning leaves out here

    def teardown(self, *_: Any, **__: Any) -> None:
        """Leave the signals as they were."""
        for told, before in self._before.items():
            signal.signal(told, before)
        self._before = {}

    def _ask(self, told: int, *_: object) -> None:
        print("stopping after this batch", file=sys.stderr, flush=True)
        self._told = told
        if told == signal.SIGINT:
            print("Ctrl-C again stops at once", file=sys.stderr, flush=True)
            signal.signal(signal.SIGINT, signal.default_int_handler)


def requeue_job() -> None:
    """Put the SLURM job that this process is in, if it is in one, into the queue again."""
    job = os.environ.get("SLURM_JOB_ID")
    if "SLURM_ARRAY_JOB_ID" in os.environ:
        job = f"{os.environ['SLURM_ARRAY_JOB_ID']}_{os.environ['SLURM_ARRAY_TASK_ID']}"
    if job is not None:
        subprocess.run(["scontrol", "requeue", job], check=True)
