"""How is a run fitted to the machine, without a change of what it learns?"""

from collections.abc import Sequence
from typing import Any

import lightning as L
import torch
from lightning.pytorch.callbacks import Callback
from torch import Tensor, nn

from audiosr.errors import UsageError

_PRECISIONS = ("highest", "high", "medium")


class TunedTrainer(L.Trainer):
    """Lightning's trainer with the settings of torch that make a GPU quick.

    Args:
        matmul_precision: of float32 products (`torch.set_float32_matmul_precision`): `highest` is
            exact, `high` rounds factors to TF32 where the device can.
        channels_last: whether the weights of 2-d convolutions, and with them all that they make,
            lie in memory with the channels last.
        compile: networks of the stage that `torch.compile` works on, such as `[denoiser]`.
        callbacks: of Lightning.
        settings: of `lightning.Trainer`.
    """

    def __init__(
        self,
        *,
        matmul_precision: str = "highest",
        channels_last: bool = False,
        compile: Sequence[str] = (),
        callbacks: Sequence[Callback] = (),
        **settings: Any,
    ) -> None:
        if matmul_precision not in _PRECISIONS:
            raise UsageError(
                f"trainer.matmul_precision={matmul_precision}: choose {' or '.join(_PRECISIONS)}"
            )
        torch.set_float32_matmul_precision(matmul_precision)
        self.tuning = Tuning(channels_last=channels_last, compile=compile)
        super().__init__(callbacks=[self.tuning, *callbacks], **settings)


class Tuning(Callback):
    """Lays out and compiles the networks of a stage before it is moved to the device.

    As `TunedTrainer` says. Neither changes the names of the weights, so that checkpoints and models
    fit every machine.
    """

    def __init__(self, *, channels_last: bool, compile: Sequence[str]) -> None:
        self.channels_last = channels_last
        self.compile = compile

    def setup(self, trainer: L.Trainer, pl_module: L.LightningModule, stage: str) -> None:
        """Lay out and compile."""
        networks = self.networks(pl_module)
        if self.channels_last:
            # Frozen networks are held outside of the module.
            frozen = getattr(pl_module, "frozen", None)
            for network in [*networks.values(), *(frozen.parts.values() if frozen else ())]:
                lay_out(network)
        for name in self.compile:
            compile_in_place(networks[name])

    def networks(self, pl_module: L.LightningModule) -> dict[str, nn.Module]:
        """The networks of a stage by name.

        Raises:
            UsageError: one that is to be compiled is not among them.
        """
        networks = {name: n for name, n in pl_module.named_children() if [*n.parameters()]}
        if unknown := set(self.compile) - set(networks):
            raise UsageError(
                f"trainer.compile names {', '.join(sorted(unknown))}: this stage has "
                f"{', '.join(networks)}"
            )
        return networks

    def on_train_start(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        """Give the restored state of the optimisers the layout of their parameters.

        A fused optimiser walks through both in the order of memory.
        """
        for optimiser in trainer.optimizers:
            for parameter, state in optimiser.state.items():
                state.update(
                    (name, torch.empty_like(parameter, dtype=value.dtype).copy_(value))
                    for name, value in state.items()
                    if isinstance(value, Tensor)
                    and value.shape == parameter.shape
                    and value.stride() != parameter.stride()
                )


def lay_out(network: nn.Module) -> None:
    """Put the channels of all 2-d convolutions last in memory; what they make follows them."""
    for module in network.modules():
        if isinstance(module, nn.Conv2d | nn.ConvTranspose2d):
            module.to(memory_format=torch.channels_last)  # pyright: ignore[reportCallIssue]


def compile_in_place(network: nn.Module) -> None:
    """Have `torch.compile` work on a network that is called, or on the parts of one that is not.

    An autoencoder is used through `encode` and `decode`, which call its parts.
    """
    if type(network).forward is nn.Module.forward:
        for part in network.children():
            part.compile()
    else:
        network.compile()
