"""How is the autoencoder of log-mels trained? Stage 1, with KL and adversarial loss.

AudioSR 3.1, arXiv 2309.07314.
"""

from collections.abc import Iterable
from dataclasses import dataclass
from functools import cached_property
from typing import Any, Protocol, cast, runtime_checkable

import torch
from torch import Tensor, nn

from audiosr.errors import UsageError
from audiosr.model import Model
from audiosr.networks.gaussian import DiagonalGaussian
from audiosr.networks.roles import AutoencoderRole
from audiosr.training.adversarial import AdversarialStage
from audiosr.training.ddp import copy_from_first_rank
from audiosr.training.draws import POSTERIOR
from audiosr.training.high_band import HIGH_HZ, bands_below, high_band_errors
from audiosr.training.losses import (
    adaptive_weight,
    hinge_discriminator_loss,
    hinge_generator_loss,
    last_gradients,
    log_mel_distance,
)
from audiosr.training.stage import BatchPart


@runtime_checkable
class FittedOnMels(Protocol):
    """An autoencoder that sees some log-mels before its training starts."""

    def fit(self, mel: Tensor) -> None:
        """Fit to `mel (B, 1, T, F)`."""
        ...


@dataclass(frozen=True, eq=False)
class Reconstruction:
    """Log-mels `(B, 1, T, F)`, their posterior, and what a latent drawn from it decodes to."""

    mel: Tensor
    posterior: DiagonalGaussian
    fake: Tensor
    discriminator: nn.Module

    @cached_property
    def adversarial(self) -> Tensor:
        """What the discriminator has against it, asked once for the weight and for the loss."""
        return hinge_generator_loss(self.discriminator(self.fake))


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
        adaptive_limit: largest adaptive weight.
        learn_logvar: whether s is learnt; otherwise it stays 0.
        fit_clips: clips that an autoencoder with a closed-form start is fitted on.
        architecture: class and arguments of the autoencoder, for the exported model folder.
        settings: those of every stage, and when the discriminator takes part.
    """

    name = "vae"
    part = "autoencoder"
    figures = ("loss_rec", "loss_kl", "lsd", "energy_hf", "variance_hf")

    def __init__(
        self,
        *,
        autoencoder: AutoencoderRole,
        discriminator: nn.Module,
        kl_weight: float,
        adversarial_weight: float,
        adaptive_limit: float,
        learn_logvar: bool,
        fit_clips: int,
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
        self.fit_clips = fit_clips
        self.adaptive_limit = adaptive_limit
        self.architecture = architecture

    def on_fit_start(self) -> None:
        """Fit an autoencoder that asks for it, on the same clips on every rank."""
        starts = self.trainer.ckpt_path is None and not self.fine_tuned
        if starts and isinstance(self.autoencoder, FittedOnMels):
            batches = self.first_batches(self.fit_clips)
            self.autoencoder.fit(
                torch.cat([self.gathered(self.log_mel(batch["waveform"])) for batch in batches])
            )
            copy_from_first_rank(self.autoencoder.state_dict().values())

    @property
    def plays(self) -> bool:
        """Whether the adversarial loss has weight."""
        return self.adversarial_weight > 0

    def generate(self, part: BatchPart) -> Reconstruction:
        """The log-mels of a part through a drawn latent."""
        mel = self.log_mel(part.batch["waveform"])
        posterior = self.autoencoder.encode(mel)
        noise = part.draws.normal(*posterior.mean.shape[1:], purpose=POSTERIOR)
        fake = self.autoencoder.decode(posterior.at(noise))
        return Reconstruction(mel, posterior, fake, self.discriminator)

    def discriminator_losses(self, made: Reconstruction) -> dict[str, Tensor]:
        """Hinge, and the mean logits."""
        real, fake = self.discriminator(made.mel), self.discriminator(made.fake.detach())
        return {
            "loss": hinge_discriminator_loss(real, fake),
            "real": real.mean(),
            "fake": fake.mean(),
        }

    def generator_losses(
        self, made: Reconstruction, balance: Tensor | None, *, heard: bool
    ) -> dict[str, Tensor]:
        """The sum as "loss", and its terms."""
        loss_rec = (made.mel - made.fake).abs().mean()
        loss_kl = made.posterior.kl().mean()
        spread = made.posterior.mean.detach().std()
        values = {"loss_rec": loss_rec, "loss_kl": loss_kl, "latent_std": spread}
        loss = self._likelihood(loss_rec) + self.kl_weight * loss_kl
        if heard and balance is not None:
            values["loss_adv"] = made.adversarial
            values["adversarial_weight"] = self.adversarial_weight * balance
            loss = loss + values["adversarial_weight"] * values["loss_adv"]
        return {"loss": loss, **values}

    def balance(self, shares_and_made: Iterable[tuple[float, Reconstruction]]) -> Tensor:
        """The adaptive weight, of the gradients of all parts and ranks together."""
        layer = self.autoencoder.last_layer
        pull, push = torch.zeros_like(layer), torch.zeros_like(layer)
        for share, made in shares_and_made:
            likelihood = self._likelihood((made.mel - made.fake).abs().mean())
            pulled, pushed = last_gradients(likelihood, made.adversarial, layer)
            pull, push = pull + share * pulled, push + share * pushed
        if self.trainer.world_size > 1:
            both = self.trainer.strategy.reduce(torch.stack([pull, push]), reduce_op="mean")
            pull, push = cast(Tensor, both)
        return adaptive_weight(pull.detach(), push.detach(), maximum=self.adaptive_limit)

    def _likelihood(self, loss_rec: Tensor) -> Tensor:
        return loss_rec / self.logvar.exp() + self.logvar

    def validation_step(self, batch: dict[str, Any], batch_idx: int) -> None:
        """Reconstruction from the mode: L1 in nats and LSD between log-mels."""
        mel = self.log_mel(batch["waveform"])
        posterior = self.autoencoder.encode(mel)
        reconstruction = self.autoencoder.decode(posterior.mode())
        above = mel.new_full((len(mel),), HIGH_HZ)
        energy, liveliness = high_band_errors(
            reconstruction, mel, bands_below(above, self.features)
        )
        self.judge(
            batch,
            energy_hf=energy,
            variance_hf=liveliness,
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
