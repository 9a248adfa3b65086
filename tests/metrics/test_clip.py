"""Figures of clips as torchmetrics: means over all clips, or each clip's own."""

from typing import Any

import pytest
import torch
from torch import Tensor

from audiosr.metrics.clip import ClipMetric, paired

pytestmark = pytest.mark.smoke


class Level(ClipMetric):
    """The mean of an output; silence has none."""

    def __init__(self, **settings: Any) -> None:
        super().__init__(("level",), **settings)

    def update(self, estimate: Tensor, target: Tensor) -> None:
        level = paired(estimate, target)[0].mean(-1)
        self.add(level.masked_fill(level == 0, torch.nan))

    def describe(self) -> dict[str, Any]:
        return {"level": "mean"}


def clips(*levels: float) -> Tensor:
    return torch.tensor(levels)[:, None].expand(-1, 10)


def test_the_mean_weighs_clips_not_batches():
    metric = Level()
    metric.update(clips(1, 1, 1), clips(0))
    metric.update(clips(5), clips(0))
    assert metric.compute()["level"].item() == 2


def test_figures_that_a_clip_does_not_have_are_left_out_of_the_mean():
    metric = Level()
    metric.update(clips(1, 0, 3), clips(0))
    assert metric.compute()["level"].item() == 2


def test_each_clips_own_figures_come_in_order():
    metric = Level(per_clip=True)
    metric.update(clips(1, 0), clips(0))
    metric.update(clips(4), clips(0))
    torch.testing.assert_close(
        metric.compute()["level"], torch.tensor([1, torch.nan, 4]).double(), equal_nan=True
    )


def test_clips_on_two_ranks_weigh_alike():
    def gathered(state: Tensor, group: Any) -> list[Tensor]:
        other = {1: torch.tensor([6.0]), 3: torch.tensor([9.0])}
        mine = state.item()
        return [state, (other[1] if mine == 1 else other[3]).double()]

    metric = Level(
        dist_sync_fn=lambda state, group: gathered(state, group),
        distributed_available_fn=lambda: True,
    )
    metric.update(clips(3), clips(0))  # this rank: total 3 of 1 clip; the other: total 9 of 6
    assert metric.compute()["level"].item() == pytest.approx(12 / 7)


def test_lengths_may_differ_a_little_and_no_more():
    estimate, target = paired(torch.ones(2, 500), torch.ones(1, 450))
    assert estimate.shape == (2, 450)
    assert target.shape == (1, 450)
    with pytest.raises(ValueError, match="cannot compare"):
        paired(torch.ones(2, 500), torch.ones(1, 400))
