"""Does the doctor tell a machine on which training works from one on which it does not?"""

from functools import partial

import pytest

from audiosr import cli
from audiosr.entry import compose_config
from audiosr.training import doctor
from audiosr.training.doctor import Exam, Finding, examine

SHORT = (
    "size.vocoder.channels=32",
    "size.vocoder.blocks=1",
    "size.wave_discriminator.channels=4",
    "optimiser.warmup_steps=1",
    "trainer=cpu",
    "trainer.precision=32-true",
)
VOCODER = Exam("vocoder", "loss_mel", 5.0, 0.95, 12, 0.16, overrides=SHORT)


def test_what_learns_is_well() -> None:
    (finding,) = examine(partial(compose_config, "train"), [VOCODER])

    assert finding.well
    assert str(finding).startswith("vocoder: well. loss_mel went from ")


def test_what_does_not_learn_is_said_and_is_exit_code_1(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(doctor, "EXAMS", [VOCODER])

    code = cli.main(["doctor", "optimiser.lr=0"])

    said = capsys.readouterr()
    assert code == 1
    assert "vocoder: NOT WELL." in said.out
    assert "training does not work here: see vocoder above" in said.err


def test_a_loss_that_is_no_number_is_not_well() -> None:
    assert not Finding(VOCODER, 0.5, float("nan"), 1.0).well
    assert not Finding(VOCODER, float("nan"), 0.1, 1.0).well


@pytest.mark.slow
def test_every_stage_learns_ten_clips_by_heart() -> None:
    findings = [*examine(partial(compose_config, "train"), overrides=["trainer=cpu"])]

    assert [finding.exam.stage for finding in findings] == ["vae", "vocoder", "ldm"]
    assert all(finding.well for finding in findings), findings
