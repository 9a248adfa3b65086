"""Does `audiosr train` train what a command line, a folder of one's own or a sweep describes?"""

import os
import tempfile
from collections.abc import Callable
from pathlib import Path

import pytest
from omegaconf import OmegaConf
from omegaconf.errors import ReadonlyConfigError
from torch import nn

from audiosr import cli
from audiosr.entry import compose_config
from audiosr.errors import UsageError
from audiosr.training.resolve import resolved
from audiosr.training.runs import claim_folder, runs
from tests.shards.conftest import make_shards  # noqa: F401  a fixture
from tests.tiny import tiny_model

Arguments = Callable[..., list[str]]


def test_a_configuration_outside_the_package_trains(arguments: Arguments, tmp_path: Path) -> None:
    mine = tmp_path / "my conf/experiment/mine.yaml"
    mine.parent.mkdir(parents=True)
    mine.write_text(
        "# @package _global_\ndefaults: [override /degrade: released]\n"
        "optimiser: {lr: 0.25}\nrun_suffix: -mine\n"
    )
    given = arguments("vae", 1, "experiment=mine", "panels.clips=0")

    assert cli.main(["train", "--config-dir", str(tmp_path / "my conf"), *given]) == 0

    (folder,) = runs(tmp_path / "outputs", "vae")
    saved = OmegaConf.load(folder / "config.yaml")
    assert folder.name.endswith("-mine")
    assert (saved.optimiser.lr, saved.run_dir) == (0.25, str(folder))
    assert saved.degrade == compose_config("train", ["stage=vae", "degrade=released"]).degrade
    assert (folder / "model/model.yaml").is_file()


@pytest.mark.slow
def test_a_search_runs_every_value_in_a_folder_of_its_own_and_ranks_them(
    arguments: Arguments,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    (tmp_path / "work").mkdir()
    monkeypatch.chdir(tmp_path / "work")
    mine = tmp_path / "mine/hparams_search/mine.yaml"
    mine.parent.mkdir(parents=True)
    mine.write_text(
        "# @package _global_\n"
        "hydra: {mode: MULTIRUN, sweeper: {params: {optimiser.lr: '1e-4,1e-1', seed: '3,4'}}}\n"
    )
    given = arguments("vae", 2, "panels.clips=0", "valid_every_n_steps=2", "hparams_search=mine")

    # What is typed goes before the values of the file.
    assert cli.main(["train", "--config-dir", str(mine.parents[1]), *given, "seed=7"]) == 0

    saved = [OmegaConf.load(run / "config.yaml") for run in runs(tmp_path / "outputs", "vae")]
    assert sorted((cfg.optimiser.lr, cfg.seed) for cfg in saved) == [(1e-4, 7), (1e-1, 7)]
    assert list(Path.cwd().iterdir()) == []
    ranking = [line.split(" by run ") for line in capsys.readouterr().out.splitlines()[-2:]]
    figures, jobs = zip(*ranking, strict=True)
    assert float(figures[0]) < float(figures[1])
    assert [job[: job.index(" ")] for job in sorted(jobs)] == ["1:", "2:"]
    assert all("optimiser.lr=" in job for job in jobs)


@pytest.mark.parametrize(
    ("more", "sentence"),
    [
        ("data.root=nowhere", "nowhere"),
        ("data.crop_seconds=0.005", "multiple of 0.08 s"),
        (
            "data.crop_seconds=0.24",
            "too short for the discriminator of stage vae, which needs 0.32 s",
        ),
        ("data.domain_weights={musik: 1}", "names musik"),
        ("optimiser.decay=linear", "choose constant or cosine"),
        ("optimiser.lr=-1", "lr=-1: it must be 0 or more"),
        ("optimiser.betas=[0.9,1]", "it must be two numbers from 0 to below 1"),
        ("max_steps=-5", "`max_steps` must be a non-negative integer"),
        ("trainer.devices=lots", "trainer: "),
        ("ema_decay=2", "outside [0, 1)"),
        ("trainer.compile=[denoiser]", "this stage has autoencoder, discriminator"),
    ],
)
def test_a_mistake_is_one_sentence_and_leaves_no_run_folder(
    more: str,
    sentence: str,
    arguments: Arguments,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    assert cli.main(["train", *arguments("vae", 1, more)]) > 0

    said = capsys.readouterr()
    (line,) = said.err.splitlines()
    assert line.startswith("error: ")
    assert sentence in line
    assert "run folder" not in said.out
    assert list(tmp_path.iterdir()) == []


def test_no_run_folder_is_left_where_the_first_step_was_refused(
    arguments: Arguments, tmp_path: Path
) -> None:
    model = tiny_model("autoencoder")
    for parameter in model.parts["autoencoder"].parameters():
        nn.init.normal_(parameter, std=0.02)
    untrained = model.save(tmp_path / "untrained")
    given = arguments("ldm", 1, f"stage.autoencoder={untrained}", "stage.vocoder=null")

    assert cli.main(["train", *given]) == 1

    assert list(tmp_path.glob("outputs/ldm/*")) == []


def test_what_was_there_before_is_not_taken_away(arguments: Arguments, tmp_path: Path) -> None:
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine/notes.txt").touch()
    given = arguments("vae", 1, "data.root=nowhere", f"run_dir={tmp_path / 'mine'}")

    assert cli.main(["train", *given]) == 1

    assert [path.name for path in (tmp_path / "mine").iterdir()] == ["notes.txt"]


def test_runs_of_the_same_second_have_folders_of_their_own(tmp_path: Path) -> None:
    folders = [claim_folder(tmp_path / "now", dated=True) for _ in range(3)]

    assert [folder.name for folder in folders] == ["now", "now.2", "now.3"]


def test_a_run_folder_below_a_file_is_refused(tmp_path: Path) -> None:
    (tmp_path / "notes").touch()

    for folder in (tmp_path / "notes", tmp_path / "notes/run"):
        with pytest.raises(UsageError, match=r"notes is a file, not a folder.*run_dir=FOLDER"):
            claim_folder(folder, dated=False)


def test_a_run_folder_where_one_may_not_write_or_look_is_refused() -> None:
    with tempfile.TemporaryDirectory() as made:  # below which anybody may look, and not write
        outer, closed = Path(made), Path(made, "closed")
        closed.mkdir()
        closed.chmod(0o000)
        outer.chmod(0o555)
        user = os.geteuid()
        os.seteuid(user or 65534)  # the administrator may write everywhere
        try:
            for folder, refused in ((outer / "run", outer), (closed / "mine/run", closed)):
                with pytest.raises(UsageError, match=f"no right to write in {refused}.*run_dir="):
                    claim_folder(folder, dated=False)
        finally:
            os.seteuid(user)
            outer.chmod(0o755)
            closed.chmod(0o755)


def test_a_resolved_configuration_is_read_only_and_names_no_run(
    arguments: Arguments, tmp_path: Path
) -> None:
    cfg = resolved(compose_config("train", arguments("vocoder", 1)))

    assert Path(cfg.run_dir).is_dir()
    with pytest.raises(ReadonlyConfigError):
        cfg.seed = 7
    untrained = [
        "stage=ldm",
        "size=base",
        "data=shards",
        "data.root=x",
        f"paths.outputs={tmp_path}",
    ]
    with pytest.raises(UsageError, match="stage ldm needs a trained autoencoder"):
        resolved(compose_config("train", untrained))
