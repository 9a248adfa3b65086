"""Do good resamplers keep the band and bad ones leave the images that they leave in the wild?"""

from typing import Any

import numpy as np
import pytest
import scipy.signal
import torch

from audiosr.audio.lowpass import in_frequency
from audiosr.degrade.resamplers import POLYPHASE, Kernel, KernelShape, fold_spectrum
from audiosr.errors import UsageError

RATE = 48000


def resampled(wave: torch.Tensor, low: int, down: Kernel, up: Kernel) -> torch.Tensor:
    def change(spectrum: torch.Tensor, _: int) -> torch.Tensor:
        return torch.stack([fold_spectrum(row, low, RATE, down, up) for row in spectrum])

    return in_frequency(wave, change, RATE)


def tone(hz: float) -> torch.Tensor:
    return torch.sin(2 * torch.pi * hz * torch.arange(RATE, dtype=torch.float64) / RATE)[None, None]


def level(wave: torch.Tensor, hz: float) -> float:
    """Amplitude of a tone in the middle of a wave."""
    middle = wave[0, 0, 12000:36000].double()
    turn = torch.exp(-2j * torch.pi * hz * torch.arange(24000, dtype=torch.float64) / RATE)
    window = torch.hann_window(24000, periodic=True, dtype=torch.float64)
    return float(2 * (middle * window * turn).sum().abs() / window.sum())


@pytest.mark.parametrize("low", [4000, 10247, 16000, 31999, 44000])
def test_polyphase_is_that_of_scipy(low: int):
    wave = torch.randn(1, 1, 24000, generator=torch.Generator().manual_seed(0))

    ours = resampled(wave, low, POLYPHASE, POLYPHASE)[0, 0].numpy()

    down = scipy.signal.resample_poly(wave[0, 0].double().numpy(), low, RATE)
    theirs = scipy.signal.resample_poly(down, RATE, low)[:24000]
    middle = slice(2000, -2000)
    error = np.linalg.norm((ours - theirs)[middle]) / np.linalg.norm(theirs[middle])
    assert error < 1e-3


def test_without_a_filter_what_lies_above_folds_back():
    tones = [resampled(tone(10000), 16000, down, POLYPHASE) for down in (Kernel("none"), POLYPHASE)]

    assert level(tones[0], 6000) > 0.95
    assert level(tones[1], 6000) < 0.01


def test_a_poor_filter_lets_some_fold_back():
    poor, good = Kernel("sinc", 2, "hann"), Kernel("sinc", 32, "hann")

    images = [level(resampled(tone(9000), 16000, down, POLYPHASE), 7000) for down in (poor, good)]

    assert images[0] > 0.1
    assert images[1] < 1e-3


@pytest.mark.parametrize(("shape", "image_db"), [("linear", -28), ("nearest", -14)])
def test_cheap_interpolation_leaves_images(shape: KernelShape, image_db: float):
    out = resampled(tone(2000), 12000, POLYPHASE, Kernel(shape))

    # A hold gives sinc(f / low), straight lines its square.
    assert 20 * np.log10(level(out, 10000) / level(out, 2000)) == pytest.approx(image_db, abs=0.5)


def test_nothing_is_delayed():
    wave = torch.zeros(1, 1, 9600)
    wave[..., 4800] = 1
    for up in (POLYPHASE, Kernel("linear"), Kernel("nearest")):
        out = resampled(wave, 8000, POLYPHASE, up)
        assert torch.allclose(out[0, 0, 4500:4800], out[0, 0, 4801:5101].flip(0), atol=1e-5)


def test_unknown_kernels_are_refused():
    wrong: Any = "cubic"

    with pytest.raises(UsageError, match="kernel"):
        Kernel(wrong)
