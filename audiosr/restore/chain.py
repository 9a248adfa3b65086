"""Which way does a batch of waveforms take through the networks?"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, TypeAlias

import torch
import torch.nn.functional as F
from torch import Tensor

from audiosr.audio.lowpass import Lowpass, apply_lowpass
from audiosr.diffusion.guidance import guided
from audiosr.diffusion.samplers import Noise
from audiosr.errors import UsageError
from audiosr.model import Model
from audiosr.restore import steps
from audiosr.restore.expansion import spread_level
from audiosr.restore.floor import add_floor
from audiosr.restore.samples import FRAMES_MULTIPLE
from audiosr.restore.settings import RestoreSettings

Watch: TypeAlias = Callable[[str, Tensor], None]
"""Called with the name and the value of what lies between input and result."""


def shared_noise(seed: int) -> Noise:
    """Noise that all clips of a batch have in common, drawn on the processor."""
    generator = torch.Generator().manual_seed(seed)

    def draw(x: Tensor) -> Tensor:
        one = torch.randn(1, *x.shape[1:], generator=generator)
        return one.to(x.device).expand_as(x)

    return draw


@dataclass(frozen=True)
class NetworkChain:
    """The networks' part of the way: from the low band to a log-mel, and on to a waveform.

    Attributes:
        model: all three networks, on their device.
        dtype: precision of the networks, by autocast.
        settings: which steps.
        watch: sees "low", "low_mel", "condition" and "x" after each step (both scaled), "mel" as
            decoded, "generated" by the vocoder.
    """

    model: Model
    dtype: torch.dtype
    settings: RestoreSettings
    watch: Watch

    def __post_init__(self) -> None:
        if count_steps(self.model, self.settings) == 0 and self.model.envelope is None:
            raise UsageError(
                "steps=0 takes the envelope alone, which this model does not hold: choose 1 to 1000"
            )

    def mels(
        self, low: Tensor, cutoff_hz: Tensor, noise: Noise, on_step: Callable[[float], None]
    ) -> tuple[Tensor, Tensor]:
        """The full-band log-mel that is drawn for low bands `(B, 1, T)`, and their own.

        Args:
            low: normalised, at the model's rate, whole blocks of `FRAMES_MULTIPLE` frames.
            cutoff_hz: up to where each row is kept `(B,)`.
            noise: source of every draw, in their order: with `conditioning="sample"` two for the
                condition, then the starting noise, then one per step of a sampler with `eta`.
            on_step: called with the finished part of the sampling, up to 1.0.
        """
        low_mel = self.model.log_mel(low)
        self.watch("low", low)
        self.watch("low_mel", low_mel)
        if count_steps(self.model, self.settings) == 0:
            mel = self.model.complete(low_mel, cutoff_hz)
            on_step(1.0)
        else:
            with self._precision(low):
                condition = self._condition(low_mel, cutoff_hz, noise)
                mel = self.model.decode(self._sample(condition, noise, on_step)).float()
        self.watch("mel", mel)
        return mel, low_mel

    def vocode(self, mel: Tensor) -> Tensor:
        """Waveform of a log-mel `(B, 1, T, F)`."""
        assert self.model.vocoder is not None
        with self._precision(mel):
            generated = steps.vocode(self.model.vocoder, mel, self.settings.vocoder_timing).float()
        self.watch("generated", generated)
        return generated

    def _precision(self, on: Tensor) -> torch.autocast:
        return torch.autocast(on.device.type, self.dtype, enabled=self.dtype != torch.float32)

    def _condition(self, low_mel: Tensor, cutoff_hz: Tensor, noise: Noise) -> Tensor:
        """What the denoiser follows `(B, C, t, f)`, of the filtered input's log-mel."""
        assert self.model.autoencoder is not None
        posterior = self.model.autoencoder.encode(self.model.complete(low_mel, cutoff_hz))
        latent = steps.CONDITIONINGS[self.settings.conditioning](posterior, noise)
        condition = self.model.condition(
            latent.float() * self.model.latent.scale,
            cutoff_hz,
            torch.full_like(cutoff_hz, fill_limit_hz(self.model, self.settings)),
        )
        self.watch("condition", condition)
        return condition

    def _sample(self, condition: Tensor, noise: Noise, on_step: Callable[[float], None]) -> Tensor:
        """Draw the scaled latent `(B, C, t, f)` that belongs to the condition."""
        model, settings = self.model, self.settings
        assert model.denoiser is not None
        table = model.alphas_cumprod
        timesteps = sampled_timesteps(model, settings)
        denoiser = model.denoiser
        if model.student is not None and timesteps.tolist() == [len(table) - 1]:
            denoiser = model.student
        if settings.eta and not model.start.draws_afresh:
            raise UsageError(
                f"eta={settings.eta} exchanges the noise, and this model starts from its input: "
                "give eta=0"
            )

        def step(index: int, t: int, x: Tensor, x0: Tensor) -> None:
            on_step((index + 1) / len(timesteps))
            self.watch("x", x)

        extra: dict[str, Any] = {}
        if settings.sampler == "ddim":
            last_alpha = 1.0 if settings.last_step == "clean" else float(table[0])
            extra = {"eta": settings.eta, "last_alpha": last_alpha}
        null = model.null_condition(condition)
        # What the denoiser is told stands in channels of the condition that no latent has.
        latent = condition[:, : condition.shape[1] - len(model.latent.condition_on)]
        return steps.find_sampler(settings.sampler)(
            guided(
                model.predictor(denoiser),
                condition,
                null,
                settings.guidance,
                rescale=settings.guidance_rescale,
                interval=(settings.guidance_low * len(table), settings.guidance_high * len(table)),
            ),
            model.start(start_temperature(model, settings) * noise(latent), condition),
            timesteps,
            table,
            noise=noise,
            callback=step,
            **extra,
        )


def filter_low(wave: Tensor, cutoff_hz: float, settings: RestoreSettings, rate: int) -> Tensor:
    """What the networks see of waveforms `(B, 1, T)`: nothing above the cutoff."""
    family = steps.family(settings.prefilter, settings.seed)
    prefilter = Lowpass(family, cutoff_hz, settings.prefilter_order)
    return steps.FILTERINGS[settings.prefilter_passes](wave, prefilter, rate)


def count_steps(model: Model, settings: RestoreSettings) -> int:
    """How often the denoiser is asked: as is chosen, or as the model wants."""
    return model.fill.steps if settings.steps is None else settings.steps


def sampled_timesteps(model: Model, settings: RestoreSettings) -> Tensor:
    """Where in the schedule the denoiser is asked."""
    count = count_steps(model, settings)
    return steps.SPACINGS[settings.spacing](count, len(model.alphas_cumprod))


def start_temperature(model: Model, settings: RestoreSettings) -> float:
    """Factor on the starting noise: as is chosen, or as the model wants."""
    return model.fill.temperature if settings.temperature is None else settings.temperature


def fill_limit_hz(model: Model, settings: RestoreSettings) -> float:
    """Up to where recordings are filled: as far as is asked for, or the model does by itself."""
    return min(settings.output_bandwidth_hz or model.bandwidth_hz, model.features.rate / 2)


def expanded(mel: Tensor, cutoff_hz: Tensor, model: Model, settings: RestoreSettings) -> Tensor:
    """A generated log-mel `(B, 1, T, F)` that moves as the settings, or else the model, ask for."""
    ratio = model.fill.expansion if settings.expansion is None else settings.expansion
    return spread_level(mel, cutoff_hz, fill_limit_hz(model, settings), ratio, model.features)


def limit_output_band(generated: Tensor, model: Model, settings: RestoreSettings) -> Tensor:
    """Waveforms `(B, 1, T)` without what lies above the limit, the continued noise included."""
    limit_hz, rate = fill_limit_hz(model, settings), model.features.rate
    if limit_hz >= rate / 2:
        return generated
    return apply_lowpass(generated, [Lowpass("butter", limit_hz, 8)] * len(generated), rate)


@dataclass(frozen=True)
class RestoreChain:
    """The way of whole recordings: low band, condition, latent, log-mel, waveform.

    Attributes:
        networks: their part of it.
        cutoff_hz: up to where the input is kept.
        noise: see `NetworkChain.mels`.
        on_step: likewise.
    """

    networks: NetworkChain
    cutoff_hz: float
    noise: Noise
    on_step: Callable[[float], None]

    def __call__(self, wave: Tensor) -> Tensor:
        """Fill `wave (B, 1, T)`, normalised and at the model's rate, above the cutoff."""
        networks, settings, model = self.networks, self.networks.settings, self.networks.model
        rate = model.features.rate
        padded = steps.PADDINGS[settings.padding](wave, FRAMES_MULTIPLE * model.features.hop)
        networks.watch("wave", padded)
        low = filter_low(padded, self.cutoff_hz, settings, rate)
        cutoff_hz = torch.full((len(low),), self.cutoff_hz, device=low.device)
        mel, low_mel = networks.mels(low, cutoff_hz, self.noise, self.on_step)
        mel = expanded(mel, cutoff_hz, model, settings)
        replace_bands = steps.MEL_REPLACEMENTS[settings.mel_replacement]
        generated = networks.vocode(replace_bands(mel, low_mel, self.cutoff_hz, model.features))
        if settings.noise_floor == "continue":
            generator = torch.Generator().manual_seed(settings.seed)
            white = torch.randn(1, 1, padded.shape[-1], generator=generator).to(padded.device)
            generated = add_floor(generated, padded, self.cutoff_hz, model.log_mel, white)
        samples = wave.shape[-1] if settings.length == "exact" else generated.shape[-1]
        generated = limit_output_band(generated[..., :samples], model, settings)
        kept = F.pad(padded, (0, max(0, samples - padded.shape[-1])))[..., :samples]
        splice = steps.SPLICES[settings.splice]
        return splice(generated, kept, low[..., :samples], self.cutoff_hz, rate)
