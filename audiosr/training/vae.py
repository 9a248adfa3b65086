"""How is the autoencoder of log-mels trained? Stage 1, with KL and adversarial loss.

AudioSR 3.1, arXiv 2309.07314.
"""

from typing import Any, Protocol, runtime_checkable

import torch
from torch import Tensor, nn

from audiosr.errors import UsageError
from audiosr.model import Model
from audiosr.networks.roles import AutoencoderRole
from audiosr.training.ddp import copy_from_first_rank
from audiosr.training.losses import (
    adaptive_weight,
    hinge_discriminator_loss,
    hinge_generator_loss,
    log_mel_distance,
)
from audiosr.training.stage import AdversarialStage


@runtime_checkable
class FittedOnMels(Protocol):
    """An autoencoder that sees some log-mels before its training starts."""

    def fit(self, mel: Tensor) -> None:
        """Fit to `mel (B, 1, T, F)`."""
        ...


class VAEStage(AdversarialStage):
    """Trains an autoencoder: L1 under a log-variance, KL, later a patch discriminator.

    loss = |x - x'| / exp(s) + s + kl_weight KL + adversarial_weight w L_adv, each a mean over
    elements, with w the adaptive weight and s the log-variance (Esser et al., arXiv 2012.09841;
    Rombach et al., 2112.10752).

    Args:
        autoencoder: the network.
        discriminator: judges log-mels `(B, 1, T, F)` patch by patch.
        kl_weight: weight of the mean KL per latent element.
        adversarial_weight: factor on the adaptive weight; 0 trains without a discriminator.
        learn_logvar: whether s is learnt; otherwise it stays 0.
        fit_batches: batches that an autoencoder with a closed-form start is fitted on.
        architecture: class and arguments of the autoencoder, for the exported model folder.
        settings: features, optimiser, seed, fine_tuned, and when the discriminator takes part.
    """

    name = "vae"
    part = "autoencoder"
    figures = ("loss_rec", "loss_kl", "lsd")

    def __init__(
        self,
        *,
        autoencoder: AutoencoderRole,
        discriminator: nn.Module,
        kl_weight: float,
        adversarial_weight: float,
        learn_logvar: bool,
        fit_batches: int,
        architecture: dict[str, Any],
        **settings: Any,
    ) -> None:
        super().__init__(**settings)
        if not isinstance(autoencoder, AutoencoderRole):
            raise UsageError(
                f"{type(autoencoder).__name__} is no autoencoder: it needs encode, decode and "
                "last_layer (audiosr/networks/roles.py)"
            )
        self.autoencoder = autoencoder
        self.discriminator = discriminator
        self.logvar = nn.Parameter(torch.zeros(()), requires_grad=learn_logvar)
        self.kl_weight = kl_weight
        self.adversarial_weight = adversarial_weight
        self.fit_batches = fit_batches
        self.architecture = architecture

    def on_fit_start(self) -> None:
        """Fit an autoencoder that asks for it, on the same batches on every rank."""
        starts = self.trainer.ckpt_path is None and not self.fine_tuned
        if starts and isinstance(self.autoencoder, FittedOnMels):
            mels = [self.log_mel(b["waveform"]) for b in self.first_batches(self.fit_batches)]
            self.autoencoder.fit(torch.cat(mels))
            copy_from_first_rank(self.autoencoder.state_dict().values())

    def training_step(self, batch: dict[str, Any], batch_idx: int) -> None:
        """One step of the discriminator, then one of the autoencoder, on one reconstruction."""
        mel = self.log_mel(batch["waveform"])
        posterior = self.autoencoder.encode(mel)
        latent = posterior.sample(self.generator(self.global_step))
        reconstruction = self.autoencoder.decode(latent)

        values: dict[str, Tensor] = {}
        if self.adversarial_weight > 0 and self.global_step >= self.learns_from:
            real, fake = self.discriminator(mel), self.discriminator(reconstruction.detach())
            values["loss_disc"] = hinge_discriminator_loss(real, fake)
            self.step_discriminator(values["loss_disc"], self.discriminator)

        loss_rec = (mel - reconstruction).abs().mean()
        likelihood = loss_rec / self.logvar.exp() + self.logvar
        loss_kl = posterior.kl().mean()
        loss = likelihood + self.kl_weight * loss_kl
        if self.adversarial_weight > 0 and self.global_step >= self.heard_from:
            self.discriminator.requires_grad_(False)
            values["loss_adv"] = hinge_generator_loss(self.discriminator(reconstruction))
            weight = adaptive_weight(likelihood, values["loss_adv"], self.autoencoder.last_layer)
            loss = loss + self.adversarial_weight * weight * values["loss_adv"]
            self.discriminator.requires_grad_(True)
        norm = self.step_generator(loss, self.autoencoder)
        self.record(
            len(mel),
            loss=loss,
            loss_rec=loss_rec,
            loss_kl=loss_kl,
            grad_norm=norm,
            **values,
        )

    def validation_step(self, batch: dict[str, Any], batch_idx: int) -> None:
        """Reconstruction from the mode: L1 in nats and LSD between log-mels."""
        mel = self.log_mel(batch["waveform"])
        posterior = self.autoencoder.encode(mel)
        reconstruction = self.autoencoder.decode(posterior.mode())
        self.judge(
            loss_rec=(mel - reconstruction).abs().mean((1, 2, 3)),
            loss_kl=posterior.kl().mean((1, 2, 3)),
            lsd=log_mel_distance(reconstruction, mel),
        )

    def configure_optimizers(self) -> Any:
        """AdamW for the autoencoder (and the log-variance), AdamW for the discriminator."""
        return [
            self.adamw([*self.autoencoder.parameters(), self.logvar]),
            self.adamw(self.discriminator.parameters(), "lr_disc"),
        ]

    def panels(self, batch: dict[str, Any]) -> dict[str, Tensor]:
        """Log-mels of the clip and of its reconstruction."""
        mel = self.log_mel(batch["waveform"])
        posterior = self.autoencoder.encode(mel)
        return {
            "mel/reconstruction": self.autoencoder.decode(posterior.mode()),
            "mel/reference": mel,
        }

    def export(self) -> Model:
        """A model with the autoencoder alone."""
        return Model(
            features=self.features,
            autoencoder=self.autoencoder,
            architectures={"autoencoder": self.architecture},
        )
