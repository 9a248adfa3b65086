"""How do a generator and a discriminator learn from a batch, whatever they generate?"""

from collections.abc import Iterable
from typing import Any

import torch
from torch import Tensor, nn

from audiosr.training.stage import BatchPart, Stage


class AdversarialStage(Stage):
    """A stage with a generator and a discriminator, each of which takes a step per batch.

    The discriminator learns from step `learns_from`; the generator hears it from `heard_from`.

    Args:
        adversarial_start: both steps of a run from random weights.
        discriminator_warmup: `heard_from` of a fine-tuned run. Its generator is trained and need
            not wait for a discriminator, which starts fresh and would only mislead it: it learns
            from the first step and is heard when it can judge.
        settings: features, optimiser, seed, fine_tuned, accumulate.
    """

    discriminator: nn.Module

    def __init__(
        self, *, adversarial_start: int, discriminator_warmup: int, **settings: Any
    ) -> None:
        super().__init__(**settings)
        self.learns_from = 0 if self.fine_tuned else adversarial_start
        self.heard_from = discriminator_warmup if self.fine_tuned else adversarial_start

    @property
    def begins_anew(self) -> int | None:
        """When the discriminator is first heard: it trades distance for likeness."""
        return self.heard_from if self.plays else None

    def training_step(self, batch: dict[str, Any], batch_idx: int) -> None:
        """One step of the discriminator, then one of the generator, which hears it."""
        parts = self.parts(batch)
        values: dict[str, Tensor] = {}
        kept: list[Any] = []

        def make(part: BatchPart) -> Any:
            # A batch in one part is generated once, for both. The graphs of several would not fit.
            if len(parts) > 1:
                return self.generate(part)
            if not kept:
                kept.append(self.generate(part))
            return kept[0]

        def judge_both(part: BatchPart) -> dict[str, Tensor]:
            with torch.set_grad_enabled(len(parts) == 1):
                made = make(part)
            return self.discriminator_losses(made)

        if self.plays and self.global_step >= self.learns_from:
            judged = self.learn(1, self.discriminator, parts, judge_both)
            values = {f"{name}_disc": value for name, value in judged.items()}
        self.discriminator.requires_grad_(False)
        heard = self.plays and self.global_step >= self.heard_from
        balance = None
        if heard:
            balance = self.balance((part.share, make(part)) for part in parts)
        values |= self.learn(
            0,
            getattr(self, self.part),
            parts,
            lambda part: self.generator_losses(make(part), balance, heard=heard),
        )
        self.discriminator.requires_grad_(True)
        self.record(len(batch["waveform"]), **values)

    @property
    def plays(self) -> bool:
        """Whether there is a discriminator in the game at all."""
        raise NotImplementedError(type(self).__name__)

    def configure_optimizers(self) -> Any:
        """AdamW for the generator, AdamW for the discriminator."""
        return [
            self.adamw(getattr(self, self.part).parameters()),
            self.adamw(self.discriminator.parameters(), "lr_disc"),
        ]

    def generate(self, part: BatchPart) -> Any:
        """What the generator makes of a part, with what the losses compare it to."""
        raise NotImplementedError(type(self).__name__)

    def discriminator_losses(self, made: Any) -> dict[str, Tensor]:
        """Losses of the discriminator, as `learn` takes them; they do not reach the generator.

        With them the means of its logits, `real` and `fake`: apart without end, it has won.
        """
        raise NotImplementedError(type(self).__name__)

    def generator_losses(
        self, made: Any, balance: Tensor | None, *, heard: bool
    ) -> dict[str, Tensor]:
        """Losses of the generator, as `learn` takes them; the discriminator's where `heard`."""
        raise NotImplementedError(type(self).__name__)

    def balance(self, shares_and_made: Iterable[tuple[float, Any]]) -> Tensor | None:
        """A weight of the adversarial loss that takes the whole batch to know; here none."""
        return None
