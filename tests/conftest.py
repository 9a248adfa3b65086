"""Which settings, seeds and sounds do all tests share?"""

import os

# The test processes share the cores (pytest-xdist), so each computes on one thread.
os.environ.setdefault("OMP_NUM_THREADS", "1")
# No test may look for a hub or an account.
os.environ.setdefault("HF_HUB_OFFLINE", "1")
os.environ.setdefault("WANDB_MODE", "offline")
# Pictures are drawn without a screen.
os.environ.setdefault("MPLBACKEND", "Agg")

import random
import resource
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path

import numpy as np
import pytest
import soundfile
import torch
from hypothesis import settings

torch.set_num_threads(1)
settings.register_profile("repository", deadline=None, derandomize=True, max_examples=30)
settings.load_profile("repository")


@pytest.fixture(autouse=True)
def _seed() -> None:
    """Start every test from the same global random state."""
    random.seed(0)
    torch.manual_seed(0)


@pytest.fixture(scope="session")
def noise() -> Callable[..., np.ndarray]:
    """Maker of white noise `(C, T)`, float32, peak about 0.5."""

    def make(seconds: float = 1.0, *, rate: int = 48000, channels: int = 1, seed: int = 0):
        rng = np.random.default_rng(seed)
        return (0.12 * rng.standard_normal((channels, round(seconds * rate)))).astype(np.float32)

    return make


@pytest.fixture(scope="session")
def chord() -> Callable[..., np.ndarray]:
    """Maker of plucked chords with partials up to 20 kHz, `(C, T)`, float32, peak below 0.5."""

    def make(seconds: float = 1.0, *, rate: int = 48000, channels: int = 1, seed: int = 0):
        rng = np.random.default_rng(seed)
        time = np.arange(round(seconds * rate)) / rate
        wave = np.zeros((channels, len(time)))
        for fundamental in rng.uniform(110, 660, size=(3, 1, 1)):
            partials = np.arange(1, int(min(20000, 0.49 * rate) / fundamental.item()) + 1)
            phases = rng.uniform(0, 2 * np.pi, size=(channels, len(partials), 1))
            # A polynomial in the fundamental's phasor: a sine of each sample would take seconds.
            phasor, tones = np.exp(2j * np.pi * fundamental * time), np.zeros_like(wave, complex)
            for partial in partials[::-1]:
                tones += np.exp(1j * phases[:, partial - 1]) / partial
                tones *= phasor
            wave += np.imag(tones)
        wave *= np.exp(-3 * (time % 0.5)) / np.abs(wave).max(initial=1e-9)
        return (0.5 * wave).astype(np.float32)

    return make


@pytest.fixture
def audio_file(tmp_path: Path) -> Callable[..., Path]:
    """Maker of an audio file in the test's own folder from a wave `(C, T)`; returns its path."""

    def write(name: str, wave: np.ndarray, rate: int = 48000, subtype: str | None = None) -> Path:
        path = tmp_path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        soundfile.write(path, wave.T, rate, subtype=subtype)
        return path

    return write


@pytest.fixture
def full_disk() -> Callable[[int], AbstractContextManager[None]]:
    """Maker of a block in which no file may grow beyond some bytes."""

    @contextmanager
    def limited(size: int) -> Iterator[None]:
        before = resource.getrlimit(resource.RLIMIT_FSIZE)
        resource.setrlimit(resource.RLIMIT_FSIZE, (size, before[1]))
        try:
            yield
        finally:
            resource.setrlimit(resource.RLIMIT_FSIZE, before)

    return limited
