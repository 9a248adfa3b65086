from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from audiosr.errors import AudioSRError
from audiosr.evaluation.benchmark import ReferenceClip
from audiosr.evaluation.measure import Measurement, measure
from audiosr.evaluation.protocol import Protocol
from audiosr.evaluation.results import Failure, LeftOut
from audiosr.evaluation.systems import System, Trial, Unprocessed
from audiosr.metrics.clip import ClipMetric
from audiosr.metrics.lsd import PRESETS, LogSpectralDistance
from audiosr.metrics.snr import CEILING_DB, SnrBelowCutoff
from tests.evaluation.conftest import tone_burst


class Reference:
    """A system that cheats, but for the clips in `refused`."""

    def __init__(self, refused: str = "", value: float = 0.0) -> None:
        self.refused, self.value = refused, value

    def __call__(self, trial: Trial) -> torch.Tensor:
        if self.refused and torch.equal(
            trial.reference[0], torch.from_numpy(clip(self.refused).wave)
        ):
            raise AudioSRError("cannot do this one")
        return trial.reference.expand_as(trial.low) + self.value

    def card(self) -> dict[str, Any]:
        return {}


class Clips:
    """A benchmark in memory."""

    name, root = "clips", Path()

    def __init__(self, *clips: ReferenceClip | Failure) -> None:
        self.clips = clips

    def __len__(self) -> int:
        return len(self.clips)

    def __iter__(self) -> Iterator[ReferenceClip | Failure]:
        return iter(self.clips)


def clip(key: str, seconds: float = 0.2) -> ReferenceClip:
    """A clip whose domain is the letter that its key starts with."""
    return ReferenceClip(key, key[0], tone_burst(seconds, 22_000, sum(key.encode()))[None], 48_000)


def standard_metrics() -> list[ClipMetric]:
    distances = [LogSpectralDistance(name, per_clip=True) for name in PRESETS]
    return [*distances, SnrBelowCutoff(per_clip=True)]


def run(
    *clips: ReferenceClip | Failure, cutoffs=(4000, 8000), examples=3, seed=0, **systems: System
):
    return measure(
        Clips(*clips),
        systems or {"unprocessed": Unprocessed(), "model": Reference()},
        Protocol(cutoffs_hz=cutoffs),
        standard_metrics(),
        seed=seed,
        device=torch.device("cpu"),
        examples=examples,
    )


def metrics(result: Measurement, system: str, key: str = "a1", cutoff: float = 4000):
    """The figures of one file that it has."""
    (found,) = (
        f.metrics for f in result.files if (f.system, f.key, f.cutoff_hz) == (system, key, cutoff)
    )
    return {name: value for name, value in found.items() if value is not None}


def test_every_file_has_every_metric_for_every_system_and_cutoff():
    result = run(clip("a1"), clip("b1"))
    assert len(result.files) == 2 * 2 * 2
    names = tuple(name for metric in standard_metrics() for name in metric.names)
    assert {tuple(f.metrics) for f in result.files} == {names}
    assert [c.key for c in result.clips] == ["a1", "b1"]


def test_figures_bear_out_what_the_systems_do():
    result = run(clip("a1"))
    bare, cheat = metrics(result, "unprocessed"), metrics(result, "model")
    assert cheat["lsd_nuwave2"] == cheat["lsd_hf_nuwave2"] == 0
    assert bare["lsd_hf_nuwave2"] > bare["lsd_nuwave2"] > 1 > bare["lsd_lf_nuwave2"]
    assert bare["snr_below_cutoff_db"] == CEILING_DB
    assert 20 < cheat["snr_below_cutoff_db"] < CEILING_DB
    wider = metrics(result, "unprocessed", cutoff=8000)
    assert wider["lsd_nuwave2"] < bare["lsd_nuwave2"]


def test_figures_do_not_depend_on_what_is_computed_beside_them():
    together = metrics(run(clip("a1"), clip("b1")), "unprocessed", cutoff=8000)
    alone = metrics(run(clip("a1"), cutoffs=(8000,), x=Unprocessed()), "x", cutoff=8000)
    for name, value in alone.items():
        # In bins that the low-pass has emptied ssr_eval, which has no floor, measures rounding.
        assert value == pytest.approx(together[name], rel=1e-9, abs=1e-9)


def test_clip_that_one_system_cannot_do_counts_for_none():
    result = run(clip("a1"), clip("a2"), unprocessed=Unprocessed(), model=Reference(refused="a2"))
    assert {f.key for f in result.files} == {"a1"}
    assert result.failures == [Failure("a2", "cannot do this one")]


def test_clip_that_cannot_be_read_is_listed():
    result = run(Failure("a0", "broken"), clip("a1"))
    assert result.failures == [Failure("a0", "broken")]
    assert len(result.clips) == 1


@pytest.mark.parametrize("value", [float("nan"), float("inf")])
def test_samples_that_are_no_numbers_are_a_failure_of_the_clip(value):
    (failure,) = run(clip("a1"), model=Reference(value=value)).failures
    assert "system model returned NaN or infinite" in failure.reason


def test_examples_are_spread_over_the_domains_and_independent_of_the_order():
    clips = [clip(key) for key in ("a1", "a2", "a3", "b1", "b2")]
    chosen = [example.key for example in run(*clips).examples]
    assert len(chosen) == 3
    assert {key[0] for key in chosen} == {"a", "b"}
    assert [example.key for example in run(*clips[::-1]).examples] == chosen
    draws = {
        run(*clips, seed=seed, examples=1, x=Unprocessed()).examples[0].key for seed in range(6)
    }
    assert len(draws) > 1


def test_example_holds_input_output_and_reference():
    (example,) = run(clip("a1"), examples=1).examples
    restored = example.outputs["model"]
    assert set(example.inputs) == set(restored) == {4000, 8000}
    assert (restored[4000] == example.reference).all()
    assert set(example.outputs) == {"unprocessed", "model"}


def test_references_that_judge_nothing_are_named_and_left_out():
    wave = clip("a1").wave
    silent = ReferenceClip("s", "s", 0 * wave, 48_000)
    opposed = ReferenceClip("o", "o", np.concatenate([wave, -wave]), 48_000)

    result = run(silent, clip("a1"), opposed)

    assert {f.key for f in result.files} == {"a1"}
    assert [c.key for c in result.clips] == ["a1"]
    assert result.left_out == [
        LeftOut("s", None, "silence"),
        LeftOut("o", None, "its channels cancel in the mix to mono"),
    ]
    assert result.failures == []


def test_a_cutoff_above_which_a_reference_holds_nothing_does_not_count():
    narrow = ReferenceClip("n", "n", tone_burst(0.3, 4000)[None], 8000)

    result = run(narrow, cutoffs=(2000, 4000))

    assert {f.cutoff_hz for f in result.files} == {2000}
    assert [(out.key, out.cutoff_hz) for out in result.left_out] == [("n", 4000)]
