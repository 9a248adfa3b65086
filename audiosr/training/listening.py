"""How good would listeners find what a stage makes of a few validation clips?"""

from typing import Any

import lightning as L
from lightning.pytorch.callbacks import Callback

from audiosr.metrics.visqol import Visqol
from audiosr.training.callbacks import first_clips
from audiosr.training.stage import Stage


class ListeningScore(Callback):
    """Logs `valid/visqol`, where a stage makes sound: a distance alone rewards what is smoothed.

    The mean over the first clips of each rank.

    Args:
        clips: how many clips of the first validation batch are listened to, a second or two each.
    """

    def __init__(self, clips: int) -> None:
        if clips < 1:
            raise ValueError(f"clips={clips}: give 1 or more")
        self.clips = clips
        self._metric = Visqol()

    def on_validation_batch_end(
        self,
        trainer: L.Trainer,
        pl_module: Stage,
        outputs: Any,
        batch: dict[str, Any],
        batch_idx: int,
        *_: Any,
    ) -> None:
        """Score the first batch, with the weights that are validated."""
        if batch_idx or trainer.sanity_checking:
            return
        panels = pl_module.panels(first_clips(batch, self.clips))
        waves = {name: wave for name, wave in panels.items() if name.startswith("wave/")}
        reference = waves.pop("wave/reference", None)
        if reference is None:
            return
        (made,) = waves.values()
        self._metric.reset()
        self._metric.update(made.cpu(), reference[..., : made.shape[-1]].cpu())
        score = self._metric.compute()["visqol"].to(pl_module.device)
        pl_module.log(
            "valid/visqol", score, on_epoch=True, sync_dist=True, batch_size=len(reference)
        )
