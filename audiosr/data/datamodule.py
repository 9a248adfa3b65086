"""In which order does a training run see its batches, over ranks, workers, epochs and restarts?

Every batch is a function of its number (`audiosr.data.batches`). So the order does not depend on
the number of worker processes, a resumed run continues with exactly the batches that an unbroken
one would have seen, any number of shards serves any number of ranks, and every rank has as many
batches as the others.
"""

import os
from collections.abc import Iterator, Mapping
from typing import Any

import lightning as L
import torch
from torch.utils.data import DataLoader, Dataset

from audiosr.data.batches import Batch, TrainBatches, ValidBatches
from audiosr.data.index import Index
from audiosr.data.shards import RATE, Reader
from audiosr.errors import DataError, UsageError


class Loader:
    """Batches of a data set by number, an epoch of `length` for each `iter`.

    Args:
        dataset: gives a batch, or the error that ends the run, for a number.
        length: batches in an epoch.
        start: number of the first batch; epochs then follow on each other, and what lies between
            two multiples of `length` is one epoch, so the first may be shorter. None: every epoch
            starts at 0.
        workers: processes that divide the batches; the order stays.
    """

    def __init__(
        self,
        dataset: Dataset[Batch | DataError],
        length: int,
        *,
        start: int | None = None,
        workers: int = 0,
    ) -> None:
        self.dataset = dataset
        self.length = length
        self.position = start
        self.workers = workers

    def __len__(self) -> int:
        return self.length

    def __iter__(self) -> Iterator[Batch]:
        first = self.position or 0
        inner = DataLoader(
            self.dataset,
            batch_size=None,
            sampler=range(first, (first // self.length + 1) * self.length),
            num_workers=self.workers,
            pin_memory=torch.cuda.is_available(),
        )
        for batch in inner:
            if isinstance(batch, DataError):
                raise batch
            if self.position is not None:
                self.position += 1
            yield batch

    def state_dict(self) -> dict[str, int | None]:
        """Batches given so far; Lightning keeps it in the checkpoint."""
        return {"position": self.position}

    def load_state_dict(self, state_dict: dict[str, int | None]) -> None:
        """Continue after the batches that the checkpoint has seen."""
        self.position = state_dict["position"]


class ShardDataModule(L.LightningDataModule):
    """Training and validation batches from a folder of shards.

    Give `Trainer(use_distributed_sampler=False)` or nothing: the loaders divide themselves among
    ranks.

    Args:
        root: folder with `index.json`, made by `python -m data_prep`.
        batch_size: clips per step and rank.
        crop_seconds: length of a training clip.
        steps_per_epoch: batches per epoch, the same on every rank.
        num_workers: processes that read and decode; 0 does it in the training process.
        seed: rules every draw.
        domain_weights: how often each domain is drawn, in any unit; 0 or absent leaves one out. All
            domains alike by default.
        valid_crop_seconds: length of a validation clip; that of training by default.
        start_step: number of the first batch; a resumed run has it from its checkpoint.
        max_bad_fraction: training stops where more of a split's clips than this cannot be used.
    """

    def __init__(
        self,
        root: str | os.PathLike[str],
        *,
        batch_size: int,
        crop_seconds: float = 5.12,
        steps_per_epoch: int = 1000,
        num_workers: int = 0,
        seed: int = 0,
        domain_weights: Mapping[str, float] | None = None,
        valid_crop_seconds: float | None = None,
        start_step: int = 0,
        max_bad_fraction: float = 0.01,
    ) -> None:
        super().__init__()
        if batch_size < 1 or steps_per_epoch < 1 or num_workers < 0 or crop_seconds <= 0:
            raise UsageError(
                "data.batch_size and data.steps_per_epoch must be at least 1, data.num_workers at "
                "least 0, data.crop_seconds above 0"
            )
        self.root = root
        self.batch_size = batch_size
        self.crop_samples = round(crop_seconds * RATE)
        self.valid_crop_samples = round((valid_crop_seconds or crop_seconds) * RATE)
        self.steps_per_epoch = steps_per_epoch
        self.num_workers = num_workers
        self.seed = seed
        self.domain_weights = domain_weights
        self.start_step = start_step
        self.max_bad_fraction = max_bad_fraction

    def setup(self, stage: str) -> None:
        """Read the index, so that a missing folder is reported before any network is built."""
        Index.load(self.root).domains("train")

    def train_dataloader(self) -> Loader:
        """Endless draws, from `start_step` on."""
        rank, ranks = self._rank()
        dataset = TrainBatches(
            Reader(Index.load(self.root), "train", self.max_bad_fraction),
            batch_size=self.batch_size,
            crop_samples=self.crop_samples,
            seed=self.seed,
            rank=rank,
            ranks=ranks,
            domain_weights=self.domain_weights,
        )
        return Loader(
            dataset, self.steps_per_epoch, start=self.start_step, workers=self.num_workers
        )

    def val_dataloader(self) -> Loader | list[Any]:
        """Each validation clip once; empty where the index has none."""
        index = Index.load(self.root)
        if not index.clips("valid"):
            return []
        rank, ranks = self._rank()
        dataset = ValidBatches(
            Reader(index, "valid", self.max_bad_fraction),
            batch_size=self.batch_size,
            crop_samples=self.valid_crop_samples,
            rank=rank,
            ranks=ranks,
            domain_weights=self.domain_weights,
        )
        return Loader(dataset, len(dataset), workers=min(self.num_workers, len(dataset)))

    def _rank(self) -> tuple[int, int]:
        if self.trainer is None:
            return 0, 1
        return self.trainer.global_rank, self.trainer.world_size
