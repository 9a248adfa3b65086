"""Which run goes on, with what, and where, when `resume` says so?"""

import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
import yaml
from omegaconf import OmegaConf

from audiosr.entry import compose_config
from audiosr.errors import UsageError
from audiosr.training.record import read_starts, record_start
from audiosr.training.resolve import resolved
from audiosr.training.runs import (
    claim_folder,
    find_model,
    find_run,
    newest_checkpoint,
    occupied,
    runs,
)
from tests.shards.conftest import make_shards  # noqa: F401  a fixture
from tests.tiny import tiny_model

Arguments = Callable[..., list[str]]
Run = Callable[..., tuple[dict[str, float], dict[str, Any]]]
ROOT = Path(__file__).parents[2]


def decide(overrides: list[str]) -> Any:
    return resolved(compose_config("train", overrides), overrides)


def make_run(folder: Path, cfg: Any, *overrides: str) -> Path:
    """A run folder as one that was killed after a checkpoint."""
    (folder / "checkpoints").mkdir(parents=True)
    cfg = cfg.copy()
    OmegaConf.set_readonly(cfg, False)
    cfg.run_dir = str(folder)
    cfg.run_id = cfg.run_id or "before"
    OmegaConf.save(cfg, folder / "config.yaml")
    torch.save({"global_step": 2}, folder / "checkpoints/step=2.ckpt")
    record_start(folder, overrides)
    return folder


def test_last_is_what_was_last_started_whatever_it_is_called(
    arguments: Arguments, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    given = arguments("vocoder", 4)
    cfg = compose_config("train", given)
    for name in ("x7", "k9"):
        make_run(tmp_path / "outputs/vocoder" / name, cfg)
    # As a copy of the folder would: the first run looks like the newer one.
    os.utime(tmp_path / "outputs/vocoder/x7/run.yaml", (2e9, 2e9))

    folder, _ = find_run("last", tmp_path / "outputs", "vocoder")
    decide([*given, "resume=last"])

    assert folder.name == "k9"
    assert "k9" in capsys.readouterr().out


def test_the_newest_autoencoder_is_the_one_that_was_last_trained_and_is_named(
    arguments: Arguments, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    cfg = compose_config("train", arguments("vae", 4))
    for name in ("x7", "k9"):
        folder = make_run(tmp_path / "outputs/vae" / name, cfg)
        tiny_model("autoencoder").save(folder / "model")

    found = find_model(
        "stage.autoencoder", "newest", outputs=tmp_path / "outputs", stage="vae", size="tiny"
    )

    assert found == tmp_path / "outputs/vae/k9/model"
    assert f"stage.autoencoder is the newest: {found}" in capsys.readouterr().out


def test_auto_starts_a_run_and_then_goes_on_with_it(arguments: Arguments, tmp_path: Path) -> None:
    mine = tmp_path / "mine"
    given = arguments("vocoder", 4, f"run_dir={mine}", "resume=auto")

    first = decide(given)
    OmegaConf.save(first, mine / "config.yaml")
    before_a_checkpoint = decide(given)
    (mine / "checkpoints").mkdir()
    torch.save({}, mine / "checkpoints/step=2.ckpt")
    after_one = decide(given)

    assert (first.resume, before_a_checkpoint.resume) == (None, None)
    assert after_one.resume == str(mine / "checkpoints/step=2.ckpt")
    assert first.run_id == before_a_checkpoint.run_id == after_one.run_id
    assert len(read_starts(mine)) == 3


def test_auto_wants_a_folder_that_is_the_same_every_time(arguments: Arguments) -> None:
    with pytest.raises(UsageError, match="run_dir="):
        decide(arguments("vocoder", 4, "resume=auto"))


@pytest.mark.parametrize("settled", ["size=base", "experiment=speech", "init=elsewhere"])
def test_what_was_settled_at_the_start_is_not_changed_without_a_word(
    settled: str, arguments: Arguments, tmp_path: Path
) -> None:
    given = arguments("vocoder", 4)
    folder = make_run(tmp_path / "run", compose_config("train", given), *given)

    with pytest.raises(UsageError, match=f"{settled} does not reach"):
        decide(["stage=vocoder", f"resume={folder}", settled])


def test_groups_and_mappings_given_on_a_resume_take_effect(
    arguments: Arguments, tmp_path: Path
) -> None:
    given = arguments("vocoder", 4)
    folder = make_run(tmp_path / "run", compose_config("train", given), *given)
    more = ["trainer=ddp", "data.domain_weights={music: 2}", "optimiser.lr=0.5"]

    cfg = decide(["stage=vocoder", f"resume={folder}", *more])

    ddp = compose_config("train", ["stage=vocoder", "trainer=ddp"]).trainer
    assert (cfg.trainer.devices, cfg.trainer.strategy) == (ddp.devices, ddp.strategy)
    assert cfg.trainer.enable_progress_bar is False  # typed at the start
    assert cfg.trainer.max_steps == 4
    assert (cfg.data.domain_weights, cfg.optimiser.lr) == ({"music": 2}, 0.5)


def test_the_same_command_again_changes_nothing(arguments: Arguments, tmp_path: Path) -> None:
    given = arguments("vocoder", 4, "experiment=demo", "trainer=cpu")
    folder = make_run(tmp_path / "run", compose_config("train", given), *given)
    saved = OmegaConf.load(folder / "config.yaml")

    cfg = decide([*given, f"resume={folder}"])

    saved.resume = str(folder / "checkpoints/step=2.ckpt")
    assert cfg == saved


def test_a_run_of_an_earlier_version_is_refused(arguments: Arguments, tmp_path: Path) -> None:
    folder = make_run(tmp_path / "run", compose_config("train", arguments("vocoder", 4)))
    saved = yaml.safe_load((folder / "config.yaml").read_text())
    del saved["run_id"], saved["callbacks"]
    (folder / "config.yaml").write_text(yaml.safe_dump(saved))

    with pytest.raises(UsageError, match="earlier version"):
        decide(["stage=vocoder", f"resume={folder}"])


def test_broken_checkpoints_are_passed_over(tmp_path: Path) -> None:
    folder = tmp_path / "checkpoints"
    folder.mkdir()
    (folder / "step=9.ckpt").write_bytes(b"PK\3\4 and no more")
    (folder / "last.ckpt").write_bytes(b"PK\3\4 and no more")
    torch.save({"global_step": 5}, folder / "step=5.ckpt")

    assert newest_checkpoint(tmp_path) == folder / "step=5.ckpt"


def test_a_folder_with_the_last_checkpoint_alone_goes_on(tmp_path: Path) -> None:
    (tmp_path / "checkpoints").mkdir()
    torch.save({"global_step": 5}, tmp_path / "checkpoints/last.ckpt")

    assert newest_checkpoint(tmp_path) == tmp_path / "checkpoints/last.ckpt"


def test_a_broken_checkpoint_that_is_named_is_refused(arguments: Arguments, tmp_path: Path) -> None:
    folder = make_run(tmp_path / "run", compose_config("train", arguments("vocoder", 4)))
    broken = folder / "checkpoints/step=3.ckpt"
    broken.write_bytes(b"PK\3\4 and no more")

    with pytest.raises(UsageError, match="is broken"):
        find_run(str(broken), tmp_path, "vocoder")


def test_two_processes_do_not_train_in_one_folder(tmp_path: Path) -> None:
    folder = claim_folder(tmp_path / "mine", dated=False)

    with occupied(folder, resumed=False):
        os.environ.pop("AUDIOSR_RUN_FOLDER")  # which only ranks of this run have
        with (
            pytest.raises(UsageError, match="another process trains"),
            occupied(folder, resumed=True),
        ):
            pass


def test_a_moved_diffusion_run_keeps_its_autoencoder(run: Run, tmp_path: Path) -> None:
    run("vae", 2, "panels.clips=0")
    _, objects = run("ldm", 2, "panels.clips=0", "optimiser.decay=constant")
    before = objects["stage"].frozen.autoencoder.state_dict()
    moved = (tmp_path / "outputs").rename(tmp_path / "elsewhere")
    for model in moved.glob("vae/*/model/*"):
        model.unlink()
    (folder,) = runs(moved, "ldm")

    _, resumed = run("ldm", 4, f"resume={folder}", "trainer.max_steps=3", "panels.clips=0")

    after = resumed["stage"].frozen.autoencoder.state_dict()
    assert resumed["folder"] == folder
    assert all(torch.equal(before[name], after[name]) for name in before)


def started_with(folder: Path) -> tuple[str, str, bytes]:
    """What a diffusion run has of its first start: W&B's id, autoencoder by name and weights."""
    cfg = OmegaConf.load(folder / "config.yaml")
    frozen = (folder / "frozen/autoencoder.safetensors").read_bytes()
    return cfg.run_id, cfg.stage.autoencoder, frozen


@pytest.mark.slow
def test_a_requeued_job_of_two_ranks_goes_on_in_its_folder(
    arguments: Arguments, run: Run, tmp_path: Path
) -> None:
    def job(*more: str) -> str:
        command = [sys.executable, "-m", "torch.distributed.run", "--standalone"]
        command += ["--nproc-per-node=2", str(ROOT / "train.py"), *given, *more]
        done = subprocess.run(
            command, cwd=ROOT, capture_output=True, text=True, timeout=560, check=False
        )
        assert done.returncode == 0, done.stdout + done.stderr
        return done.stdout

    run("vae", 2, "panels.clips=0")
    given = [a for a in arguments("ldm", 4, "panels.clips=0") if a != "trainer=cpu"]
    given += ["trainer=ddp", "trainer.accelerator=cpu", f"run_dir={tmp_path / 'job'}"]
    given += ["resume=auto", "trainer.log_every_n_steps=1"]

    job("trainer.max_steps=2")
    started = started_with(tmp_path / "job")
    run("vae", 2, "panels.clips=0", "seed=1")  # newer than the one that the job started with
    said = job("trainer.max_steps=4")

    assert "going on from" in said
    assert started_with(tmp_path / "job") == started
    assert not (tmp_path / "job.2").exists()
    rows = (tmp_path / "job/metrics.csv").read_text().splitlines()
    assert [row.split(",")[0] for row in rows] == ["step", "0", "1", "2", "3"]
    assert len(read_starts(tmp_path / "job")) == 2
    kept = torch.load(tmp_path / "job/checkpoints/step=4.ckpt", weights_only=False)
    assert kept["global_step"] == 4
