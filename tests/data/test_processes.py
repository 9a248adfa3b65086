"""Do resumed runs, processes and ranks see the batches that they should, and never hang?"""

import os
import signal
import time
from multiprocessing import get_context

import lightning as L
import pytest
import torch
import torch.distributed as dist
import torch.utils.data
from lightning.pytorch.callbacks import ModelCheckpoint
from torch import nn

from audiosr.data import datamodule
from audiosr.data.datamodule import Loader
from audiosr.errors import DataError
from tests.data.conftest import module


class Recorder(L.LightningModule):
    """Learns nothing and remembers which clips came."""

    def __init__(self) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.zeros(()))
        self.seen: list[list[str]] = []
        self.validated: list[list[str]] = []

    def training_step(self, batch, batch_idx):
        self.seen.append(batch["key"])
        return self.weight * batch["waveform"].mean()

    def validation_step(self, batch, batch_idx):
        self.validated.append(batch["key"])

    def configure_optimizers(self):
        return torch.optim.SGD(self.parameters(), 0.1)


def fit(root, folder, steps, checkpoint=None) -> Recorder:
    recorder = Recorder()
    trainer = L.Trainer(
        max_steps=steps,
        max_epochs=-1,
        accelerator="cpu",
        val_check_interval=3,
        check_val_every_n_epoch=None,
        num_sanity_val_steps=0,
        logger=False,
        enable_progress_bar=False,
        enable_model_summary=False,
        callbacks=[ModelCheckpoint(folder, "{step}", every_n_train_steps=1, save_top_k=-1)],
    )
    trainer.fit(recorder, datamodule=module(root), ckpt_path=checkpoint, weights_only=False)
    return recorder


@pytest.mark.slow
@pytest.mark.filterwarnings("error:You're resuming from a checkpoint")
@pytest.mark.parametrize("stopped", [4, 6, 8])
def test_training_resumed_from_a_checkpoint_sees_what_an_unbroken_run_sees(
    shards, tmp_path, stopped
):
    whole = fit(shards, tmp_path / "whole", 14)

    rest = fit(shards, tmp_path / "rest", 14, tmp_path / "whole" / f"step={stopped}.ckpt")

    assert len(whole.seen) == 14
    assert rest.seen == whole.seen[stopped:]
    assert len(whole.validated) == 4 * 2


class Deadly(torch.utils.data.Dataset):
    """Kills the process that asks for its third item."""

    def __getitem__(self, number):
        if number == 2:
            os.kill(os.getpid(), signal.SIGKILL)
        return {"waveform": torch.zeros(1)}


@pytest.mark.slow
def test_worker_that_dies_is_an_error_and_no_hang():
    with pytest.raises(DataError, match=r"a process that loads data was lost \(.*data.num_workers"):
        list(Loader(Deadly(), 8, workers=2))


class Stuck(torch.utils.data.Dataset):
    """Never brings its third item."""

    def __getitem__(self, number):
        if number == 2:
            time.sleep(1000)
        return {"waveform": torch.zeros(1)}


@pytest.mark.slow
def test_worker_that_hangs_is_an_error_and_no_hang(monkeypatch):
    monkeypatch.setattr(datamodule, "PATIENCE_SECONDS", 1)

    with pytest.raises(DataError, match=r"a process that loads data was lost \(.*timed out"):
        list(Loader(Stuck(), 8, workers=1))


def epoch(rank: int, root, meeting: str, results) -> None:
    """Two epochs of one rank, which meets the others after every batch, as gradients do."""
    dist.init_process_group("gloo", init_method=f"file://{meeting}", rank=rank, world_size=2)
    data = module(root, num_workers=3, steps_per_epoch=7)
    data._rank = lambda: (rank, 2)
    loaders = [data.train_dataloader(), data.val_dataloader()]
    keys = []
    for loader in (loaders[0], loaders[1], loaders[0]):
        for batch in loader:
            dist.all_reduce(torch.ones(1))
            keys.append(batch["key"])
        dist.barrier()
    results.put((rank, keys))
    dist.destroy_process_group()


@pytest.mark.slow
def test_two_ranks_with_three_workers_and_one_shard_end_their_epochs(make_shards, noise, tmp_path):
    root = make_shards({"train/speech": [noise(0.5)], "valid/speech": [noise(0.5)]})
    context = get_context("fork")
    results = context.Queue()
    ranks = [
        context.Process(target=epoch, args=(rank, root, tmp_path / "meeting", results))
        for rank in range(2)
    ]

    for process in ranks:
        process.start()
    found = dict(results.get(timeout=60) for _ in ranks)
    for process in ranks:
        process.join(20)

    assert [process.exitcode for process in ranks] == [0, 0]
    assert [len(found[rank]) for rank in range(2)] == [15, 15]
