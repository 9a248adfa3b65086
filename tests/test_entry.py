"""Overrides in, configuration out; every mistake in one sentence with exit code 2."""

import subprocess
import sys

import pytest
from hydra.utils import instantiate
from omegaconf import DictConfig

from audiosr import entry
from audiosr.errors import UsageError


@pytest.fixture
def conf(tmp_path, monkeypatch):
    """A small configuration folder with one group and one nested value."""
    (tmp_path / "engine").mkdir()
    (tmp_path / "engine" / "steam.yaml").write_text("pressure: 3\nname: steam\n")
    (tmp_path / "engine" / "diesel.yaml").write_text("litres: 2\nname: diesel\n")
    (tmp_path / "car.yaml").write_text(
        "defaults:\n  - _self_\n  - engine: steam\n\n"
        "# The file to drive.\ninput: null\nwheels: {front: 2, rear: 2}\ntotal: ${wheels.front}\n"
    )
    (tmp_path / "bare.yaml").write_text("input: ???\n")
    (tmp_path / "choose.yaml").write_text("defaults:\n  - engine: ???\n")
    (tmp_path / "broken.yaml").write_text("a: [1\nb: 2\n")
    monkeypatch.setattr(entry, "config_folder", lambda: tmp_path)
    return tmp_path


def test_overrides_reach_main_resolved_and_closed(conf):
    seen: list[DictConfig] = []

    code = entry.run_hydra(seen.append, "car", ["wheels.front=4", "engine=diesel"])

    assert code == 0
    assert seen[0].total == 4
    assert seen[0].engine.litres == 2
    with pytest.raises(AttributeError):
        seen[0].wings = 2


def test_an_integer_from_main_is_the_exit_code(conf):
    assert entry.run_hydra(lambda cfg: 1, "car", []) == 1


@pytest.mark.parametrize(
    ("overrides", "words"),
    [
        (["wheels.frnt=4"], ["unknown key wheels.frnt", "did you mean wheels.front"]),
        (["front=4"], ["unknown key front", "wheels.front"]),
        (["zzz=4"], ["unknown key zzz", "--help"]),
        (["engine=deisel"], ["engine has no choice deisel", "did you mean diesel", "steam"]),
        (["motor=steam"], ["unknown key motor"]),
        (["wheels.front=[1"], ["cannot read the override 'wheels.front=[1'"]),
        (["wheels=(3"], ["cannot read"]),
        (["just a word"], ["cannot read"]),
        (["wheels.front=1,2"], ["wheels.front=1,2", "-m"]),
        (["total=${nothing.here}"], ["nothing"]),
        (["--force"], ["unknown flag --force"]),
    ],
)
def test_a_mistake_is_one_line_and_exit_code_2(conf, capsys, overrides, words):
    code = entry.run_hydra(lambda cfg: pytest.fail("main was called"), "car", overrides)

    line = capsys.readouterr().err
    assert code == 2
    assert line.startswith("error: ")
    assert line.count("\n") == 1
    for word in words:
        assert word in line


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("bare", ["no value for input", "input=..."]),
        ("choose", ["give engine=diesel|steam"]),
        ("broken", ["broken.yaml", "line 2", "YAML"]),
    ],
)
def test_an_incomplete_or_broken_file_is_one_line(conf, name, words):
    with pytest.raises(UsageError) as error:
        entry.compose_config(name)

    assert "\n" not in str(error.value)
    for word in words:
        assert word in str(error.value)


@pytest.mark.parametrize(
    "name",
    [
        "a, b (live) [2].wav",
        "x=y.wav",
        "it's.wav",
        "back\\slash",
        "end\\",
        "{q}",
        "7",
        "a  b ",
        "*.mp3",
    ],
)
def test_a_path_is_taken_letter_by_letter(conf, name):
    seen = []

    assert entry.run_hydra(seen.append, "car", [f"input={name}"], paths=("input",)) == 0

    assert seen[0].input == name


def test_help_lists_choices_and_the_commented_defaults(conf, capsys):
    assert entry.run_hydra(lambda cfg: pytest.fail("main was called"), "car", ["--help"]) == 0

    text = capsys.readouterr().out
    assert "engine=diesel|steam" in text
    assert "# The file to drive." in text


def test_cfg_prints_the_composed_configuration(conf, capsys):
    assert entry.run_hydra(lambda cfg: 1, "car", ["engine=diesel", "--cfg"]) == 0

    assert "litres: 2" in capsys.readouterr().out


def test_our_sentence_survives_instantiation(conf, capsys):
    def main(cfg):
        instantiate({"_target_": f"{__name__}.contradiction"})

    assert entry.run_hydra(main, "car", []) == 2
    assert capsys.readouterr().err == "error: the two knobs contradict each other\n"


def contradiction():
    raise UsageError("the two knobs contradict each other")


def test_multirun_starts_every_combination(tmp_path):
    script = tmp_path / "show.py"
    (tmp_path / "show.yaml").write_text("a: 1\nb: 2\n")
    script.write_text(
        "import sys\nfrom pathlib import Path\nfrom audiosr import entry\n"
        "entry.config_folder = lambda: Path(__file__).parent\n"
        "def main(cfg):\n    print(cfg.a, cfg.b, flush=True)\n    return cfg.a - 1\n"
        "sys.exit(entry.run_hydra(main, 'show'))\n"
    )

    done = subprocess.run(
        [sys.executable, str(script), "-m", "a=1,2", "b=3,4"], capture_output=True, text=True
    )

    printed = [line for line in done.stdout.splitlines() if not line.startswith("run")]
    assert printed == ["1 3", "1 4", "2 3", "2 4"]
    assert done.returncode == 1
