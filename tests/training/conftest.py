"""What do the tests of training train? The smallest networks, on a few chords, for a few steps."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from audiosr.entry import compose_config
from audiosr.training.resolve import resolved
from audiosr.training.run import train
from tests.shards.conftest import make_shards, write_waves  # noqa: F401  a fixture

MICRO = {
    "vae": [
        "size.autoencoder.width=16",
        "size.autoencoder.blocks=1",
        "size.patch_discriminator.channels=4",
        "stage.module.fit_clips=4",
        "stage.module.adversarial_start=1",
    ],
    "vocoder": [
        "size.vocoder.channels=32",
        "size.vocoder.blocks=1",
        "size.wave_discriminator.channels=4",
        "stage.module.adversarial_start=1",
        "data.crop_seconds=0.32",
    ],
    "ldm": [
        "size.denoiser.network.channels=32",
        "size.denoiser.network.blocks=1",
        "stage.module.scale_clips=4",
        "stage.module.valid_steps=2",
        "data.crop_seconds=0.64",
        "data.valid_crop_seconds=0.64",
    ],
}
MICRO["distill"] = [
    *MICRO["ldm"][:2],
    *MICRO["ldm"][-2:],
    "size.patch_discriminator.channels=4",
    "stage.module.teacher_steps=2",
]
COMMON = [
    "data=shards",
    "data.batch_size=2",
    "data.num_workers=0",
    "trainer=cpu",
    "trainer.enable_progress_bar=false",
    "valid_every_n_steps=4",
    "checkpoint.every_n_steps=2",
    "optimiser.warmup_steps=1",
]

# The released autoencoder is the network with dropout.
DROPOUT = [
    "~size.autoencoder",
    "+size.autoencoder={_target_:audiosr.networks.autoencoder.Autoencoder,"
    "channels:32,multipliers:[1,1,1,1],blocks:1,dropout:0.5}",
    "data.crop_seconds=0.32",
    "data.valid_crop_seconds=0.32",
]


def with_dropout(arguments: list[str]) -> list[str]:
    """The command line of stage vae with a network that drops activations out."""
    return [a for a in arguments if not a.startswith("size.autoencoder")] + DROPOUT


@pytest.fixture(scope="session")
def chords(tmp_path_factory: pytest.TempPathFactory, chord: Callable[..., np.ndarray]) -> Path:
    """A folder of shards, to be read: four train clips and two valid clips of 5.2 s."""
    return write_waves(
        tmp_path_factory.mktemp("chords"),
        {
            "train/music": [chord(5.2, seed=n) for n in range(4)],
            "valid/music": [chord(5.2, seed=n) for n in range(4, 6)],
        },
        per_shard=4,
    )


@pytest.fixture
def arguments(chords: Path, tmp_path: Path) -> Callable[..., list[str]]:
    """Maker of the command line that trains a stage for some steps in the test's own folder."""

    def make(stage: str, steps: int, *more: str) -> list[str]:
        return [
            f"stage={stage}",
            *COMMON,
            *MICRO[stage],
            f"data.root={chords}",
            f"paths.outputs={tmp_path / 'outputs'}",
            f"max_steps={steps}",
            *more,
        ]

    return make


@pytest.fixture
def run(
    arguments: Callable[..., list[str]],
) -> Callable[..., tuple[dict[str, float], dict[str, Any]]]:
    """Trains a stage in this process; returns what `train` returns."""

    def call(stage: str, steps: int, *more: str) -> tuple[dict[str, float], dict[str, Any]]:
        overrides = arguments(stage, steps, *more)
        return train(resolved(compose_config("train", overrides), overrides))

    return call
