"""Does the small autoencoder start as a principal-component transform of patches?"""

import numpy as np
import pytest
import torch
from einops import rearrange

from audiosr.networks.gaussian import DiagonalGaussian
from audiosr.networks.patch_autoencoder import PatchAutoencoder


def small() -> PatchAutoencoder:
    return PatchAutoencoder(width=16, blocks=1)


def patches_of(mel: torch.Tensor) -> np.ndarray:
    """All 8 x 8 patches of `mel (B, 1, T, F)`, one a row, float64."""
    return rearrange(mel, "b 1 (t p) (f q) -> (b t f) (p q)", p=8, q=8).double().numpy()


@pytest.fixture
def mel() -> torch.Tensor:
    """Log-mels whose patches have spread along directions of their own, `(2, 1, 64, 128)`."""
    mixing = torch.randn(64, 64) * torch.logspace(0, -2, 64)
    rows = torch.randn(2 * 8 * 16, 64) @ mixing.T - 5
    return rearrange(rows, "(b t f) (p q) -> b 1 (t p) (f q)", b=2, t=8, p=8, q=8)


@torch.no_grad()
def test_the_fit_loses_the_discarded_variance_and_no_more(mel: torch.Tensor):
    network = small()
    network.fit(mel)
    discarded = np.linalg.eigvalsh(np.cov(patches_of(mel).T, bias=True))[:-16].sum()

    lost = 64 * (network.decode(network.encode(mel).mode()) - mel).square().mean()

    assert float(lost) == pytest.approx(discarded, rel=1e-3)


@torch.no_grad()
def test_latents_are_half_whitened_components(mel: torch.Tensor):
    network = small()
    network.fit(mel)
    kept = np.linalg.eigvalsh(np.cov(patches_of(mel).T, bias=True))[-16:]

    latent = rearrange(network.encode(mel).mode(), "b c t f -> c (b t f)").numpy()

    want = np.diag(np.sqrt(kept))  # variance over standard deviation
    np.testing.assert_allclose(np.cov(latent, bias=True), want, atol=1e-3 * kept.max() ** 0.5)
    np.testing.assert_allclose(latent.mean(1), 0, atol=1e-3)


@torch.no_grad()
def test_mels_on_a_plane_come_back(mel: torch.Tensor):
    rows = torch.randn(256, 3) @ torch.randn(3, 64) + torch.randn(64)
    plane = rearrange(rows, "(b t f) (p q) -> b 1 (t p) (f q)", b=2, t=8, p=8, q=8)
    network = small()
    network.fit(plane)

    torch.testing.assert_close(
        network.decode(network.encode(plane).mode()), plane, atol=1e-3, rtol=0
    )


@torch.no_grad()
def test_silence_alone_can_be_fitted():
    silence = torch.full((1, 1, 16, 64), float(np.log(1e-5)))
    network = small()
    network.fit(silence)

    torch.testing.assert_close(network.decode(network.encode(silence).mode()), silence)


@torch.no_grad()
def test_residuals_start_at_zero():
    network = small()

    assert not network.encoder(torch.randn(1, 64, 3, 4)).any()
    assert not network.decoder(torch.randn(1, 16, 3, 4)).any()


def test_residuals_learn_from_the_first_step():
    network = small()
    mel = torch.randn(1, 1, 16, 32)
    posterior = network.encode(mel)

    (network.decode(posterior.sample(torch.Generator())) - mel).abs().mean().backward()

    for residual in (network.encoder, network.decoder):
        assert residual.conv_out.weight.grad is not None
        assert residual.conv_out.weight.grad.any()


def test_what_every_autoencoder_offers():
    network = PatchAutoencoder(latent_channels=12, width=16, blocks=1)

    posterior = network.encode(torch.randn(2, 1, 24, 64))
    mel = network.decode(posterior.mode())

    assert (network.latent_channels, network.downsample) == (12, 8)
    assert isinstance(posterior, DiagonalGaussian)
    assert posterior.mean.shape == posterior.logvar.shape == (2, 12, 3, 8)
    assert mel.shape == (2, 1, 24, 64)
    (gradient,) = torch.autograd.grad(mel.square().sum(), network.last_layer)
    assert gradient.abs().sum() > 0


def test_the_posterior_starts_narrow():
    posterior = PatchAutoencoder(width=16, blocks=1, initial_logvar=-4.0).encode(
        torch.randn(1, 1, 8, 8)
    )

    torch.testing.assert_close(posterior.std, torch.full((1, 16, 1, 1), float(np.exp(-2.0))))


def test_patches_keep_their_place():
    network = small()
    mel = torch.randn(1, 1, 32, 64)
    changed = mel.clone()
    changed[:, :, 8:16, 24:32] += 1

    difference = (network.encode(changed).mode() - network.encode(mel).mode()).abs().sum(1)[0]

    assert difference[1, 3] > 0
    assert difference.count_nonzero() == 1


@pytest.mark.parametrize("size", [(12, 64), (16, 60), (1, 8), (7, 7)])
def test_sizes_that_do_not_divide_are_refused(size: tuple[int, int]):
    mel = torch.randn(1, 1, *size)

    for use in (small().encode, small().fit):
        with pytest.raises(ValueError, match=rf"{size[0]}, {size[1]}.* not divisible into 8 x 8"):
            use(mel)


def test_bfloat16_gives_float32():
    network = small()
    mel = torch.randn(1, 1, 16, 32)

    with torch.autocast("cpu", torch.bfloat16):
        posterior = network.encode(mel)
        back = network.decode(posterior.mode())

    assert posterior.mean.dtype == posterior.logvar.dtype == back.dtype == torch.float32
