"""Is an average of any length made of two that were kept, and does `audiosr export` take it?"""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.torch import load_file, save_file

from audiosr import cli
from audiosr.averages import KEPT_WIDTHS, WIDEST, decay, exponent, mixed_average, mixing_weights
from audiosr.errors import UsageError
from audiosr.model import Model

Run = Callable[..., tuple[dict[str, float], dict[str, Any]]]


def running(path: np.ndarray, width: float) -> np.ndarray:
    """The average of `width` after every step of `path (steps,)`."""
    value, values = 0.0, []
    for step, now in enumerate(path, start=1):
        left = decay(step, exponent(width))
        value = left * value + (1 - left) * now
        values.append(value)
    return np.array(values)


@pytest.mark.parametrize("width", [0.02, 0.05, 0.1, 0.2, 0.28])
def test_width_is_the_deviation_of_the_profile(width: float) -> None:
    steps = 4000
    profile = np.arange(1, steps + 1.0) ** exponent(width)
    profile /= profile.sum()
    place = np.arange(1, steps + 1) / steps

    deviation = np.sqrt((profile * place**2).sum() - (profile * place).sum() ** 2)

    assert deviation == pytest.approx(width, rel=0.01)


@pytest.mark.parametrize("width", [0.0, -0.1, WIDEST, 1.0])
def test_width_that_no_profile_has_is_refused(width: float) -> None:
    with pytest.raises(UsageError, match=r"width is between 0 and 0\.289"):
        exponent(width)


@pytest.mark.parametrize(("width", "error"), [(0.05, 1e-6), (0.07, 0.02), (0.1, 1e-6), (0.15, 0.1)])
def test_average_that_nobody_kept_is_made_of_snapshots(
    tmp_path: Path, width: float, error: float
) -> None:
    path = np.cumsum(np.random.default_rng(0).standard_normal(640))
    for step in range(40, 641, 40):
        kept = {
            f"{wide:g}/weight": torch.tensor([running(path, wide)[step - 1]])
            for wide in KEPT_WIDTHS
        }
        save_file(kept, tmp_path / f"step={step}.safetensors")

    for end in (None, 400):
        made = mixed_average(tmp_path, width, end)["weight"]
        wanted = running(path, width)[(end or 640) - 1]
        assert float(made) == pytest.approx(wanted, abs=error * path.std())


def test_run_that_kept_nothing_is_told_how(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="holds no averages: a run keeps them with ema_snapshots"):
        mixed_average(tmp_path, 0.1)


def test_mixing_gives_back_what_was_kept() -> None:
    kept = [(step, exponent(wide)) for step in (100, 200, 300) for wide in KEPT_WIDTHS]

    weights = mixing_weights(kept, 300, exponent(0.1))

    assert weights == pytest.approx([0, 0, 0, 0, 0, 1], abs=1e-6)


def test_run_is_exported_with_an_average_of_any_width(
    run: Run, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    _, objects = run("vae", 4, "ema_snapshots=2", "panels.clips=0")
    folder = objects["folder"]
    assert [path.name for path in sorted((folder / "averages").iterdir())] == [
        "step=2.safetensors",
        "step=4.safetensors",
    ]

    given = ["export", str(folder), "--ema-width", "0.1", "--out", str(tmp_path / "averaged")]
    assert cli.main(given) == 0

    prefix = "0.1/autoencoder."
    kept = load_file(folder / "averages/step=4.safetensors")
    autoencoder = Model.load(tmp_path / "averaged").autoencoder
    assert autoencoder is not None
    weights = autoencoder.state_dict()
    learnt = [name.removeprefix(prefix) for name in kept if name.startswith(prefix)]
    assert learnt
    trained = objects["stage"].state_dict()
    for name in learnt:
        torch.testing.assert_close(weights[name], kept[prefix + name].float(), atol=2e-3, rtol=0)
    assert not all(torch.equal(weights[n], trained[f"autoencoder.{n}"]) for n in learnt)

    assert cli.main([*given[:-1], str(tmp_path / "other"), "--step", "3"]) == 2
    assert "no averages of step 3; there are 2, 4" in capsys.readouterr().err
    assert cli.main([*given[:-1], str(tmp_path / "other"), "--which", "best"]) == 2


def test_averages_go_on_after_a_resume(run: Run, tmp_path: Path) -> None:
    constant = ("optimiser.decay=constant", "ema_snapshots=4", "panels.clips=0")
    _, whole = run("vae", 4, f"run_dir={tmp_path / 'whole'}", *constant)
    run("vae", 2, f"run_dir={tmp_path / 'outputs/vae/half'}", *constant)
    _, resumed = run("vae", 4, "resume=last", "trainer.max_steps=4")

    one, other = (
        load_file(objects["folder"] / "averages/step=4.safetensors") for objects in (whole, resumed)
    )
    assert one.keys() == other.keys()
    assert all(torch.equal(one[name], other[name]) for name in one)
