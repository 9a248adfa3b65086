"""Does a step stay the same, however its clips are divided among parts and processes?"""

import csv
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch

from audiosr.training.draws import NOISE, POSTERIOR, draws_of_step
from tests.training.ranks import train_on_two

Run = Callable[..., tuple[dict[str, float], dict[str, Any]]]
# Where a gradient is nothing but rounding (a bias before a norm), AdamW makes a whole step of it.
SLOWLY = "optimiser.lr=1e-5"
EVERY_STEP = (
    *("trainer.log_every_n_steps=1", "valid_every_n_steps=1000", "panels.clips=0"),
    *(SLOWLY, "optimiser.decay=constant", "trainer.precision=32-true"),
)


def _losses(folder: Path) -> dict[str, list[float]]:
    """Training losses and norms of gradients by name, of every step."""
    with (folder / "metrics.csv").open(newline="") as file:
        rows = [row for row in csv.DictReader(file) if row["train/loss"]]
    names = [name for name in rows[0] if name.startswith(("train/loss", "train/grad"))]
    return {name: [float(row[name] or 0) for row in rows] for name in names}


def _agree(one: dict[str, list[float]], other: dict[str, list[float]], steps: int) -> None:
    assert one.keys() == other.keys()
    for name, values in one.items():
        assert len(values) == steps
        if "norm" in name:
            # Later a hinge or an absolute value that flips makes more of a rounding.
            assert other[name][:3] == pytest.approx(values[:3], rel=1e-3, abs=1e-5), name
        else:
            # The mean of a generator's verdicts passes through zero.
            least = 1e-4 if name.endswith("adv") else 1e-5
            assert other[name] == pytest.approx(values, rel=1e-4, abs=least), name


@pytest.mark.parametrize("stage", ["vae", "vocoder", "ldm"])
def test_two_batches_of_four_make_the_step_of_one_of_eight(stage: str, run: Run) -> None:
    if stage == "ldm":
        run("vae", 2)
    _, whole = run(stage, 5, *EVERY_STEP, "data.batch_size=8")

    _, parts = run(stage, 5, *EVERY_STEP, "data.batch_size=4", "trainer.accumulate_grad_batches=2")

    assert parts["trainer"].global_step == 5
    assert parts["trainer"].fit_loop.epoch_loop.total_batch_idx + 1 == 5
    _agree(_losses(whole["folder"]), _losses(parts["folder"]), 5)


def test_intervals_count_steps_and_not_their_parts(run: Run) -> None:
    parts = ("data.batch_size=1", "trainer.accumulate_grad_batches=2")
    every = ("valid_every_n_steps=2", "checkpoint.every_n_steps=3", "panels.clips=0")
    _, objects = run("vocoder", 4, *parts, *every)

    with (objects["folder"] / "metrics.csv").open(newline="") as file:
        validated = [int(row["step"]) for row in csv.DictReader(file) if row["valid/lsd"]]
    assert validated == [1, 3]  # the second and the fourth
    kept = (path.name for path in (objects["folder"] / "checkpoints").glob("step=*"))
    assert {"step=3.ckpt", "step=4.ckpt"} <= set(kept)


@pytest.mark.slow
@pytest.mark.parametrize("stage", ["vae", "vocoder", "ldm"])
def test_two_processes_of_two_clips_are_one_of_four(
    stage: str, run: Run, arguments: Callable[..., list[str]], tmp_path: Path
) -> None:
    if stage == "ldm":
        run("vae", 2)
    _, alone = run(stage, 20, *EVERY_STEP, "data.batch_size=4")

    given = arguments(stage, 20, *EVERY_STEP, f"run_dir={tmp_path / 'two'}")
    train_on_two(given, folder=tmp_path)

    _agree(_losses(alone["folder"]), _losses(tmp_path / "two"), 20)


@pytest.mark.parametrize(
    "stage", ["ldm", *(pytest.param(s, marks=pytest.mark.slow) for s in ("vae", "vocoder"))]
)
def test_bfloat16_learns_what_float32_learns(stage: str, run: Run) -> None:
    if stage == "ldm":
        run("vae", 2, "panels.clips=0")
    usual = [a for a in EVERY_STEP if not a.startswith("trainer.precision")]
    # Faster, the hinge of the autoencoder's discriminator makes more of every rounding.
    usual.append(f"optimiser.lr={1e-4 if stage == 'vae' else 1e-3}")
    losses = []
    for precision in ("32-true", "bf16-mixed"):
        folder = run(stage, 50, *usual, f"trainer.precision={precision}")[1]["folder"]
        losses.append(_losses(folder)["train/loss"])

    assert losses[1] == pytest.approx(losses[0], rel=0.02)
    assert losses[1] != losses[0]


def test_a_clip_has_its_numbers_wherever_it_is_and_no_other_has_them() -> None:
    place: dict[str, Any] = {"seed": 3, "step": 7, "device": torch.device("cpu")}
    whole = draws_of_step(4, rank=0, ranks=1, **place)
    second = draws_of_step(2, rank=1, ranks=2, **place)

    noise = whole.normal(5, purpose=NOISE)

    assert torch.equal(second.normal(5, purpose=NOISE), noise[2:])
    assert torch.equal(whole.part(slice(1, 3)).normal(5, purpose=NOISE), noise[1:3])
    torch.testing.assert_close(second.times(3, 1000), whole.times(3, 1000)[2:])
    later = draws_of_step(4, rank=0, ranks=1, **dict(place, step=8))
    others = [later.normal(5, purpose=NOISE), whole.normal(5, purpose=POSTERIOR)]
    assert len({tuple(row.tolist()) for x in (noise, *others) for row in x}) == 12


def test_the_times_of_a_step_are_spread_over_all_draws_of_all_clips() -> None:
    draws = draws_of_step(8, seed=0, step=3, rank=0, ranks=1, device=torch.device("cpu"))

    times = draws.times(4, 1000)

    assert sorted((times * 32 // 1000).flatten().tolist()) == list(range(32))
    # So are those of each clip, over strata of their own.
    assert all((row * 4 // 1000).tolist() == [0, 1, 2, 3] for row in times)
