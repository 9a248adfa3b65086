"""What can be chosen when a recording is restored, and which choices make a profile?"""

from collections.abc import Collection, Mapping
from dataclasses import dataclass, fields, replace
from types import MappingProxyType
from typing import Any

from audiosr.audio.lowpass import FAMILIES
from audiosr.errors import UsageError
from audiosr.networks.hifigan import Timing
from audiosr.restore import steps as choices

CHOICES: Mapping[str, Collection[str]] = {
    "channels": choices.CHANNEL_CHOICES,
    "resampler": choices.RESAMPLER_CHOICES,
    "level": choices.LEVELS,
    "padding": choices.PADDINGS,
    "length": choices.LENGTHS,
    "cutoff": choices.CUTOFFS,
    "full_band": choices.FULL_BANDS,
    "prefilter": (*FAMILIES, "seeded"),
    "prefilter_passes": choices.FILTERINGS,
    "conditioning": choices.CONDITIONINGS,
    "sampler": choices.SAMPLERS,
    "spacing": choices.SPACINGS,
    "last_step": choices.LAST_STEPS,
    "mel_replacement": choices.MEL_REPLACEMENTS,
    "vocoder_timing": choices.TIMINGS,
    "splice": choices.SPLICES,
}
"""The values of every setting that is a choice."""


@dataclass(frozen=True)
class RestoreSettings:
    """How one recording is restored; every field can be overridden per call.

    The defaults are the profile "paper"; `docs/inference.md` says which fault of the release each
    of them mends.
    """

    cutoff_hz: float | None = None
    """Edge in Hz up to which the recording is kept; None measures it in each file."""
    output_bandwidth_hz: float | None = None
    """Upper limit in Hz of what is generated, for material that never had more; None is none."""
    steps: int = 10
    """Passes of the denoiser, 1 to 1000: more is finer and slower."""
    sampler: str = "dpm_solver_pp_2m"
    """The default needs the fewest steps; "ddim" can draw fresh noise (eta)."""
    spacing: str = "trailing"
    """Where in the noise schedule the steps lie: from pure noise on, or as the release has it."""
    last_step: str = "clean"
    """What the sampler returns: the clean prediction, or (ddim) one with noise left."""
    guidance: float = 1.0
    """Weight of the condition (classifier-free guidance); 1 is none and halves the work."""
    eta: float = 0.0
    """Fresh noise in every step of "ddim": 0 none, 1 as in ancestral sampling."""
    seed: int = 0
    """Rules the noise; the same seed gives the same result."""
    channels: str = "all"
    """Which channels are restored: all of them, or the first alone."""
    resampler: str = "soxr"
    """How the recording comes to the model's rate: soxr's VHQ, or a short windowed sinc."""
    level: str = "keep"
    """Loudness and constant of the result: the recording's, or a peak near 0.5 without mean."""
    padding: str = "mirror"
    """What follows the end for the networks: its mirror image, or zeros to 5.12 s multiples."""
    length: str = "exact"
    """Samples of the result: the recording's, or all that the vocoder gave."""
    cutoff: str = "edge"
    """How the cutoff is measured: the edge itself, the paper's roll-off, the release's estimate."""
    full_band: str = "keep"
    """A recording in which nothing is missing comes back as it is, or is restored all the same."""
    prefilter: str = "cheby1"
    """Family of the zero-phase low-pass that removes what lies above the cutoff (AudioSR 4)."""
    prefilter_order: int = 8
    """Order of one of its two directions."""
    prefilter_passes: str = "once"
    """Filtered once, or twice with a resampling between."""
    conditioning: str = "mode"
    """The latent of the input: the most likely one, or a drawn one."""
    mel_replacement: str = "cutoff"
    """Which mel bands are the input's: below the cutoff, or as far as its energy is found to go."""
    vocoder_timing: Timing = "aligned"
    """The waveform in place, or late by 16 samples."""
    splice: str = "crossover"
    """How the input is joined: by a crossover above the cutoff, or in bins of an STFT."""

    def __post_init__(self) -> None:
        for name in ("steps", "seed", "prefilter_order"):
            if not isinstance(value := getattr(self, name), int):
                raise UsageError(f"{name}={value}: give a whole number")
        for name in ("cutoff_hz", "output_bandwidth_hz", "guidance", "eta"):
            value = getattr(self, name)
            optional = name in ("cutoff_hz", "output_bandwidth_hz")
            if not isinstance(value, int | float) and not (optional and value is None):
                raise UsageError(f"{name}={value}: give a number")
        for name, known in CHOICES.items():
            if (value := getattr(self, name)) not in known:
                raise UsageError(f"{name}={value}: choose one of {', '.join(known)}")
        if not 1 <= self.steps <= 1000:
            raise UsageError(f"steps={self.steps}: choose 1 to 1000")
        if not 0 <= self.eta <= 1:
            raise UsageError(f"eta={self.eta}: choose 0 to 1")
        if self.sampler != "ddim":
            if self.eta:
                raise UsageError(
                    f"eta={self.eta} needs sampler=ddim: {self.sampler} draws no noise"
                )
            if self.last_step != "clean":
                raise UsageError(f"last_step={self.last_step} needs sampler=ddim")
        if not 1 <= self.prefilter_order <= 20:
            raise UsageError(f"prefilter_order={self.prefilter_order}: choose 1 to 20")
        if self.prefilter == "boxcar" and self.prefilter_passes == "twice":
            raise UsageError(
                "prefilter=boxcar needs prefilter_passes=once: it is no digital filter"
            )
        for name in ("cutoff_hz", "output_bandwidth_hz"):
            value = getattr(self, name)
            if value is not None and not value > 0:
                raise UsageError(f"{name}={value}: give a frequency above 0 Hz")

    @classmethod
    def names(cls) -> tuple[str, ...]:
        """The names of all settings."""
        return tuple(field.name for field in fields(cls))


PROFILES: Mapping[str, RestoreSettings] = MappingProxyType(
    {
        "paper": RestoreSettings(),
        "released": RestoreSettings(
            steps=50,
            sampler="ddim",
            spacing="released",
            last_step="noisy",
            guidance=3.5,
            eta=1.0,
            seed=42,
            channels="first",
            resampler="sinc",
            level="peak",
            padding="zeros",
            length="padded",
            cutoff="released",
            full_band="restore",
            prefilter="seeded",
            prefilter_passes="twice",
            conditioning="sample",
            mel_replacement="energy",
            vocoder_timing="released",
            splice="stft_matched",
        ),
    }
)
"""Settings that belong together: the paper's, with the faults of the release mended, and those of
the released command line."""


def chosen(
    profile: str | None, default: RestoreSettings, options: dict[str, Any]
) -> RestoreSettings:
    """`options` over the settings of a profile, or over `default` where none is named."""
    if profile is not None and profile not in PROFILES:
        raise UsageError(f"profile={profile}: choose one of {', '.join(PROFILES)}")
    return replace(default if profile is None else PROFILES[profile], **options)
