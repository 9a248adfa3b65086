"""What can be chosen when a recording is restored, and which choices make a profile?"""

from collections.abc import Collection, Mapping
from dataclasses import dataclass, fields
from typing import Any

import yaml

from audiosr.audio.lowpass import FAMILIES
from audiosr.errors import UsageError
from audiosr.files import config_folder
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
    "spacing": choices.SPACINGS,
    "last_step": choices.LAST_STEPS,
    "mel_replacement": choices.MEL_REPLACEMENTS,
    "vocoder_timing": choices.TIMINGS,
    "noise_floor": choices.NOISE_FLOORS,
    "splice": choices.SPLICES,
}
"""The values of every setting that is a choice."""

_SECONDS = {"window_seconds": (1, 60), "context_seconds": (0.2, 10)}
"""The least and the most of each."""

_PARTS = ("guidance_low", "guidance_high", "guidance_rescale")

_IN_WINDOWS: Mapping[str, Collection[str]] = {
    "level": ("keep",),
    "padding": ("mirror",),
    "length": ("exact",),
    "mel_replacement": ("cutoff", "none"),
    "vocoder_timing": ("aligned",),
    "splice": ("crossover", "none"),
}
"""Of each setting the values that need no more than a part of the recording at a time."""


@dataclass(frozen=True, kw_only=True)
class RestoreSettings:
    """How one recording is restored; every field can be overridden per call.

    Values come from a profile (`load_profile`); `docs/inference.md` says which fault of the release
    each of those of the profile "paper" mends.
    """

    cutoff_hz: float | None = None
    """Edge in Hz up to which the recording is kept; None measures it in each file."""
    follow_edge: bool = False
    """Whether the edge is measured along time, for a recording in which it moves."""
    output_bandwidth_hz: float | None = None
    """Up to where in Hz the recording is filled; None is as far as the model does by itself."""
    steps: int | None
    """Passes of the denoiser, up to 1000: more is more varied and slower; None is the model's.

    0 takes what the model's envelope expects, and no denoiser."""
    sampler: str
    """`dpm_solver_pp_2m` needs the fewest steps; `ddim` can draw fresh noise (eta); or a
    `MODULE.FUNCTION` of your own with their signature."""
    spacing: str
    """Where in the noise schedule the steps lie: from pure noise on, or as the release has it."""
    last_step: str
    """What the sampler returns: the clean prediction, or (ddim) one with noise left."""
    guidance: float
    """Weight of the condition (classifier-free guidance); 1 is none and halves the work."""
    guidance_low: float
    """Part of the noise schedule, 0 to 1, below which there is no guidance."""
    guidance_high: float
    """Part of it above which there is none; 1 is noise alone."""
    guidance_rescale: float
    """How far guidance is kept from exaggerating contrasts, 0 to 1."""
    eta: float
    """Fresh noise in every step of "ddim": 0 none, 1 as in ancestral sampling."""
    temperature: float | None
    """Factor on the starting noise: below 1 less is drawn, and nearer to the average; None is the
    model's."""
    seed: int
    """Rules the noise; the same seed gives the same result."""
    expansion: float | None
    """How much more the level of what is generated moves than it was drawn; None is the model's."""
    window_seconds: float | None
    """Length of what the networks see at a time; None shows them the whole recording."""
    context_seconds: float
    """What a window shows on both sides beyond what is taken from it."""
    channels: str
    """Which channels are restored: all of them, two as their sum and difference, or the first."""
    resampler: str
    """How the recording comes to the model's rate: soxr's VHQ, or a short windowed sinc."""
    level: str
    """Loudness and constant of the result: the recording's, or a peak near 0.5 without mean."""
    padding: str
    """What follows the end for the networks: its mirror image, or zeros to 5.12 s multiples."""
    length: str
    """Samples of the result: the recording's, or all that the vocoder gave."""
    cutoff: str
    """How the cutoff is measured: the edge itself, the paper's roll-off, the release's estimate."""
    full_band: str
    """A recording in which nothing is missing comes back as it is, or is restored all the same."""
    prefilter: choices.FilterChoice
    """Family of the zero-phase low-pass that removes what lies above the cutoff (AudioSR 4)."""
    prefilter_order: int
    """Order of one of its two directions."""
    prefilter_passes: str
    """Filtered once, or twice with a resampling between."""
    conditioning: str
    """The latent of the input: the most likely one, or a drawn one."""
    mel_replacement: str
    """Mel bands that are the input's: below the cutoff, as far as its energy is found, or none."""
    vocoder_timing: Timing
    """The waveform in place, or late by 16 samples."""
    noise_floor: str
    """The recording's own noise goes on above the edge, or ends there."""
    splice: str
    """How the input is joined: by a crossover above the cutoff, in bins of an STFT, or not."""

    def __post_init__(self) -> None:
        for name in ("steps", "seed", "prefilter_order"):
            value = getattr(self, name)
            if not isinstance(value, int) and (name != "steps" or value is not None):
                raise UsageError(f"{name}={value}: give a whole number")
        optionals = (
            "cutoff_hz",
            "output_bandwidth_hz",
            "temperature",
            "expansion",
            "window_seconds",
        )
        for name in (*optionals, "context_seconds", "guidance", "eta", *_PARTS):
            value = getattr(self, name)
            optional = name in optionals
            if not isinstance(value, int | float) and not (optional and value is None):
                raise UsageError(f"{name}={value}: give a number")
        for name, known in CHOICES.items():
            if (value := getattr(self, name)) not in known:
                raise UsageError(f"{name}={value}: choose one of {', '.join(known)}")
        choices.find_sampler(self.sampler)
        if self.steps is not None and not 0 <= self.steps <= 1000:
            raise UsageError(f"steps={self.steps}: choose 1 to 1000, or 0 for the envelope alone")
        for name in ("eta", *_PARTS):
            if not 0 <= getattr(self, name) <= 1:
                raise UsageError(f"{name}={getattr(self, name)}: choose 0 to 1")
        for name in ("temperature", "expansion"):
            if (value := getattr(self, name)) is not None and not value >= 0:
                raise UsageError(f"{name}={value}: give 0 or more")
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
        if not isinstance(self.follow_edge, bool):
            raise UsageError(f"follow_edge={self.follow_edge}: give true or false")
        if self.follow_edge and self.cutoff_hz is not None:
            raise UsageError("follow_edge=true measures the cutoff: leave cutoff_hz out")
        if self.follow_edge and self.cutoff != "edge":
            raise UsageError("follow_edge=true needs cutoff=edge")
        if self.follow_edge and self.needs_whole:
            raise UsageError(f"follow_edge=true restores in windows: not with {self.needs_whole}")
        for name in ("cutoff_hz", "output_bandwidth_hz"):
            value = getattr(self, name)
            if value is not None and not value > 0:
                raise UsageError(f"{name}={value}: give a frequency above 0 Hz")
        for name, (low, high) in _SECONDS.items():
            value = getattr(self, name)
            if value is not None and not low <= value <= high:
                raise UsageError(f"{name}={value}: give {low:g} to {high:g} seconds")

    @property
    def needs_whole(self) -> str | None:
        """The setting for which the networks must see a recording as a whole, if there is one."""
        if self.window_seconds is None:
            return "window_seconds=null"
        kept = _IN_WINDOWS.items()
        wrong = [f"{n}={getattr(self, n)}" for n, values in kept if getattr(self, n) not in values]
        return wrong[0] if wrong else None

    @classmethod
    def names(cls) -> tuple[str, ...]:
        """The names of all settings."""
        return tuple(field.name for field in fields(cls))


def load_profile(profile: str = "paper", **options: Any) -> RestoreSettings:
    """The settings of `conf/profile/PROFILE.yaml`, changed by `options`.

    Raises:
        UsageError: no such profile, or values that cannot be used.
    """
    files = {path.stem: path for path in (config_folder() / "profile").glob("*.yaml")}
    if profile not in files:
        raise UsageError(f"profile={profile}: choose one of {', '.join(sorted(files))}")
    values = yaml.safe_load(files[profile].read_text(encoding="utf-8"))
    return RestoreSettings(**(values | options))
