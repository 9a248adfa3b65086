"""Does the envelope hold the regression of every cutoff, and leave what is known as it is?"""

from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor

from audiosr.errors import UsageError
from audiosr.model import Model
from audiosr.networks.envelope_prior import EnvelopePrior, regression

BANDS, GROUP = 8, 4


def follower(clips: int, frames: int, seed: int = 0) -> Tensor:
    """Log-mels whose upper half follows the level of the lower half a frame before, `(B, 1, T, F)`.

    Twice as much moved, and a nat lower.
    """
    generator = torch.Generator().manual_seed(seed)
    low = torch.randn(clips, frames, BANDS // 2, generator=generator) - 6
    before = torch.cat([low[:, :1], low[:, :-1]], 1)
    grouped = torch.cat([low, 2 * (before + 6) - 7], 2)
    return grouped.repeat_interleave(GROUP, 2)[:, None]


@pytest.fixture(scope="module")
def prior() -> EnvelopePrior:
    prior = EnvelopePrior(BANDS * GROUP, BANDS, side=1)
    prior.fit(prior.grouped(follower(64, 100)))
    return prior


def test_regression_is_that_of_least_squares() -> None:
    rng = np.random.default_rng(0)
    x = rng.normal(size=(5000, 3)) @ rng.normal(size=(3, 3)) + 2
    y = x @ rng.normal(size=(3, 2)) - 1 + 0.1 * rng.normal(size=(5000, 2))
    joint = np.concatenate([x, y], 1)
    solved = np.linalg.lstsq(np.c_[x, np.ones(5000)], y, rcond=None)[0]

    weights, offset = regression(
        torch.from_numpy(joint.mean(0)),
        torch.from_numpy(np.cov(joint.T, bias=True)),
        torch.arange(3),
        torch.arange(3, 5),
    )

    np.testing.assert_allclose(weights.numpy(), solved[:3], atol=0.02)
    np.testing.assert_allclose(offset.numpy(), solved[3], atol=0.05)


def test_what_follows_the_low_bands_is_put_back() -> None:
    mels = follower(64, 100)[..., ::GROUP]
    prior = EnvelopePrior(BANDS, BANDS, side=1)
    prior.fit(prior.grouped(mels))
    mel, half = follower(2, 50, seed=1)[..., ::GROUP], BANDS // 2
    low = mel.clone()
    low[..., half:] = -11.5

    completed = prior(low, torch.tensor([half, half]))

    assert (completed - mel)[:, :, 1:].abs().max() < 0.05
    assert torch.equal(completed[..., :half], mel[..., :half])


def test_between_the_middles_of_groups_lie_straight_lines(prior: EnvelopePrior) -> None:
    half = BANDS * GROUP // 2

    completed = prior(follower(1, 20, seed=4), torch.tensor([half]))

    # Bands 17.5 and 21.5 are the middles of the first two groups above.
    bends = completed[0, 0].diff(dim=-1).diff(dim=-1)
    assert bends[:, 17:19].abs().max() > 0.1
    torch.testing.assert_close(bends[:, 18:20], torch.zeros(20, 2), atol=1e-4, rtol=0)


def test_every_clip_has_a_cutoff_of_its_own(prior: EnvelopePrior) -> None:
    mel = follower(3, 20, seed=2)
    known = torch.tensor([8, 13, 20])

    together = prior(mel, known)

    for row, first in enumerate(known.tolist()):
        alone = prior(mel[row : row + 1], known[row : row + 1])
        torch.testing.assert_close(together[row : row + 1], alone)
        assert torch.equal(alone[..., :first], mel[row : row + 1, ..., :first])


@given(known=st.integers(0, BANDS * GROUP), frames=st.integers(1, 9))
def test_any_cutoff_and_length_is_finite_and_keeps_what_is_known(
    prior: EnvelopePrior, known: int, frames: int
) -> None:
    mel = follower(1, frames, seed=3)

    completed = prior(mel, torch.tensor([known]))

    assert completed.shape == mel.shape
    assert completed.isfinite().all()
    assert torch.equal(completed[..., :known], mel[..., :known])


def test_bands_that_do_not_divide_the_mel_bands_are_refused() -> None:
    with pytest.raises(UsageError, match="60 does not divide 256"):
        EnvelopePrior(256, 60)


def test_half_precision_rounds_no_covariance(prior: EnvelopePrior, tmp_path: Path) -> None:
    model = Model(envelope=prior, architectures={"envelope": prior.architecture})

    read = Model.load(model.save(tmp_path / "model", dtype=torch.float16), dtype=torch.bfloat16)

    assert read.envelope is not None
    assert torch.equal(read.envelope.covariance, prior.covariance)
    assert torch.equal(read.envelope.mean, prior.mean)
