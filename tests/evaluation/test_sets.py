"""Distances between sets of clips: from what is kept of each clip, in whatever order it came."""

import numpy as np
import pytest
import torch

from audiosr.audio.io import RATE
from audiosr.evaluation.clips import ReferenceClip
from audiosr.evaluation.measure import measure
from audiosr.evaluation.protocol import Protocol
from audiosr.evaluation.results import ALL, Measured
from audiosr.evaluation.sets import aggregate_sets
from audiosr.evaluation.systems import Unprocessed
from audiosr.metrics.frechet import FrechetDistance, MelStatistics
from audiosr.metrics.lsd import LogSpectralDistance
from tests.evaluation.conftest import tone_burst

SETS = [FrechetDistance(MelStatistics())]
CUTOFFS = (4000, 8000)


def clips() -> list[ReferenceClip]:
    return [
        ReferenceClip(f"{seed}", "ab"[seed % 2], tone_burst(1.0, 20_000, seed)[None], RATE)
        for seed in range(6)
    ]


def measured(order: list[int]) -> list[Measured]:
    made = clips()
    return list(
        measure(
            [(index, made[index]) for index in order],
            {"unprocessed": Unprocessed()},
            Protocol(cutoffs_hz=CUTOFFS),
            [LogSpectralDistance(per_clip=True)],
            SETS,
            seed=0,
            device=torch.device("cpu"),
        )
    )


@pytest.fixture(scope="module")
def found() -> list[Measured]:
    return measured(list(range(6)))


def test_the_distance_of_a_domain_is_that_of_the_metric_over_its_clips(found):
    aggregates = {(a.domain, a.cutoff_hz): a for a in aggregate_sets(found, SETS)}
    assert set(aggregates) == {(d, hz) for d in ("a", "b", ALL) for hz in CUTOFFS}
    for domain in "ab":
        metric = FrechetDistance(MelStatistics())
        for clip in clips():
            if clip.domain == domain:
                reference = torch.from_numpy(clip.wave)[None]
                metric.update(Protocol().degrade(reference, [4000])[0], reference)
        one = aggregates[domain, 4000]
        assert one.mean == pytest.approx(metric.compute().item(), rel=1e-6)
        assert (one.metric, one.n, one.low) == ("frechet_mel_statistics", 3, None)
    mean = np.mean([aggregates[domain, 4000].mean for domain in "ab"])
    assert aggregates[ALL, 4000].mean == pytest.approx(mean)
    assert aggregates["a", 4000].mean > aggregates["a", 8000].mean


def test_what_is_embedded_beside_a_clip_changes_no_digit(found):
    again = measured([5, 2, 0, 1, 4, 3])
    ordered = sorted(again, key=lambda clip: clip.index)
    assert aggregate_sets(ordered, SETS) == aggregate_sets(found, SETS)


def test_a_domain_of_one_embedding_has_no_distance(found):
    assert aggregate_sets(found[:1], SETS) == ()
