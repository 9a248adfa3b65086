"""How fast do the networks learn? AdamW, its schedule, and where gradients are clipped."""

import math
from dataclasses import dataclass


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
        for name, ok, wanted in (
            ("lr", self.lr >= 0, "0 or more"),
            ("betas", all(0 <= beta < 1 for beta in self.betas), "two numbers from 0 to below 1"),
            ("weight_decay", self.weight_decay >= 0, "0 or more"),
            ("warmup_steps", self.warmup_steps >= 0, "0 or more"),
            ("clip_norm", self.clip_norm > 0, "above 0"),
        ):
            if not ok:
                raise ValueError(f"{name}={getattr(self, name)}: it must be {wanted}")

    def factor(self, step: int, last: int) -> float:
        """Factor on the learning rate at `step` of a run that ends at `last`."""
        if step < self.warmup_steps:
            return (step + 1) / self.warmup_steps
        if self.decay == "constant" or last <= 0:
            return 1.0
        progress = min(1.0, (step - self.warmup_steps) / max(1, last - self.warmup_steps))
        return 0.02 + 0.98 * 0.5 * (1 + math.cos(math.pi * progress))
