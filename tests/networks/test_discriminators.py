"""Do the discriminators look where they should, and at one clip at a time?"""

from collections.abc import Callable

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor, nn

from audiosr.networks.discriminators import (
    Discriminators,
    MultiPeriodDiscriminator,
    MultiResolutionDiscriminator,
    PatchDiscriminator,
    PeriodDiscriminator,
    SpectrogramDiscriminator,
)


def waves(batch: int = 1, samples: int = 4096) -> Tensor:
    return 0.1 * torch.randn(batch, 1, samples)


def vocoder_discriminators() -> Discriminators:
    return Discriminators(
        [
            MultiResolutionDiscriminator(resolutions=((512, 128), (256, 64)), channels=4),
            MultiPeriodDiscriminator(periods=(2, 3), channels=2),
        ]
    )


@given(st.integers(1, 2), st.integers(4, 20), st.integers(4, 20), st.integers(1, 24))
@settings(max_examples=10)
def test_patches_overlap_by_eighths(batch: int, frames: int, bands: int, channels: int):
    network = PatchDiscriminator(channels=channels)

    logits = network(torch.randn(batch, 1, 8 * frames, 8 * bands))

    assert logits.shape == (batch, 1, frames - 2, bands - 2)


def test_a_patch_is_70_cells_wide():
    network = PatchDiscriminator(channels=4).double()
    for module in network.modules():  # the norms see the whole clip; take them out of the way
        if isinstance(module, nn.GroupNorm):
            module.forward = nn.Identity().forward
    mel = torch.randn(1, 1, 128, 128, dtype=torch.float64, requires_grad=True)

    (gradient,) = torch.autograd.grad(network(mel)[0, 0, 7, 7], mel)

    assert (gradient[0, 0].abs().sum(1) > 0).sum() == 70
    assert (gradient[0, 0].abs().sum(0) > 0).sum() == 70


@pytest.mark.parametrize("training", [True, False])
def test_the_verdict_on_a_mel_does_not_depend_on_its_neighbours(training: bool):
    network = PatchDiscriminator(channels=8).train(training)
    mel = torch.randn(3, 1, 64, 64)

    torch.testing.assert_close(network(mel)[:1], network(mel[:1]), rtol=1e-4, atol=1e-5)


def test_a_forward_pass_leaves_no_state_behind():
    for network, x in (
        (PatchDiscriminator(channels=8), torch.randn(1, 1, 64, 64)),
        (vocoder_discriminators(), waves()),
    ):
        before = {name: value.clone() for name, value in network.state_dict().items()}
        network.train()(x)

        assert all(torch.equal(network.state_dict()[name], before[name]) for name in before)


@given(st.integers(1, 2), st.integers(257, 3000))
@settings(max_examples=10)
def test_any_length_gets_one_verdict_per_discriminator(batch: int, samples: int):
    verdicts = vocoder_discriminators()(waves(batch, samples))

    assert len(verdicts) == 4
    for logits, features in verdicts:
        assert logits.shape[:2] == (batch, 1)
        assert len(features) == 5
        assert all(feature.shape[0] == batch for feature in features)


def test_the_published_layout_is_the_default():
    with torch.device("meta"):
        periods, resolutions = MultiPeriodDiscriminator(), MultiResolutionDiscriminator()

    # five discriminators of HiFi-GAN, 8.2 M weights each; weight norm splits off the lengths
    assert len(periods.discriminators) == 5
    assert sum(p.numel() for p in periods.parameters()) == 41_105_770
    assert len(resolutions.discriminators) == 3


def test_a_period_is_judged_column_by_column():
    network = PeriodDiscriminator(period=5, channels=2)
    wave = waves(samples=2000)
    changed = wave.clone()
    changed[..., 3::5] += 1.0

    difference = (network(changed)[0] - network(wave)[0]).abs().amax(dim=(0, 1, 2))

    assert (difference > 0).tolist() == [False, False, False, True, False]


def test_the_high_band_is_seen_60_db_below_the_low_one():
    network = SpectrogramDiscriminator(n_fft=1024, hop=256, channels=8)
    time = torch.arange(8192) / 48000
    low = 0.5 * torch.sin(2 * torch.pi * 500 * time)[None, None]
    high = 0.0005 * torch.sin(2 * torch.pi * 15000 * time)[None, None]

    change = network.log_magnitude(low + high) - network.log_magnitude(low)

    assert change[..., 2:-2, 320].min() > 1.0  # 15 kHz, in nats


@pytest.mark.parametrize("build", [vocoder_discriminators, lambda: PeriodDiscriminator(period=3)])
def test_gradients_are_finite_in_silence(build: Callable[[], nn.Module]):
    wave = torch.zeros(1, 1, 4096, requires_grad=True)
    verdict = build()(wave)
    verdicts = verdict if isinstance(verdict, list) else [verdict]

    torch.stack([logits.square().sum() for logits, _ in verdicts]).sum().backward()

    assert wave.grad is not None
    assert wave.grad.isfinite().all()


def test_spectra_stay_float32_under_bfloat16():
    network = SpectrogramDiscriminator(n_fft=512, hop=128, channels=4)
    wave = waves()
    want = network.log_magnitude(wave)

    with torch.autocast("cpu", torch.bfloat16):
        got = network.log_magnitude(wave.bfloat16())
        logits, _ = network(wave)

    assert got.dtype == torch.float32
    torch.testing.assert_close(network.log_magnitude(wave.bfloat16().float()), got)
    assert (got - want).abs().mean() < 0.1
    assert logits.isfinite().all()


@pytest.mark.parametrize(
    "build",
    [
        lambda: MultiResolutionDiscriminator(resolutions=((512, 128),), channels=4),
        lambda: MultiPeriodDiscriminator(periods=(3,), channels=4),
    ],
)
def test_noise_is_soon_told_from_a_tone(build: Callable[[], Discriminators]):
    network = build()
    optimizer = torch.optim.Adam(network.parameters(), lr=3e-3, betas=(0.8, 0.99))
    time = torch.arange(2048) / 48000
    tone = 0.5 * torch.sin(2 * torch.pi * 3000 * time)[None, None]

    def loss() -> Tensor:  # least squares, Mao et al., arXiv 1611.04076
        ((real, _),), ((made, _),) = network(tone), network(5 * waves(samples=2048))
        return (real - 1).square().mean() + made.square().mean()

    for _ in range(40):
        optimizer.zero_grad()
        loss().backward()
        optimizer.step()

    assert loss() < 0.2  # who guesses gets 0.5
