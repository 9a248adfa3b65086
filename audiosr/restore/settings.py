"""What can be chosen when a recording is restored?"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, fields

from torch import Tensor

from audiosr.audio.lowpass import FAMILIES, Family
from audiosr.diffusion.samplers import ddim, dpm_solver_pp_2m
from audiosr.diffusion.schedule import released_timesteps, trailing_timesteps
from audiosr.errors import UsageError

SAMPLERS: Mapping[str, Callable[..., Tensor]] = {
    "dpm_solver_pp_2m": dpm_solver_pp_2m,
    "ddim": ddim,
}
SPACINGS: Mapping[str, Callable[[int, int], Tensor]] = {
    "trailing": trailing_timesteps,
    "released": released_timesteps,
}


@dataclass(frozen=True)
class RestoreSettings:
    """How one recording is restored; every field can be overridden per call."""

    cutoff_hz: float | None = None
    """Edge in Hz up to which the recording is kept; None measures it in each file."""
    steps: int = 10
    """Passes of the denoiser, 1 to 1000: more is finer and slower."""
    sampler: str = "dpm_solver_pp_2m"
    """One of `SAMPLERS`; the default needs the fewest steps."""
    spacing: str = "trailing"
    """One of `SPACINGS`: where in the noise schedule the steps lie."""
    guidance: float = 1.0
    """Weight of the condition (classifier-free guidance); 1 is none and halves the work."""
    eta: float = 0.0
    """Fresh noise in every step of "ddim": 0 none, 1 as in ancestral sampling."""
    seed: int = 0
    """Rules the noise; the same seed gives the same result."""
    prefilter: Family = "cheby1"
    """Family of the zero-phase low-pass that removes what lies above the cutoff (AudioSR 4)."""
    prefilter_order: int = 8
    """Order of one of its two passes."""
    output_bandwidth_hz: float | None = None
    """Upper limit in Hz of what is generated, for material that never had more; None is none."""

    def __post_init__(self) -> None:
        for name in ("steps", "seed", "prefilter_order"):
            if not isinstance(value := getattr(self, name), int):
                raise UsageError(f"{name}={value}: give a whole number")
        for name in ("cutoff_hz", "output_bandwidth_hz", "guidance", "eta"):
            value = getattr(self, name)
            optional = name in ("cutoff_hz", "output_bandwidth_hz")
            if not isinstance(value, int | float) and not (optional and value is None):
                raise UsageError(f"{name}={value}: give a number")
        choices = {
            "sampler": (self.sampler, SAMPLERS),
            "spacing": (self.spacing, SPACINGS),
            "prefilter": (self.prefilter, FAMILIES),
        }
        for name, (value, known) in choices.items():
            if value not in known:
                raise UsageError(f"{name}={value}: choose one of {', '.join(known)}")
        if not 1 <= self.steps <= 1000:
            raise UsageError(f"steps={self.steps}: choose 1 to 1000")
        if not 0 <= self.eta <= 1:
            raise UsageError(f"eta={self.eta}: choose 0 to 1")
        if self.eta and self.sampler != "ddim":
            raise UsageError(f"eta={self.eta} needs sampler=ddim: {self.sampler} draws no noise")
        if not 1 <= self.prefilter_order <= 20:
            raise UsageError(f"prefilter_order={self.prefilter_order}: choose 1 to 20")
        for name in ("cutoff_hz", "output_bandwidth_hz"):
            value = getattr(self, name)
            if value is not None and not value > 0:
                raise UsageError(f"{name}={value}: give a frequency above 0 Hz")

    @classmethod
    def names(cls) -> tuple[str, ...]:
        """The names of all settings."""
        return tuple(field.name for field in fields(cls))
