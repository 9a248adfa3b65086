"""What keeps a run whole where a gradient is not finite? The step is skipped, its batch is kept.

Lightning's `detect_anomaly` slows every step and stops at the first; its `SpikeDetection` stops
when the weights have taken the step already. Here no device is waited for and no rank asked: fused
optimisers skip a step by a flag on the device, as under a gradient scaler, and the norm of reduced
gradients is the same on every rank.
"""

from collections.abc import Callable
from pathlib import Path
from typing import Any, cast

import lightning as L
import torch
from lightning.pytorch.callbacks import Callback
from torch import Tensor
from torch.optim import Optimizer

from audiosr.errors import AudioSRError
from audiosr.files import atomic_path
from audiosr.training.record import say_and_log


def heard_by_all(loss: Tensor) -> Tensor:
    """`loss`, whose gradient is NaN where it is not finite itself.

    So the other ranks learn of it with the reduced gradients. An infinite L1 has finite ones.
    """
    return loss * (1 + (loss - loss).detach())


def step_if_finite(optimiser: Optimizer, norm: Tensor) -> None:
    """Let the next step of a fused `optimiser` change nothing if `norm ()` is not finite."""
    cast(Any, optimiser).found_inf = (~norm.detach().isfinite()).float()


class FiniteGuard(Callback):
    """Tells of skipped steps, keeps their batches, and stops a run that skips too many in a row.

    A step is looked at when the next one has been given to the device: its flag is copied after it,
    and only that copy is waited for, so that the device always has a step to work on.

    Args:
        folder: where batches go, one file a rank, those of the first `patience` skipped steps.
        patience: so many skipped steps in a row stop the run.
    """

    def __init__(self, folder: str | Path, patience: int) -> None:
        if patience < 1:
            raise ValueError(f"patience={patience}: give 1 or more")
        self.folder = Path(folder)
        self.patience = patience
        self.skipped = 0
        self._in_a_row = 0
        self._last: tuple[Callable[[], bool], int, dict[str, Any]] | None = None

    def on_train_batch_end(
        self,
        trainer: L.Trainer,
        pl_module: L.LightningModule,
        outputs: Any,
        batch: dict[str, Any],
        *_: Any,
    ) -> None:
        """Look at the step before; keep this one's flag."""
        flags = [f for o in trainer.optimizers if (f := _taken(o)) is not None]
        if flags:
            self._look(trainer)
            self._last = (_fetched(torch.stack(flags).amax()), trainer.global_step, batch)

    def on_train_end(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        """Look at the last step."""
        self._look(trainer)

    def state_dict(self) -> dict[str, Any]:
        """How many steps were skipped so far."""
        return {"skipped": self.skipped}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Count on."""
        self.skipped = state_dict["skipped"]

    def _look(self, trainer: L.Trainer) -> None:
        if self._last is None:
            return
        (broken, step, batch), self._last = self._last, None
        if not broken():
            self._in_a_row = 0
            return
        self.skipped += 1
        self._in_a_row += 1
        path = self.folder / f"step={step}-rank={trainer.global_rank}.pt"
        if self.skipped <= self.patience:
            content = {k: v.cpu() if isinstance(v, Tensor) else v for k, v in batch.items()}
            with atomic_path(path) as partial, partial.open("wb") as file:
                torch.save(content, file)
        if self._in_a_row >= self.patience:
            raise AudioSRError(
                f"the gradients of {self.patience} steps in a row, the last one step {step}, were "
                f"not finite: look at their batches in {self.folder}, then resume, with a lower "
                "optimiser.lr if the clips are sound"
            )
        if trainer.is_global_zero:
            where = f", kept as {path}" if path.exists() else ""
            names = ", ".join(batch.get("key", []))
            say_and_log(
                f"step {step} is skipped, its gradients are not finite: batch of {names}{where}"
            )


def _fetched(flag: Tensor) -> Callable[[], bool]:
    """`flag` sent to the processor; what is returned waits for the copy and no longer."""
    copy = flag.to("cpu", non_blocking=True)
    if not flag.is_cuda:
        return lambda: bool(copy)
    done = torch.cuda.Event()
    done.record()

    def read() -> bool:
        done.synchronize()
        return bool(copy)

    return read


def _taken(optimiser: Optimizer) -> Tensor | None:
    """The flag of the step that `optimiser` has just done, which is taken away; None for none."""
    return optimiser.__dict__.pop("found_inf", None)
