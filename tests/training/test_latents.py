"""Are latents that were kept those that the autoencoder makes, and is it spared the work?"""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch

from audiosr.networks.patch_autoencoder import PatchAutoencoder
from audiosr.training.latents import LatentCache, name_crops
from tests.shards.conftest import write_waves
from tests.tiny import tiny_model

Run = Callable[..., tuple[dict[str, float], dict[str, Any]]]


@pytest.fixture
def encoded(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """How many log-mels each call of the encoder had."""
    counts: list[int] = []
    encode = PatchAutoencoder.encode

    def counted(self: PatchAutoencoder, mel: torch.Tensor) -> Any:
        counts.append(len(mel))
        return encode(self, mel)

    monkeypatch.setattr(PatchAutoencoder, "encode", counted)
    return counts


def test_training_on_kept_latents_is_training_on_those_made_anew(
    run: Run, encoded: list[int], chord: Any, tmp_path: Path
) -> None:
    root = write_waves(
        tmp_path / "short",
        {
            "train/music": [chord(0.6, seed=n) for n in range(3)],
            "valid/music": [chord(0.6, seed=3)],
        },
        per_shard=4,
    )
    cache = tmp_path / "cache"
    given = (f"data.root={root}", "data.crop_seconds=0.64", "data.valid_crop_seconds=0.64")
    plain, _ = run("ldm", 6, *given)
    encoded.clear()
    kept, objects = run("ldm", 6, *given, f"stage.module.latent_cache={cache}")
    first = sum(encoded)
    encoded.clear()
    again, _ = run("ldm", 6, *given, f"stage.module.latent_cache={cache}")

    spared = first - sum(encoded)
    (folder,) = cache.iterdir()
    run("ldm", 1, *given, f"stage.module.latent_cache={cache}", "trainer.precision=32-true")
    exact = [path for path in cache.iterdir() if path != folder]

    assert kept == pytest.approx(plain, abs=1e-4)
    assert again == pytest.approx(plain, abs=1e-4)
    assert len(list(folder.rglob("*.safetensors"))) == 3
    assert len(exact) == 1  # the recipe trains in bfloat16, whose latents are others
    assert spared == 3
    assert objects["stage"].kept.folder == folder


def test_another_autoencoder_precision_or_sample_has_latents_of_its_own(tmp_path: Path) -> None:
    model, other = tiny_model("autoencoder"), tiny_model("autoencoder")
    with torch.no_grad():
        next(other.parts["autoencoder"].parameters()).add_(1e-3)

    folders = {
        LatentCache(tmp_path, m, precision).folder
        for m, precision in [(model, "32-true"), (model, "bf16-mixed"), (other, "32-true")]
    }
    wave = torch.zeros(1, 1, 480)
    louder = wave.clone()
    louder[0, 0, 7] = 1e-7

    assert len(folders) == 3
    assert LatentCache(tmp_path, tiny_model("autoencoder"), "32-true").folder in folders
    assert name_crops(torch.cat([wave, wave, louder]))[0] == name_crops(wave)[0]
    assert len(set(name_crops(torch.cat([wave, wave, louder])))) == 2
