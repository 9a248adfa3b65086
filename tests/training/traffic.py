"""What do ranks tell each other in a step? A callback that counts bytes and broadcasts."""

import json
from pathlib import Path
from typing import Any, cast

import lightning as L
import torch
import torch.distributed as dist
from lightning.pytorch.callbacks import Callback
from torch.distributed.algorithms.ddp_comm_hooks.default_hooks import allreduce_hook

from audiosr.training.ddp import OptimiserwiseDDP


class Traffic(Callback):
    """Writes a line of JSON per step to `file`: bytes of gradients by optimiser, and broadcasts."""

    def __init__(self, file: str) -> None:
        self.file = Path(file)
        self.bytes: list[int] = []
        self.broadcasts = 0

    def on_train_start(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        strategy = trainer.strategy
        assert isinstance(strategy, OptimiserwiseDDP)
        self.bytes = [0 for _ in strategy.reducers]
        for which, reducer in enumerate(strategy.reducers):
            reducer.register_comm_hook(which, self._count)
        broadcast = dist.broadcast

        def counted(*args: Any, **kwargs: Any) -> Any:
            self.broadcasts += 1
            return broadcast(*args, **kwargs)

        dist.broadcast = counted

    def on_train_batch_end(
        self,
        trainer: L.Trainer,
        pl_module: L.LightningModule,
        outputs: Any,
        batch: Any,
        batch_idx: int,
    ) -> None:
        if trainer.is_global_zero:
            with self.file.open("a") as file:
                file.write(json.dumps([self.bytes, self.broadcasts]) + "\n")
        self.bytes, self.broadcasts = [0 for _ in self.bytes], 0

    def _count(self, which: int, bucket) -> torch.futures.Future[torch.Tensor]:
        self.bytes[which] += bucket.buffer().nbytes
        return allreduce_hook(cast(Any, dist.group.WORLD), bucket)
