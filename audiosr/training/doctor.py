"""Does training work here? Each stage learns ten clips by heart, on this machine, in seconds."""

import math
import time
import warnings
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import lightning as L
import numpy as np
import torch
from numpy.typing import NDArray
from omegaconf import DictConfig
from torch.utils.data import DataLoader

from audiosr.degrade.paper import PaperDegradation
from audiosr.degrade.twins import degrade_batch
from audiosr.training.metrics_csv import MetricsCSV
from audiosr.training.run import build_stage, build_trainer

_CLIPS = 10
Compose = Callable[[Sequence[str]], DictConfig]
"""From overrides of `conf/train.yaml` to a configuration."""


@dataclass(frozen=True)
class Exam:
    """What a stage is asked for.

    Attributes:
        stage: its name.
        figure: the logged loss that is looked at.
        limit: what it has to come below, in nats where it is a distance of log-mels.
        part: of its value at the start that it has to come below, too.
        steps: steps until then.
        seconds: length of the clips.
        copies: how often each clip is in the batch.
        overrides: of the recipe of size tiny.
    """

    stage: str
    figure: str
    limit: float
    part: float
    steps: int
    seconds: float
    copies: int = 1
    overrides: tuple[str, ...] = ()


EXAMS = (
    Exam("vae", "loss_rec", 0.15, 0.95, 60, 0.64),
    Exam("vocoder", "loss_mel", 0.35, 0.5, 120, 0.32),
    Exam("ldm", "loss", 1.0, 0.25, 100, 0.64, copies=4),
)


@dataclass(frozen=True)
class Finding:
    """How a stage did: its figure at the first step and over the last ones, and seconds."""

    exam: Exam
    start: float
    end: float
    seconds: float

    @property
    def limit(self) -> float:
        """What the figure has to come below."""
        return min(self.exam.limit, self.exam.part * self.start)

    @property
    def well(self) -> bool:
        """Whether it did; NaN is not below anything."""
        return self.end < self.exam.limit and self.end < self.exam.part * self.start

    def __str__(self) -> str:
        said = "well" if self.well else "NOT WELL"
        return (
            f"{self.exam.stage}: {said}. {self.exam.figure} went from {self.start:.3f} to "
            f"{self.end:.3f} in {self.exam.steps} steps and {self.seconds:.0f} s; below "
            f"{self.limit:.3f} is well."
        )


class SameBatch(L.LightningDataModule):
    """One batch again and again."""

    def __init__(self, batch: dict[str, Any], steps: int) -> None:
        super().__init__()
        self.batch = batch
        self.steps = steps

    def train_dataloader(self) -> DataLoader[Any]:
        """The batch, once for every step."""
        batches: Any = [self.batch] * self.steps
        return DataLoader(batches, batch_size=None)


def examine(
    compose: Compose, exams: Sequence[Exam] = EXAMS, overrides: Sequence[str] = ()
) -> Iterator[Finding]:
    """Let each stage of size tiny learn the same clips by heart.

    The diffusion stage learns on the autoencoder of the first. The adversarial stages meet their
    discriminators in the last steps. `overrides` are further ones, such as `trainer=gpu`.
    """
    with TemporaryDirectory() as folder, warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of what a run of a few seconds does without
        for exam in exams:
            yield _examine(exam, compose, overrides, Path(folder))


def _examine(exam: Exam, compose: Compose, overrides: Sequence[str], folder: Path) -> Finding:
    given = [
        f"stage={exam.stage}",
        f"max_steps={exam.steps}",
        f"run_dir={folder}/{exam.stage}",
        f"data.crop_seconds={exam.seconds}",
        f"data.valid_crop_seconds={exam.seconds}",
        "trainer.log_every_n_steps=1",
        "trainer.enable_progress_bar=false",
        *exam.overrides,
    ]
    if exam.stage == "ldm":
        given += [f"stage.autoencoder={folder}/vae/model", "stage.vocoder=null"]
        given += ["optimiser.lr=2.0e-3", "optimiser.warmup_steps=10"]
    else:
        given.append(f"stage.module.adversarial_start={exam.steps - 5}")
    cfg = compose([*given, *overrides])
    if exam.stage == "ldm" and "network" in cfg.size.denoiser:
        # A regression would know so few clips by heart before the first step.
        cfg.size.denoiser = cfg.size.denoiser.network
        told = len(cfg.stage.module.condition_on)
        cfg.size.denoiser.condition_channels = cfg.size.denoiser.latent_channels + told
    Path(cfg.run_dir).mkdir()
    if cfg.threads is not None:
        torch.set_num_threads(cfg.threads)
    start = time.perf_counter()
    L.seed_everything(cfg.seed, verbose=False)
    trainer = build_trainer(cfg)
    trainer.fit(build_stage(cfg), datamodule=SameBatch(batch_of_chords(exam), exam.steps))
    (rows,) = [logger.rows for logger in trainer.loggers if isinstance(logger, MetricsCSV)]
    values = [float(rows[step][f"train/{exam.figure}"]) for step in sorted(rows)]
    last = values[-max(1, len(values) // 10) :]
    return Finding(exam, values[0], math.fsum(last) / len(last), time.perf_counter() - start)


def batch_of_chords(exam: Exam) -> dict[str, Any]:
    """Ten clips of chords over a little noise, with their low-passed twins: always the same."""
    rng = np.random.default_rng(0)
    chords = np.stack([_chord(rng, exam.seconds) for _ in range(_CLIPS)] * exam.copies)
    waveform = torch.from_numpy(chords)[:, None]
    count = len(waveform)
    return {
        "waveform": waveform,
        "key": [f"chord{n}" for n in range(count)],
        "domain": ["music"] * count,
        "bandwidth_hz": torch.full((count,), 24000.0),
        **degrade_batch(waveform, PaperDegradation(), [(0, n % _CLIPS) for n in range(count)]),
    }


def _chord(rng: np.random.Generator, seconds: float) -> NDArray[np.float32]:
    """Two voices of overtones that fall off with frequency, in noise 40 dB below; peak 0.5."""
    samples = round(seconds * 48_000)
    at = np.arange(samples) / 48_000
    wave = 0.01 * rng.standard_normal(samples)
    for pitch in rng.uniform(100, 800, 2):
        for overtone in range(1, int(20_000 / pitch)):
            phase = rng.uniform(0, 2 * np.pi)
            wave += np.sin(2 * np.pi * pitch * overtone * at + phase) / overtone
    return (0.5 * wave / np.abs(wave).max()).astype(np.float32)
