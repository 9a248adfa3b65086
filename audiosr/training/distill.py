"""How does a student learn to draw in one step what its teacher draws in several? Stage 4."""

from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from audiosr.audio.replace import replace_mel
from audiosr.diffusion.guidance import guided
from audiosr.diffusion.objective import x0_from_v
from audiosr.diffusion.samplers import dpm_solver_pp_2m
from audiosr.diffusion.schedule import trailing_timesteps
from audiosr.model import Model
from audiosr.networks.roles import DenoiserRole
from audiosr.training.adversarial import AdversarialStage
from audiosr.training.draws import NOISE
from audiosr.training.high_band import bands_below, high_band_errors
from audiosr.training.ldm import LDMStage
from audiosr.training.losses import (
    energy_score,
    log_mel_distance,
    relativistic_discriminator_loss,
)
from audiosr.training.stage import BatchPart

_SHORT = {"adversarial": "adv"}
"""How a loss with a long name is logged."""


@dataclass(frozen=True)
class DistillWeights:
    """Weights of the student's losses; one of weight 0 is logged and not minimised.

    Attributes:
        distill: squared error of the latent against the teacher's, from the same noise.
        energy: energy score of two draws' log-mels against the clip's, above the cutoff.
        adversarial: relativistic loss against the patch discriminator of log-mels.
    """

    distill: float = 1.0
    energy: float = 1.0
    adversarial: float = 0.1


@dataclass(frozen=True, eq=False)
class TaughtDraws:
    """Two draws of the student for every clip, and what they are compared with.

    Attributes:
        drawn: their latents, the first draws and then the second ones, `(2 B, C, t, f)`.
        taught: the teacher's latents from the noise of the first draws, `(B, C, t, f)`.
        fake: log-mels of the draws, `(2 B, 1, T, F)`, with the input's bands below the cutoff.
        real: those of the clips through the autoencoder, `(B, 1, T, F)`, likewise.
        bands: first band above the cutoff, `(B,)`.
    """

    drawn: Tensor
    taught: Tensor
    fake: Tensor
    real: Tensor
    bands: Tensor


class DistillStage(AdversarialStage, LDMStage):
    """Trains a one-step student of a trained denoiser.

    From the same noise the student is drawn to the latent that the teacher samples in several steps
    (FlashSR, Im and Nam, arXiv 2501.10807). A distance alone would make it the average of what it
    cannot tell apart. Against that stand an energy score, which two equal draws do not minimise,
    and a relativistic discriminator of log-mels (Novack et al., arXiv 2505.08175).

    Args:
        discriminator: of log-mels `(B, 1, T, F)`, to logits.
        weights: weights of the losses.
        teacher_steps: sampling steps of the teacher.
        settings: those of the diffusion stage, of which `denoiser` is the student and `frozen`
            holds the teacher, and when the discriminator takes part.
    """

    name = "distill"
    part = "student"
    figures = ("loss", "lsd", "lsd_hf", "energy_hf", "variance_hf")

    def __init__(
        self,
        *,
        denoiser: DenoiserRole,
        frozen: Model,
        discriminator: nn.Module,
        weights: DistillWeights,
        teacher_steps: int,
        **settings: Any,
    ) -> None:
        frozen.need("denoiser")
        super().__init__(denoiser=denoiser, frozen=frozen, envelope=frozen.envelope, **settings)
        self.discriminator = discriminator
        self.weights = weights
        self.teacher_steps = teacher_steps
        teacher = self.frozen.denoiser
        assert teacher is not None
        self.teach = self.frozen.predictor(teacher)
        self.latent_scale.fill_(frozen.latent.scale)
        known, own = teacher.state_dict(), denoiser.state_dict()
        if {k: v.shape for k, v in known.items()} == {k: v.shape for k, v in own.items()}:
            denoiser.load_state_dict(known)

    def start_from(self, model: Model, origin: dict[str, Any]) -> None:
        """Take up the student of `model`; the latent scale is the teacher's."""
        super(LDMStage, self).start_from(model, origin)

    @property
    def plays(self) -> bool:
        """Whether the adversarial loss has weight."""
        return self.weights.adversarial > 0

    def generate(self, part: BatchPart) -> TaughtDraws:
        """Two draws of the student, the teacher's from the noise of the first, and the clips'."""
        latent, condition, _, low = self.latents(part.batch, part.draws)
        condition = self.told(condition, part.batch)
        noises = part.draws.normal(2, *latent.shape[1:], purpose=NOISE).unbind(1)
        ends = [self.frozen.start(noise, condition) for noise in noises]
        twice = torch.cat([condition, condition])
        drawn = self.draw_once(torch.cat(ends), twice)
        cutoff_hz = part.batch["cutoff_hz"]
        with torch.no_grad():
            taught = self.sample_teacher(ends[0], condition)
            real = self.heard(latent, low, cutoff_hz)
        fake = self.heard(drawn, torch.cat([low, low]), torch.cat([cutoff_hz, cutoff_hz]))
        return TaughtDraws(drawn, taught, fake, real, bands_below(cutoff_hz, self.features))

    def draw_once(self, end: Tensor, condition: Tensor) -> Tensor:
        """The student's latents `(B, C, t, f)` in one step from the far end."""
        table = self.frozen.alphas_cumprod
        last = end.new_full((len(end),), len(table) - 1, dtype=torch.long)
        return x0_from_v(end, self.predict(end, last, condition).float(), table[-1])

    def sample_teacher(self, end: Tensor, condition: Tensor) -> Tensor:
        """The teacher's latents `(B, C, t, f)` from the same far end."""
        table = self.frozen.alphas_cumprod
        denoise = guided(self.teach, condition, self.frozen.null_condition(condition), 1.0)
        steps = trailing_timesteps(self.teacher_steps, len(table))
        return dpm_solver_pp_2m(denoise, end, steps, table)

    def heard(self, latent: Tensor, low: Tensor, cutoff_hz: Tensor) -> Tensor:
        """Log-mels `(B, 1, T, F)` of latents, with the input's bands below the cutoff."""
        return replace_mel(self.frozen.decode(latent).float(), low, cutoff_hz, self.features)

    def discriminator_losses(self, made: TaughtDraws) -> dict[str, Tensor]:
        """Each clip against the student's draws for it, and the mean logits."""
        real = self.discriminator(made.real)
        fake = self.discriminator(made.fake.detach())
        loss = relativistic_discriminator_loss(torch.cat([real, real]), fake)
        return {"loss": loss, "real": real.mean(), "fake": fake.mean()}

    def generator_losses(
        self, made: TaughtDraws, balance: Tensor | None, *, heard: bool
    ) -> dict[str, Tensor]:
        """The weighted sum as "loss", and its terms."""
        first, _ = made.drawn.chunk(2)
        one, other = made.fake.chunk(2)
        values = {
            "distill": (first - made.taught).square().mean(),
            "energy": energy_score(one, other, made.real, made.bands).mean(),
        }
        if heard:
            with torch.no_grad():
                real = self.discriminator(made.real)
            fake = self.discriminator(made.fake)
            twice = torch.cat([real, real])
            values["adversarial"] = relativistic_discriminator_loss(fake, twice)  # parts exchanged
        loss = torch.stack([getattr(self.weights, n) * value for n, value in values.items()]).sum()
        return {"loss": loss} | {f"loss_{_SHORT.get(n, n)}": v for n, v in values.items()}

    def validation_step(self, batch: dict[str, Any], batch_idx: int) -> None:
        """The energy score of two draws as the loss, which blur does not lower, and figures."""
        draws = self.same_draws(batch)
        mel, restored, _, bands = self.restore(batch, draws)
        other = self.restore(batch, draws, purpose=NOISE)[1]
        energy, liveliness = high_band_errors(restored, mel, bands)
        self.judge(
            batch,
            loss=energy_score(restored, other, mel, bands),
            energy_hf=energy,
            variance_hf=liveliness,
            lsd=log_mel_distance(restored, mel),
            lsd_hf=log_mel_distance(restored, mel, above=bands),
        )

    def export(self) -> Model:
        """The teacher's model with this student beside it."""
        alone = Model(
            features=self.features,
            student=self.network,
            latent=self.frozen.latent,
            diffusion=self.frozen.diffusion,
            architectures={"student": self.architecture},
        )
        return self.frozen.merge(alone)
