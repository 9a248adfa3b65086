"""The low-passes of a protocol: those of the paper and those of ssr_eval."""

from typing import Any

import numpy as np
import pytest
import scipy.signal

from audiosr.audio.io import RATE
from audiosr.audio.ssr_eval import SSR_EVAL_KINDS
from audiosr.errors import UsageError
from audiosr.evaluation.bandlimit import SsrEvalLowpass, ZeroPhase
from tests.evaluation.conftest import tone_burst

pytestmark = pytest.mark.smoke

WAVE = tone_burst(0.5, 22_000).astype(np.float64)


def test_zero_phase_is_scipys_away_from_the_ends():
    sections = scipy.signal.cheby1(8, 0.1, 4000, fs=RATE, output="sos")
    expected = scipy.signal.sosfiltfilt(sections, WAVE)
    low = ZeroPhase()(WAVE, 4000, RATE)
    np.testing.assert_allclose(low[4096:-4096], expected[4096:-4096], atol=1e-9)


@pytest.mark.parametrize("family", ["cheby1", "ellip", "butter", "bessel", "boxcar"])
@pytest.mark.parametrize("samples", [1, 2, 1000])
def test_short_clips_are_band_limited(family, samples):
    low = ZeroPhase(family)(WAVE[:samples], 4000, RATE)
    assert low.shape == (samples,)
    assert np.isfinite(low).all()


@pytest.mark.parametrize("kind", SSR_EVAL_KINDS)
def test_ssr_eval_keeps_the_low_band_and_the_length(kind):
    low = SsrEvalLowpass(kind)(WAVE[:20_001], 6000, RATE)
    assert low.shape == (20_001,)
    window = np.hanning(len(low))
    power = [np.abs(np.fft.rfft(window * wave)) ** 2 for wave in (low, WAVE[:20_001])]
    hz = np.fft.rfftfreq(len(low), 1 / RATE)
    kept = power[0][(hz > 200) & (hz < 2000)].sum() / power[1][(hz > 200) & (hz < 2000)].sum()
    lost = power[0][hz > 14_000].sum() / power[1][hz > 14_000].sum()
    assert kept == pytest.approx(1, abs=0.2)
    assert lost < 1e-3


def test_unknown_kinds_are_named():
    brick: Any = "brick"
    with pytest.raises(UsageError, match="no low-pass family"):
        ZeroPhase(brick)
    with pytest.raises(UsageError, match="choose from stft_hard"):
        SsrEvalLowpass(brick)
