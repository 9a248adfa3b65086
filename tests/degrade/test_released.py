"""Are clips degraded as the release does, by its families and through its chain?"""

import numpy as np
import pytest

from audiosr.audio.lowpass import Lowpass
from audiosr.degrade.released import ReleasedDegradation
from audiosr.errors import UsageError
from tests.audio import released
from tests.degrade.conftest import generator, noise


@pytest.mark.parametrize("case", released.cases("chain"), ids=lambda case: case["key"])
def test_the_filter_is_the_released_chain(case: dict):
    degrade = ReleasedDegradation(rate=case["fs"], cutoff_hz=(2000, 0.45 * case["fs"]))
    wave = released.wave(case["signal"])[0, 0].numpy()

    low = degrade.filter(wave, Lowpass(case["family"], case["cutoff"], case["order"]))

    want = released.numbers(case["key"])
    assert np.linalg.norm(low[::5] - want) < 1e-5 * np.linalg.norm(want)


def test_the_families_of_the_release_are_drawn_at_whole_hertz():
    numbers = generator()

    filters = [ReleasedDegradation().draw(numbers) for _ in range(400)]

    assert {f.family for f in filters} == {"cheby1", "ellip", "butter", "bessel"}
    assert all(f.cutoff_hz == int(f.cutoff_hz) for f in filters)


def test_a_twin_is_told_by_the_filter_that_was_drawn_for_it():
    degraded, cutoff_hz, chain, _ = ReleasedDegradation()(noise(), generator(3))

    filter = ReleasedDegradation().draw(generator(3))
    assert np.array_equal(degraded, ReleasedDegradation().filter(noise(), filter))
    assert (cutoff_hz, chain) == (filter.cutoff_hz, str(filter))


@pytest.mark.parametrize(
    ("wrong", "words"),
    [
        ({"families": ["boxcar"]}, "boxcar"),
        ({"orders": (1, 8)}, "2 to 10"),
        ({"cutoff_hz": (2000, 24000)}, "1 Hz below"),
    ],
    ids=str,
)
def test_what_the_released_chain_does_not_know_is_refused(wrong: dict, words: str):
    with pytest.raises(UsageError, match=words):
        ReleasedDegradation(**wrong)
