"""Does the batch pass the released low-pass chain, ends and all?"""

import pytest
import torch

from audiosr.audio import released as steps
from audiosr.audio.lowpass import Lowpass
from audiosr.degrade.released import lowpass_chain_batch
from tests.audio import released

FILTERS = [
    Lowpass("cheby1", 2000.0, 10),
    Lowpass("ellip", 5123.0, 7),
    Lowpass("butter", 16000.0, 2),
    Lowpass("bessel", 10917.0, 5),
    Lowpass("cheby1", 22000.0, 2),
]


def noise(count: int, samples: int) -> torch.Tensor:
    return 0.2 * torch.randn(count, 1, samples, generator=torch.Generator().manual_seed(1))


def by_scipy(wave: torch.Tensor, filter: Lowpass, rate: int = 48000) -> torch.Tensor:
    return steps.lowpass_chain(
        wave, cutoff_hz=filter.cutoff_hz, order=filter.order, family=filter.family, rate=rate
    )


@pytest.mark.parametrize("case", released.cases("chain"), ids=lambda case: case["key"])
def test_the_batch_path_is_the_released_chain(case: dict):
    # The chain limits the order and cuts the cutoff to whole Hz, as `lowpass_chain` of scipy does.
    filter = Lowpass(case["family"], float(int(case["cutoff"])), min(max(case["order"], 2), 10))

    low = lowpass_chain_batch(released.wave(case["signal"]), [filter], case["fs"])

    assert released.error(low[0, 0, ::5], case["key"]) < 1e-3


@pytest.mark.parametrize("samples", [200, 4801, 16384, 16385, 30000])
def test_ends_and_inside_are_those_of_scipy_at_any_length(samples: int):
    wave = noise(len(FILTERS), samples)

    low = lowpass_chain_batch(wave, FILTERS, 48000)

    assert low.shape == wave.shape
    for clip, twin, filter in zip(wave, low, FILTERS, strict=True):
        expected = by_scipy(clip, filter)
        for part in (slice(0, 100), slice(None), slice(-100, None)):
            error = (twin - expected)[..., part].norm() / expected[..., part].norm()
            assert error < 2e-3, (filter, part)


def test_another_rate_goes_the_same_way():
    wave, filter = noise(1, 20000), Lowpass("ellip", 6001.0, 8)

    low = lowpass_chain_batch(wave, [filter], 44100)

    expected = by_scipy(wave, filter, 44100)
    assert (low - expected).norm() < 1e-3 * expected.norm()


def test_a_clip_does_not_depend_on_its_neighbours():
    wave = noise(len(FILTERS), 20000)

    together = lowpass_chain_batch(wave, FILTERS, 48000)

    for index, filter in enumerate(FILTERS):
        alone = lowpass_chain_batch(wave[index : index + 1], [filter], 48000)
        assert torch.allclose(together[index], alone[0], atol=1e-5)


def test_a_filter_for_each_clip_is_required():
    with pytest.raises(ValueError, match="1 filters for a batch of 2"):
        lowpass_chain_batch(noise(2, 480), FILTERS[:1], 48000)
