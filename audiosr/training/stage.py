"""What do the three stages share? Features, explicit random draws, optimisers, export."""

from collections.abc import Callable, Iterable, Iterator
from contextlib import nullcontext
from dataclasses import dataclass
from typing import Any, cast

import lightning as L
import numpy as np
import torch
from einops import rearrange
from torch import Tensor, nn
from torch.optim import AdamW
from torch.optim.lr_scheduler import LambdaLR
from torchmetrics import MeanMetric, MetricCollection

from audiosr.audio.mel import LogMel, MelSettings
from audiosr.model import Model
from audiosr.networks.roles import Network
from audiosr.training.draws import (
    DROPOUT,
    ClipDraws,
    draws_of_names,
    draws_of_step,
    generator_key,
)
from audiosr.training.guard import heard_by_all, step_if_finite
from audiosr.training.metrics_csv import has_row
from audiosr.training.optimiser import OptimiserSettings

_SILENT = 1e-4
"""Peak below which a clip counts as silent."""


@dataclass(frozen=True, eq=False)
class BatchPart:
    """Clips of a batch that go through the networks together.

    Attributes:
        batch: of these clips.
        draws: their random numbers.
        share: of the batch that they are.
    """

    batch: dict[str, Any]
    draws: ClipDraws
    share: float


class Stage(L.LightningModule):
    """Base of the stages: a log-mel front end, draws of every clip, and the optimisers' upkeep.

    A step is a batch, whatever the number of optimisers and of the parts that the batch goes
    through the networks in: only the main optimiser is stepped through Lightning, which counts; a
    discriminator's is stepped directly. Nothing that is drawn depends on how the clips of a step
    are divided among parts and ranks, except what networks draw themselves (dropout).

    Args:
        features: settings of the log-mel front end.
        optimiser: settings of all optimisers of the stage.
        seed: rules every random draw, together with the step and the place of a clip in it.
        fine_tuned: whether the run starts from trained weights (`start_from`), not from random.
        accumulate: parts that a batch is divided into, whose gradients are added up.
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
        accumulate: int,
    ) -> None:
        super().__init__()
        self.automatic_optimization = False
        self.features = features
        self.log_mel = LogMel(features)
        self.optimiser = optimiser
        self.seed = seed
        self.fine_tuned = fine_tuned
        self.accumulate = accumulate
        self.origin: dict[str, Any] | None = None
        self.domains: list[str] = []
        self.silent: set[str] = set()
        self.judged = self._means()

    def setup(self, stage: str) -> None:
        """Prepare figures of each domain, where validation has several."""
        data = cast(Any, self.trainer).datamodule
        domains = data.valid_domains() if hasattr(data, "valid_domains") else []
        self.domains = domains if len(domains) > 1 else []
        self.judged = self._means()

    def start_from(self, model: Model, origin: dict[str, Any]) -> None:
        """Take up the weights of the network of `model` that this stage trains.

        `origin` says on the model card where they come from.
        """
        self.origin = origin
        getattr(self, self.part).load_state_dict(getattr(model, self.part).state_dict())

    @property
    def begins_anew(self) -> int | None:
        """A step after which the best validation so far counts no more, as the aim is another."""
        return None

    def export(self) -> Model:
        """The trained part as a `Model`, sharing the networks."""
        raise NotImplementedError(type(self).__name__)

    def panels(self, batch: dict[str, Any]) -> dict[str, Tensor]:
        """What to show of a validation batch: `mel/NAME (B, 1, T, F)`, `wave/NAME (B, 1, T)`."""
        raise NotImplementedError(type(self).__name__)

    def draws(self, count: int, step: int | None = None) -> ClipDraws:
        """Random numbers of the `count` clips that this rank has in a step, now's by default."""
        return draws_of_step(
            count,
            seed=self.seed,
            step=self.global_step if step is None else step,
            rank=self.global_rank,
            ranks=self.trainer.world_size,
            device=self.device,
        )

    def same_draws(self, batch: dict[str, Any]) -> ClipDraws:
        """The random numbers that the clips of a validation batch always have."""
        return draws_of_names(batch["domain"], batch["key"], self.device)

    def parts(self, batch: dict[str, Any]) -> list[BatchPart]:
        """A training batch in `accumulate` parts, or as many as it has clips."""
        count = len(batch["waveform"])
        draws = self.draws(count)
        edges = np.linspace(0, count, min(self.accumulate, count) + 1).round().astype(int)
        return [
            BatchPart(
                {
                    key: value[clips] if isinstance(value, Tensor | list) else value
                    for key, value in batch.items()
                },
                draws.part(clips),
                (clips.stop - clips.start) / count,
            )
            for clips in map(slice, edges[:-1].tolist(), edges[1:].tolist())
        ]

    def learn(
        self,
        which: int,
        network: Network,
        parts: list[BatchPart],
        losses: Callable[[BatchPart], dict[str, Tensor]],
    ) -> dict[str, Tensor]:
        """One step of optimiser `which` on `network`; only the first's is counted.

        Args:
            which: number of the optimiser in `configure_optimizers`.
            network: whose gradients are clipped.
            parts: of the batch.
            losses: "loss", which is minimised, and others of a part, which are logged; `()` each.

        Returns:
            The losses' means over the parts, and "grad_norm".
        """
        ours = _listed(self.optimizers())[which]
        # The torch optimiser inside Lightning's can step without being counted.
        optimiser = ours if which == 0 else ours.optimizer
        strategy: Any = self.trainer.strategy
        apart = getattr(strategy, "block_backward_sync", nullcontext)
        optimiser.zero_grad()
        means: dict[str, Tensor] = {}
        for index, part in enumerate(parts):
            # Ranks drop different activations, and a resumed run those of the unbroken one.
            stream = self.seed, self.global_step, self.global_rank, which, index, DROPOUT
            torch.manual_seed(generator_key(*stream))
            values = losses(part)
            with apart() if part is not parts[-1] else nullcontext():
                # As `manual_backward`, but that the strategy hears whose gradients it is to reduce.
                strategy.backward(heard_by_all(part.share * values["loss"]), ours)
            for name, value in values.items():
                means[name] = means.get(name, 0) + part.share * value.detach()
        means["grad_norm"] = self.clip(network)
        step_if_finite(self.trainer.optimizers[which], means["grad_norm"])
        optimiser.step()
        _listed(self.lr_schedulers())[which].step()
        return means

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

    def first_batches(self, clips: int) -> Iterator[dict[str, Any]]:
        """The first training batches, on the device, that hold `clips` on all ranks together.

        For closed-form fits, to which `gathered` brings what all ranks have made of them.
        """
        left = clips
        for batch in cast(Any, self.trainer).datamodule.train_dataloader():
            yield self.transfer_batch_to_device(batch, self.device, 0)
            left -= len(batch["waveform"]) * self.trainer.world_size
            if left <= 0:
                return

    def gathered(self, of_clips: Tensor) -> Tensor:
        """What every rank has of its clips `(B, ...)`, of those of all ranks in their order."""
        if self.trainer.world_size == 1:
            return of_clips
        return rearrange(self.trainer.strategy.all_gather(of_clips), "r b ... -> (r b) ...")

    def clip(self, network: Network) -> Tensor:
        """Clip the gradients of `network` to the norm of the settings; returns the norm before."""
        return nn.utils.clip_grad_norm_(network.parameters(), self.optimiser.clip_norm)

    def record(self, count: int, **values: Tensor) -> None:
        """Log `values` of a training step on `count` clips under `train/`, as means over ranks."""
        if self.trainer.world_size > 1 and has_row(self.trainer):
            means = self.trainer.strategy.reduce(torch.stack([*values.values()]), reduce_op="mean")
            values = dict(zip(values, cast(Tensor, means), strict=True))
        self.log_dict(
            {f"train/{name}": value for name, value in values.items()},
            on_step=True,
            on_epoch=False,
            batch_size=count,
        )

    def judge(self, batch: dict[str, Any], **values: Tensor) -> None:
        """Add figures `(B,)` of validation clips to their means over clips, batches and ranks.

        Also to those of their domains. Silent clips, in which nothing is to be restored, are left
        out, with a word.
        """
        silent = batch["waveform"].abs().amax((1, 2)) < _SILENT
        if silent.any():
            keys = {k for k, none in zip(batch["key"], silent.tolist(), strict=True) if none}
            if not keys <= self.silent:
                names = ", ".join(sorted(keys))
                print(f"silent validation clips are left out of the means: {names}")
            self.silent |= keys
        for name, value in values.items():
            value = torch.where(silent, torch.nan, value.float())
            self._mean(name).update(value)
            for domain in self.domains:
                own = torch.tensor([d == domain for d in batch["domain"]], device=value.device)
                self._mean(f"{name}_{domain}").update(torch.where(own, value, torch.nan))
        self.log_dict(self.judged, on_step=False, on_epoch=True)

    def _mean(self, name: str) -> MeanMetric:
        return cast(MeanMetric, self.judged[name])

    def _means(self) -> MetricCollection:
        names = [*self.figures, *(f"{f}_{d}" for f in self.figures for d in self.domains)]
        metrics: dict[str, Any] = {n: MeanMetric(nan_strategy="ignore") for n in names}
        return MetricCollection(metrics, prefix="valid/", compute_groups=False)


def _listed(one_or_several: Any) -> list[Any]:
    """What Lightning gives bare where it is one, as a list."""
    return one_or_several if isinstance(one_or_several, list) else [one_or_several]
