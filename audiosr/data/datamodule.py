"""In which order does a training run see its batches, over ranks, workers, epochs and restarts?

Every batch is a function of its number (`audiosr.data.batches`). So the order does not depend on
the number of worker processes, a resumed run continues with exactly the batches that an unbroken
one would have seen, any number of shards serves any number of ranks, and every rank has as many
batches as the others.
"""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any

import lightning as L
import torch
from torch.utils.data import DataLoader, Dataset

from audiosr.audio.io import RATE
from audiosr.data.batches import Batch, TrainBatches, ValidBatches
from audiosr.degrade.twins import Degradation
from audiosr.errors import DataError, UsageError
from audiosr.shards.corpus import Corpus, Root
from audiosr.shards.reader import Reader

REMOTE_OPEN_SHARDS = 16
"""Shards that are open at a time where some are remote, unless `open_shards` says otherwise."""

PATIENCE_SECONDS = 1800
"""A worker that brings no batch for so long is given up; a shard of 1 GB at 1 MB/s takes 1000 s."""


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
            timeout=PATIENCE_SECONDS if self.workers else 0,
        )
        for batch in _said(inner):
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


def _said(loader: Iterable[Batch | DataError]) -> Iterator[Batch | DataError]:
    """The batches of `loader`; where a worker died or hangs, an error that says so."""
    try:
        yield from loader
    except RuntimeError as error:
        # "Caught ... in DataLoader worker" is a fault of ours inside it, with its traceback.
        if not str(error).startswith("DataLoader"):
            raise
        what = " ".join(str(error).split())[:200]
        raise DataError(
            f"a process that loads data was lost ({what}): look for a lack of memory, resume, and "
            "lower data.num_workers if it happens again"
        ) from error


class ShardDataModule(L.LightningDataModule):
    """Training and validation batches from a folder of shards.

    Give `Trainer(use_distributed_sampler=False)` or nothing: the loaders divide themselves among
    ranks.

    Args:
        root: folder with `index.json`, made by `python -m data_prep`, or its URL (`http(s)://`,
            `s3://` and what else fsspec knows); or a list of them, joined by domain.
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
        cache: folder that remote shards are fetched to; see `audiosr.shards.cache`.
        cache_gb: its largest size in 10^9 bytes.
        open_shards: shards from which clips are drawn at a time, over all domains; None: all, or
            `REMOTE_OPEN_SHARDS` where some are remote.
        min_bandwidth_hz: training clips with less, by their JSON, are not drawn.
        check_every: one training clip in so many has its bandwidth measured against its JSON.
        allow_pipe: follow `pipe:` and `file:` as roots and names of shards.
        degrade: what every clip gets a degraded twin by; None: batches without twins.
    """

    def __init__(
        self,
        root: Root | Sequence[Root],
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
        cache: Root | None = None,
        cache_gb: float = 100.0,
        open_shards: int | None = None,
        min_bandwidth_hz: float | None = None,
        check_every: int = 16,
        allow_pipe: bool = False,
        degrade: Degradation | None = None,
    ) -> None:
        super().__init__()
        if batch_size < 1 or steps_per_epoch < 1 or num_workers < 0 or crop_seconds <= 0:
            raise UsageError(
                "data.batch_size and data.steps_per_epoch must be at least 1, data.num_workers at "
                "least 0, data.crop_seconds above 0"
            )
        if check_every < 1 or (open_shards is not None and open_shards < 1) or not cache_gb > 0:
            raise UsageError(
                "data.check_every and data.open_shards must be at least 1, data.cache_gb above 0"
            )
        if min_bandwidth_hz is not None and not 0 <= min_bandwidth_hz <= RATE / 2:
            raise UsageError(f"data.min_bandwidth_hz must be from 0 to {RATE // 2} Hz")
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
        self.cache = cache
        self.cache_gb = cache_gb
        self.open_shards = open_shards
        self.min_bandwidth_hz = min_bandwidth_hz
        self.check_every = check_every
        self.allow_pipe = allow_pipe
        self.degrade = degrade

    def setup(self, stage: str) -> None:
        """Read the index, so that a missing folder is reported before any network is built."""
        self._corpus().domains("train")

    def train_dataloader(self) -> Loader:
        """Endless draws, from `start_step` on."""
        rank, ranks = self._rank()
        corpus = self._corpus()
        reader = Reader(corpus, "train", self.max_bad_fraction, check_every=self.check_every)
        dataset = TrainBatches(
            reader,
            batch_size=self.batch_size,
            crop_samples=self.crop_samples,
            seed=self.seed,
            rank=rank,
            ranks=ranks,
            domain_weights=self.domain_weights,
            open_shards=self._open_shards(reader),
            min_bandwidth_hz=self.min_bandwidth_hz,
            degrade=self.degrade,
        )
        return Loader(
            dataset, self.steps_per_epoch, start=self.start_step, workers=self.num_workers
        )

    def val_dataloader(self) -> Loader | list[Any]:
        """Each validation clip once; empty where the index has none."""
        corpus = self._corpus()
        if not corpus.clips("valid"):
            return []
        rank, ranks = self._rank()
        dataset = ValidBatches(
            Reader(corpus, "valid", self.max_bad_fraction, check_every=self.check_every),
            batch_size=self.batch_size,
            crop_samples=self.valid_crop_samples,
            rank=rank,
            ranks=ranks,
            domain_weights=self.domain_weights,
            degrade=self.degrade,
        )
        return Loader(dataset, len(dataset), workers=min(self.num_workers, len(dataset)))

    def _corpus(self) -> Corpus:
        return Corpus.open(
            self.root, cache=self.cache, cache_gb=self.cache_gb, allow_pipe=self.allow_pipe
        )

    def _open_shards(self, reader: Reader) -> int | None:
        """How many shards are open at a time.

        Raises:
            UsageError: the cache cannot hold them.
        """
        sizes = sorted(
            place.shard.bytes
            for places in reader.domains.values()
            for place in places
            if not place.local
        )
        if not sizes:
            return self.open_shards
        count = self.open_shards or REMOTE_OPEN_SHARDS
        # One more of each domain is being fetched while those are read.
        needed = sum(sizes[-(count + 2 * len(reader.domains)) :])
        ranks = 1 if self.trainer is None else max(1, self.trainer.num_devices)
        if needed * ranks > self.cache_gb * 1e9:
            raise UsageError(
                f"data.cache_gb={self.cache_gb:g} cannot hold the {count} shards that are open at "
                f"a time on {ranks} rank(s) of this machine, up to {needed * ranks / 1e9:.3g} GB: "
                "raise it, or lower data.open_shards"
            )
        reader.corpus.keep(count + 2 * len(reader.domains))
        return count

    def _rank(self) -> tuple[int, int]:
        if self.trainer is None:
            return 0, 1
        return self.trainer.global_rank, self.trainer.world_size
