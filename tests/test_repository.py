"""Does the repository keep what its documents promise?"""

import importlib.util
import os
import re
import shlex
import subprocess
import sys
import zipfile
from collections.abc import Iterable
from functools import lru_cache
from pathlib import Path

import pytest
import yaml

import audiosr
from audiosr.entry import compose_config
from audiosr.model import PARTS

ROOT = Path(__file__).resolve().parent.parent
DOCUMENTS = [ROOT / "README.md", *sorted((ROOT / "docs").rglob("*.md")), *ROOT.glob("*/README.md")]
AUDIO = ROOT / "demo" / "audio"
SUFFIXES = {".ogg", ".flac"}


def repository_files() -> list[Path]:
    """Files that are, or are about to be, in the repository."""
    command = ["git", "-C", str(ROOT), "ls-files", "-co", "--exclude-standard", "-z"]
    listed = subprocess.run(command, capture_output=True, text=True)
    if listed.returncode != 0:
        pytest.skip("not a git checkout")
    return [path for name in listed.stdout.split("\0") if name and (path := ROOT / name).is_file()]


def documented_commands() -> list[tuple[str, list[str]]]:
    """`(document, words)` of each command in the shell blocks of the documents."""
    found = []
    for document in DOCUMENTS:
        for block in re.findall(
            r"^```(?:bash|sh)\n(.*?)^```", document.read_text(), flags=re.DOTALL | re.MULTILINE
        ):
            for line in block.replace("\\\n", " ").splitlines():
                if words := shlex.split(line, comments=True):
                    found.append((document.name, words))
    return found


@lru_cache
def help_of(module: str, *words: str) -> str:
    """What a command line answers to `--help`."""
    command = [sys.executable, "-m", module, *words, "--help"]
    return subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True).stdout


def flags_of(words: list[str]) -> set[str]:
    """The flags among `words`, without their values."""
    return {word.strip("[]").split("=")[0] for word in words if re.match(r"\[?--?[a-z]", word)}


def checks(commands: Iterable[str]) -> set[tuple[str, ...]]:
    """The checks that shell lines run, without what only says how: `(program, argument, ...)`."""
    how = {"--check", "--fix", "--no-logo", "--no-cache", "."}
    return {
        tuple(word.rpartition("bin/")[2] for word in shlex.split(command) if word not in how)
        for command in commands
    }


def make_targets() -> set[str]:
    """Targets that bare `make` lists."""
    listed = subprocess.run(
        ["make", "-C", str(ROOT), "--no-print-directory"],
        capture_output=True,
        text=True,
        check=True,
    )
    return set(re.findall(r"^make (\w+) ", listed.stdout, flags=re.MULTILINE))


def test_no_file_names_a_folder_of_some_machine():
    folder = re.compile(rb"(?<![\w./>:])/(?:home|root|work|Users|mnt)/\w")
    files = [path for path in repository_files() if path.suffix not in SUFFIXES | {".npz"}]

    named = [path for path in files if path != Path(__file__) and folder.search(path.read_bytes())]

    assert named == []


def test_only_the_demo_audio_and_the_weights_are_large():
    sizes = {path: path.stat().st_size for path in repository_files()}

    weights = ROOT / "audiosr/weights"  # which a test of their own holds below 40 MB
    large = [
        path
        for path, size in sizes.items()
        if size > 500_000 and not any(map(path.is_relative_to, (AUDIO, weights)))
    ]
    demo = sum(size for path, size in sizes.items() if path.is_relative_to(AUDIO))

    assert large == []
    assert demo <= 25_000_000


def test_sources_name_each_demo_clip_once():
    clips = sorted(path.name for path in AUDIO.rglob("*") if path.suffix in SUFFIXES)
    named = re.findall(r"^- `([^`]+)`", (AUDIO / "SOURCES.md").read_text(), flags=re.MULTILINE)

    assert clips
    assert sorted(named) == clips


def test_demo_clips_of_a_source_are_in_one_split():
    splits: dict[str, set[str]] = {}
    for path in AUDIO.rglob("*"):
        if path.suffix in SUFFIXES:
            source = path.name.rpartition("__")[0]
            splits.setdefault(source, set()).add(path.relative_to(AUDIO).parts[0])

    assert {source: where for source, where in splits.items() if len(where) > 1} == {}


def test_changelog_has_the_version_of_the_package():
    assert f"\n## [{audiosr.__version__}] - 20" in (ROOT / "CHANGELOG.md").read_text()


def test_the_citation_names_the_version_of_the_package_and_the_paper():
    citation = yaml.safe_load((ROOT / "CITATION.cff").read_text())

    assert citation["version"] == audiosr.__version__
    assert {"value": "arXiv:2309.07314", "type": "other"} in citation["references"][0][
        "identifiers"
    ]


def test_what_runs_before_a_commit_is_what_make_check_runs():
    recipe = re.search(r"^check:.*\n((?:\t.*\n)+)", (ROOT / "Makefile").read_text(), re.M)
    assert recipe is not None
    hooks = yaml.safe_load((ROOT / ".pre-commit-config.yaml").read_text())["repos"][0]["hooks"]

    made = checks(line.replace("$(BIN)", "bin") for line in recipe[1].splitlines())

    assert ("ruff", "format") in made
    assert checks(hook["entry"] for hook in hooks) == made


def test_the_workflow_runs_the_whole_check_on_every_python_of_the_package():
    workflow = yaml.safe_load((ROOT / ".github/workflows/ci.yml").read_text())
    (job,) = workflow["jobs"].values()
    promised = re.findall(r"Python :: (3\.\d+)", (ROOT / "pyproject.toml").read_text())

    assert job["strategy"]["matrix"]["python"] == promised
    assert [step["run"] for step in job["steps"] if "run" in step] == [".ci/run"]
    assert os.access(ROOT / ".ci/run", os.X_OK)


def test_the_architecture_draws_every_room_on_the_floor_of_its_layer():
    drawing = (ROOT / "docs/architecture.md").read_text().split("```")[1]
    floors: dict[str, int] = {}
    for part in drawing.split("floor ")[1:]:
        floors |= dict.fromkeys(re.findall(r"audiosr/(\w+)", part), int(part[0]))
    contract = re.search(
        r"^layers = \[\n(.*?)^\]", (ROOT / "pyproject.toml").read_text(), re.M | re.S
    )
    assert contract is not None

    layers = [re.findall(r"\w+", line) for line in contract[1].splitlines()]
    order = [floors.get(room, 0) for layer in layers for room in layer]

    assert {room for layer in layers for room in layer} == floors.keys()
    assert order == sorted(order, reverse=True)


def test_types_are_ignored_in_few_places():
    mark = "pyright: " + "ignore"
    lines = [
        f"{path.relative_to(ROOT)}: {line.strip()}"
        for path in repository_files()
        if path.suffix == ".py"
        for line in path.read_text().splitlines()
        if mark in line
    ]

    assert len(lines) <= 15, "\n".join(lines)


def test_constraints_hold_torch_and_torchaudio_to_one_version():
    pins = dict(
        re.findall(r"^(torch|torchaudio)==(\S+)", (ROOT / "constraints.txt").read_text(), re.M)
    )

    assert pins["torch"] == pins["torchaudio"]


def test_readme_lists_every_make_target():
    readme = set(re.findall(r"`make (\w+)`", (ROOT / "README.md").read_text()))

    assert make_targets() - {"help"} <= readme


@pytest.mark.parametrize(
    ("document", "words"), documented_commands(), ids=lambda value: str(value)[:60]
)
def test_documented_command_exists(document, words):
    while words[0] == "srun" or re.fullmatch(r"[A-Z_]+=\S*", words[0]):  # before the command
        words = words[1:]
    name = words[0].removeprefix(".venv/bin/")
    if name == "make":
        targets = [word for word in words[1:] if "=" not in word]
        assert set(targets) <= make_targets()
    elif name == "python" and words[1] == "-m":
        assert importlib.util.find_spec(words[2]) is not None
        if flags := flags_of(words[3:]):
            subcommand = [word for word in words[3:4] if not word.startswith("-")]
            assert flags <= flags_of(help_of(words[2], *subcommand).replace(",", " ").split())
    elif name == "python":
        script = ROOT / words[1]
        assert script.is_file()
        given = [word for word in words[2:] if not word.startswith("-")]
        if "-m" in words:  # the first run of the sweep, wherever it is launched
            given = [re.sub(r",[^]]*$", "", word) for word in given if "hydra" not in word]
        compose_config(script.stem, given)
    elif name == "audiosr":
        subcommand = "restore" if words[1].startswith("-") else words[1]
        known = help_of("audiosr.cli", subcommand).replace(",", " ").split()
        assert flags_of(words) <= flags_of(known)
    else:
        assert name in {"pip", "pytest", "torchrun"}


def test_links_between_documents_lead_somewhere():
    broken = [
        f"{document.relative_to(ROOT)}: {target}"
        for document in [*DOCUMENTS, ROOT / "CONTRIBUTING.md"]
        for target in re.findall(r"\]\((?!https?:|#)([^)#\s]+)", document.read_text())
        if not (document.parent / target).exists()
    ]

    assert broken == []


def test_wheel_carries_packages_and_configuration(tmp_path):
    subprocess.run(
        [sys.executable, "-m", "hatchling", "build", "-t", "wheel", "-d", str(tmp_path)],
        cwd=ROOT,
        check=True,
        capture_output=True,
    )
    (wheel,) = tmp_path.glob("*.whl")

    names = zipfile.ZipFile(wheel).namelist()
    configurations = {path.relative_to(ROOT / "conf") for path in (ROOT / "conf").rglob("*.yaml")}

    assert {Path("audiosr/conf") / path for path in configurations} <= {Path(n) for n in names}
    weights = {f"audiosr/weights/compact/{part}.safetensors" for part in PARTS}
    assert {"audiosr/weights/compact/model.yaml", *weights} <= set(names)
    assert {Path(name).parts[0] for name in names} == {
        "audiosr",
        "data_prep",
        f"audiosr_lightning-{audiosr.__version__}.dist-info",
    }


def test_repeated_blocks_are_found(tmp_path):
    from tools.check_duplicates import MIN_LINES, shared_blocks

    block = "\n".join(f"value_{n} = compute({n})" for n in range(MIN_LINES))
    one, two, other = (tmp_path / name for name in ("one.py", "two.py", "other.py"))
    one.write_text(f"first = 1\n{block}\n")
    two.write_text(f"{block}\nlast = 2\n")
    other.write_text(block.replace("compute", "recall") + "\n")

    assert shared_blocks([one, two, other]) == [f"{two}:1 repeats {one}:2"]
    assert shared_blocks([one, other]) == []


def test_names_with_two_meanings_are_found(tmp_path):
    from tools.check_names import ALLOWED, defined_twice

    one, two, three = (tmp_path / name for name in ("one.py", "two.py", "three.py"))
    one.write_text("RATE = 1\nclass Clip: ...\ndef main(): ...\n")
    two.write_text("RATE: int = 2\n_RATE = 2\ndef Clip(): ...\ndef main(): ...\n")
    three.write_text("from two import RATE\n_RATE = 3\nif RATE:\n    Clip = None\n")

    assert defined_twice([one, two, three]) == [
        f"Clip is defined in {one}, {two}",
        f"RATE is defined in {one}, {two}",
    ]
    assert "main" in ALLOWED
    assert defined_twice([one, three]) == []
