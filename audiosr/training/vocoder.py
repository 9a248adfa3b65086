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
from audiosr.training.adversarial import AdversarialStage
from audiosr.training.high_band import HIGH_HZ, bands_below, high_band_errors
from audiosr.training.losses import (
    feature_matching_loss,
    least_squares_discriminator_loss,
    least_squares_generator_loss,
    log_stft_loss,
)
from audiosr.training.stage import BatchPart

_SHORT = {"adversarial": "adv", "feature_matching": "fm"}
"""How the losses with long names are logged."""


@dataclass(frozen=True)
class VocoderWeights:
    """Weights of the generator's losses; one of weight 0 is logged and not minimised.

    Attributes:
        mel: L1 between log-mels (45 in HiFi-GAN).
        stft: L1 between log-magnitude spectrograms at several resolutions.
        adversarial: least-squares adversarial loss, summed over discriminators (1 in HiFi-GAN).
        feature_matching: L1 between the discriminators' features, summed over discriminators and
            layers (2 in HiFi-GAN).
    """

    mel: float = 45.0
    stft: float = 0.0
    adversarial: float = 1.0
    feature_matching: float = 2.0


@dataclass(frozen=True, eq=False)
class Resynthesis:
    """Log-mels `(B, 1, T, F)`, the waveforms `(B, 1, N)` that they are of, and those made."""

    mel: Tensor
    real: Tensor
    fake: Tensor


class VocoderStage(AdversarialStage):
    """Trains a generator from log-mel to waveform against several discriminators.

    Args:
        vocoder: the generator, `(B, 1, T, F) -> (B, 1, hop * T)`.
        discriminator: waveform `(B, 1, T)` to a list of (logits, features).
        weights: weights of the generator's losses.
        architecture: class and arguments of the generator, for the exported model folder.
        settings: those of every stage, and when the discriminators take part.
    """

    name = "vocoder"
    part = "vocoder"
    figures = ("lsd", "loss_mel", "energy_hf", "variance_hf")

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

    @property
    def plays(self) -> bool:
        """Whether the adversarial losses have weight."""
        return self.weights.adversarial > 0

    def generate(self, part: BatchPart) -> Resynthesis:
        """The waveforms of a part and what becomes of their log-mels."""
        real = part.batch["waveform"]
        mel = self.log_mel(real)
        return Resynthesis(mel, real[..., : mel.shape[2] * self.features.hop], self.vocoder(mel))

    def discriminator_losses(self, made: Resynthesis) -> dict[str, Tensor]:
        """Least squares, summed over the discriminators, and their mean logits."""
        real, fake = self.discriminator(made.real), self.discriminator(made.fake.detach())
        return {
            "loss": least_squares_discriminator_loss(real, fake),
            "real": torch.stack([logits.mean() for logits, _ in real]).mean(),
            "fake": torch.stack([logits.mean() for logits, _ in fake]).mean(),
        }

    def generator_losses(
        self, made: Resynthesis, balance: Tensor | None, *, heard: bool
    ) -> dict[str, Tensor]:
        """The weighted sum as "loss", and its terms."""
        values = {
            "mel": (self.log_mel(made.fake) - made.mel).abs().mean(),
            "stft": log_stft_loss(made.fake, made.real),
        }
        if heard:
            with torch.no_grad():
                judged_real = self.discriminator(made.real)
            judged_fake = self.discriminator(made.fake)
            values["adversarial"] = least_squares_generator_loss(judged_fake)
            values["feature_matching"] = feature_matching_loss(judged_real, judged_fake)
        loss = torch.stack([getattr(self.weights, n) * value for n, value in values.items()]).sum()
        return {"loss": loss} | {f"loss_{_SHORT.get(n, n)}": v for n, v in values.items()}

    def validation_step(self, batch: dict[str, Any], batch_idx: int) -> None:
        """Copy synthesis: LSD and mel L1 of the clip through its own log-mel."""
        mel = self.log_mel(batch["waveform"])
        real = batch["waveform"][..., : mel.shape[2] * self.features.hop]
        fake = self.vocoder(mel)
        remade = self.log_mel(fake)
        above = mel.new_full((len(mel),), HIGH_HZ)
        energy, liveliness = high_band_errors(remade, mel, bands_below(above, self.features))
        self.judge(
            batch,
            energy_hf=energy,
            variance_hf=liveliness,
            lsd=log_spectral_distance(fake.squeeze(1), real.squeeze(1)).full,
            loss_mel=(remade - mel).abs().mean((1, 2, 3)),
        )

    def panels(self, batch: dict[str, Any]) -> dict[str, Tensor]:
        """Waveforms of the clip and of its copy synthesis."""
        mel = self.log_mel(batch["waveform"])
        return {"wave/resynthesis": self.vocoder(mel), "wave/reference": batch["waveform"]}

    def export(self) -> Model:
        """A model with the vocoder alone."""
        return Model(
            features=self.features,
            vocoder=self.vocoder,
            architectures={"vocoder": self.architecture},
        )
