"""Are samples the same sound on their way to the networks?"""

import numpy as np
import pytest

from audiosr.restore.samples import resample_sinc


@pytest.mark.parametrize("rate", [8000, 11025, 44100, 48000, 96000])
def test_resampling_by_a_sinc_keeps_tones_in_time_and_level(rate: int):
    tone = np.sin(2 * np.pi * 1000 * np.arange(rate // 5) / rate).astype(np.float32)

    out = resample_sinc(tone[None], rate, 48_000)

    expected = np.sin(2 * np.pi * 1000 * np.arange(9600) / 48_000)
    assert out.shape == (1, 9600)
    np.testing.assert_allclose(out[0, 500:-500], expected[500:-500], atol=5e-3)


def test_a_length_resampled_by_a_sinc_is_rounded_up():
    assert resample_sinc(np.zeros((2, 441), np.float32), 44_100, 48_000).shape == (2, 480)
    assert resample_sinc(np.zeros((2, 442), np.float32), 44_100, 48_000).shape == (2, 482)
