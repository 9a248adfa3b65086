"""Does a student learn its teacher's draws in one step, and is it what one step then means?"""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch

from audiosr.entry import compose_config
from audiosr.errors import UsageError
from audiosr.model import Model
from audiosr.restore.restorer import Restorer
from audiosr.restore.settings import load_profile
from audiosr.training.losses import energy_score
from audiosr.training.run import build_stage
from tests.tiny import tiny_model
from tests.training.conftest import MICRO
from tests.training.test_switches_train import first_part

Run = Callable[..., tuple[dict[str, float], dict[str, Any]]]


def student_stage(tmp_path: Path, *overrides: str) -> Any:
    """The stage on an untrained model, whose denoiser is the teacher."""
    folder = tiny_model().save(tmp_path / "teacher")
    spec = "{_target_: audiosr.networks.frame_denoiser.FrameDenoiser, channels: 32, blocks: 1}"
    where = [f"stage.{name}={folder}" for name in ("teacher", "autoencoder", "vocoder")]
    micro = [*MICRO["distill"][2:], f"+size.student={spec}", *where]
    return build_stage(compose_config("train", ["stage=distill", *micro, *overrides]))


def test_a_student_starts_as_its_teacher_and_learns_from_all_losses(tmp_path: Path) -> None:
    stage = student_stage(tmp_path)
    part = first_part()
    teacher = stage.frozen.denoiser.state_dict()
    assert all(torch.equal(v, teacher[k]) for k, v in stage.student.state_dict().items())

    made = stage.generate(part)
    judged = stage.discriminator_losses(made)
    values = stage.generator_losses(made, None, heard=True)

    for name in ("loss_distill", "loss_energy", "loss_adv"):
        gradients = torch.autograd.grad(
            values[name], stage.student.out.weight, retain_graph=True, allow_unused=True
        )
        assert gradients[0] is not None, name
        assert gradients[0].isfinite().all(), name
        assert gradients[0].any(), name
    assert judged["loss"].isfinite()
    assert all(not p.requires_grad for p in stage.frozen.denoiser.parameters())


def test_with_one_step_the_teacher_is_met_exactly_at_first(tmp_path: Path) -> None:
    stage = student_stage(tmp_path, "stage.module.teacher_steps=1")

    made = stage.generate(first_part())

    torch.testing.assert_close(made.drawn[:2], made.taught, atol=1e-5, rtol=1e-5)
    assert not torch.equal(made.drawn[:2], made.drawn[2:])


def test_a_run_leaves_a_student_beside_the_teacher(run: Run) -> None:
    run("vae", 2)
    _, taught = run("ldm", 2)
    metrics, objects = run("distill", 2, "valid_every_n_steps=2")

    model = Model.load(objects["folder"] / "model")

    assert set(model.parts) == {"autoencoder", "denoiser", "envelope", "student"}
    teacher = Model.load(taught["folder"] / "model")
    assert model.latent == teacher.latent
    theirs = teacher.parts["denoiser"].state_dict()
    kept, student = (model.parts[name].state_dict() for name in ("denoiser", "student"))
    assert all(torch.equal(kept[name], theirs[name]) for name in theirs)
    assert any(not torch.equal(student[name], theirs[name]) for name in theirs)
    assert metrics["valid/loss"] > 0
    assert metrics["train/loss_distill"] > 0


def test_without_a_teacher_the_command_to_run_first_is_named(run: Run) -> None:
    with pytest.raises(UsageError, match=r"python train\.py stage=ldm size=tiny"):
        run("distill", 1)


@torch.no_grad()
def test_one_step_is_the_students_and_more_are_the_denoisers(
    noise: Callable[..., Any], tmp_path: Path
) -> None:
    model = tiny_model()
    model.student = tiny_model("denoiser").denoiser
    model.architectures["student"] = model.architectures["denoiser"]
    asked: list[str] = []
    for name in ("student", "denoiser"):
        model.parts[name].register_forward_pre_hook(lambda *_, name=name: asked.append(name))
    restorer = Restorer(model, settings=load_profile(cutoff_hz=3000.0))
    wave = noise(0.2)

    restorer.restore(wave, 48000, steps=1)
    assert asked == ["student"]
    restorer.restore(wave, 48000, steps=2)
    assert asked == ["student", "denoiser", "denoiser"]
    restorer.restore(wave, 48000, steps=1, spacing="released")
    assert asked[-1] == "denoiser"
    loaded = Model.load(model.save(tmp_path / "model"))
    assert set(loaded.parts) == {"autoencoder", "denoiser", "vocoder", "student"}
    assert set(loaded.merge(tiny_model("vocoder")).parts) == set(loaded.parts)
    assert "student" not in loaded.merge(tiny_model("denoiser")).parts


def test_the_energy_score_is_least_for_the_spread_of_the_target() -> None:
    generator = torch.Generator().manual_seed(0)
    target = torch.randn(1, 1, 4000, 1, generator=generator)
    above = torch.zeros(1)

    def score(spread: float) -> float:
        one, other = spread * torch.randn(2, 1, 1, 4000, 1, generator=generator)
        return float(energy_score(one, other, target, above))

    assert score(1.0) < min(score(0.0), score(0.5), score(2.0))


def test_equal_draws_have_a_finite_gradient() -> None:
    draw = torch.zeros(1, 1, 3, 4, requires_grad=True)

    energy_score(draw, draw * 1, torch.ones(1, 1, 3, 4), torch.zeros(1)).sum().backward()

    assert draw.grad is not None
    assert draw.grad.isfinite().all()
