"""Do ranks average the gradients of what took part in a backward, and nothing else?"""

import json
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

Run = Callable[..., tuple[dict[str, float], dict[str, Any]]]
ROOT = Path(__file__).parents[2]


def train_on_two(arguments: list[str], *more: str) -> None:
    """Train in two processes of this machine."""
    ddp = [a for a in arguments if a != "trainer=cpu"]
    command = [sys.executable, str(ROOT / "train.py"), *ddp, "trainer=ddp", *more]
    result = subprocess.run(
        [*command, "trainer.accelerator=cpu", "trainer.precision=32-true", "panels.clips=0"],
        cwd=ROOT,
        env=os.environ | {"OMP_NUM_THREADS": "1"},
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )
    assert result.returncode == 0, result.stdout + result.stderr


def count_bytes(file: Path) -> list[list[int]]:
    return [json.loads(line) for line in file.read_text().splitlines()]


def weigh(parameters: Any) -> int:
    return sum(p.nbytes for p in parameters if p.requires_grad)


@pytest.mark.slow
@pytest.mark.parametrize("stage", ["vae", "vocoder", "ldm"])
def test_only_the_gradients_of_what_took_part_are_sent(
    stage: str, arguments: Callable[..., list[str]], run: Run, tmp_path: Path
) -> None:
    if stage == "ldm":
        run("vae", 2)
    sent = tmp_path / "sent"
    traffic = f"+callbacks.traffic={{_target_:tests.training.traffic.Traffic,file:'{sent}'}}"

    train_on_two(arguments(stage, 3), traffic)

    _, alone = run(stage, 1)  # the networks of the same configuration
    network = weigh(getattr(alone["stage"], alone["stage"].part).parameters())
    expected = [[network]] * 3
    if stage != "ldm":
        judge = weigh(alone["stage"].discriminator.parameters())
        expected = [[network, 0], [network, judge], [network, judge]]
    assert count_bytes(sent) == expected
