"""Are clips degraded as the paper says, from the generator alone?"""

import numpy as np
import pytest
import torch

from audiosr.audio.lowpass import Lowpass
from audiosr.degrade.paper import PaperDegradation
from audiosr.errors import UsageError
from tests.degrade.conftest import generator, noise


def draws(count: int) -> list[Lowpass]:
    numbers = generator()
    return [PaperDegradation().draw(numbers) for _ in range(count)]


def test_the_same_generator_state_gives_the_same_twin():
    first, second, other = (PaperDegradation()(noise(), generator(seed)) for seed in (1, 1, 2))

    assert np.array_equal(first.wave, second.wave)
    assert first[1:] == second[1:]
    assert first.cutoff_hz != other.cutoff_hz


def test_the_global_random_state_is_left_alone():
    state = torch.get_rng_state()

    PaperDegradation()(noise(), generator())

    assert torch.equal(torch.get_rng_state(), state)


def test_cutoffs_are_uniform_from_2_to_16_khz():
    cutoffs = np.array([f.cutoff_hz for f in draws(4000)])

    assert cutoffs.min() >= 2000
    assert cutoffs.max() <= 16000
    counts, _ = np.histogram(cutoffs, 10, (2000, 16000))
    assert counts.min() > 330
    assert counts.max() < 470


def test_families_and_orders_are_uniform_over_those_of_the_paper():
    filters = draws(4500)

    families = [f.family for f in filters]
    assert set(families) == {"cheby1", "ellip", "butter", "boxcar"}
    assert min(families.count(name) for name in set(families)) > 1000
    orders = [f.order for f in filters]
    assert set(orders) == set(range(2, 11))
    assert min(orders.count(order) for order in set(orders)) > 400


def test_cutoff_family_and_order_are_drawn_independently():
    families = list(PaperDegradation().families)

    numbers = np.array([(f.cutoff_hz, f.order, families.index(f.family)) for f in draws(4000)])

    assert np.abs(np.corrcoef(numbers.T) - np.eye(3)).max() < 0.05


def test_a_clip_passes_the_filter_that_was_drawn_for_it():
    wave = noise()

    degraded, cutoff_hz, chain, _ = PaperDegradation()(wave, generator(3))

    filter = PaperDegradation().draw(generator(3))
    assert degraded.dtype == np.float32
    assert np.array_equal(degraded, PaperDegradation().filter(wave, filter))
    assert cutoff_hz == filter.cutoff_hz
    assert chain == str(filter)


@pytest.mark.parametrize("seed", range(8))
def test_degraded_clips_are_not_delayed(seed: int):
    wave = np.zeros(4801, np.float32)
    wave[2400] = 1

    degraded = PaperDegradation()(wave, generator(seed)).wave

    assert degraded.shape == wave.shape
    assert degraded.argmax() == 2400
    assert np.allclose(degraded, degraded[::-1], atol=1e-6)


def test_one_filter_can_be_asked_for():
    degrade = PaperDegradation(cutoff_hz=(4000, 4000), families=["cheby1"], orders=(8, 8))

    assert degrade.draw(generator()) == Lowpass("cheby1", 4000.0, 8)


def test_a_filter_is_named_by_family_order_and_cutoff():
    assert str(Lowpass("cheby1", 4000.0, 8)) == "cheby1 8 4000 Hz"
    assert str(Lowpass("boxcar", 4000.0)) == "boxcar 4000 Hz"


@pytest.mark.parametrize(
    ("wrong", "words"),
    [
        ({"cutoff_hz": (16000, 2000)}, "cutoff_hz"),
        ({"cutoff_hz": (2000, 25000)}, "cutoff_hz"),
        ({"families": []}, "families"),
        ({"families": ["brick"]}, "families"),
        ({"orders": (0, 4)}, "orders"),
        ({"orders": (8, 4)}, "orders"),
    ],
    ids=str,
)
def test_settings_that_cannot_be_met_are_refused(wrong: dict, words: str):
    with pytest.raises(UsageError, match=words):
        PaperDegradation(**wrong)
