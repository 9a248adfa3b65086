"""Which forward process was a denoiser trained with, and what did it learn to predict?"""

from dataclasses import dataclass, field
from typing import Any

from torch import Tensor

from audiosr.diffusion.objective import Objective
from audiosr.diffusion.start import FarEnd
from audiosr.errors import UsageError
from audiosr.trust import find_trusted


@dataclass(frozen=True)
class DiffusionSettings:
    """The forward process and what is learnt of it; the defaults are the AudioSR release's.

    All but the first are `{"_target_": function or class, **arguments}`.

    Attributes:
        timesteps: how many there are.
        schedule: from `timesteps` to the signal power at each.
        objective: what the denoiser predicts, an `Objective`.
        start: what lies at the far end, see `audiosr.diffusion.start`.
    """

    timesteps: int = 1000
    schedule: dict[str, Any] = field(
        default_factory=lambda: {"_target_": "audiosr.diffusion.schedule.cosine_alphas_cumprod"}
    )
    objective: dict[str, Any] = field(
        default_factory=lambda: {"_target_": "audiosr.diffusion.objective.PredictVelocity"}
    )
    start: dict[str, Any] = field(
        default_factory=lambda: {"_target_": "audiosr.diffusion.start.FromNoise"}
    )

    def process(self) -> tuple[Tensor, Objective, FarEnd]:
        """Signal power at each timestep `(timesteps,)`, the objective and the start.

        Raises:
            UsageError: they do not go together.
        """
        table: Tensor = self._build("schedule", timesteps=self.timesteps)
        objective: Objective = self._build("objective")
        if objective.needs_signal and table[-1] == 0:
            raise UsageError(
                f"{type(objective).__name__} says nothing where no signal is left: choose "
                "schedule=linear, or another objective"
            )
        return table, objective, self._build("start")

    def _build(self, name: str, **more: Any) -> Any:
        spec = getattr(self, name)
        found = find_trusted(str(spec["_target_"]), "audiosr.diffusion", f"a {name}")
        return found(**{k: v for k, v in spec.items() if k != "_target_"}, **more)
