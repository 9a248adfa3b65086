"""Is a call limited to its line, coded at 8 kHz, and in time and as loud as the clip was?"""

import numpy as np
import pytest
import scipy.signal

from audiosr.audio.io import RATE
from audiosr.degrade.telephone import CODINGS, Coding, Telephone, apply_telephone
from tests.degrade.conftest import noise


def level_db(wave: np.ndarray, low_hz: float, high_hz: float) -> float:
    hz, power = scipy.signal.welch(wave, RATE, nperseg=4096)
    return 10 * np.log10(power[(hz >= low_hz) & (hz <= high_hz)].mean() + 1e-30)


def test_what_lies_outside_the_line_is_lost_and_what_it_passes_stays():
    wave = noise(RATE)

    call = apply_telephone(wave, Telephone("PCM_16", 300, 3_400), RATE)

    assert level_db(call, 500, 3_000) == pytest.approx(level_db(wave, 500, 3_000), abs=0.3)
    assert level_db(call, 20, 150) < level_db(wave, 20, 150) - 20
    assert level_db(call, 3_800, 3_950) < level_db(wave, 3_800, 3_950) - 20
    assert level_db(call, 4_200, 24_000) < level_db(wave, 4_200, 24_000) - 60


def test_mu_law_rounds_and_its_noise_fills_the_band_of_8_khz():
    wave = noise(RATE)
    plain, rounded = (
        apply_telephone(wave, Telephone(coding, 300, 3_400), RATE) for coding in ("PCM_16", "ULAW")
    )

    ratio = 10 * np.log10(np.square(plain).mean() / np.square(rounded - plain).mean())

    assert ratio == pytest.approx(37, abs=3)
    assert level_db(rounded, 3_850, 3_950) > level_db(plain, 3_850, 3_950) + 10


@pytest.mark.parametrize("coding", CODINGS)
@pytest.mark.parametrize("gain", [1e-4, 1.0, 8.0])
def test_a_call_is_in_time_as_long_and_as_loud(coding: Coding, gain: float):
    voice = noise(RATE + 5)
    voice = scipy.signal.sosfiltfilt(
        scipy.signal.butter(2, [400, 1_500], "bandpass", fs=RATE, output="sos"), voice
    )
    voice = (gain * voice).astype(np.float32)

    call = apply_telephone(voice, Telephone(coding), RATE)

    assert call.shape == voice.shape
    assert call.dtype == np.float32
    cross = np.fft.irfft(np.fft.rfft(call) * np.fft.rfft(voice).conj(), len(call))
    assert int(cross.argmax()) in (0, 1, 2, len(call) - 1, len(call) - 2)
    assert level_db(call, 500, 1_400) == pytest.approx(level_db(voice, 500, 1_400), abs=1.5)


def test_silence_stays_silence():
    call = apply_telephone(np.zeros(RATE, np.float32), Telephone("ALAW"), RATE)

    assert np.abs(call).max() < 1e-9
