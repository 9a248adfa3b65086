"""Are clips degraded as the paper says, from the generator alone?"""

import pytest
import torch

from audiosr.audio import lowpass, released
from audiosr.audio.lowpass import Lowpass
from audiosr.degrade.filters import Degrade, Released
from audiosr.errors import UsageError


def generator(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def test_the_same_generator_state_gives_the_same_batch():
    wave = torch.randn(4, 1, 9600)

    first, second, other = (Degrade()(wave, generator(seed)) for seed in (1, 1, 2))

    assert torch.equal(first[0], second[0])
    assert torch.equal(first[1], second[1])
    assert not torch.equal(first[1], other[1])


def test_the_global_random_state_is_left_alone():
    state = torch.get_rng_state()

    Degrade()(torch.zeros(2, 1, 960), generator())

    assert torch.equal(torch.get_rng_state(), state)


def test_cutoffs_are_uniform_from_2_to_16_khz():
    filters = Degrade().draw(4000, generator())

    cutoffs = torch.tensor([f.cutoff_hz for f in filters])
    assert cutoffs.min() >= 2000
    assert cutoffs.max() <= 16000
    counts = torch.histc(cutoffs, 10, 2000, 16000)
    assert counts.min() > 330
    assert counts.max() < 470


def test_families_and_orders_are_uniform_over_those_of_the_paper():
    filters = Degrade().draw(4500, generator())

    families = [f.family for f in filters]
    assert set(families) == {"cheby1", "ellip", "butter", "boxcar"}
    assert min(families.count(name) for name in set(families)) > 1000
    orders = [f.order for f in filters]
    assert set(orders) == set(range(2, 11))
    assert min(orders.count(order) for order in set(orders)) > 400


def test_cutoff_family_and_order_are_drawn_independently():
    filters = Degrade().draw(4000, generator())

    numbers = torch.tensor(
        [[f.cutoff_hz, f.order, Degrade().families.index(f.family)] for f in filters]
    )
    correlation = torch.corrcoef(numbers.T) - torch.eye(3)
    assert correlation.abs().max() < 0.05


def test_each_clip_passes_the_filter_that_was_drawn_for_it():
    wave = torch.randn(5, 1, 9600)

    degraded, cutoff_hz, chain = Degrade()(wave, generator(3))

    filters = Degrade().draw(5, generator(3))
    assert torch.equal(degraded, lowpass.apply_lowpass(wave, filters, 48000))
    assert cutoff_hz.tolist() == pytest.approx([f.cutoff_hz for f in filters])
    assert chain == [str(f) for f in filters]


def test_degraded_clips_are_not_delayed():
    wave = torch.zeros(8, 1, 4801)
    wave[..., 2400] = 1

    degraded = Degrade()(wave, generator()).waveform

    assert degraded.shape == wave.shape
    assert (degraded.argmax(-1) == 2400).all()
    assert torch.allclose(degraded, degraded.flip(-1), atol=1e-6)


def test_one_filter_can_be_asked_for():
    degrade = Degrade(cutoff_hz=(4000, 4000), families=["cheby1"], orders=(8, 8))

    assert degrade.draw(2, generator()) == [Lowpass("cheby1", 4000.0, 8)] * 2


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
        Degrade(**wrong)


@pytest.mark.parametrize("seed", [0, 1])
def test_released_clips_have_passed_the_chain_of_the_release(seed: int):
    # Longer than the ends that are followed step by step, so that the inside is compared as well.
    wave = 0.1 * torch.randn(4, 1, 24001, generator=generator(seed))

    degraded, cutoff_hz, chain = Released()(wave, generator(seed))

    assert cutoff_hz.dtype == torch.float32
    for clip, twin, drawn, name in zip(
        wave, degraded, Released().draw(4, generator(seed)), chain, strict=True
    ):
        assert name == str(drawn)
        expected = released.lowpass_chain(
            clip, cutoff_hz=drawn.cutoff_hz, order=drawn.order, family=drawn.family, rate=48000
        )
        assert (twin - expected).norm() < 1e-3 * expected.norm()


def test_released_draws_the_families_of_the_release_at_whole_hertz():
    filters = Released().draw(400, generator())

    assert {f.family for f in filters} == {"cheby1", "ellip", "butter", "bessel"}
    assert all(f.cutoff_hz == int(f.cutoff_hz) for f in filters)


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
        Released(**wrong)
