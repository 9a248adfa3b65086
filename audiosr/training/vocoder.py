"""How is the vocoder trained? Stage 3, against multi-resolution discriminators.

AudioSR 3.1; HiFi-GAN, arXiv 2010.05646.
"""

from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from audiosr.metrics.lsd import log_spectral_distance
from audiosr.model import Model
from audiosr.networks.roles import VocoderRole
from audiosr.training.losses import (
    feature_matching_loss,
    least_squares_discriminator_loss,
    least_squares_generator_loss,
    log_stft_loss,
)
from audiosr.training.stage import AdversarialStage


@dataclass(frozen=True)
class VocoderWeights:
    """Weights of the generator's losses; one of weight 0 is logged and not minimised.

    Attributes:
        mel: L1 between log-mels (45 in HiFi-GAN).
        stft: L1 between log-magnitude spectrograms at several resolutions.
        adversarial: least-squares adversarial loss (1 in HiFi-GAN).
        feature_matching: L1 between the discriminators' features (2 in HiFi-GAN).
    """

    mel: float = 45.0
    stft: float = 0.0
    adversarial: float = 1.0
    feature_matching: float = 2.0


class VocoderStage(AdversarialStage):
    """Trains a generator from log-mel to waveform against several discriminators.

    Args:
        vocoder: the generator, `(B, 1, T, F) -> (B, 1, hop * T)`.
        discriminator: waveform `(B, 1, T)` to a list of (logits, features).
        weights: weights of the generator's losses.
        architecture: class and arguments of the generator, for the exported model folder.
        settings: features, optimiser, seed, fine_tuned, and when the discriminators take part.
    """

    name = "vocoder"
    part = "vocoder"
    figures = ("lsd", "loss_mel")
    monitor = "valid/lsd"

    def __init__(
        self,
        *,
        vocoder: VocoderRole,
        discriminator: nn.Module,
        weights: VocoderWeights,
        architecture: dict[str, Any],
        **settings: Any,
    ) -> None:
        super().__init__(**settings)
        self.vocoder = vocoder
        self.discriminator = discriminator
        self.weights = weights
        self.architecture = architecture

    def training_step(self, batch: dict[str, Any], batch_idx: int) -> None:
        """One step of the discriminators, then one of the generator, on the same waveform."""
        real = batch["waveform"]
        mel = self.log_mel(real)
        real = real[..., : mel.shape[2] * self.features.hop]
        fake = self.vocoder(mel).float()

        values = {
            "loss_mel": (self.log_mel(fake) - mel).abs().mean(),
            "loss_stft": log_stft_loss(fake, real),
        }
        loss = self.weights.mel * values["loss_mel"] + self.weights.stft * values["loss_stft"]
        if self.weights.adversarial > 0 and self.global_step >= self.learns_from:
            values["loss_disc"] = least_squares_discriminator_loss(
                self.discriminator(real), self.discriminator(fake.detach())
            )
            self.step_discriminator(values["loss_disc"], self.discriminator)
        if self.weights.adversarial > 0 and self.global_step >= self.heard_from:
            self.discriminator.requires_grad_(False)
            with torch.no_grad():
                judged_real = self.discriminator(real)
            judged_fake = self.discriminator(fake)
            self.discriminator.requires_grad_(True)
            values["loss_adv"] = least_squares_generator_loss(judged_fake)
            values["loss_fm"] = feature_matching_loss(judged_real, judged_fake)
            loss = loss + self.weights.adversarial * values["loss_adv"]
            loss = loss + self.weights.feature_matching * values["loss_fm"]
        norm = self.step_generator(loss, self.vocoder)
        self.record(
            len(mel),
            loss=loss,
            grad_norm=norm,
            **values,
        )

    def validation_step(self, batch: dict[str, Any], batch_idx: int) -> None:
        """Copy synthesis: LSD and mel L1 of the clip through its own log-mel."""
        mel = self.log_mel(batch["waveform"])
        real = batch["waveform"][..., : mel.shape[2] * self.features.hop]
        fake = self.vocoder(mel).float()
        self.judge(
            lsd=log_spectral_distance(fake.squeeze(1), real.squeeze(1)).full,
            loss_mel=(self.log_mel(fake) - mel).abs().mean((1, 2, 3)),
        )

    def configure_optimizers(self) -> Any:
        """AdamW for the generator, AdamW for the discriminators."""
        return [
            self.adamw(self.vocoder.parameters()),
            self.adamw(self.discriminator.parameters(), "lr_disc"),
        ]

    def panels(self, batch: dict[str, Any]) -> dict[str, Tensor]:
        """Waveforms of the clip and of its copy synthesis."""
        mel = self.log_mel(batch["waveform"])
        return {"wave/resynthesis": self.vocoder(mel).float(), "wave/reference": batch["waveform"]}

    def export(self) -> Model:
        """A model with the vocoder alone."""
        return Model(
            features=self.features,
            vocoder=self.vocoder,
            architectures={"vocoder": self.architecture},
        )
