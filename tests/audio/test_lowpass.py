"""Do the low-pass filters have scipy's response, without delay, each clip by its own?"""

import itertools

import numpy as np
import pytest
import scipy.signal
import torch
from hypothesis import given
from hypothesis import strategies as st

from audiosr.audio.lowpass import FAMILIES, Family, Lowpass, apply_lowpass, response
from audiosr.errors import UsageError
from tests.audio import released

RATE = 48000
CURVED: tuple[Family, ...] = ("cheby1", "ellip", "butter", "bessel")


def design(filter: Lowpass, rate: int = RATE) -> np.ndarray:
    """scipy's digital design of one pass."""
    args = {
        "cheby1": (filter.order, 0.1),
        "ellip": (filter.order, 0.1, 60),
        "butter": (filter.order,),
        "bessel": (filter.order,),
    }[filter.family]
    make = getattr(scipy.signal, filter.family)
    return make(*args, filter.cutoff_hz, fs=rate, output="sos")


def power(wave: torch.Tensor, low: float, high: float) -> float:
    """Energy of the middle of a wave between two frequencies."""
    middle = wave[0, 0, 4800:-4800].double()
    spectrum = torch.fft.rfft(middle * torch.hann_window(len(middle), dtype=torch.float64))
    hz = torch.fft.rfftfreq(len(middle), 1 / RATE)
    return float(spectrum[(hz >= low) & (hz < high)].abs().square().sum())


@pytest.mark.parametrize("family", CURVED)
@pytest.mark.parametrize("order", range(1, 11))
def test_the_response_is_that_of_scipy_run_forward_and_backward(family: Family, order: int):
    hz = np.arange(4097) * RATE / 8192
    for cutoff in (300.0, 2000.0, 5432.1, 16000.0, 23000.0):
        filter = Lowpass(family, cutoff, order)

        gain = response(filter, 8192, RATE).numpy()

        _, once = scipy.signal.sosfreqz(design(filter), worN=hz, fs=RATE)
        assert np.abs(gain - np.abs(once) ** 2).max() < 1e-4


@pytest.mark.parametrize("family", CURVED)
def test_filtering_equals_sosfiltfilt(family: Family):
    wave = torch.randn(1, 1, 24000)
    for order, cutoff in itertools.product((2, 5, 10), (2000.0, 8000.0, 16000.0)):
        filter = Lowpass(family, cutoff, order)

        ours = apply_lowpass(wave, [filter], RATE)[0, 0].numpy()

        theirs = scipy.signal.sosfiltfilt(design(filter), wave[0, 0].double().numpy())
        # The ends differ: scipy continues the clip by a few samples only.
        middle = slice(4800, -4800)
        error = np.linalg.norm((ours - theirs)[middle]) / np.linalg.norm(theirs[middle])
        assert error < 1e-4


@pytest.mark.parametrize("case", released.cases("lowpass"), ids=lambda case: case["key"])
def test_filtering_equals_the_released(case: dict):
    filter = Lowpass(case["family"], case["cutoff"], case["order"])

    filtered = apply_lowpass(released.wave(case["signal"]), [filter], RATE)

    assert released.error(filtered[0, 0, 600:1800:2], case["key"]) < 1e-4


@pytest.mark.parametrize("family", ["cheby1", "ellip", "boxcar", "butter"])
@pytest.mark.parametrize("cutoff", [2000.0, 6000.0, 16000.0])
def test_the_pass_band_stays_and_the_stop_band_goes(family: Family, cutoff: float):
    wave = torch.randn(1, 1, RATE)

    low = apply_lowpass(wave, [Lowpass(family, cutoff, 10)], RATE)

    kept = power(low, 0, 0.8 * cutoff) / power(wave, 0, 0.8 * cutoff)
    assert abs(10 * np.log10(kept)) < 0.3
    left = power(low, 1.35 * cutoff, 24000) / power(wave, 1.35 * cutoff, 24000)
    assert 10 * np.log10(left) < -50


def test_the_boxcar_is_a_brick_wall():
    wave = torch.randn(1, 1, RATE)

    low = apply_lowpass(wave, [Lowpass("boxcar", 4000.0, 8)], RATE)

    assert power(low, 4010, 24000) < 1e-9 * power(wave, 4010, 24000)
    assert power(low - wave, 0, 3990) < 1e-9 * power(wave, 0, 3990)


@pytest.mark.parametrize("family", FAMILIES)
def test_nothing_is_delayed(family: Family):
    wave = torch.zeros(1, 1, 9601)
    wave[..., 4800] = 1

    low = apply_lowpass(wave, [Lowpass(family, 3000.0, 7)], RATE)

    assert low.argmax() == 4800
    assert torch.allclose(low, low.flip(-1), atol=1e-6)


@given(samples=st.integers(0, 12000), family=st.sampled_from(FAMILIES))
def test_any_length_stays_as_it_is(samples: int, family: Family):
    low = apply_lowpass(0.1 * torch.randn(2, 1, samples), [Lowpass(family, 4000.0, 8)] * 2, RATE)

    assert low.shape == (2, 1, samples)
    assert low.isfinite().all()


def test_each_clip_gets_its_own_filter():
    filters = [
        Lowpass("ellip", 2000.0, 9),
        Lowpass("boxcar", 5000.0, 2),
        Lowpass("butter", 9000.0, 2),
        Lowpass("bessel", 24000.0, 4),
    ]
    waves = torch.randn(4, 1, 9600)

    together = apply_lowpass(waves, filters, RATE)

    alone = [
        apply_lowpass(wave[None], [filter], RATE)
        for wave, filter in zip(waves, filters, strict=True)
    ]
    assert torch.allclose(together, torch.cat(alone), atol=1e-5)


@pytest.mark.parametrize("cutoff", [23990.0, 24000.0, 30000.0])
def test_a_cutoff_at_nyquist_changes_nothing(cutoff: float):
    wave = torch.randn(1, 1, 9600)
    for family in FAMILIES:
        assert torch.allclose(
            apply_lowpass(wave, [Lowpass(family, cutoff, 8)], RATE), wave, atol=1e-5
        )


@pytest.mark.parametrize("family", ["cheby1", "boxcar", "butter"])
def test_ends_make_no_clicks_and_do_not_wrap_around(family: Family):
    # A tone that is cut in the middle of its swing at one end, silence at the other.
    time = torch.arange(RATE) / RATE
    whole = torch.sin(2 * np.pi * 440 * time)[None, None]
    part = whole[..., 12020:36020].clone()
    part[..., 12000:] *= torch.linspace(1, 0, 12000) ** 2

    low = apply_lowpass(part, [Lowpass(family, 4000.0, 8)], RATE)

    # Chebyshev's ripple of 0.1 dB, forward and backward, is what the tone itself may lose.
    assert (low - part).abs().max() < 0.03
    assert low[..., -240:].abs().max() < 2e-3


def test_gradients_pass():
    wave = torch.randn(1, 1, 4800, requires_grad=True)

    apply_lowpass(wave, [Lowpass("cheby1", 4000.0, 8)], RATE).sum().backward()

    assert wave.grad is not None
    assert wave.grad.isfinite().all()


@pytest.mark.parametrize(
    "wrong", [("cheby2", 4000.0, 8), ("butter", 0.0, 8), ("butter", 4000.0, 0)], ids=str
)
def test_filters_that_cannot_be_built_are_refused(wrong: tuple):
    with pytest.raises(UsageError, match="low-pass"):
        Lowpass(*wrong)


def test_a_filter_for_each_clip_is_required():
    with pytest.raises(ValueError, match="1 filters for a batch of 2"):
        apply_lowpass(torch.randn(2, 1, 480), [Lowpass("butter", 4000.0, 8)], RATE)
