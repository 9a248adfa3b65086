"""Which untrained model do the tests of restoration share?"""

import numpy as np
import pytest

from audiosr.restore.restorer import Restorer
from audiosr.restore.settings import load_profile
from tests.tiny import tiny_model

STEPS = load_profile(steps=2, cutoff_hz=3000.0)


@pytest.fixture(scope="module")
def restorer():
    return Restorer(tiny_model(), settings=STEPS)


def band(wave, low, high, rate=48000):
    """RMS of `wave (C, T)` between two frequencies."""
    spectrum = np.fft.rfft(wave * np.hanning(wave.shape[-1]))
    hz = np.fft.rfftfreq(wave.shape[-1], 1 / rate)
    return np.sqrt((np.abs(spectrum[..., (hz >= low) & (hz < high)]) ** 2).sum())
