"""Does every shard get its turn, whatever is open?"""

import itertools
import pickle
from collections import Counter

import numpy as np
import pytest

from audiosr.data.window import ShardWindow

SIZES = [40, 10, 25, 40, 40, 5, 40]


def drawn(window: ShardWindow, count: int) -> list[int]:
    evens = np.random.default_rng(0).random(count)
    return [window.draw(time, even) for time, even in enumerate(evens)]


@pytest.mark.parametrize("slots", [1, 2, 4])
def test_shards_are_drawn_in_proportion_to_their_clips(slots):
    counts = Counter(drawn(ShardWindow(SIZES, slots, (3,)), 60 * sum(SIZES)))

    share = np.array([counts[n] for n in range(len(SIZES))]) / (60 * sum(SIZES))

    assert share == pytest.approx(np.array(SIZES) / sum(SIZES), rel=0.2)


@pytest.mark.parametrize("slots", [1, 2, 4])
def test_only_open_shards_are_drawn_and_one_is_exchanged_at_a_time(slots):
    window = ShardWindow(SIZES, slots, (3,))
    row = [window.open(time) for time in range(5 * sum(SIZES))]

    assert all(shard in open_ for shard, open_ in zip(drawn(window, len(row)), row, strict=True))
    changes = [(a, b) for a, b in itertools.pairwise(row) if a != b]
    assert all(a[1:] == b[:-1] for a, b in changes)
    assert len(changes) == 5 * len(SIZES) - 1


def test_every_pass_opens_every_shard_in_an_order_of_its_own():
    window = ShardWindow([10] * 8, 1, (1,))
    passes = [[window.draw(80 * k + 10 * i, 0.0) for i in range(8)] for k in range(3)]

    assert all(sorted(order) == list(range(8)) for order in passes)
    assert passes[0] != passes[1] != passes[2]


def test_what_is_open_depends_on_seed_and_number_alone():
    window = ShardWindow(SIZES, 3, (1, 2))

    late_first = [window.open(time) for time in (900, 3, 450)]

    assert late_first == [ShardWindow(SIZES, 3, (1, 2)).open(time) for time in (900, 3, 450)]
    assert late_first == [pickle.loads(pickle.dumps(window)).open(t) for t in (900, 3, 450)]
    assert late_first != [ShardWindow(SIZES, 3, (1, 3)).open(time) for time in (900, 3, 450)]
