"""Does the vocoder keep length, level and time, and does it start at the level of its mel?"""

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from audiosr.audio.mel import LogMel, MelSettings, mel_basis
from audiosr.networks.vocos import InverseSTFT, Vocos, magnitude_prior

SETTINGS = MelSettings()
PAD = (SETTINGS.n_fft - SETTINGS.hop) // 2


@pytest.fixture(scope="module")
def network() -> Vocos:
    """The smallest vocoder, untrained."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(3)
        return Vocos(channels=16, blocks=1)


def spectrum_of(wave: torch.Tensor) -> torch.Tensor:
    """The complex STFT `(B, T, bins)` of which the front end takes the magnitude."""
    padded = torch.nn.functional.pad(wave, (PAD, PAD), mode="reflect")
    spectrum = torch.stft(
        padded[:, 0],
        SETTINGS.n_fft,
        SETTINGS.hop,
        window=torch.hann_window(SETTINGS.n_fft),
        center=False,
        return_complex=True,
    )
    return spectrum.transpose(1, 2)


def impulse(amplitude: float, *, frame: int, frames: int) -> torch.Tensor:
    """A click at the centre of `frame`: its spectrum there is flat and as high as the click."""
    wave = torch.zeros(1, 1, SETTINGS.hop * frames)
    wave[..., SETTINGS.hop * frame + SETTINGS.hop // 2] = amplitude
    return wave


@given(st.integers(1, 3), st.integers(1, 64))
def test_every_frame_gives_a_hop_of_samples(network: Vocos, batch: int, frames: int):
    with torch.no_grad():
        wave = network(torch.randn(batch, 1, frames, 256) - 5)

    assert wave.shape == (batch, 1, 480 * frames)
    assert wave.isfinite().all()


@pytest.mark.parametrize("level", [1e-4, 0.02, 1.0, 30.0])
def test_the_prior_of_a_flat_spectrum_is_its_level(level: float):
    to_bins, offset = magnitude_prior(SETTINGS)
    mel = (level * mel_basis(SETTINGS).sum(1)).log()

    magnitude = (mel @ to_bins + offset).exp()

    torch.testing.assert_close(magnitude, torch.full((1025,), level), rtol=1e-4, atol=0)


def test_the_prior_agrees_with_the_front_end():
    to_bins, offset = magnitude_prior(SETTINGS)
    mel = LogMel()(impulse(0.5, frame=4, frames=9))[:, 0, 4]

    magnitude = (mel @ to_bins + offset).exp()

    torch.testing.assert_close(magnitude, torch.full((1, 1025), 0.5), rtol=1e-4, atol=0)


def test_the_prior_interpolates_between_the_bands_around_a_bin():
    to_bins, _ = magnitude_prior(SETTINGS)

    torch.testing.assert_close(to_bins.sum(0), torch.ones(1025))
    assert to_bins.min() >= 0
    rows = [column.nonzero().flatten() for column in to_bins.T]
    assert all(len(row) <= 2 and row[-1] - row[0] <= 1 for row in rows)


def test_an_untrained_vocoder_speaks_at_the_level_of_its_mel():
    network = Vocos(channels=16, blocks=1)
    heard = {}
    network.istft.register_forward_pre_hook(lambda _, inputs: heard.update(spectrum=inputs[0]))

    with torch.no_grad():
        network(LogMel()(impulse(0.5, frame=4, frames=9)))

    # The residual starts near zero: a tenth of a decibel.
    level = heard["spectrum"][0, 4].abs()
    torch.testing.assert_close(level, torch.full((1025,), 0.5), rtol=0.012, atol=0)


@pytest.mark.parametrize("frames", [8, 21])
def test_the_inverse_of_the_front_end_has_no_delay(frames: int):
    wave = 0.2 * torch.randn(2, 1, SETTINGS.hop * frames)
    inverse = InverseSTFT(SETTINGS.n_fft, SETTINGS.hop)

    back = inverse(spectrum_of(wave))

    assert back.shape == wave.shape
    inside = slice(SETTINGS.hop, -SETTINGS.hop)
    assert (back - wave)[..., inside].abs().max() < 1e-4


def test_the_inverse_undoes_the_stft_whose_magnitude_the_front_end_takes():
    wave = torch.randn(1, 1, 4800)

    torch.testing.assert_close(spectrum_of(wave).abs(), LogMel().magnitude(wave))


def test_a_click_comes_back_where_it_was():
    wave = impulse(1.0, frame=5, frames=11)

    back = InverseSTFT(SETTINGS.n_fft, SETTINGS.hop)(spectrum_of(wave))

    assert back.argmax() == wave.argmax()


def test_gradients_reach_every_weight_and_the_mel():
    network = Vocos(channels=16, blocks=2)
    mel = (torch.randn(1, 1, 8, 256) - 4).requires_grad_()

    (network(mel) * torch.randn(1, 1, 3840)).sum().backward()

    silent = [name for name, p in network.named_parameters() if p.grad is None or not p.grad.any()]
    assert not silent
    assert mel.grad is not None
    assert mel.grad.abs().sum() > 0
    assert all(p.grad.isfinite().all() for p in network.parameters() if p.grad is not None)


def test_an_absurd_mel_stays_finite(network: Vocos):
    mel = torch.full((1, 1, 6, 256), 80.0, requires_grad=True)

    wave = network(mel)
    wave.sum().backward()

    assert wave.isfinite().all()
    assert mel.grad is not None
    assert mel.grad.isfinite().all()


def test_bfloat16_stays_close_and_gives_float32(network: Vocos):
    mel = LogMel()(0.1 * torch.randn(1, 1, 9600))

    with torch.no_grad():
        want = network(mel)
        with torch.autocast("cpu", torch.bfloat16):
            got = network(mel)

    assert got.dtype == torch.float32
    assert (got - want).norm() < 0.05 * want.norm()
