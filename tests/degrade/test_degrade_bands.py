"""Do degraded clips have the spectrum that scipy's filters and the release's chain give them?"""

import numpy as np
import pytest
import scipy.signal
import torch

from audiosr.audio.lowpass import Lowpass
from audiosr.degrade.filters import Degrade, Released
from bench.data import scipy_chain, scipy_filter

RATE = 48_000
FAMILIES = ("cheby1", "ellip", "butter", "bessel")


def by_scipy(wave: np.ndarray, filter: Lowpass) -> np.ndarray:
    """Forward and backward."""
    return scipy_filter(wave[None], [filter])[0]


def by_release(wave: np.ndarray, filter: Lowpass) -> np.ndarray:
    return scipy_chain(torch.from_numpy(wave).float()[None, None], [filter])[0]


def levels(wave: np.ndarray) -> np.ndarray:
    """Power in dB over 1024 bands; the window's leakage is below -110 dB."""
    window = np.kaiser(2049, 14.0)[:-1]
    _, power = scipy.signal.welch(wave.astype(np.float64), RATE, window=window)  # pyright: ignore
    return 10 * np.log10(power + 1e-30)


@pytest.mark.parametrize("order", [2, 5, 10])
@pytest.mark.parametrize("family", FAMILIES)
@pytest.mark.parametrize(
    ("degrade", "reference"), [(Degrade(), by_scipy), (Released(), by_release)]
)
def test_pass_band_and_stop_band_are_those_of_scipy(degrade, reference, family, order):
    wave = np.random.default_rng(0).standard_normal(RATE)
    hz = np.linspace(0, RATE / 2, 1025)
    for cutoff_hz in (2_000.0, 7_001.0, 12_000.0, 16_000.0):
        filter = Lowpass(family, cutoff_hz, order)
        batch = torch.from_numpy(wave).float()[None, None]

        ours = levels(degrade.filter(batch, [filter])[0, 0].numpy())
        theirs, whole = levels(reference(wave, filter)), levels(wave)

        passed = (hz > 100) & (hz < 0.9 * cutoff_hz)
        assert np.abs(ours - theirs)[passed].max() < 0.2
        # Where scipy's result is less than 80 dB down; below that it is rounding.
        stopped = (hz > cutoff_hz) & (hz < 23_900) & (theirs - whole > -80)
        assert np.abs(ours - theirs)[stopped].max(initial=0) < 3
