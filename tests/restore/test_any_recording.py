"""Is every recording, of any rate, channels and length, restored at its length and level?"""

import numpy as np
import pytest
import soxr
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from audiosr.diffusion.schedule import trailing_timesteps
from audiosr.restore.restorer import Restorer
from audiosr.restore.settings import load_profile
from tests.restore.conftest import band
from tests.tiny import tiny_model

RATES = [
    *(4000, 5512, 6000, 8000, 9600, 11025, 12000, 16000, 18900, 22050),
    *(24000, 32000, 37800, 44056, 44100, 48000, 50000, 88200, 96000, 192000),
]
RESTORER = Restorer(tiny_model(), settings=load_profile(steps=1))


@settings(deadline=None, max_examples=60, derandomize=True)
@given(
    rate=st.sampled_from(RATES),
    channels=st.integers(1, 6),
    seconds=st.one_of(st.just(0.0), st.floats(0.0001, 0.05), st.floats(0.5, 1.2)),
    part=st.floats(0.3, 0.9),
    seed=st.integers(0, 2**32 - 1),
)
def test_length_channels_and_level_are_kept(rate, channels, seconds, part, seed):
    samples = max(1, round(seconds * rate))
    wave = np.random.default_rng(seed).standard_normal((channels, samples)) * 0.1
    wave = wave.astype(np.float32)
    wave[-1] = wave[0]
    cutoff_hz = min(part * rate / 2, 18_000)

    restored = RESTORER.restore(wave, rate, cutoff_hz=cutoff_hz)

    assert restored.shape == (channels, round(samples * 48_000 / rate))
    assert np.isfinite(restored).all()
    np.testing.assert_allclose(restored[-1], restored[0], atol=1e-6)
    if seconds > 0.5:
        kept = soxr.resample(wave.T, rate, 48_000, "VHQ").T[:, : restored.shape[1]]
        for before, after in zip(kept, restored, strict=True):
            levels = [band(one, 200, 0.7 * cutoff_hz) for one in (before, after)]
            assert 20 * np.log10(levels[1] / levels[0]) == pytest.approx(0, abs=0.05)


def test_every_number_of_steps_has_its_times():
    for steps in range(1, 1001):
        times = trailing_timesteps(steps, 1000)
        assert len(times) == steps
        assert times[0] == 999
        assert (torch.as_tensor(times).diff() < 0).all()
        assert times[-1] >= 0


@pytest.mark.parametrize("steps", [1, 2, 3, 7, 50, 1000])
def test_any_number_of_steps_restores(noise, steps):
    restored = RESTORER.restore(noise(0.1), 48_000, cutoff_hz=4000, steps=steps)

    assert restored.shape == (1, 4800)
    assert np.isfinite(restored).all()
