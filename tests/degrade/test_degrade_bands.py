"""Do degraded clips have the spectrum that scipy's filters give them, down to -80 dB?"""

import numpy as np
import pytest
from numpy.lib.stride_tricks import sliding_window_view

from audiosr.audio.lowpass import Family, Lowpass
from audiosr.degrade.paper import PaperDegradation
from bench.data import scipy_filter
from tests.degrade.conftest import noise

RATE = 48_000


def levels(wave: np.ndarray) -> np.ndarray:
    """Power in dB over 1024 bands; the window's leakage is below -110 dB."""
    frames = sliding_window_view(wave.astype(np.float64), 2048)[::1024]
    spectra = np.fft.rfft(frames * np.kaiser(2049, 14.0)[:-1])
    return 10 * np.log10(np.square(np.abs(spectra)).mean(0) + 1e-30)


@pytest.mark.parametrize("order", [2, 5, 10])
@pytest.mark.parametrize("family", ["cheby1", "ellip", "butter", "bessel"])
def test_pass_band_and_stop_band_are_those_of_scipy(family: Family, order: int):
    wave = noise(RATE)
    hz = np.linspace(0, RATE / 2, 1025)
    for cutoff_hz in (2_000.0, 7_001.0, 12_000.0, 16_000.0):
        filter = Lowpass(family, cutoff_hz, order)

        ours = levels(PaperDegradation().filter(wave, filter))
        theirs, whole = levels(scipy_filter(wave[None], [filter])[0]), levels(wave)

        passed = (hz > 100) & (hz < 0.9 * cutoff_hz)
        assert np.abs(ours - theirs)[passed].max() < 0.2
        # Where scipy's result is less than 80 dB down; below that it is rounding.
        stopped = (hz > cutoff_hz) & (hz < 23_900) & (theirs - whole > -80)
        assert np.abs(ours - theirs)[stopped].max(initial=0) < 3
