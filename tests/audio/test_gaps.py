"""Is sound missed where it is missing, and not where a time is off?"""

import numpy as np
import pytest

from audiosr.audio.gaps import Find, Piece, gaps_before


def gaps(starts: list[float | None], seconds: float = 0.02) -> list[float]:
    """Those before pieces that begin at `starts`, in frames."""
    piece = Piece(48000, np.zeros((1, round(48000 * seconds)), np.float32))
    return [round(gap / seconds, 3) for _, gap in gaps_before(Find(piece, s) for s in starts)]


def test_times_that_follow_each_other_have_no_gap():
    assert gaps([1 + 0.02 * k for k in range(6)]) == [0] * 6


def test_what_is_missing_is_found_where_it_is():
    assert gaps([0.0, 0.02, 0.06, 0.08, 0.10]) == [0, 0, 1, 0, 0]


def test_what_is_missing_before_the_last_piece_is_found():
    assert gaps([0.0, 0.02, 0.08]) == [0, 0, 2]


@pytest.mark.parametrize("off", [-0.03, 0.03])
def test_a_single_time_that_is_off_is_no_gap(off: float):
    assert max(gaps([0.0, 0.02, 0.04 + off, 0.06, 0.08])) <= 0


def test_a_piece_without_a_time_follows_the_one_before():
    assert gaps([0.0, None, 0.06, 0.08]) == [0, 0, 1, 0]


def test_a_clock_that_begins_again_is_no_gap():
    assert max(gaps([5.0, 5.02, 0.0, 0.02, 0.04])) <= 0


def test_what_is_broken_keeps_its_place():
    piece = Piece(48000, np.zeros((1, 960), np.float32))
    broken = Find(None, silent=True)

    found = list(gaps_before([Find(piece, 0.0), broken, Find(piece, 0.04), broken]))

    assert [find.piece is None for find, _ in found] == [False, True, False, True]
    assert found[2][1] == pytest.approx(0.02)
