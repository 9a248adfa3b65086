"""What does a user see of a run that goes on?"""

import re
from collections.abc import Callable
from typing import Any

import pytest

from audiosr.progress import progress_bars


def test_one_bar_counts_the_steps_of_the_whole_run(
    run: Callable[..., tuple[dict[str, float], dict[str, Any]]],
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    drawn: list[Any] = []

    def kept() -> Any:
        drawn.append(progress_bars())
        return drawn[-1]

    monkeypatch.setattr("audiosr.training.show.progress_bars", kept)
    given = ["trainer.enable_progress_bar=true", "trainer.log_every_n_steps=2", "panels.clips=0"]
    given += ["data.steps_per_epoch=2", "data.batch_size=1", "trainer.limit_val_batches=1"]

    _, objects = run("vocoder", 4, *given)

    (bars,) = drawn
    (task,) = bars.tasks
    assert (task.completed, task.total) == (4, 4)
    assert re.fullmatch(r"vocoder, loss \d+\.\d+", task.description)
    assert re.search("step 4 of 4: .*lsd [0-9.]+", capsys.readouterr().out)
    assert objects["trainer"].num_val_batches == [1]
