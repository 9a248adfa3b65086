"""In which order does a training run see its batches, over ranks, workers, epochs and restarts?

Every batch is a function of its number (`audiosr.data.batches`); of streamed shards, also of the
number of ranks and workers (`audiosr.data.streams`). So a resumed run continues with exactly the
batches that an unbroken one would have seen, any number of shards serves any number of ranks, and
every rank has as many batches as the others.
"""

import itertools
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import KW_ONLY, dataclass
from typing import Any

import lightning as L
import torch
from torch.utils.data import DataLoader, Dataset

from audiosr.audio.io import RATE
from audiosr.data.batches import Batch, TrainBatches, ValidBatches, share_weights
from audiosr.data.streams import TrainStream
from audiosr.data.workers import end_with_parent
from audiosr.degrade.twins import Degradation
from audiosr.errors import DataError, UsageError
from audiosr.shards.corpus import Corpus, Root
from audiosr.shards.reader import Reader, open_reader
from audiosr.shards.stream import StreamReader

PATIENCE_SECONDS = 1800
"""A worker that brings no batch for so long is given up; a shard of 1 GB at 1 MB/s takes 1000 s."""


@dataclass(eq=False)
class Loader:
    """Batches of a data set by number, an epoch of `length` for each `iter`."""

    dataset: Dataset[Batch | DataError]
    """Gives a batch, or the error that ends the run, for a number."""
    length: int
    """Batches in an epoch."""
    _: KW_ONLY
    start: int | None = None
    """Number of the first batch; epochs then follow on each other, and what lies between two
    multiples of `length` is one epoch, so the first may be shorter. None: every epoch starts at
    0."""
    workers: int = 0
    """Processes that divide the batches; the order stays."""
    spawn: bool = False
    """Whether these are new processes rather than forks, which must not be made where threads are
    at work. They take seconds to start."""

    def __post_init__(self) -> None:
        self.position = self.start
        self._running: Iterator[Batch] | None = None

    def __len__(self) -> int:
        return self.length

    def __iter__(self) -> Iterator[Batch]:
        if self.position is None:
            yield from self._numbered(range(self.length))
            return
        # The workers live on from epoch to epoch, and with them the streams that they read.
        if self._running is None:
            self._running = self._numbered(itertools.count(self.position))
        for _ in range(self.length - self.position % self.length):
            batch = next(self._running)
            self.position += 1
            yield batch

    def state_dict(self) -> dict[str, int | None]:
        """Batches given so far; Lightning keeps it in the checkpoint."""
        return {"position": self.position}

    def load_state_dict(self, state_dict: dict[str, int | None]) -> None:
        """Continue after the batches that the checkpoint has seen."""
        self.position = state_dict["position"]
        self._running = None

    def _numbered(self, numbers: Iterable[int]) -> Iterator[Batch]:
        """The batches with these numbers; raises the error that takes the place of one."""
        # No part of it holds this loader: the workers end with the last that holds the iterator,
        # and are not left to a collection of garbage in a process that was forked since.
        loader = DataLoader(
            self.dataset,
            batch_size=None,
            sampler=numbers,
            num_workers=self.workers,
            pin_memory=torch.cuda.is_available(),
            timeout=PATIENCE_SECONDS if self.workers else 0,
            multiprocessing_context="spawn" if self.spawn and self.workers else None,
            worker_init_fn=end_with_parent,
        )
        return _given(loader)


def _given(loader: Iterable[Batch | DataError]) -> Iterator[Batch]:
    """The batches of `loader`; raises the error that takes the place of one.

    Where a worker died or hangs, an error that says so.
    """
    try:
        for batch in loader:
            if isinstance(batch, DataError):
                raise batch
            yield batch
    except RuntimeError as error:
        # "Caught ... in DataLoader worker" is a fault of ours inside it, with its traceback.
        if not str(error).startswith("DataLoader"):
            raise
        what = " ".join(str(error).split())[:200]
        raise DataError(
            f"a process that loads data was lost ({what}): look for a lack of memory, resume, and "
            "lower data.num_workers if it happens again"
        ) from error


@dataclass(eq=False)
class ShardDataModule(L.LightningDataModule):
    """Training and validation batches from shards.

    Give `Trainer(use_distributed_sampler=False)` or nothing: the loaders divide themselves among
    ranks.
    """

    root: Root | Sequence[Root]
    """Folder of shards, URL, pattern such as `s3://bucket/music-{000..123}.tar`, or a list of them,
    joined by domain; see `audiosr.shards.corpus`."""
    _: KW_ONLY
    batch_size: int
    """Clips per rank that are to go through the networks together."""
    accumulate: int = 1
    """So many times that are the clips of a training batch, which is a step."""
    crop_seconds: float = 5.12
    """Length of a training clip."""
    steps_per_epoch: int = 1000
    """Batches per epoch, the same on every rank."""
    num_workers: int = 0
    """Processes that read and decode; 0 does it in the training process."""
    seed: int = 0
    """Rules every draw."""
    domain_weights: Mapping[str, float] | None = None
    """How often each domain is drawn, in any unit; 0 or absent leaves one out. All domains alike by
    default."""
    valid_crop_seconds: float | None = None
    """Length of a validation clip; that of training by default."""
    start_step: int = 0
    """Number of the first batch; a resumed run has it from its checkpoint."""
    max_bad_fraction: float = 0.01
    """Training stops where more of a split's clips than this cannot be used."""
    min_bandwidth_hz: float | None = None
    """Training clips with less, by their JSON, are not drawn."""
    check_every: int = 16
    """One training clip in so many has its bandwidth measured against its JSON."""
    domain: str | None = None
    """Of all clips in shards without an index."""
    shuffle: int = 256
    """Clips of a stream that each worker holds to shuffle them."""
    cache: Root | None = None
    """Folder where remote shards are kept; None: they are streamed each time."""
    degrade: Degradation | None = None
    """What every clip gets a degraded twin by; None: batches without twins."""

    def __post_init__(self) -> None:
        super().__init__()
        if self.accumulate < 1:
            raise UsageError("trainer.accumulate_grad_batches must be at least 1")
        if (
            min(self.batch_size, self.steps_per_epoch) < 1
            or self.num_workers < 0
            or self.crop_seconds <= 0
        ):
            raise UsageError(
                "data.batch_size and data.steps_per_epoch must be at least 1, data.num_workers at "
                "least 0, data.crop_seconds above 0"
            )
        if min(self.check_every, self.shuffle) < 1:
            raise UsageError("data.check_every and data.shuffle must be at least 1")
        if self.min_bandwidth_hz is not None and not 0 <= self.min_bandwidth_hz <= RATE / 2:
            raise UsageError(f"data.min_bandwidth_hz must be from 0 to {RATE // 2} Hz")

    def setup(self, stage: str) -> None:
        """Look for the shards, so that a missing folder is reported before any network is built."""
        corpus = self._corpus()
        wanted = share_weights(corpus.domains("train"), corpus.where, self.domain_weights)
        judged = corpus.splits.get("valid") or {}
        if judged and not set(wanted) & set(judged):
            raise UsageError(
                f"{corpus.where} has no validation clips of {', '.join(wanted)}, only of "
                f"{', '.join(judged)}, and the best model would be chosen by those: prepare some, "
                "or change data.domain_weights"
            )

    def train_dataloader(self) -> Loader:
        """Endless draws, from `start_step` on."""
        corpus = self._corpus()
        drawn = {
            "seed": self.seed,
            "min_bandwidth_hz": self.min_bandwidth_hz,
            **self._batched(self.crop_seconds),
        }
        budget = {"max_bad_fraction": self.max_bad_fraction, "check_every": self.check_every}
        if corpus.streamed:
            stream = StreamReader(corpus, "train", **budget)
            dataset = TrainStream(stream, shuffle=self.shuffle, **drawn)
        else:
            dataset = TrainBatches(Reader(corpus, "train", **budget), **drawn)
        return Loader(
            dataset,
            self.steps_per_epoch,
            start=self.start_step,
            workers=self.num_workers,
            spawn=corpus.threaded,
        )

    def val_dataloader(self) -> Loader | list[Any]:
        """Each validation clip once; empty where the index has none."""
        corpus = self._corpus()
        judged = corpus.splits.get("valid") or {}
        wanted = self.domain_weights or corpus.domains("train")
        unheard = [domain for domain in wanted if domain not in judged]
        if unheard and not self._rank()[0]:
            text = f"warning: {corpus.where} has no validation clips of {', '.join(unheard)}"
            print(text if judged else f"{text}: nothing is validated", flush=True)
        if not judged:
            return []
        reader = open_reader(corpus, "valid", self.max_bad_fraction, check_every=self.check_every)
        seconds = self.valid_crop_seconds or self.crop_seconds
        dataset = ValidBatches(reader, **self._batched(seconds))
        # Every process that reads a stream reads all of it.
        most = 1 if corpus.streamed else len(dataset)
        workers = min(self.num_workers, most)
        return Loader(dataset, len(dataset), workers=workers, spawn=corpus.threaded)

    def valid_domains(self) -> list[str]:
        """Domains of the validation clips; none where the data have no such split."""
        corpus = self._corpus()
        held = [*corpus.domains("valid")] if "valid" in corpus.splits else []
        weights = self.domain_weights
        return [d for d in held if weights is None or weights.get(d)] or held

    def _corpus(self) -> Corpus:
        return Corpus.open(self.root, cache=self.cache, domain=self.domain)

    def _batched(self, crop_seconds: float) -> dict[str, Any]:
        """What the batches of training and validation share."""
        rank, ranks = self._rank()
        return {
            "batch_size": self.batch_size * self.accumulate,
            "crop_samples": round(crop_seconds * RATE),
            "rank": rank,
            "ranks": ranks,
            "domain_weights": self.domain_weights,
            "degrade": self.degrade,
        }

    def _rank(self) -> tuple[int, int]:
        if self.trainer is None:
            return 0, 1
        return self.trainer.global_rank, self.trainer.world_size
