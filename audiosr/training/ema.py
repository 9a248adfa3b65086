"""Which weights are judged and kept? A moving average of those that are trained."""

from pathlib import Path
from typing import Any

import lightning as L
import torch
from lightning.pytorch.callbacks import Callback
from safetensors.torch import save_file
from torch import Tensor

from audiosr.averages import KEPT_WIDTHS, decay, exponent
from audiosr.files import atomic_path


class _Averaging(Callback):
    """Holds averages of the trained parameters, in checkpoints and on the device."""

    def __init__(self) -> None:
        self.updates = 0
        self.average: dict[str, Tensor] = {}

    def state_dict(self) -> dict[str, Any]:
        """The average and the number of its updates, for the checkpoint."""
        return {"updates": self.updates, "average": self.average}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Take up the average of a checkpoint."""
        self.updates = state_dict["updates"]
        self.average = state_dict["average"]

    def on_train_start(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        """Bring a restored average to the device."""
        self.average = {name: value.to(pl_module.device) for name, value in self.average.items()}


class EMA(_Averaging):
    """Averages the trained parameters of a stage; validation and export see the average.

    After update n the decay is min(decay, (1 + n) / (10 + n)), as in the AudioSR release, so that
    the average is useful from the start. Buffers are not averaged.

    Args:
        decay: the decay that the warm-up leads to; 0.999 has a memory of about 1,000 steps. None
            averages nothing.
    """

    def __init__(self, decay: float | None) -> None:
        if decay is not None and not 0 <= decay < 1:
            raise ValueError(f"EMA decay {decay} is outside [0, 1)")
        super().__init__()
        self.decay = decay
        self._trained: dict[str, Tensor] | None = None

    @torch.no_grad()
    def on_train_batch_end(self, trainer: L.Trainer, pl_module: L.LightningModule, *_: Any) -> None:
        """Move the average towards the parameters, once per optimiser step."""
        # Within an accumulated batch there is no step.
        if self.decay is None or trainer.global_step <= self.updates:
            return
        self.updates += 1
        decay = min(self.decay, (1 + self.updates) / (10 + self.updates))
        for name, parameter in _learnt(pl_module):
            if name not in self.average:
                self.average[name] = parameter.detach().clone()
            self.average[name].lerp_(parameter.detach(), 1 - decay)

    @torch.no_grad()
    def swap_in(self, pl_module: L.LightningModule) -> None:
        """Put the average in the place of the trained weights, until `swap_out`."""
        if self.average and self._trained is None:
            self._trained = {name: p.detach().clone() for name, p in _learnt(pl_module)}
            for name, parameter in _learnt(pl_module):
                parameter.copy_(self.average[name])

    @torch.no_grad()
    def swap_out(self, pl_module: L.LightningModule) -> None:
        """Put the trained weights back."""
        if self._trained is not None:
            for name, parameter in _learnt(pl_module):
                parameter.copy_(self._trained[name])
            self._trained = None

    def on_validation_start(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        """Validate the average."""
        self.swap_in(pl_module)

    def on_validation_end(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        """Train on."""
        self.swap_out(pl_module)

    def on_exception(self, trainer: L.Trainer, pl_module: L.LightningModule, *_: Any) -> None:
        """A validation may have been broken off, and what is saved are the trained weights."""
        self.swap_out(pl_module)


class AverageSnapshots(_Averaging):
    """Keeps two averages over all of training, of which `audiosr export --ema-width` makes others.

    How long the best average is shows at the end alone (Karras et al., arXiv 2312.02696).

    Args:
        folder: where `step=N.safetensors` go, in float16 as in the paper.
        every_n_steps: how often; None keeps nothing.
    """

    def __init__(self, folder: str | Path, every_n_steps: int | None) -> None:
        if every_n_steps is not None and every_n_steps < 1:
            raise ValueError(f"ema_snapshots={every_n_steps} is below 1")
        super().__init__()
        self.folder = Path(folder)
        self.every_n_steps = every_n_steps

    @torch.no_grad()
    def on_train_batch_end(self, trainer: L.Trainer, pl_module: L.LightningModule, *_: Any) -> None:
        """Move both averages, once per optimiser step, and write them when it is time."""
        if self.every_n_steps is None or trainer.global_step <= self.updates:
            return
        self.updates += 1
        for width in KEPT_WIDTHS:
            share = 1 - decay(self.updates, exponent(width))
            for name, parameter in _learnt(pl_module):
                key = f"{width:g}/{name}"
                if key not in self.average:  # the first step counts in full
                    self.average[key] = torch.zeros_like(parameter)
                self.average[key].lerp_(parameter.detach(), share)
        if self.updates % self.every_n_steps == 0 and trainer.is_global_zero:
            halves = {key: value.half().contiguous() for key, value in self.average.items()}
            with atomic_path(self.folder / f"step={self.updates}.safetensors") as partial:
                save_file(halves, partial)


def _learnt(module: L.LightningModule) -> list[tuple[str, Tensor]]:
    return [
        (name, p)
        for name, p in module.named_parameters()
        if p.requires_grad and not name.startswith("discriminator.")
    ]
