"""Does a run stay whole: by what is not finite, by what it keeps, by what its layers draw?"""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn

from audiosr.errors import AudioSRError
from audiosr.training.guard import heard_by_all, step_if_finite
from audiosr.training.stage import Stage
from audiosr.training.vocoder import VocoderStage

Run = Callable[..., tuple[dict[str, float], dict[str, Any]]]
QUIET = ["panels.clips=0", "optimiser.decay=constant", "valid_every_n_steps=100"]


@pytest.fixture
def poison(monkeypatch: pytest.MonkeyPatch) -> Callable[..., None]:
    """Makes the batches of some steps NaN, as a decoder's fault would."""

    def make(*steps: int) -> None:
        def transfer(
            stage: Stage, batch: Any, device: torch.device, dataloader_idx: int
        ) -> dict[str, Any]:
            batch = {k: v.clone() if isinstance(v, torch.Tensor) else v for k, v in batch.items()}
            if stage.trainer.training and stage.global_step in steps:
                batch["waveform"][0, 0, 5] = torch.nan
            return batch

        monkeypatch.setattr(Stage, "transfer_batch_to_device", transfer)

    return make


@pytest.mark.parametrize("stage", ["vae", "vocoder", "ldm"])
def test_a_batch_that_is_not_finite_changes_no_weight_and_is_kept(
    stage: str, run: Run, poison: Callable[..., None], capsys: pytest.CaptureFixture[str]
) -> None:
    if stage == "ldm":
        run("vae", 2, *QUIET)
    poison(2)

    _, objects = run(stage, 4, *QUIET, "checkpoint.every_n_steps=1", "checkpoint.keep=9")

    states = [
        torch.load(objects["folder"] / f"checkpoints/step={n}.ckpt")["state_dict"]
        for n in (2, 3, 4)
    ]
    assert all(torch.equal(states[0][name], states[1][name]) for name in states[0])
    assert not all(torch.equal(states[1][name], states[2][name]) for name in states[0])
    assert all(value.isfinite().all() for value in states[2].values())
    (kept,) = (objects["folder"] / "not_finite").iterdir()
    batch = torch.load(kept)
    assert batch["waveform"].isnan().sum() == 1
    said = capsys.readouterr().out
    names = ", ".join(batch["key"])
    assert f"step 3 is skipped, its gradients are not finite: batch of {names}, kept as" in said


@pytest.mark.parametrize("stage", ["vae", "vocoder", "ldm"])
def test_a_run_with_a_batch_that_is_not_finite_goes_on_from_any_of_its_checkpoints(
    stage: str, run: Run, poison: Callable[..., None], tmp_path: Path
) -> None:
    if stage == "ldm":
        run("vae", 2, *QUIET)
    often = (*QUIET, "checkpoint.every_n_steps=1", "checkpoint.keep=9")
    poison(2)
    _, unbroken = run(stage, 5, *often, f"run_dir={tmp_path / 'run'}")
    checkpoints = tmp_path / "run/checkpoints"
    whole = unbroken["stage"].state_dict()

    # Right before the batch, right after it, and at the end.
    for step in (2, 3):
        resumed = run(stage, 5, f"resume='{checkpoints}/step={step}.ckpt'")[1]["stage"].state_dict()
        assert all(torch.equal(resumed[name], whole[name]) for name in whole)
    _, longer = run(stage, 7, f"resume={tmp_path / 'run'}", "trainer.max_steps=7")

    assert longer["trainer"].global_step == 7
    assert all(value.isfinite().all() for value in longer["stage"].state_dict().values())
    assert not all(torch.equal(longer["stage"].state_dict()[name], whole[name]) for name in whole)


def test_a_loss_that_is_infinite_beside_finite_gradients_changes_no_weight(
    run: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    losses = VocoderStage.generator_losses

    def infinite(stage: VocoderStage, *args: Any, **kwargs: Any) -> dict[str, torch.Tensor]:
        values = losses(stage, *args, **kwargs)
        return values | {"loss": values["loss"] + torch.inf} if stage.global_step == 3 else values

    monkeypatch.setattr(VocoderStage, "generator_losses", infinite)

    _, objects = run("vocoder", 4, *QUIET, "checkpoint.every_n_steps=1", "checkpoint.keep=9")

    two, three, four = (
        torch.load(objects["folder"] / f"checkpoints/step={n}.ckpt")["state_dict"]
        for n in (2, 3, 4)
    )
    learnt = [name for name in two if name.startswith("vocoder.")]
    assert not all(torch.equal(two[name], three[name]) for name in learnt)
    assert all(torch.equal(three[name], four[name]) for name in learnt)
    assert (objects["folder"] / "not_finite/step=4-rank=0.pt").is_file()  # the last step too


def test_a_run_of_nothing_but_nan_stops_and_can_be_resumed(
    run: Run, poison: Callable[..., None], tmp_path: Path
) -> None:
    poison(*range(2, 20))
    mine = f"run_dir={tmp_path / 'mine'}"

    with pytest.raises(AudioSRError, match=r"3 steps in a row.*not_finite"):
        run("vocoder", 20, *QUIET, mine, "callbacks.guard.patience=3")
    poison()
    _, objects = run("vocoder", 20, *QUIET, f"resume={tmp_path / 'mine'}", "trainer.max_steps=8")

    assert objects["trainer"].global_step == 8
    assert all(value.isfinite().all() for value in objects["stage"].state_dict().values())


def test_an_infinite_loss_reaches_the_gradients() -> None:
    weight = torch.ones(2, requires_grad=True)

    heard_by_all((weight - torch.inf).abs().mean()).backward()

    assert weight.grad is not None
    assert weight.grad.isnan().all()


def test_a_skipped_step_leaves_the_moments_and_the_count() -> None:
    layer = nn.Linear(2, 1)
    optimiser = torch.optim.AdamW(layer.parameters(), 0.1, fused=True)
    for norm in (1.0, torch.nan):
        layer.weight.grad = torch.full_like(layer.weight, norm)
        step_if_finite(optimiser, torch.tensor(norm))
        optimiser.step()

    state = optimiser.state[layer.weight]
    assert float(state["step"]) == 1
    assert state["exp_avg"].isfinite().all()
    assert layer.weight.isfinite().all()


def names(folder: Path) -> set[str]:
    return {path.name for path in (folder / "checkpoints").iterdir()}


def test_the_newest_the_permanent_the_best_and_the_last_step_are_kept(run: Run) -> None:
    keep = ["checkpoint.keep=1", "checkpoint.keep_every_n_steps=4", "panels.clips=0"]
    _, objects = run("vocoder", 7, *keep, "valid_every_n_steps=5", "optimiser.lr=0")
    folder = objects["folder"]
    before = names(folder)
    run("vocoder", 9, f"resume={folder}", "trainer.max_steps=9", "panels.clips=0")

    # Without learning the first validation is the best one.
    assert before == {"step=4.ckpt", "step=7.ckpt", "best.ckpt", "last.ckpt"}
    assert torch.load(folder / "checkpoints/best.ckpt")["global_step"] == 5
    assert names(folder) == {"step=4.ckpt", "step=8.ckpt", "step=9.ckpt", "best.ckpt", "last.ckpt"}
    assert torch.load(folder / "checkpoints/last.ckpt")["global_step"] == 9
