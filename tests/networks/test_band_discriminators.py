"""Does each band have judges of its own, who hear phase and no loudness?"""

import math

import torch
from torch import Tensor

from audiosr.networks.band_discriminators import BandSpectrumDiscriminator, MultiBandDiscriminator

BANDS = ((0.0, 0.25), (0.25, 1.0))


def tone(hz: float, samples: int = 4096) -> Tensor:
    return 0.3 * torch.sin(2 * math.pi * hz * torch.arange(samples) / 48000)[None, None]


def small() -> BandSpectrumDiscriminator:
    return BandSpectrumDiscriminator(n_fft=256, channels=4, bands=BANDS).requires_grad_(False)


def test_every_resolution_gives_a_verdict_with_the_activations_of_each_band() -> None:
    verdicts = MultiBandDiscriminator(sizes=(512, 256), channels=4, bands=BANDS)(
        torch.randn(2, 1, 4096)
    )

    assert [logits.shape[:2] for logits, _ in verdicts] == [(2, 1), (2, 1)]
    assert [logits.shape[2] for logits, _ in verdicts] == [33, 65]
    assert all(len(features) == 5 * len(BANDS) for _, features in verdicts)


def test_a_band_is_judged_by_what_is_in_it() -> None:
    network = small()
    wave = tone(3000.0) + 1e-3 * torch.randn(1, 1, 4096)
    spectrum = network.complex_spectrum(wave)
    loud = spectrum.clone()
    loud[..., network.bins[1][0] :] *= 1.5  # of the upper band alone
    network.complex_spectrum = lambda wave: spectrum
    before = network(wave)[1]
    network.complex_spectrum = lambda wave: loud

    after = network(wave)[1]

    low, high = slice(0, 5), slice(5, 10)
    assert all(torch.equal(a, b) for a, b in zip(before[low], after[low], strict=True))
    assert all(not torch.equal(a, b) for a, b in zip(before[high], after[high], strict=True))


def test_bands_cover_the_spectrum_without_a_gap() -> None:
    bins = BandSpectrumDiscriminator(n_fft=2048, channels=2).bins

    assert [low for low, _ in bins[1:]] == [high for _, high in bins[:-1]]
    assert (bins[0][0], bins[-1][1]) == (0, 1025)
    assert [round(high / 1025 * 24) for _, high in bins] == [2, 6, 12, 18, 24]


def test_loudness_and_a_constant_are_not_heard_and_the_sign_is() -> None:
    network, wave = small(), torch.randn(1, 1, 4096)
    logits, _ = network(wave)

    torch.testing.assert_close(network(0.1 * wave + 0.5)[0], logits, atol=1e-3, rtol=1e-3)
    assert (network(-wave)[0] - logits).abs().max() > 1e-3
    assert network(torch.zeros(1, 1, 4096))[0].isfinite().all()
