from dataclasses import dataclass, field
from typing import Any

import numpy as np
import pytest
import torch

from audiosr.errors import AudioSRError
from audiosr.evaluation.clips import ReferenceClip
from audiosr.evaluation.measure import LENGTH_FIGURE, measure
from audiosr.evaluation.protocol import Protocol
from audiosr.evaluation.results import ClipFacts, Failure, FileFigures, LeftOut
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


def clip(key: str, seconds: float = 0.2) -> ReferenceClip:
    """A clip whose domain is the letter that its key starts with."""
    return ReferenceClip(key, key[0], tone_burst(seconds, 22_000, sum(key.encode()))[None], 48_000)


def standard_metrics() -> list[ClipMetric]:
    distances = [LogSpectralDistance(name, per_clip=True) for name in PRESETS]
    return [*distances, SnrBelowCutoff(per_clip=True)]


@dataclass
class Measurement:
    """What came out of all clips."""

    files: list[FileFigures] = field(default_factory=list)
    clips: list[ClipFacts] = field(default_factory=list)
    failures: list[Failure] = field(default_factory=list)
    left_out: list[LeftOut] = field(default_factory=list)


def run(*clips: ReferenceClip | Failure, cutoffs=(4000, 8000), **systems: System) -> Measurement:
    result = Measurement()
    for found in measure(
        enumerate(clips),
        systems or {"unprocessed": Unprocessed(), "model": Reference()},
        Protocol(cutoffs_hz=cutoffs),
        standard_metrics(),
        seed=0,
        device=torch.device("cpu"),
    ):
        result.files += found.files
        result.clips += found.clips
        result.failures += found.failures
        result.left_out += found.left_out
    return result


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
    assert {tuple(f.metrics) for f in result.files} == {(*names, LENGTH_FIGURE)}
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


class Longer(Unprocessed):
    """The input and `samples` of silence, or without its end."""

    def __init__(self, samples: int) -> None:
        self.samples = samples

    def __call__(self, trial: Trial) -> torch.Tensor:
        return torch.nn.functional.pad(trial.low, (0, self.samples))


@pytest.mark.parametrize(("samples", "text"), [(480, "480 samples longer"), (-48, "48 samples sh")])
def test_outputs_of_another_length_are_fitted_and_their_difference_is_a_figure(samples, text):
    systems = {"unprocessed": Unprocessed(), "tool": Longer(samples)}
    (found,) = measure(
        [(0, clip("a1"))],
        systems,
        Protocol(cutoffs_hz=(4000,)),
        standard_metrics(),
        seed=0,
        device=torch.device("cpu"),
    )
    plain, tool = (file.metrics for file in found.files)
    assert (plain[LENGTH_FIGURE], tool[LENGTH_FIGURE]) == (0, abs(samples) / 48_000)
    assert tool["lsd_nuwave2"] == pytest.approx(plain["lsd_nuwave2"], abs=0 if samples > 0 else 0.1)
    (change,) = found.changes
    assert (change.system, change.cutoff_hz) == ("tool", 4000)
    assert change.text.startswith(text)


def test_outputs_of_quite_another_length_fail():
    result = run(clip("a1"), unprocessed=Unprocessed(), tool=Longer(9600))
    assert "returned (2, 1, 19200) for inputs (2, 1, 9600)" in result.failures[0].reason
