"""Does the level of what is generated move more, and nothing else?"""

import math
from dataclasses import replace

import pytest
import torch

from audiosr.audio.mel import MelSettings
from audiosr.model import FillSettings
from audiosr.restore.expansion import REACH_FRAMES, spread_level
from audiosr.restore.restorer import Restorer
from audiosr.restore.settings import load_profile
from tests.tiny import tiny_model

FEATURES = MelSettings()
CUTOFF = torch.tensor([4000.0])


def bursts(quiet: float, loud: float, frames: int = 600) -> torch.Tensor:
    """A log-mel that is at `loud` for three frames in ten."""
    level = torch.where(torch.arange(frames) % 10 < 3, loud, quiet)
    shape = torch.linspace(0.5, -0.5, FEATURES.n_mels)
    return (level[:, None] + shape)[None, None]


def spread(mel: torch.Tensor, ratio: float) -> torch.Tensor:
    return spread_level(mel, CUTOFF, 24_000.0, ratio, FEATURES)


def test_pauses_fall_by_the_ratio_and_what_the_recording_has_stays():
    mel = bursts(-6.0, -4.0)

    moved = spread(mel, 1.5)

    high = moved[0, 0, :, -40:] - mel[0, 0, :, -40:]
    pauses = torch.arange(600) % 10 >= 3
    torch.testing.assert_close(high[pauses], torch.full_like(high[pauses], -1.0))
    torch.testing.assert_close(high[~pauses], torch.zeros_like(high[~pauses]))
    assert torch.equal(moved[..., :100], mel[..., :100])
    assert torch.equal(spread(mel, 1.0), mel)


def test_a_burst_is_raised_by_6_dB_at_most_and_nothing_falls_below_the_floor():
    mel = bursts(-11.0, -11.0)
    mel[0, 0, 300] = -2.0

    moved = spread(mel, 1.5)

    torch.testing.assert_close(moved[0, 0, 300, -40:], torch.full((40,), -1.3))
    assert moved.min() >= math.log(FEATURES.floor)


@pytest.mark.parametrize(("distance", "felt"), [(REACH_FRAMES, True), (REACH_FRAMES + 1, False)])
def test_only_what_is_near_is_felt(distance: int, felt: bool):
    levels = torch.randn(1, 1, 600, 1, generator=torch.Generator().manual_seed(0))
    levels[:, :, 300 + distance] = -2.0
    mel = (levels - 6.0).expand(-1, -1, -1, FEATURES.n_mels)
    other = mel.clone()
    other[:, :, 300 + distance :] = -2.0

    assert torch.equal(spread(mel, 1.5)[:, :, 300], spread(other, 1.5)[:, :, 300]) is not felt


def test_a_restored_recording_moves_as_its_model_or_else_the_call_asks(noise):
    model = tiny_model()
    asks = replace(model, fill=FillSettings(expansion=2.0))
    wave = noise(2.0, rate=8000)
    wave *= (1 + torch.arange(wave.shape[1]).div(1000).sin().numpy()) / 2

    plain, moved = (
        Restorer(m, settings=load_profile(steps=2, cutoff_hz=3500.0)) for m in (model, asks)
    )

    assert abs(moved.restore(wave, 8000) - plain.restore(wave, 8000)).max() > 1e-4
    assert (moved.restore(wave, 8000, expansion=1.0) == plain.restore(wave, 8000)).all()
    assert (plain.restore(wave, 8000, expansion=2.0) == moved.restore(wave, 8000)).all()
