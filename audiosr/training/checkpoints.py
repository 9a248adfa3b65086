"""Which states of a run stay on the disk? The newest, some for good, the best, and the last."""

import os
import shutil
from pathlib import Path
from typing import Any, cast

import lightning as L
from lightning.pytorch.callbacks import Checkpoint

from audiosr.model import ENVELOPE
from audiosr.training.callbacks import Export
from audiosr.training.runs import step_of
from audiosr.training.stage import Stage


class Checkpoints(Checkpoint):
    """Writes `step=N.ckpt`, `best.ckpt` and `last.ckpt`, of which the last two are second names.

    Lightning's `ModelCheckpoint` remembers what it wrote: what other callbacks and earlier starts
    have written stays for ever, and what it remembers is void where the folder has moved. Here the
    folder itself decides. A step that is validated is saved after its validation, so that a run
    that is killed in between loses neither its figures nor its part in the choice of the best; the
    last step is always saved.

    Args:
        folder: where checkpoints go.
        every_n_steps: how often one is written.
        keep: how many of the newest stay.
        keep_every_n_steps: those of multiples of it stay for good.
    """

    def __init__(
        self, folder: str | Path, every_n_steps: int, keep: int, keep_every_n_steps: int
    ) -> None:
        if min(every_n_steps, keep, keep_every_n_steps) < 1:
            raise ValueError("every_n_steps, keep and keep_every_n_steps must be at least 1")
        self.folder = Path(folder)
        self.every_n_steps = every_n_steps
        self.keep = keep
        self.keep_every_n_steps = keep_every_n_steps
        self._saved = 0
        self._best: float | None = None

    def on_train_start(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        """Nothing has to be saved before a step is done."""
        self._saved = trainer.global_step

    def on_train_batch_end(self, trainer: L.Trainer, pl_module: L.LightningModule, *_: Any) -> None:
        """Save, unless validation follows."""
        batches = trainer.fit_loop.total_batch_idx + 1
        validated = sum(trainer.num_val_batches) and not batches % (
            trainer.val_check_batch or batches
        )
        if not validated and trainer.global_step % self.every_n_steps == 0:
            self._save(trainer)

    def on_validation_end(self, trainer: L.Trainer, pl_module: Stage) -> None:
        """Save what was put off, and the best so far."""
        if trainer.sanity_checking or not trainer.global_step:
            return
        found = trainer.callback_metrics.get(pl_module.monitor)
        value = None if found is None else float(found)
        exports = (c for c in cast(Any, trainer).callbacks if isinstance(c, Export))
        best = value not in (None, self._best) and any(e.best == value for e in exports)
        if best:
            self._best = value
        if best or trainer.global_step % self.every_n_steps == 0:
            self._save(trainer)
        if best:
            self._name(trainer, "best.ckpt")

    def on_train_end(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        """Save the last step."""
        self._save(trainer)

    def state_dict(self) -> dict[str, Any]:
        """The figure of `best.ckpt`."""
        return {"best": self._best}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Look for a better one."""
        self._best = state_dict["best"]

    def on_save_checkpoint(
        self, trainer: L.Trainer, pl_module: Stage, checkpoint: dict[str, Any]
    ) -> None:
        """Let the checkpoint tell which model it holds, so that it can be used as one."""
        settings = pl_module.export().settings()
        part = pl_module.part
        origin = {"run": self.folder.parent.name, "step": trainer.global_step}
        held = {part, ENVELOPE} if part == "denoiser" else {part}
        settings |= {
            "networks": {n: spec for n, spec in settings["networks"].items() if n in held},
            "provenance": {pl_module.name: origin},
        }
        checkpoint["audiosr_model"] = {"part": part, "settings": settings}

    def on_exception(self, trainer: L.Trainer, pl_module: L.LightningModule, *_: Any) -> None:
        """Take up what another callback has saved."""
        self._tidy(trainer)

    def _save(self, trainer: L.Trainer) -> None:
        if trainer.global_step != self._saved:
            self._saved = trainer.global_step
            trainer.save_checkpoint(self._path(trainer))
            self._tidy(trainer)

    def _path(self, trainer: L.Trainer) -> Path:
        return self.folder / f"step={trainer.global_step}.ckpt"

    def _tidy(self, trainer: L.Trainer) -> None:
        """Leave the newest and those for good, and let `last.ckpt` mean the newest."""
        written = sorted(self.folder.glob("step=*.ckpt"), key=step_of)
        if not trainer.is_global_zero or not written:
            return
        for path in written[: -self.keep]:
            if step_of(path) % self.keep_every_n_steps:
                path.unlink()
        last = self.folder / "last.ckpt"
        last.unlink(missing_ok=True)
        last.symlink_to(written[-1].name)

    def _name(self, trainer: L.Trainer, name: str) -> None:
        """Give the checkpoint of this step a second name, by which it outlives the first."""
        if trainer.is_global_zero:
            partial = self.folder / f".{name}.partial"
            partial.unlink(missing_ok=True)
            try:
                os.link(self._path(trainer), partial)
            except OSError:  # a file system without hard links
                shutil.copyfile(self._path(trainer), partial)
            partial.replace(self.folder / name)
