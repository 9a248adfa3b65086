"""What do the three stages share? Features, explicit random draws, optimisers, export."""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Any, cast

import lightning as L
import numpy as np
import torch
from torch import Tensor, nn
from torch.optim import AdamW
from torch.optim.lr_scheduler import LambdaLR
from torchmetrics import MeanMetric, MetricCollection

from audiosr.audio.mel import LogMel, MelSettings
from audiosr.model import Model
from audiosr.networks.roles import Network
from audiosr.training.guard import heard_by_all, step_if_finite


@dataclass(frozen=True)
class OptimiserSettings:
    """AdamW and its schedule.

    Attributes:
        lr: learning rate after the warm-up.
        betas: decay rates of the moments.
        weight_decay: decoupled weight decay.
        warmup_steps: steps of linear warm-up from 0.
        decay: what follows the warm-up: `constant`, or `cosine` down to 2 % of lr at the last step.
        clip_norm: gradients are scaled down to this norm where they exceed it.
    """

    lr: float = 1e-4
    betas: tuple[float, float] = (0.9, 0.999)
    weight_decay: float = 0.01
    warmup_steps: int = 0
    decay: str = "constant"
    clip_norm: float = 1.0

    def __post_init__(self) -> None:
        if self.decay not in ("constant", "cosine"):
            raise ValueError(f"decay={self.decay}: choose constant or cosine")

    def factor(self, step: int, last: int) -> float:
        """Factor on the learning rate at `step` of a run that ends at `last`."""
        if step < self.warmup_steps:
            return (step + 1) / self.warmup_steps
        if self.decay == "constant" or last <= 0:
            return 1.0
        progress = min(1.0, (step - self.warmup_steps) / max(1, last - self.warmup_steps))
        return 0.02 + 0.98 * 0.5 * (1 + float(np.cos(np.pi * progress)))


class Stage(L.LightningModule):
    """Base of the stages: a log-mel front end, per-step generators, and the optimisers' upkeep.

    Steps are counted as the user means them, one per batch: only the main optimiser is stepped
    through Lightning, which counts; a discriminator's is stepped directly.

    Args:
        features: settings of the log-mel front end.
        optimiser: settings of all optimisers of the stage.
        seed: rules every random draw, together with rank and step.
        fine_tuned: whether the run starts from trained weights (`start_from`), not from random.
    """

    name: str
    part: str  # the network that is trained, as attribute of the stage and of `Model`
    figures: tuple[str, ...]  # what validation measures, logged under `valid/`
    monitor = "valid/lsd"

    def __init__(
        self,
        *,
        features: MelSettings,
        optimiser: OptimiserSettings,
        seed: int,
        fine_tuned: bool,
    ) -> None:
        super().__init__()
        self.features = features
        self.log_mel = LogMel(features)
        self.optimiser = optimiser
        self.seed = seed
        self.fine_tuned = fine_tuned
        self.origin: dict[str, Any] | None = None
        self.judged = MetricCollection(
            {name: MeanMetric() for name in self.figures}, prefix="valid/", compute_groups=False
        )

    def start_from(self, model: Model, origin: dict[str, Any]) -> None:
        """Take up the weights of the network of `model` that this stage trains.

        `origin` says on the model card where they come from.
        """
        self.origin = origin
        getattr(self, self.part).load_state_dict(getattr(model, self.part).state_dict())

    def export(self) -> Model:
        """The trained part as a `Model`, sharing the networks."""
        raise NotImplementedError(type(self).__name__)

    def panels(self, batch: dict[str, Any]) -> dict[str, Tensor]:
        """What to show of a validation batch: `mel/NAME (B, 1, T, F)`, `wave/NAME (B, 1, T)`."""
        raise NotImplementedError(type(self).__name__)

    def generator(self, *stream: int) -> torch.Generator:
        """A generator on the device, of the seed, the rank and `stream` (step, purpose) alone."""
        key = np.random.SeedSequence([self.seed, self.global_rank, *stream])
        state = int(key.generate_state(1, np.uint64)[0] >> np.uint64(1))
        return torch.Generator(self.device).manual_seed(state)

    def adamw(self, parameters: Iterable[nn.Parameter], name: str = "lr") -> dict[str, Any]:
        """AdamW over those of `parameters` that learn, with its schedule, as Lightning takes them.

        The learning rate is logged as `train/NAME`.
        """
        settings = self.optimiser
        optimiser = AdamW(
            [p for p in parameters if p.requires_grad],
            settings.lr,
            betas=settings.betas,
            weight_decay=settings.weight_decay,
            fused=True,
        )
        last = self.trainer.max_steps if self.trainer.max_steps > 0 else 0
        schedule = LambdaLR(optimiser, lambda step: settings.factor(step, last))
        return {
            "optimizer": optimiser,
            "lr_scheduler": {"scheduler": schedule, "interval": "step", "name": f"train/{name}"},
        }

    def first_batches(self, count: int) -> Iterator[dict[str, Any]]:
        """The first `count` training batches, on the device, for closed-form fits."""
        loader = iter(cast(Any, self.trainer).datamodule.train_dataloader())
        for _, batch in zip(range(count), loader, strict=False):
            yield self.transfer_batch_to_device(batch, self.device, 0)

    def clip(self, network: Network) -> Tensor:
        """Clip the gradients of `network` to the norm of the settings; returns the norm before."""
        return nn.utils.clip_grad_norm_(network.parameters(), self.optimiser.clip_norm)

    def record(self, count: int, **values: Tensor | float) -> None:
        """Log `values` of a training step on `count` clips under `train/`."""
        self.log_dict(
            {f"train/{name}": value for name, value in values.items()},
            on_step=True,
            on_epoch=False,
            batch_size=count,
        )

    def judge(self, **values: Tensor) -> None:
        """Add figures of validation clips `(B,)` to their means over clips, batches and ranks."""
        for name, value in values.items():
            metric = cast(MeanMetric, self.judged[name])
            metric.update(value.float())
        self.log_dict(self.judged, on_step=False, on_epoch=True)


class AdversarialStage(Stage):
    """A stage with a generator and a discriminator, optimised by hand in one `training_step`.

    The discriminator learns from step `learns_from`; the generator hears it from `heard_from`.

    Args:
        adversarial_start: both steps of a run from random weights.
        discriminator_warmup: `heard_from` of a fine-tuned run. Its generator is trained and need
            not wait for a discriminator, which starts fresh and would only mislead it: it learns
            from the first step and is heard when it can judge.
        settings: features, optimiser, seed, fine_tuned.
    """

    def __init__(
        self, *, adversarial_start: int, discriminator_warmup: int, **settings: Any
    ) -> None:
        super().__init__(**settings)
        self.automatic_optimization = False
        self.learns_from = 0 if self.fine_tuned else adversarial_start
        self.heard_from = discriminator_warmup if self.fine_tuned else adversarial_start

    def step_generator(self, loss: Tensor, network: Network) -> Tensor:
        """Backward and one counted step of the generator; returns its gradient norm."""
        return self._step(0, loss, network, counted=True)

    def step_discriminator(self, loss: Tensor, network: Network) -> Tensor:
        """Backward and one step of the discriminator that the step count does not see."""
        return self._step(1, loss, network, counted=False)

    def _step(self, which: int, loss: Tensor, network: Network, *, counted: bool) -> Tensor:
        # Lightning's types allow for a stage of one optimiser and schedule; here there are two.
        ours = cast(Any, self.optimizers())[which]
        # The torch optimiser inside Lightning's can step without being counted.
        optimiser = ours if counted else ours.optimizer
        optimiser.zero_grad()
        # As `manual_backward`, but that the strategy hears whose gradients it is to reduce.
        self.trainer.strategy.backward(heard_by_all(loss), ours)
        norm = self.clip(network)
        step_if_finite(self.trainer.optimizers[which], norm)
        optimiser.step()
        cast(list[LambdaLR], self.lr_schedulers())[which].step()
        return norm
