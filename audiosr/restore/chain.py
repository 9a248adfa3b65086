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
class RestoreChain:
    """The way of the data: low band, condition, latent, log-mel, waveform.

    Attributes:
        model: all three networks, on their device.
        dtype: precision of the networks, by autocast.
        settings: which steps.
        cutoff_hz: up to where the input is kept.
        noise: source of every draw, in their order: with `conditioning="sample"` two for the
            condition, then the starting noise, then one per step of a sampler with `eta`.
        on_step: called with the finished part of the sampling, up to 1.0.
        watch: sees "wave" (continued for the networks), "low", "low_mel", "condition" and "x" after
            each step (both scaled), "mel" as decoded, "generated" by the vocoder.
    """

    model: Model
    dtype: torch.dtype
    settings: RestoreSettings
    cutoff_hz: float
    noise: Noise
    on_step: Callable[[float], None]
    watch: Watch

    def __call__(self, wave: Tensor) -> Tensor:
        """Fill `wave (B, 1, T)`, normalised and at the model's rate, above the cutoff."""
        settings, model = self.settings, self.model
        rate = model.features.rate
        padded = steps.PADDINGS[settings.padding](wave, FRAMES_MULTIPLE * model.features.hop)
        self.watch("wave", padded)
        family = steps.family(settings.prefilter, settings.seed)
        prefilter = Lowpass(family, self.cutoff_hz, settings.prefilter_order)
        low = steps.FILTERINGS[settings.prefilter_passes](padded, prefilter, rate)
        generated = self._generate(low)
        if settings.noise_floor == "continue":
            generator = torch.Generator().manual_seed(settings.seed)
            white = torch.randn(1, 1, padded.shape[-1], generator=generator).to(padded.device)
            generated = add_floor(generated, padded, self.cutoff_hz, model.log_mel, white)
        samples = wave.shape[-1] if settings.length == "exact" else generated.shape[-1]
        generated = generated[..., :samples]
        if settings.output_bandwidth_hz is not None:
            limit = Lowpass("butter", min(settings.output_bandwidth_hz, rate / 2), 8)
            generated = apply_lowpass(generated, [limit] * len(wave), rate)
        kept = F.pad(padded, (0, max(0, samples - padded.shape[-1])))[..., :samples]
        splice = steps.SPLICES[settings.splice]
        return splice(generated, kept, low[..., :samples], self.cutoff_hz, rate)

    def _generate(self, low: Tensor) -> Tensor:
        """What the networks make of the filtered input `(B, 1, T)`, its own low bands kept."""
        model, settings, watch = self.model, self.settings, self.watch
        assert model.vocoder is not None
        low_mel = model.log_mel(low)
        watch("low", low)
        watch("low_mel", low_mel)
        device = low.device.type
        with torch.autocast(device, self.dtype, enabled=self.dtype != torch.float32):
            mel = model.decode(self._sample(self._condition(low_mel))).float()
            watch("mel", mel)
            mel = steps.MEL_REPLACEMENTS[settings.mel_replacement](
                mel, low_mel, self.cutoff_hz, model.features
            )
            generated = steps.vocode(model.vocoder, mel, settings.vocoder_timing).float()
        watch("generated", generated)
        return generated

    def _condition(self, low_mel: Tensor) -> Tensor:
        """The scaled latent `(B, C, t, f)` of the filtered input's log-mel."""
        assert self.model.autoencoder is not None
        posterior = self.model.autoencoder.encode(low_mel)
        latent = steps.CONDITIONINGS[self.settings.conditioning](posterior, self.noise)
        nyquist_hz = self.model.features.rate / 2
        limits = [self.cutoff_hz, min(self.settings.output_bandwidth_hz or nyquist_hz, nyquist_hz)]
        condition = self.model.condition(
            latent.float() * self.model.latent.scale,
            *torch.tensor(limits, device=latent.device)[:, None].expand(2, len(latent)),
        )
        self.watch("condition", condition)
        return condition

    def _sample(self, condition: Tensor) -> Tensor:
        """Draw the scaled latent `(B, C, t, f)` that belongs to the condition."""
        model, settings = self.model, self.settings
        assert model.denoiser is not None
        table = model.alphas_cumprod
        timesteps = steps.SPACINGS[settings.spacing](settings.steps, len(table))
        denoiser = model.denoiser
        if model.student is not None and timesteps.tolist() == [len(table) - 1]:
            denoiser = model.student
        if settings.eta and not model.start.draws_afresh:
            raise UsageError(
                f"eta={settings.eta} exchanges the noise, and this model starts from its input: "
                "give eta=0"
            )

        def step(index: int, t: int, x: Tensor, x0: Tensor) -> None:
            self.on_step((index + 1) / len(timesteps))
            self.watch("x", x)

        extra: dict[str, Any] = {}
        if settings.sampler == "ddim":
            last_alpha = 1.0 if settings.last_step == "clean" else float(table[0])
            extra = {"eta": settings.eta, "last_alpha": last_alpha}
        null = model.null_condition(condition)
        # What the denoiser is told stands in channels of the condition that no latent has.
        latent = condition[:, : condition.shape[1] - len(model.latent.condition_on)]
        return steps.find_sampler(settings.sampler)(
            guided(model.predictor(denoiser), condition, null, settings.guidance),
            model.start(settings.temperature * self.noise(latent), condition),
            timesteps,
            table,
            noise=self.noise,
            callback=step,
            **extra,
        )
