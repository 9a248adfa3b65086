"""How is the latent diffusion model trained? Stage 2, given the low-passed latent (AudioSR 3.2).

In one piece: the loss, the sampling of validation and the fit before training share one condition.
"""

from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any, Protocol, runtime_checkable

import torch
from einops import rearrange
from torch import Tensor

from audiosr.audio.replace import replace_mel
from audiosr.diffusion.guidance import guided
from audiosr.diffusion.objective import Objective, add_noise
from audiosr.diffusion.samplers import dpm_solver_pp_2m
from audiosr.diffusion.schedule import trailing_timesteps
from audiosr.diffusion.weighting import EvenWeight
from audiosr.model import DiffusionSettings, FillSettings, LatentSettings, Model
from audiosr.networks.envelope_prior import EnvelopePrior
from audiosr.networks.gaussian import DiagonalGaussian
from audiosr.networks.roles import DenoiserRole
from audiosr.training.ddp import copy_from_first_rank
from audiosr.training.draws import CONDITION, NOISE, POSTERIOR, START, ClipDraws
from audiosr.training.high_band import bands_below, high_band_errors
from audiosr.training.latents import LatentCache, name_crops
from audiosr.training.losses import log_mel_distance
from audiosr.training.proof import prove_autoencoder
from audiosr.training.stage import BatchPart, Stage

_BEFORE_TRAINING = 1 << 40
"""Number of the first step of draws that are of no step of training."""


@runtime_checkable
class FittedOnLatents(Protocol):
    """A denoiser that sees some latents before its training starts."""

    def fit(self, condition: Tensor, latent: Tensor) -> None:
        """Fit to latents `(B, C, t, f)` of low-passed and full-band clips."""
        ...

    def left_over(self, condition: Tensor, latent: Tensor) -> Tensor:
        """What the fit misses of such latents."""
        ...


class LDMStage(Stage):
    """Trains a denoiser of latents.

    Batches need twins: `degraded (B, 1, T)` and `cutoff_hz (B,)` in Hz.

    The autoencoder is frozen, held outside the module's parameters, and so in no checkpoint.

    Args:
        denoiser: `(x, timesteps, condition) -> prediction`, all latents `(B, C, t, f)`.
        diffusion: schedule, objective and start.
        weighting: of the squared error, see `audiosr.diffusion.weighting`.
        frozen: the model that holds the trained autoencoder, and perhaps a vocoder for the audio
            panels.
        condition_on: what the denoiser is told beside the condition: "cutoff", "bandwidth", both
            or nothing.
        fill: the `FillSettings` of the trained model; validation is told their bandwidth, since how
            far a recording reached is known of what one trains on alone.
        condition_dropout: probability, per draw, of training without the condition.
        null_value: value of the condition that stands for none, before the latent scale.
        low_weight: weight of the loss in latent bands that lie wholly below the cutoff, whose
            place what is heard of the recording takes. Below 1 the latent scale is measured on the
            others.
        scale_clips: clips on which the latent scale is measured (and a closed-form start is
            fitted).
        envelope: completes the log-mels of low-passed clips before they are encoded, fitted before
            training; none: they are encoded as they are.
        draws_per_clip: times and noises at which the denoiser is trained on every encoded clip.
        latent_cache: folder that keeps the latents of crops that come again; none: not kept.
        valid_steps: sampling steps in validation.
        architecture: class and arguments of the denoiser, for the exported model folder.
        paired: whether the autoencoder came with the denoiser that the run starts from. One that
            reconstructs badly is then only remarked on.
        settings: features, optimiser, seed, fine_tuned, accumulate.
    """

    name = "ldm"
    part = "denoiser"
    figures = ("loss", "lsd", "lsd_hf", "energy_hf", "variance_hf")
    # A distance of what is drawn rewards too little variance; the loss does not.
    monitor = "valid/loss"

    def __init__(
        self,
        *,
        denoiser: DenoiserRole,
        frozen: Model,
        condition_on: Sequence[str],
        fill: dict[str, Any],
        condition_dropout: float,
        null_value: float,
        low_weight: float,
        scale_clips: int,
        envelope: EnvelopePrior | None,
        draws_per_clip: int,
        latent_cache: str | None,
        valid_steps: int,
        architecture: dict[str, Any],
        paired: bool,
        diffusion: DiffusionSettings,
        weighting: Callable[[Tensor, Objective], Tensor] | None = None,
        **settings: Any,
    ) -> None:
        super().__init__(**settings)
        frozen.need("autoencoder")
        setattr(self, self.part, denoiser)
        self.envelope = envelope and envelope.train()
        self.frozen = replace(
            frozen, diffusion=diffusion, fill=FillSettings(**fill), envelope=envelope
        )
        self.predict = self.frozen.predictor(denoiser)
        self.weighting = weighting or EvenWeight()
        self.condition_on = condition_on
        self.condition_dropout = condition_dropout
        self.null_value = null_value
        self.low_weight = low_weight
        self.scale_clips = scale_clips
        self.draws_per_clip = draws_per_clip
        self.latent_cache = latent_cache
        self.kept: LatentCache | None = None
        self.valid_steps = valid_steps
        self.architecture = architecture
        self.paired = paired
        self.register_buffer("latent_scale", torch.zeros(()))
        self.latent_scale: Tensor

    @property
    def network(self) -> DenoiserRole:
        """The denoiser that learns."""
        return getattr(self, self.part)

    def start_from(self, model: Model, origin: dict[str, Any]) -> None:
        """Take up the denoiser of `model`, the latent scale that it knows and what it follows."""
        super().start_from(model, origin)
        self.envelope = self.frozen.envelope = model.envelope and model.envelope.train()
        self.condition_on = model.latent.condition_on
        self.frozen.fill = model.fill
        self.latent_scale.fill_(model.latent.scale)

    def on_fit_start(self) -> None:
        """Prove the frozen autoencoder, and measure a latent scale that is not known yet.

        Alike on every rank.
        """
        self.frozen.to(self.device)
        self.frozen.latent = LatentSettings(1.0, self.null_value, self.condition_on)
        if self.trainer.ckpt_path is None:
            prove_autoencoder(self, self.frozen, refused=not self.paired)
        if self.latent_cache is not None:
            precision = str(self.trainer.precision)
            self.kept = LatentCache(self.latent_cache, self.frozen, precision)
        if self.latent_scale == 0:
            self._measure_latents()
        self.frozen.latent = replace(self.frozen.latent, scale=float(self.latent_scale))

    def on_before_batch_transfer(self, batch: dict[str, Any], dataloader_idx: int) -> Any:
        """Name the crops of training while they are in the memory of the processor."""
        if self.kept is not None and self.trainer.training:
            batch["crop"] = name_crops(batch["waveform"])
        return batch

    def training_step(self, batch: dict[str, Any], batch_idx: int) -> None:
        """Mean squared error at drawn times and noises of every clip (AudioSR 3.2, eq. 5)."""
        values = self.learn(0, self.network, self.parts(batch), self.losses)
        self.record(len(batch["waveform"]), **values)

    def losses(self, part: BatchPart) -> dict[str, Tensor]:
        """The loss of a part, as `learn` takes it, and the spread of its latents."""
        latent, condition = self.latents(part.batch, part.draws)[:2]
        dropout = self.condition_dropout
        loss = self.loss(latent, condition, part.batch, part.draws, dropout=dropout).mean()
        return {"loss": loss, "latent_std": latent.std()}

    def validation_step(self, batch: dict[str, Any], batch_idx: int) -> None:
        """The loss, and the restored log-mels; cutoffs, times and noise are always the same."""
        draws = self.same_draws(batch)
        mel, restored, _, bands = self.restore(batch, draws)
        latent, condition = self.latents(batch, draws)[:2]
        energy, liveliness = high_band_errors(restored, mel, bands)
        self.judge(
            batch,
            loss=self.loss(latent, condition, batch, draws),
            energy_hf=energy,
            variance_hf=liveliness,
            lsd=log_mel_distance(restored, mel),
            lsd_hf=log_mel_distance(restored, mel, above=bands),
        )

    def configure_optimizers(self) -> Any:
        """AdamW with its schedule stepped once per batch."""
        return self.adamw(self.network.parameters())

    @torch.no_grad()
    def latents(
        self, batch: dict[str, Any], draws: ClipDraws
    ) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        """Scaled latents of the clips and of their degraded twins; the log-mels of both."""
        mel, low = self.log_mel(torch.cat([batch["waveform"], batch["degraded"]])).chunk(2)
        completed = self.frozen.complete(low, batch["cutoff_hz"])
        posterior = self._posterior(torch.cat([mel, completed]), batch.get("crop"))
        # The posterior is sampled, as in the release, for target and condition alike.
        noise = draws.normal(2, *posterior.mean.shape[1:], purpose=POSTERIOR)
        both = posterior.at(rearrange(noise, "b two ... -> (two b) ...")).float()
        latent, condition = (self.frozen.latent.scale * both).chunk(2)
        return latent, condition, mel, low

    def _posterior(self, mels: Tensor, crops: list[str] | None) -> DiagonalGaussian:
        """Of the log-mels of clips and then of their twins; the clips' may be kept by `crops`."""
        autoencoder = self.frozen.autoencoder
        assert autoencoder is not None
        if self.kept is None or crops is None:
            return autoencoder.encode(mels)
        mel, low = mels.chunk(2)
        clean = self.kept.posterior(crops, lambda rows: autoencoder.encode(mel[rows]), mel.device)
        degraded = autoencoder.encode(low)
        return DiagonalGaussian(
            torch.cat([clean.mean, degraded.mean]), torch.cat([clean.logvar, degraded.logvar])
        )

    def loss(
        self,
        latent: Tensor,
        condition: Tensor,
        batch: dict[str, Any],
        draws: ClipDraws,
        *,
        dropout: float = 0.0,
    ) -> Tensor:
        """Weighted squared error `(B,)`, mean over `draws_per_clip` times and noises of every clip.

        Args:
            latent: of the clips, `(B, C, t, f)`.
            condition: of their degraded twins, of that shape.
            batch: the clips.
            draws: their random numbers.
            dropout: probability, at each time of each clip, that the condition is left out.
        """
        count, table = self.draws_per_clip, self.frozen.alphas_cumprod
        noise = draws.normal(count, *latent.shape[1:], purpose=NOISE).flatten(0, 1)
        timesteps = draws.times(count, len(table)).flatten()
        drop = draws.uniform(count, purpose=CONDITION).flatten() < dropout
        condition = self.told(condition, batch)
        heard = self._heard(batch)
        latent, condition, heard = (
            x.repeat_interleave(count, 0) for x in (latent, condition, heard)
        )
        end = self.frozen.start(noise, condition)
        null = self.frozen.null_condition(condition)
        condition = torch.where(drop[:, None, None, None], null, condition)
        abar, objective = table[timesteps], self.frozen.objective
        shown = objective.shown(add_noise(latent, end, abar), abar)
        predicted = self.network(shown, timesteps, condition)
        error = (predicted.float() - objective.target(latent, end, abar)).square()
        error = self.weight(abar) * (heard * error).mean((1, 2, 3)) / heard.mean((1, 2, 3))
        return rearrange(error, "(b k) -> b k", k=count).mean(1)

    def told(self, condition: Tensor, batch: dict[str, Any]) -> Tensor:
        """The condition with what the denoiser is told of the clips, `(B, C', t, f)`."""
        return self.frozen.condition(condition, batch["cutoff_hz"], batch["bandwidth_hz"])

    def _heard(self, batch: dict[str, Any]) -> Tensor:
        """Weight of every latent band of each clip, `(B, 1, 1, f)`: `low_weight` or 1."""
        below = (self.frozen.share_below(batch["cutoff_hz"]) == 1).float()
        return (1 - (1 - self.low_weight) * below)[:, None, None].to(self.device)

    def weight(self, abar: Tensor) -> Tensor:
        """Weight of the squared error where signal power `abar (B,)` is left, of its shape."""
        return self.weighting(abar, self.frozen.objective)

    def restore(
        self, batch: dict[str, Any], draws: ClipDraws, purpose: int = START
    ) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        """Log-mels `(B, 1, T, F)` of a degraded batch and first bands `(B,)`.

        Of the reference, restored, and of what was degraded.

        A clip's first band is the lowest above its cutoff.
        """
        latent, condition, mel, low = self.latents(batch, draws)
        cutoff_hz = batch["cutoff_hz"]
        noise = draws.normal(*latent.shape[1:], purpose=purpose)
        # How far a recording reached is known of what one trains on, and of no recording else.
        usual = torch.full_like(cutoff_hz, self.frozen.bandwidth_hz)
        condition = self.frozen.condition(condition, cutoff_hz, usual)
        denoise = guided(self.predict, condition, self.frozen.null_condition(condition), 1.0)
        steps = trailing_timesteps(self.valid_steps, len(self.frozen.alphas_cumprod))
        start = self.frozen.start(noise, condition)
        sample = dpm_solver_pp_2m(denoise, start, steps, self.frozen.alphas_cumprod)
        restored = replace_mel(self.frozen.decode(sample), low, cutoff_hz, self.features)
        return mel, restored, low, bands_below(cutoff_hz, self.features)

    def panels(self, batch: dict[str, Any]) -> dict[str, Tensor]:
        """Log-mels low-passed, restored and reference; with a vocoder also their sound."""
        mel, restored, low, _ = self.restore(batch, self.same_draws(batch))
        panels = {"mel/low": low, "mel/restored": restored, "mel/reference": mel}
        if self.frozen.vocoder is not None:
            panels |= {
                "wave/restored": self.frozen.vocoder(restored),
                "wave/reference": batch["waveform"],
            }
        return panels

    def export(self) -> Model:
        """The frozen model with this denoiser and its latent scale."""
        alone = Model(
            features=self.features,
            denoiser=self.network,
            envelope=self.envelope,
            latent=LatentSettings(float(self.latent_scale), self.null_value, self.condition_on),
            fill=self.frozen.fill,
            diffusion=self.frozen.diffusion,
            architectures={"denoiser": self.architecture}
            | ({"envelope": self.envelope.architecture} if self.envelope else {}),
        )
        return self.frozen.merge(alone)

    @torch.no_grad()
    def _measure_latents(self) -> None:
        """Latent scale 1 / std (Rombach et al., 2112.10752), the envelope's and the denoiser's fit.

        Where the denoiser is fitted, std is that of what the fit leaves over.
        """
        if self.envelope is not None:
            batches = self.first_batches(self.scale_clips)
            mels = (self.log_mel(batch["waveform"]) for batch in batches)
            self.envelope.fit(torch.cat([self.gathered(self.envelope.grouped(m)) for m in mels]))
            copy_from_first_rank([*self.envelope.state_dict().values()])
        sides: tuple[list[Tensor], ...] = [], [], [], [], []
        # Steps before the first: no training step draws these.
        for step, batch in enumerate(self.first_batches(self.scale_clips), start=_BEFORE_TRAINING):
            pair = self.latents(batch, self.draws(len(batch["waveform"]), step))[:2]
            told = batch["cutoff_hz"], batch["bandwidth_hz"], self._heard(batch)
            for side, of_clips in zip(sides, (*pair, *told), strict=True):
                side.append(self.gathered(of_clips))
        latent, condition, cutoff, bandwidth, heard = (torch.cat(side) for side in sides)
        network, generated = self.network, latent
        if isinstance(network, FittedOnLatents):
            # The schedule must meet what is left to generate, measured on clips that the fit has
            # not seen, and not what the fit says already.
            held = len(latent) // 4
            told = self.frozen.condition(condition, cutoff, bandwidth)
            network.fit(told[held:], latent[held:])
            generated = network.left_over(told[:held], latent[:held])
            heard = heard[:held]
        loud = (heard == 1).expand_as(generated)
        scale = 1 / generated[loud].std()
        if isinstance(network, FittedOnLatents):
            told = self.frozen.condition(condition * scale, cutoff, bandwidth)
            network.fit(told, latent * scale)
        self.latent_scale.copy_(scale)
        copy_from_first_rank([self.latent_scale, *self.network.state_dict().values()])
