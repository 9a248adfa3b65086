"""Loudness against the reference's."""

import math

import pytest
import torch

from audiosr.metrics.level import LoudnessDifference


def noise(samples: int = 48_000) -> torch.Tensor:
    return 0.1 * torch.randn(1, samples, generator=torch.Generator().manual_seed(0))


def test_half_the_amplitude_is_6_loudness_units_less():
    metric = LoudnessDifference()
    metric.update(torch.cat([0.5 * noise(), noise()])[:1], noise())
    assert metric.compute()["loudness_lu"].item() == pytest.approx(20 * math.log10(0.5), abs=1e-3)


@pytest.mark.parametrize("target", [0 * noise(), noise(10_000)], ids=["silence", "too short"])
def test_silence_and_short_clips_have_no_loudness(target):
    metric = LoudnessDifference(per_clip=True)
    metric.update(target, target)
    assert metric.compute()["loudness_lu"].isnan().all()
