"""Do the loaders give each clip one degraded twin, whoever loads it and in whatever batch?"""

import os
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from audiosr.audio.lowpass import Lowpass
from audiosr.degrade.paper import PaperDegradation
from audiosr.degrade.robust import RobustDegradation
from audiosr.degrade.twins import Degraded
from tests.data.conftest import module


def twins(batches: Any) -> dict[str, tuple[Any, ...]]:
    """Chain and cutoff by clip: those of one key must always be the same."""
    found: dict[str, tuple[Any, ...]] = {}
    for batch in batches:
        for key, chain, hz in zip(batch["key"], batch["chain"], batch["cutoff_hz"], strict=True):
            assert found.setdefault(key, (chain, float(hz))) == (chain, float(hz))
    return found


def test_a_batch_without_a_degradation_has_no_twins(shards: Path):
    batch = next(iter(module(shards).train_dataloader()))

    assert not {"degraded", "cutoff_hz", "chain"} & set(batch)


def test_a_twin_is_its_clip_after_the_filter_that_it_names(shards: Path):
    degrade = PaperDegradation(families=["cheby1"], orders=(8, 8), cutoff_hz=(4000, 4000))
    batch = next(iter(module(shards, degrade=degrade).train_dataloader()))

    assert batch["degraded"].shape == batch["waveform"].shape
    assert batch["degraded"].dtype == batch["cutoff_hz"].dtype == torch.float32
    assert batch["cutoff_hz"].tolist() == [4000] * 4
    assert batch["chain"] == ["cheby1 8 4000 Hz"] * 4
    for wave, twin in zip(batch["waveform"], batch["degraded"], strict=True):
        again = degrade.filter(wave[0].numpy(), Lowpass("cheby1", 4000.0, 8))
        assert np.array_equal(twin[0].numpy(), again)


@pytest.mark.slow
def test_twins_do_not_depend_on_the_number_of_workers(shards: Path):
    alone, together = (
        list(module(shards, degrade=RobustDegradation(), num_workers=n).train_dataloader())
        for n in (0, 2)
    )

    for one, other in zip(alone, together, strict=True):
        assert torch.equal(one["degraded"], other["degraded"])
        assert torch.equal(one["cutoff_hz"], other["cutoff_hz"])
        assert one["chain"] == other["chain"]


class ByWhom:
    """A degradation whose chain names the process that it works in."""

    def __call__(self, wave: Any, generator: Any) -> Degraded:
        return Degraded(wave, 4000.0, str(os.getpid()))


def test_the_workers_of_the_loader_degrade_and_not_the_process_that_trains(shards: Path):
    loader = module(shards, degrade=ByWhom(), num_workers=1).train_dataloader()

    chains = {chain for batch in loader for chain in batch["chain"]}

    assert len(chains) == 1
    assert chains != {str(os.getpid())}


def test_twins_do_not_depend_on_the_batch_size(shards: Path):
    cutoffs = [
        torch.cat([batch["cutoff_hz"] for batch in loader])
        for loader in (
            module(shards, degrade=PaperDegradation(), batch_size=size).train_dataloader()
            for size in (1, 3)
        )
    ]

    assert torch.equal(cutoffs[0], cutoffs[1][: len(cutoffs[0])])


def test_every_training_clip_and_every_seed_draws_anew(shards: Path):
    def cutoffs(seed: int) -> list[float]:
        loader = module(shards, degrade=PaperDegradation(), seed=seed).train_dataloader()
        return torch.cat([batch["cutoff_hz"] for batch in loader]).tolist()

    first, second = cutoffs(0), cutoffs(1)

    assert all(a != b for a, b in pairwise(sorted(first)))
    assert not set(first) & set(second)


def test_a_validation_clip_has_one_twin_whatever_the_seed_and_the_batch(shards: Path):
    def valid(**options: Any) -> dict[str, tuple[Any, ...]]:
        degrade = PaperDegradation()
        return twins(module(shards, degrade=degrade, **options).val_dataloader())

    assert valid() == valid(seed=9, batch_size=1)
    assert len(set(valid().values())) == len(valid())
