"""Is the envelope fitted before training, followed in training as in restoring, and kept?"""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch

from audiosr.checkpoints.trained import export_run
from audiosr.model import FillSettings, Model
from audiosr.restore.restorer import Restorer
from tests.shards.conftest import make_shards  # noqa: F401  a fixture

Run = Callable[..., tuple[dict[str, float], dict[str, Any]]]
ENVELOPE = (
    "size.envelope={_target_: audiosr.networks.envelope_prior.EnvelopePrior, bands: 32, side: 1}"
)


def same(one: Any, other: Any) -> bool:
    return all(
        torch.equal(value, other.state_dict()[name]) for name, value in one.state_dict().items()
    )


def test_it_is_fitted_followed_and_kept(run: Run, tmp_path: Path) -> None:
    _, first = run("ldm", 2, ENVELOPE, "stage.module.fill.steps=3")
    stage, folder = first["stage"], first["folder"]
    model = Model.load(folder / "model")
    assert model.envelope is not None
    assert model.autoencoder is not None
    assert model.envelope.mean.min() < -1
    assert same(model.envelope, stage.envelope)

    # What is followed in training is what is followed in restoring.
    low = 0.1 * torch.randn(1, 1, 30720, generator=torch.Generator().manual_seed(0))
    seen: dict[str, torch.Tensor] = {}
    Restorer(model).restore(low[0], 48000, cutoff_hz=4000.0, watch=seen.__setitem__, steps=1)
    completed = model.complete(seen["low_mel"], torch.tensor([4000.0]))
    assert torch.equal(seen["condition"][:, :16], model.encode(completed))
    stage.frozen.latent = model.latent
    batch = {
        "waveform": low,
        "degraded": seen["low"],
        "cutoff_hz": torch.tensor([4000.0]),
    }
    followed = stage.cpu().latents(batch, stage.same_draws({"domain": ["music"], "key": ["a"]}))[1]
    spread = model.autoencoder.encode(completed)  # of which training follows a sample
    within = (followed / model.latent.scale - spread.mean).abs() / (0.5 * spread.logvar).exp()
    assert within.max() < 6

    _, resumed = run("ldm", 4, f"resume={folder}")
    assert same(resumed["stage"].envelope, stage.envelope)
    exported = Model.load(export_run(folder, tmp_path / "exported", step=4, which="last"))
    assert same(exported.envelope, stage.envelope)
    assert exported.fill == FillSettings(steps=3, expansion=1.5, temperature=0.0)


def test_a_run_that_starts_from_a_model_follows_what_the_model_does(
    run: Run, tmp_path: Path
) -> None:
    _, first = run("ldm", 1, ENVELOPE)
    model = first["folder"] / "model"

    _, tuned = run("ldm", 1, f"init={model}", f"run_dir={tmp_path / 'tuned'}")
    _, resumed = run("ldm", 2, f"resume={tmp_path / 'tuned'}")

    for objects in (tuned, resumed):
        assert same(objects["stage"].envelope, first["stage"].envelope)
        assert Model.load(objects["folder"] / "model").envelope is not None
