"""Do ranks average the gradients of what took part in a backward, and nothing else?"""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tests.training.ranks import train_on_two

Run = Callable[..., tuple[dict[str, float], dict[str, Any]]]


def read_counts(file: Path) -> list[tuple[list[int], int]]:
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

    train_on_two(arguments(stage, 3), traffic, folder=tmp_path)

    _, alone = run(stage, 1)  # the networks of the same configuration
    network = weigh(getattr(alone["stage"], alone["stage"].part).parameters())
    expected = [[network]] * 3
    if stage != "ldm":
        judge = weigh(alone["stage"].discriminator.parameters())
        expected = [[network, 0], [network, judge], [network, judge]]
    counted = read_counts(sent)
    assert [gradients for gradients, _ in counted] == expected
    assert [broadcasts for _, broadcasts in counted] == [0, 0, 0]
