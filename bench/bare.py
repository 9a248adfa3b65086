"""What do a stage's networks cost alone? Their training as a plain loop, for `bench.train`."""

from abc import ABC, abstractmethod
from time import perf_counter
from typing import Any

import torch
from torch import Tensor, nn

from audiosr.diffusion.objective import add_noise, velocity
from audiosr.training.ldm import LDMStage
from audiosr.training.losses import (
    adaptive_weight,
    feature_matching_loss,
    hinge_discriminator_loss,
    hinge_generator_loss,
    last_gradients,
    least_squares_discriminator_loss,
    least_squares_generator_loss,
    log_stft_loss,
)
from audiosr.training.vae import VAEStage
from audiosr.training.vocoder import VocoderStage

PRECISIONS = {"float32": torch.float32, "bfloat16": torch.bfloat16}
MEMORY_FORMATS = {
    "contiguous": torch.contiguous_format,
    "channels-last": torch.channels_last,
}


class Bare(ABC):
    """The networks of a stage and the tensors that they work on; what comes before is not timed."""

    def __init__(self, stage: Any, batch: dict[str, Any]) -> None:
        self.stage = stage
        self.device: torch.device = stage.device
        optimisers = stage.optimizers()
        listed = optimisers if isinstance(optimisers, list) else [optimisers]
        self.optimisers = [optimiser.optimizer for optimiser in listed]

    @abstractmethod
    def step(self) -> None:
        """Forward, losses, backward and optimisers of one batch."""

    def seconds(self) -> float:
        """What one step takes."""
        start = perf_counter()
        self.step()
        if self.device.type == "cuda":
            torch.cuda.synchronize()
        return perf_counter() - start

    def lay_out(self, memory_format: torch.memory_format) -> None:
        """Bring the networks to `memory_format`; the optimisers start anew, in the same format."""
        self.stage.to(memory_format=memory_format)
        for optimiser in self.optimisers:
            optimiser.state.clear()

    def update(self, which: int, loss: Tensor, network: nn.Module) -> None:
        """Backward and a step of one optimiser."""
        self.optimisers[which].zero_grad()
        loss.backward()
        nn.utils.clip_grad_norm_(network.parameters(), self.stage.optimiser.clip_norm)
        self.optimisers[which].step()


class BareVAE(Bare):
    """An autoencoder and its patch discriminator on log-mels."""

    stage: VAEStage

    def __init__(self, stage: VAEStage, batch: dict[str, Any]) -> None:
        super().__init__(stage, batch)
        self.mel = stage.log_mel(batch["waveform"])

    def step(self) -> None:
        """See `Bare`."""
        stage, mel, judge = self.stage, self.mel, self.stage.discriminator
        posterior = stage.autoencoder.encode(mel)
        made = stage.autoencoder.decode(posterior.sample())
        self.update(1, hinge_discriminator_loss(judge(mel), judge(made.detach())), judge)
        likelihood = (mel - made).abs().mean()
        judge.requires_grad_(False)
        heard = hinge_generator_loss(judge(made))
        judge.requires_grad_(True)
        pulls = last_gradients(likelihood, heard, stage.autoencoder.last_layer)
        weight = adaptive_weight(*pulls, maximum=stage.adaptive_limit)
        loss = likelihood + stage.kl_weight * posterior.kl().mean() + weight * heard
        self.update(0, loss, stage.get_submodule("autoencoder"))


class BareVocoder(Bare):
    """A vocoder and its discriminators on log-mels and waveforms."""

    stage: VocoderStage

    def __init__(self, stage: VocoderStage, batch: dict[str, Any]) -> None:
        super().__init__(stage, batch)
        self.mel = stage.log_mel(batch["waveform"])
        self.wave = batch["waveform"][..., : self.mel.shape[2] * stage.features.hop]

    def step(self) -> None:
        """See `Bare`."""
        stage, weights, judge = self.stage, self.stage.weights, self.stage.discriminator
        made = stage.vocoder(self.mel).float()
        self.update(
            1, least_squares_discriminator_loss(judge(self.wave), judge(made.detach())), judge
        )
        judge.requires_grad_(False)
        with torch.no_grad():
            real = judge(self.wave)
        fake = judge(made)
        judge.requires_grad_(True)
        loss = (
            weights.mel * (stage.log_mel(made) - self.mel).abs().mean()
            + weights.stft * log_stft_loss(made, self.wave)
            + weights.adversarial * least_squares_generator_loss(fake)
            + weights.feature_matching * feature_matching_loss(real, fake)
        )
        self.update(0, loss, stage.get_submodule("vocoder"))


class BareLDM(Bare):
    """A denoiser on latents, at as many times and noises of each as the stage draws."""

    stage: LDMStage

    def __init__(self, stage: LDMStage, batch: dict[str, Any]) -> None:
        super().__init__(stage, batch)
        count = stage.draws_per_clip
        draws = stage.draws(len(batch["waveform"]))
        latent, low = stage.latents(batch, draws)[:2]
        self.latent = latent.repeat_interleave(count, 0)
        self.condition = stage.told(low, batch).repeat_interleave(count, 0)
        self.timesteps = draws.times(count, len(stage.frozen.alphas_cumprod)).flatten()
        self.noise = torch.randn_like(self.latent)
        self.abar = stage.frozen.alphas_cumprod[self.timesteps][:, None, None, None]

    def step(self) -> None:
        """See `Bare`."""
        noisy = add_noise(self.latent, self.noise, self.abar)
        target = velocity(self.latent, self.noise, self.abar)
        denoiser = self.stage.get_submodule("denoiser")
        predicted = denoiser(noisy, self.timesteps, self.condition)
        loss = (predicted.float() - target).square().mean()
        self.update(0, loss, denoiser)


BARE: dict[str, type[Any]] = {"vae": BareVAE, "vocoder": BareVocoder, "ldm": BareLDM}
