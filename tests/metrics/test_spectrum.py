"""The magnitude spectrogram that metrics compare, at frames that torch's FFT is slow on."""

import numpy as np
import pytest
import torch

from audiosr.metrics.spectrum import magnitude_spectrogram


@pytest.mark.parametrize("samples", [480, 5000, 20_000])
def test_odd_frames_are_those_of_a_real_fft(samples):
    wave = 0.1 * torch.randn(2, samples, generator=torch.Generator().manual_seed(0))
    padded = np.pad(wave.double().numpy(), ((0, 0), (1114, 1114)))
    frames = np.lib.stride_tricks.sliding_window_view(padded, 2229, -1)[:, ::480]
    hann = 0.5 - 0.5 * np.cos(2 * np.pi * np.arange(2229) / 2229)
    expected = np.abs(np.fft.rfft(frames * hann))

    found = magnitude_spectrogram(wave, 2229, 480, pad_mode="constant")

    assert found.dtype == torch.float64
    np.testing.assert_allclose(found.transpose(1, 2).numpy(), expected, rtol=1e-8, atol=1e-11)


def test_frames_of_zeros_beside_loud_ones_stay_empty():
    wave = torch.randn(1, 20_000, generator=torch.Generator().manual_seed(0))
    wave[:, 9480:] = 0

    found = magnitude_spectrogram(wave, 2229, 480, pad_mode="constant")[0]

    starts = 480 * torch.arange(found.shape[1]) - 1114
    assert (found[:, starts >= 9480] == 0).all()
    assert (found[:, starts < 9480] > 0).any(0).all()
