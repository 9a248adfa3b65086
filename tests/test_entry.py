"""Overrides in, configuration out; every mistake in one sentence with exit code 2."""

import os
import subprocess
import sys
from pathlib import Path

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


@pytest.fixture
def seen(monkeypatch, tmp_path_factory):
    """The configurations that reached `drive`, below; the working folder is an empty one."""
    monkeypatch.chdir(tmp_path_factory.mktemp("work"))
    SEEN.clear()
    return SEEN


SEEN: list[DictConfig] = []


def drive(cfg, overrides):
    SEEN.append(cfg)


def never(cfg, overrides):
    pytest.fail("work was begun")


def test_overrides_reach_the_work_resolved_and_closed(conf, seen):
    code = entry.run_hydra(drive, "car", ["wheels.front=4", "engine=diesel"])

    assert code == 0
    assert list(Path.cwd().iterdir()) == []
    assert seen[0].total == 4
    assert seen[0].engine.litres == 2
    with pytest.raises(AttributeError):
        seen[0].wings = 2


def test_an_override_may_refer_to_another_value(conf, seen):
    assert entry.run_hydra(drive, "car", ["input=on-${wheels.front}"]) == 0

    assert seen[0].input == "on-2"


def test_flags_and_overrides_stand_in_any_order(conf, seen, tmp_path):
    (tmp_path / "mine/engine").mkdir(parents=True)
    (tmp_path / "mine/engine/electric.yaml").write_text("kwh: 50\n")

    argv = ["wheels.front=4", "--config-dir", str(tmp_path / "mine"), "engine=electric"]
    assert entry.run_hydra(drive, "car", argv) == 0

    assert (seen[0].wheels.front, seen[0].engine.kwh) == (4, 50)


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
        (["--cfg", "everything"], ["everything"]),
        (["--config-dir", "nowhere"], ["nowhere"]),
        (["-m", "wheels.frnt=1,2"], ["unknown key wheels.frnt", "did you mean wheels.front"]),
        (["-m", "engine=steam,deisel"], ["no choice deisel"]),
        (["-m", "hydra/launcher=rocket"], ["rocket", "basic"]),
    ],
)
def test_a_mistake_is_one_line_and_exit_code_2(conf, seen, capsys, overrides, words):
    code = entry.run_hydra(never, "car", overrides)

    line = capsys.readouterr().err
    assert code == 2
    assert line.startswith("error: ")
    assert line.count("\n") == 1
    for word in words:
        assert word in line
    assert list(Path.cwd().iterdir()) == []


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
def test_a_path_is_taken_letter_by_letter(conf, seen, name):
    assert entry.run_hydra(drive, "car", [f"input={name}"], paths=("input",)) == 0

    assert seen[0].input == name


def test_help_lists_choices_and_the_commented_defaults(conf, capsys):
    assert entry.run_hydra(never, "car", ["--help"]) == 0

    text = capsys.readouterr().out
    assert "engine=diesel|steam" in text
    assert "# The file to drive." in text


def test_cfg_prints_the_composed_configuration(conf, capsys):
    assert entry.run_hydra(never, "car", ["engine=diesel", "--cfg", "job"]) == 0

    assert "litres: 2" in capsys.readouterr().out


def test_our_sentence_survives_instantiation(conf, capsys):
    def work(cfg, overrides):
        instantiate({"_target_": f"{__name__}.contradiction"})

    assert entry.run_hydra(work, "car", []) == 2
    assert capsys.readouterr().err == "error: the two knobs contradict each other\n"


def contradiction():
    raise UsageError("the two knobs contradict each other")


def test_a_fault_of_ours_is_not_taken_for_a_mistake_of_the_user(conf, seen):
    def work(cfg, overrides):
        return cfg.wings

    with pytest.raises(Exception, match="wings"):
        entry.run_hydra(work, "car", [])


def test_ctrl_c_is_exit_code_130(conf, seen, capsys):
    def work(cfg, overrides):
        raise KeyboardInterrupt

    assert entry.run_hydra(work, "car", []) == 130
    assert capsys.readouterr().err == "interrupted\n"


@pytest.fixture
def script(tmp_path):
    """A script with one setting that fails; each job looks for what an earlier one has changed."""
    path = tmp_path / "script/show.py"
    path.parent.mkdir()
    path.with_suffix(".yaml").write_text("a: 1\nb: 2\nstamp: ${now:%Y}\n")
    path.write_text(
        "import os, sys\nfrom pathlib import Path\nfrom audiosr import entry\n"
        "from audiosr.errors import AudioSRError\n"
        "entry.config_folder = lambda: Path(__file__).parent\n"
        "def work(cfg, overrides):\n"
        "    print(cfg.a, cfg.b, os.environ.get('LEFT'), *sys.argv[1:], flush=True)\n"
        "    os.environ['LEFT'] = cfg.stamp\n"
        "    if cfg.a == 1 and cfg.b == 4:\n"
        "        raise AudioSRError('no way')\n"
        "if __name__ == '__main__':\n    sys.exit(entry.run_hydra(work, 'show'))\n"
    )
    return path


def call(script, *arguments, **environment):
    command = [sys.executable, str(script), *arguments]
    folder = script.parent.parent / "work"
    folder.mkdir(exist_ok=True)
    return subprocess.run(
        command, cwd=folder, env=os.environ | environment, capture_output=True, text=True
    )


def test_multirun_does_every_combination_in_a_process_of_its_own(script):
    done = call(script, "-m", "a=1,2", "b=3,4")

    printed = [line for line in done.stdout.splitlines() if not line.startswith("run")]
    # A job sees a command line that repeats it alone, for the ranks that it may start.
    assert printed == [f"{a} {b} None a={a} b={b}" for a in (1, 2) for b in (3, 4)]
    assert (done.returncode, done.stderr) == (1, "error: no way\n")
    assert list((script.parent.parent / "work").iterdir()) == []


def test_a_run_of_a_sweep_that_is_killed_is_told_and_the_others_go_on(script):
    script.write_text(
        script.read_text().replace("raise AudioSRError('no way')", "os.kill(os.getpid(), 9)")
    )

    done = call(script, "-m", "a=1,2", "b=4")

    assert (done.returncode, done.stderr.count("\n")) == (1, 1)
    assert "run was killed" in done.stderr
    assert "2 4 None" in done.stdout


def test_a_traceback_is_shown_when_asked_for(script):
    done = call(script, "a=1", "b=4", "--debug")

    assert done.returncode == 1
    assert "Traceback" in done.stderr
    assert "no way" in done.stderr


def test_what_the_disk_refuses_a_job_is_one_line_without_hydras_own(conf, seen, capsys):
    (Path.cwd() / "file").touch()

    def below_a_file(cfg, overrides):
        (Path.cwd() / "file" / "folder").mkdir()

    assert entry.run_hydra(below_a_file, "car", ["wheels.front=4"]) == 1

    (line,) = capsys.readouterr().err.splitlines()
    assert line == f"error: {Path.cwd() / 'file' / 'folder'}: Not a directory"
