"""Do the recipes of CONTRIBUTING.md lead where they say? Each is followed to the letter.

Its files are written where it says, in a folder outside the package, and its commands are run
there, on tones and the smallest networks, for two steps.
"""

import json
import os
import re
import shlex
import subprocess
import sys
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import pytest
import soundfile

from tests.shards.conftest import make_shards  # noqa: F401  a fixture
from tests.tiny import save_tiny_model

ROOT = Path(__file__).resolve().parent.parent
RECIPES = dict(
    re.findall(
        r"^## (Add [^\n]*)\n(.*?)(?=^## |\Z)",
        (ROOT / "CONTRIBUTING.md").read_text(),
        flags=re.DOTALL | re.MULTILINE,
    )
)
SMALL = {
    "train.py": [
        *("max_steps=2", "valid_every_n_steps=2", "optimiser.warmup_steps=1", "trainer=cpu"),
        *("trainer.enable_progress_bar=false", "data.batch_size=2", "data.num_workers=0"),
        *("data.crop_seconds=0.64", "data.valid_crop_seconds=0.64"),
    ],
    "evaluate.py": ["device=cpu", "cutoffs=[4000]", "report.clips=0"],
    "infer.py": ["device=cpu"],
}
"""What makes a command of a recipe small."""

pytestmark = pytest.mark.slow


@dataclass
class Desk:
    """Where a contributor works: a demo's shards and model, a recording, and a folder of their own.

    Attributes:
        folder: the working folder.
        environment: what the recipe exports.
    """

    folder: Path
    environment: dict[str, str] = field(default_factory=dict)

    def follow(self, title: str, **more: list[str]) -> list[str]:
        """Write the files of a recipe and run its commands; returns what each of them printed.

        Args:
            title: heading of the recipe.
            more: by the stem of a script, arguments that make its commands smaller yet.
        """
        printed = []
        for language, block in re.findall(
            r"^```(\w+)\n(.*?)^```", RECIPES[title], flags=re.DOTALL | re.MULTILINE
        ):
            if name := re.match(r"# (mine/\S+)\n", block):
                path = self.folder / name[1]
                path.parent.mkdir(parents=True, exist_ok=True)
                path.write_text(block.removeprefix(name[0]))
            elif language == "bash":
                lines = block.replace("\\\n", " ").splitlines()
                printed += [self.run(words, more) for line in lines if (words := shlex.split(line))]
        return printed

    def run(self, words: list[str], more: dict[str, list[str]]) -> str:
        """Run a command as it stands, but for what makes it small; `export` is for those after."""
        if words[0] == "export":
            self.environment |= dict(word.split("=", 1) for word in words[1:])
            return ""
        program = {"python": [sys.executable], "audiosr": [sys.executable, "-m", "audiosr.cli"]}
        command = program[words[0]] + words[1:]
        if words[1] in SMALL:  # a script at the top
            command[1] = str(ROOT / words[1])
            command += SMALL[words[1]] + more.get(Path(words[1]).stem, [])
        own = self.environment.get("PYTHONPATH", "")
        paths = os.pathsep.join(filter(None, [str(ROOT), own and str(self.folder / own)]))
        done = subprocess.run(
            command,
            cwd=self.folder,
            env=os.environ | self.environment | {"PYTHONPATH": paths},
            capture_output=True,
            text=True,
        )
        assert done.returncode == 0, f"{shlex.join(words)}\n{done.stdout}{done.stderr}"
        return done.stdout


@pytest.fixture
def desk(
    tmp_path: Path,
    chord: Callable[..., np.ndarray],
    make_shards: Callable[..., Path],  # noqa: F811
) -> Desk:
    """A working folder in which `make demo` seems to have been run."""
    shards = make_shards(
        {
            "train/music": [chord(1.4, seed=n) for n in range(4)],
            "valid/music": [chord(1.4, seed=n) for n in range(4, 6)],
            "test/music": [chord(1.4, seed=6)],
        }
    )
    folder = tmp_path / "desk"
    (folder / "outputs/demo").mkdir(parents=True)
    (folder / "outputs/demo/shards").symlink_to(shards)
    save_tiny_model(folder / "outputs/demo/model")
    soundfile.write(folder / "recording.flac", chord(1.0, seed=7).T, 48000)
    return Desk(folder)


def test_every_recipe_is_followed():
    tests = Path(__file__).read_text()

    assert [title for title in RECIPES if f'desk.follow("{title}"' not in tests] == []


def test_a_network_of_ones_own_is_trained_exported_and_heard(desk: Desk):
    desk.follow("Add a network", train=["stage.module.adversarial_start=1"])

    model = desk.folder / "outputs/my-model"
    assert "my_networks.FrameVocoder" in (model / "model.yaml").read_text()
    assert soundfile.info(desk.folder / "restored.wav").frames == 48000
    del desk.environment["AUDIOSR_NETWORKS"]
    with pytest.raises(AssertionError, match="if you trust its code, set AUDIOSR_NETWORKS"):
        desk.run(
            shlex.split(f"python infer.py input=recording.flac output=x.wav model={model}"), {}
        )


def test_a_sampler_of_ones_own_restores_and_is_evaluated(desk: Desk):
    desk.follow("Add a sampler")

    assert soundfile.info(desk.folder / "restored.wav").frames == 48000
    results = desk.folder / "outputs/evaluate/renoise/results.json"
    assert "my_samplers.renoise" in results.read_text()


def test_a_loss_of_ones_own_is_minimised_and_swept(desk: Desk):
    small = [
        *("stage.autoencoder=outputs/demo/model", "stage.vocoder=null", "panels.clips=0"),
        *("size.denoiser.network.channels=32", "size.denoiser.network.blocks=1"),
        *("stage.module.scale_clips=4", "stage.module.valid_steps=2"),
    ]

    desk.follow("Add a loss or a stage", train=small)

    configs = sorted((desk.folder / "outputs").rglob("config.yaml"))
    gammas = [re.findall(r"gamma: ([\d.]+)", path.read_text())[0] for path in configs]
    assert sorted(map(float, gammas)) == [0.5, 1.0, 1.0]


def test_a_metric_of_ones_own_is_in_the_results(desk: Desk):
    desk.follow("Add a metric")

    results = json.loads((desk.folder / "outputs/evaluate/levels/results.json").read_text())
    levels = [file["metrics"]["high_band_level_db"] for file in results["files"]]
    assert levels
    assert max(levels) < -6  # of inputs that hold little above the cutoff


def test_a_corpus_of_ones_own_becomes_shards(desk: Desk):
    for seed, tower in enumerate(("north", "south")):
        (desk.folder / "bells" / tower).mkdir(parents=True)
        wave = 0.1 * np.random.default_rng(seed).standard_normal(4 * 48000)
        soundfile.write(desk.folder / "bells" / tower / "1904.wav", wave, 48000)

    desk.follow("Add a dataset recipe")

    index = json.loads((desk.folder / "outputs/bells/index.json").read_text())
    assert index["recipe"] == "my_corpora.bells"
    assert {split: list(domains) for split, domains in index["splits"].items()} == {
        "test": ["bells"],
        "train": ["bells"],
    }


def test_a_system_of_ones_own_stands_beside_the_others(desk: Desk):
    desk.follow("Add a system to evaluate")

    results = json.loads((desk.folder / "outputs/evaluate/mirrored/results.json").read_text())
    assert {file["system"] for file in results["files"]} == {"unprocessed", "mirrored"}
