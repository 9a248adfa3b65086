"""Is the autoencoder any good that a run is to stand on?"""

import torch

from audiosr.errors import AudioSRError
from audiosr.model import Model
from audiosr.training.losses import log_mel_distance
from audiosr.training.stage import Stage

_PROVED_ON = 16
"""Clips on which the autoencoder is proved."""


@torch.no_grad()
def prove_autoencoder(stage: Stage, model: Model, *, refused: bool) -> None:
    """Log how well the autoencoder of `model` reconstructs the first clips of a run.

    One that explains nothing of the log-mels is refused, or remarked on.

    Raises:
        AudioSRError: it is refused.
    """
    mel = torch.cat(
        [stage.gathered(stage.log_mel(b["waveform"])) for b in stage.first_batches(_PROVED_ON)]
    )
    reconstruction = model.decode(model.encode(mel))
    error = (reconstruction - mel).abs().mean()
    spread = (mel - mel.mean((0, 2), keepdim=True)).abs().mean()
    if not error < 0.7 * spread:
        verdict = (
            f"the autoencoder reconstructs log-mels with an error of {error:.2f}, "
            f"no better than their mean ({spread:.2f})"
        )
        if refused:
            raise AudioSRError(
                f"{verdict}: it was never trained; run `python train.py stage=vae` first"
            )
        stage.print(f"warning: {verdict}")
    values = {
        "valid/lsd_autoencoder": float(log_mel_distance(reconstruction, mel).mean()),
        "valid/loss_rec_autoencoder": float(error),
    }
    for logger in stage.loggers:
        logger.log_metrics(values, step=0)
