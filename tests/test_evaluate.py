"""The command `python evaluate.py`, from its configuration to its files."""

import io
import json
import tarfile
from pathlib import Path

import numpy as np
import pytest
import soundfile

from audiosr import cli
from audiosr.entry import compose_config
from audiosr.errors import AudioSRError
from audiosr.evaluation.results import Results
from audiosr.evaluation.run import evaluate
from audiosr.files import config_folder
from audiosr.shards.index import Index, Shard
from tests.evaluation.conftest import tone_burst
from tests.tiny import save_tiny_model

FILES = {
    "results.json", "results.csv", "means.csv", "differences.csv",
    "table.md", "table.tex", "report.html", "audio",
}  # fmt: skip
QUICK = ("system.model.settings.steps=2", "report.clips=1", "report.seconds=0.2")


@pytest.fixture(scope="module")
def model(tmp_path_factory) -> Path:
    return save_tiny_model(tmp_path_factory.mktemp("model") / "tiny")


def make_shards(root: Path) -> Path:
    """A split `test` with one clip of 44.1 kHz origin in each of two domains."""
    domains = {}
    for number, domain in enumerate(("music", "speech")):
        path = root / "test" / f"{domain}-000000.tar"
        path.parent.mkdir(parents=True, exist_ok=True)
        flac = io.BytesIO()
        soundfile.write(flac, tone_burst(0.7, 20_000, number), 48_000, "PCM_24", format="FLAC")
        meta = {"bandwidth_hz": 20_000, "source_rate": 44_100, "domain": domain}
        with tarfile.open(path, "w") as tar:
            for suffix, content in (
                ("flac", flac.getvalue()),
                ("json", json.dumps(meta).encode()),
            ):
                entry = tarfile.TarInfo(f"{domain}_0.{suffix}")
                entry.size = len(content)
                tar.addfile(entry, io.BytesIO(content))
        name = f"test/{domain}-000000.tar"
        domains[domain] = [Shard(name, 1, path.stat().st_size, 0.7, "")]
    Index(root, {"test": domains}).save()
    return root


def configuration(out: Path, model: Path, *overrides: str):
    return compose_config(
        "evaluate", [f"out={out}", f"model={model}", "device=cpu", *QUICK, *overrides]
    )


@pytest.fixture(scope="module")
def evaluated(tmp_path_factory, model) -> Path:
    """The folder of an evaluation of shards; read only."""
    root = tmp_path_factory.mktemp("evaluated")
    shards = make_shards(root / "shards")
    evaluate(configuration(root / "out", model, f"benchmark.root={shards}"))
    return root / "out"


def test_evaluation_leaves_its_files_and_nothing_else(evaluated):
    assert {path.name for path in evaluated.iterdir()} == FILES
    assert [path.name for path in evaluated.parent.iterdir() if path.name.startswith(".")] == []
    assert len(list((evaluated / "audio").iterdir())) == 1 + 3 * 3


def test_results_have_the_agreed_shape(evaluated):
    results = json.loads((evaluated / "results.json").read_text())
    assert set(results) == {
        "schema", "protocol", "versions", "seed", "files", "aggregates", "differences",
        "failures", "left_out",
    }  # fmt: skip
    assert len(results["files"]) == 2 * 3 * 3
    assert set(results["files"][0]) == {"key", "domain", "cutoff_hz", "system", "metrics"}
    assert set(results["aggregates"][0]) == {
        "system", "domain", "cutoff_hz", "metric", "mean", "low", "high", "n",
    }  # fmt: skip
    assert {a["domain"] for a in results["aggregates"]} == {"music", "speech", "all"}
    assert results["failures"] == []
    assert {c["source_rate"] for c in results["protocol"]["benchmark"]["clips"]} == {44_100}
    assert set(results["protocol"]["systems"]) == {"unprocessed", "model", "gt_mel"}


def test_model_keeps_the_low_band_in_the_results(evaluated):
    results = json.loads((evaluated / "results.json").read_text())
    snr = [f["metrics"]["snr_below_cutoff_db"] for f in results["files"] if f["system"] == "model"]
    assert min(snr) >= 40


def test_same_seed_gives_the_same_figures(evaluated, model, tmp_path):
    root = evaluated.parent / "shards"
    again = evaluate(configuration(tmp_path / "out", model, f"benchmark.root={root}"))
    results = Results.read(evaluated / "results.json")
    assert again.files == results.files
    assert again.aggregates == results.aggregates


def test_results_are_not_overwritten_unasked(evaluated, capsys):
    before = (evaluated / "results.json").stat().st_mtime_ns
    code = cli.main(["evaluate", f"out={evaluated}", "system=unprocessed"])
    assert code == 2
    assert "overwrite=true" in capsys.readouterr().err
    assert (evaluated / "results.json").stat().st_mtime_ns == before


def test_folder_with_a_broken_file_is_evaluated_and_the_file_named(tmp_path, audio_file, capsys):
    for name in ("birds/a.wav", "birds/b.flac", "rain/c.wav"):
        audio_file(name, tone_burst(0.3, 20_000)[None])
    (tmp_path / "rain" / "broken.wav").write_text("no audio")
    arguments = [
        "benchmark=folder",
        f"benchmark.root={tmp_path}",
        f"out={tmp_path}/out",
        "system=unprocessed",
        "cutoffs=[4000]",
        "device=cpu",
    ]
    assert cli.main(["evaluate", *arguments]) == 1
    said = capsys.readouterr()
    assert "rain/broken.wav" in said.err
    assert "not audio" in said.err
    assert "| 4 kHz | unprocessed |" in said.out
    results = json.loads((tmp_path / "out" / "results.json").read_text())
    assert [f["key"] for f in results["failures"]] == ["rain/broken.wav"]
    assert {f["key"] for f in results["files"]} == {"birds/a.wav", "birds/b.flac", "rain/c.wav"}
    assert "rain/broken.wav" in (tmp_path / "out" / "report.html").read_text()


def test_evaluation_in_which_everything_fails_says_so(tmp_path, audio_file):
    audio_file("a/nan.wav", np.full((1, 4800), np.nan, np.float32), subtype="FLOAT")
    overrides = ("benchmark=folder", f"benchmark.root={tmp_path}/a", "system=unprocessed")
    with pytest.raises(AudioSRError, match="1 clip"):
        evaluate(compose_config("evaluate", [f"out={tmp_path}/out", *overrides]))
    assert (tmp_path / "out" / "report.html").exists()


@pytest.mark.parametrize(
    ("arguments", "code", "sentence"),
    [
        (["benchmark.root=nowhere"], 1, "no shards at nowhere"),
        (["model=nowhere", "benchmark.root={shards}"], 1, "no model at nowhere"),
        (["system=[model,model]"], 2, "system names model twice"),
        (["benchmark=[vctk, sfx, vctk]"], 2, "benchmark names vctk twice"),
        (["model=[a,b]", "benchmark.root={shards}"], 2, "models={general: DIR"),
        (["system=oracle"], 2, "system has no choice oracle"),
        (["cutoffs=[4,8]"], 2, "cutoffs are in Hz"),
        (["protocol=codec", "cutoffs=[4000]"], 2, "follow from protocol.lowpass.codecs"),
        (["protocol.lowpass.family=brick", "system=unprocessed"], 2, "no low-pass family"),
        (["benchmark=folder"], 2, "benchmark.root"),
        (["runs=[nowhere]"], 2, "nowhere has no metrics.csv"),
        (["protocol.headline=lsd"], 2, "choose from lsd_nuwave2"),
        (["cutoff=4000"], 2, "unknown key cutoff"),
        (["device=abacus"], 2, "device=abacus"),
        (["system.model.settings.steps=1001", "benchmark.root={shards}"], 2, "steps=1001"),
    ],
)
def test_mistakes_get_one_sentence(evaluated, tmp_path, capsys, arguments, code, sentence):
    filled = [a.format(shards=evaluated.parent / "shards") for a in arguments]
    assert cli.main(["evaluate", f"out={tmp_path}/out", *filled]) == code
    error = capsys.readouterr().err
    assert sentence in error
    assert error.count("\n") == 1
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize("key", ["out", "inputs"])
@pytest.mark.parametrize("below", ["", "/a/b"])
def test_a_file_in_the_place_of_a_folder_is_named(evaluated, tmp_path, capsys, key, below):
    (tmp_path / "notes").touch()
    chosen = [f"benchmark.root={evaluated.parent / 'shards'}", f"{key}={tmp_path}/notes{below}"]
    assert cli.main(["evaluate", "system=unprocessed", *chosen]) == 2
    said = f"error: {tmp_path}/notes is a file, not a folder: set another {key}=FOLDER\n"
    assert capsys.readouterr().err == said


def test_released_pipeline_is_a_system_of_its_own(evaluated, tmp_path, model):
    overrides = ["system=released", "system.released.settings.steps=2"]
    overrides += [f"benchmark.root={evaluated.parent / 'shards'}", "cutoffs=[8000]"]
    overrides += [f"out={tmp_path}/out", f"model={model}", "report.clips=0", "device=cpu"]

    results = evaluate(compose_config("evaluate", overrides))

    settings = results.protocol.systems["released"]["settings"]
    assert (settings["prefilter_passes"], settings["length"]) == ("twice", "exact")
    assert results.files
    assert not results.failures


@pytest.mark.parametrize("group", ["benchmark", "system", "protocol", "metrics"])
def test_every_choice_of_a_group_composes(group):
    choices = sorted(path.stem for path in (config_folder() / group).glob("*.yaml"))
    assert choices
    for choice in choices:
        compose_config("evaluate", [f"{group}={choice}", "++benchmark.root=x"])
