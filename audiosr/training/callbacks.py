"""What happens around learning? Panels to see and hear, exports, speed, what is kept at the end."""

import time
from pathlib import Path
from typing import Any, cast

import librosa.display
import lightning as L
import wandb
from lightning.pytorch.callbacks import Callback
from lightning.pytorch.loggers import TensorBoardLogger, WandbLogger
from matplotlib.figure import Figure
from torch import Tensor

from audiosr.audio import io
from audiosr.audio.mel import MelSettings
from audiosr.training.ema import EMA
from audiosr.training.metrics_csv import has_row
from audiosr.training.stage import Stage


class Speed(Callback):
    """Logs `train/clips_per_s` over all ranks and `train/wait`, between logged steps.

    The latter is the part of the time in which this rank has no batch to work on; above a few
    hundredths, more of `data.num_workers` help.
    """

    def __init__(self) -> None:
        self._clips, self._since = 0, 0.0
        self._ended, self._waited = 0.0, 0.0

    def on_train_start(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        """Start the clock."""
        self._clips, self._waited = 0, 0.0
        self._since = self._ended = time.perf_counter()

    def on_train_batch_start(self, *_: Any) -> None:
        """Count the time since the last step."""
        self._waited += time.perf_counter() - self._ended

    def on_train_batch_end(
        self, trainer: L.Trainer, pl_module: L.LightningModule, outputs: Any, batch: Any, *_: Any
    ) -> None:
        """Count the clips; log at the trainer's interval."""
        self._clips += len(batch["waveform"]) * trainer.world_size
        self._ended = time.perf_counter()
        if has_row(trainer):
            seconds = self._ended - self._since
            pl_module.log("train/clips_per_s", self._clips / seconds)
            pl_module.log("train/wait", self._waited / seconds)
            self._clips, self._waited, self._since = 0, 0.0, self._ended

    def on_validation_end(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        """Leave validation out of the count."""
        self.on_train_start(trainer, pl_module)


class Export(Callback):
    """Writes the stage's part as model folders: the best so far, and beside it the last.

    The best by the figure that the stage names; it begins anew when a discriminator is first heard,
    and is the last where nothing was validated. Both hold the average of the weights, if one is
    kept.

    Args:
        folder: `model/` in the run folder; the last is in `model-last/`.
        provenance: what the model card says of the part's origin, beside the name of the run.
    """

    def __init__(self, folder: str | Path, provenance: dict[str, Any]) -> None:
        self.folder = Path(folder)
        self.provenance = {"run": self.folder.parent.name} | provenance
        self.best: float | None = None
        self.best_step = 0

    def setup(self, trainer: L.Trainer, pl_module: Stage, stage: str) -> None:
        """Take note of the weights that the run starts from."""
        if pl_module.origin is not None:
            self.provenance["init"] = pl_module.origin

    def on_validation_end(self, trainer: L.Trainer, pl_module: Stage) -> None:
        """Export a new best; what a run starts from is none of its results."""
        value = trainer.callback_metrics.get(pl_module.monitor)
        if trainer.sanity_checking or not trainer.global_step or value is None:
            return
        step, anew = trainer.global_step, pl_module.begins_anew
        begins = anew is not None and self.best_step <= anew < step
        if self.best is None or begins or float(value) < self.best:
            self.best, self.best_step = float(value), step
            self._write(trainer, pl_module, self.folder)

    def on_fit_end(self, trainer: L.Trainer, pl_module: Stage) -> None:
        """Export the last."""
        if self.best is None:
            self._write(trainer, pl_module, self.folder)
        self._write(trainer, pl_module, self.folder.with_name(f"{self.folder.name}-last"))

    def state_dict(self) -> dict[str, Any]:
        """The best value so far and what the run started from, for the checkpoint."""
        return {"best": self.best, "best_step": self.best_step, "init": self.provenance.get("init")}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Take up the best value and the origin of a checkpoint."""
        self.best, self.best_step = state_dict["best"], state_dict.get("best_step", 0)
        if state_dict["init"] is not None:
            self.provenance["init"] = state_dict["init"]

    def _write(self, trainer: L.Trainer, stage: Stage, folder: Path) -> None:
        if not trainer.is_global_zero:
            return
        averages = [c for c in cast(Any, trainer).callbacks if isinstance(c, EMA)]
        for average in averages:
            average.swap_in(stage)
        try:
            model = stage.export()
            model.provenance |= {
                stage.name: self.provenance
                | {"step": trainer.global_step}
                | {
                    f"valid/{name}": float(trainer.callback_metrics[f"valid/{name}"])
                    for name in stage.figures
                    if f"valid/{name}" in trainer.callback_metrics
                }
            }
            model.save(folder)
        finally:
            for average in averages:
                average.swap_out(stage)


def first_clips(batch: dict[str, Any], count: int) -> dict[str, Any]:
    """The first `count` clips of a batch, of which what is no tensor and no list holds alike."""
    return {
        key: value[:count] if isinstance(value, Tensor | list) else value
        for key, value in batch.items()
    }


class Panels(Callback):
    """Spectrograms and sound of the same validation clips throughout a run.

    Written to `folder/step=N/` and to W&B and TensorBoard where they log.

    Args:
        folder: where the files go.
        clips: how many clips of the first validation batch are shown; 0: no panels.
    """

    def __init__(self, folder: str | Path, clips: int) -> None:
        self.folder = Path(folder)
        self.clips = clips
        self._batch: dict[str, Any] | None = None

    def on_validation_batch_end(
        self,
        trainer: L.Trainer,
        pl_module: Stage,
        outputs: Any,
        batch: dict[str, Any],
        batch_idx: int,
        *_: Any,
    ) -> None:
        """Draw the first batch, with the weights that were validated."""
        if not self.clips or batch_idx or trainer.sanity_checking or not trainer.is_global_zero:
            return
        shown = first_clips(batch, self.clips)
        panels = {name: value.float().cpu() for name, value in pl_module.panels(shown).items()}
        mels = {n.removeprefix("mel/"): v for n, v in panels.items() if n.startswith("mel/")}
        waves = {n.removeprefix("wave/"): v for n, v in panels.items() if n.startswith("wave/")}
        if not mels:
            mels = {name: pl_module.log_mel.cpu()(wave) for name, wave in waves.items()}
            pl_module.log_mel.to(pl_module.device)
        if "degraded" in shown:  # what is restored is heard beside what it was made from
            heard: dict[str, Any] = {"low": shown["degraded"], "reference": shown["waveform"]}
            waves = {name: wave.float().cpu() for name, wave in heard.items()} | waves
        folder = self.folder / f"step={trainer.global_step}"
        folder.mkdir(parents=True, exist_ok=True)
        figure = mel_figure(mels, batch["key"][: self.clips], pl_module.features)
        figure.savefig(folder / "mel.png", dpi=80)
        rate = pl_module.features.rate
        for name, wave in waves.items():
            for key, sound in zip(shown["key"], wave.numpy().clip(-1, 1), strict=True):
                path = folder / f"{key}_{name}".replace("/", "_")
                io.write_audio(path.with_name(f"{path.name}.flac"), sound, rate, subtype="PCM_16")
        self._log(trainer, folder / "mel.png", figure, shown, waves, rate)

    def _log(
        self,
        trainer: L.Trainer,
        image: Path,
        figure: Figure,
        shown: dict[str, Any],
        waves: dict[str, Tensor],
        rate: int,
    ) -> None:
        step = trainer.global_step - 1  # the row in which the figures of this validation are
        for logger in trainer.loggers:
            if isinstance(logger, WandbLogger):
                logger.log_image("panels/mel", [str(image)], step=step)
                if waves:
                    rows = [
                        [
                            *(shown["key"][i], shown["domain"][i]),
                            *(wandb.Audio(w[i, 0].numpy(), rate) for w in waves.values()),
                        ]
                        for i in range(len(shown["key"]))
                    ]
                    columns = ["clip", "domain", *waves]
                    logger.log_table("panels/sounds", columns, rows, step=step)
            elif isinstance(logger, TensorBoardLogger):
                logger.experiment.add_figure("panels/mel", figure, step)
                for name, wave in waves.items():
                    for key, sound in zip(shown["key"], wave, strict=True):
                        logger.experiment.add_audio(f"panels/{key}_{name}", sound[0], step, rate)


def mel_figure(mels: dict[str, Tensor], keys: list[str], features: MelSettings) -> Figure:
    """Log-mels `(B, 1, T, F)` as pictures on one scale: a row per clip, a column per name."""
    rows, columns = len(keys), len(mels)
    figure = Figure(figsize=(4 * columns, 2.4 * rows), layout="constrained")
    axes = figure.subplots(rows, columns, squeeze=False)
    for column, (name, mel) in enumerate(mels.items()):
        for row, key in enumerate(keys):
            axis = axes[row, column]
            librosa.display.specshow(
                mel[row, 0].T.numpy(),
                sr=features.rate,
                hop_length=features.hop,
                fmin=features.fmin,
                fmax=features.fmax,
                x_axis="time",
                y_axis="mel",
                vmin=-11.5,
                vmax=2.5,
                cmap="magma",
                ax=axis,
            )
            axis.label_outer()
            axis.set_title(f"{key[:24]}, {name}", fontsize=9)
    return figure
