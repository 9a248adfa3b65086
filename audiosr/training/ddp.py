"""What do the ranks of a run tell each other? Gradients of what took part, and the first's fits."""

from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from typing import Any

import lightning as L
import torch.distributed as dist
from lightning.pytorch.core.optimizer import LightningOptimizer
from lightning.pytorch.overrides.distributed import prepare_for_backward
from lightning.pytorch.strategies import DDPStrategy
from torch import Tensor, nn
from torch.nn.parallel import DistributedDataParallel
from torch.optim import Optimizer


class OptimiserwiseDDP(DDPStrategy):
    """DistributedDataParallel for stages of several optimisers: each has a reducer of its own.

    A backward says for which optimiser it is, and averages the gradients of that one's parameters
    over the ranks, while they are computed. Lightning's own wraps the whole module: it then expects
    all parameters in every backward, or searches the graph for those that are missing and averages
    them all the same, and sends every buffer from the first rank before every step. Here buffers
    are not sent: those of a stage are constants.

    Args:
        settings: of `lightning.pytorch.strategies.DDPStrategy`, which hands those it does not know
            on to `DistributedDataParallel`.
    """

    def __init__(self, **settings: Any) -> None:
        super().__init__(**{"gradient_as_bucket_view": True, **settings})
        self.reducers: list[DistributedDataParallel] = []
        self._apart = False

    def configure_ddp(self) -> None:
        """Leave the module as it is: its networks are called by more names than `forward`."""

    def setup_optimizers(self, trainer: L.Trainer) -> None:
        """Build the optimisers, and a reducer for each, which also aligns the parameters."""
        super().setup_optimizers(trainer)
        self.reducers = [
            self._setup_model(nn.ParameterList(p for g in o.param_groups for p in g["params"]))
            for o in self.optimizers
        ]
        if self._ddp_comm_hook is not None:
            for reducer in self.reducers:
                reducer.register_comm_hook(self._ddp_comm_state, self._ddp_comm_hook)

    def backward(
        self, closure_loss: Tensor, optimizer: Optimizer | None, *args: Any, **kwargs: Any
    ) -> Tensor:
        """The backward of `optimizer`; its gradients are averaged unless that is blocked."""
        if not self._apart:
            plain = optimizer.optimizer if isinstance(optimizer, LightningOptimizer) else optimizer
            which = [o is plain for o in self.optimizers].index(True)
            prepare_for_backward(self.reducers[which], closure_loss)
        return super().backward(closure_loss, optimizer, *args, **kwargs)

    @contextmanager
    def block_backward_sync(self) -> Iterator[None]:
        """Gradients of the backwards within stay on their rank, to be averaged by a later one."""
        self._apart = True
        try:
            yield
        finally:
            self._apart = False

    def teardown(self) -> None:
        """Let the reducers go."""
        self.reducers = []
        super().teardown()


def copy_from_first_rank(tensors: Iterable[Tensor]) -> None:
    """Overwrite `tensors` on every rank with those of the first, where there are several ranks."""
    if dist.is_available() and dist.is_initialized():
        for tensor in tensors:
            dist.broadcast(tensor, src=0)
