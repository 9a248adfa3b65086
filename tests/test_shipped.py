"""Does the model that the package carries restore sound out of the box?"""

from functools import lru_cache
from pathlib import Path

import numpy as np
import pytest
import torch
from numpy.typing import NDArray

import audiosr
from audiosr.audio.io import read_audio, resample
from audiosr.audio.lowpass import Lowpass, apply_lowpass
from audiosr.metrics.lsd import log_spectral_distance
from audiosr.model import shipped_model
from audiosr.restore.restorer import Restorer

ROOT = Path(__file__).parents[1]
CUTOFF_HZ = 4000.0
CLIPS = ("speech/tuxpaint-es__0004", "music/freeorion-music__0001", "effects/minetest__0007")


@lru_cache
def carried() -> Restorer:
    return audiosr.load(device="cpu")


def heard(name: str) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """Two seconds of a test clip of the demo, whole and low-passed."""
    wave = resample(*read_audio(ROOT / f"demo/audio/test/{name}.flac"), 48_000)[:1, :96_000]
    low = apply_lowpass(torch.from_numpy(wave)[None], [Lowpass("cheby1", CUTOFF_HZ, 8)], 48_000)
    return wave, low[0].numpy()


def high_energy(wave: NDArray[np.float32]) -> float:
    """Energy above 4.4 kHz in dB."""
    power = np.abs(np.fft.rfft(wave[0])) ** 2
    return float(10 * np.log10(power[int(1.1 * CUTOFF_HZ * len(power) / 24_000) :].sum()))


def test_the_package_carries_a_model_below_40_mb() -> None:
    folder = shipped_model("compact")

    assert folder is not None
    assert sum(file.stat().st_size for file in folder.iterdir()) < 40e6
    assert shipped_model("another") is None
    assert shipped_model("../weights/compact") is None


@pytest.mark.parametrize("name", CLIPS)
def test_the_default_model_halves_the_distance_and_gives_the_highs_their_energy(name: str) -> None:
    wave, low = heard(name)

    restored = carried().restore(low, 48_000, cutoff_hz=CUTOFF_HZ)

    before, after = (
        float(log_spectral_distance(torch.from_numpy(one), torch.from_numpy(wave)).full)
        for one in (low, restored)
    )
    assert after < 0.5 * before
    assert abs(high_energy(restored) - high_energy(wave)) < 12


def test_what_the_package_carries_is_what_its_name_loads() -> None:
    model = audiosr.load("compact", device="cpu").model

    assert {"size": "compact"}.items() <= model.provenance["ldm"].items()
    assert model.provenance["ldm"]["step"] > 0
