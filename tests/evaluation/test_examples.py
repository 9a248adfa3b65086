import pytest
import torch

from audiosr.evaluation.examples import choose_examples, make_examples
from audiosr.evaluation.protocol import Protocol
from audiosr.evaluation.results import FileFigures, Measured
from audiosr.evaluation.systems import Unprocessed
from tests.evaluation.test_measure import Reference, clip

SYSTEMS = ("unprocessed", "model")


def measured(scores: list[float | None], system: str = "model") -> list[Measured]:
    return [
        Measured(i, (FileFigures(f"a{i}", "a", 4000, system, {"lsd": score, "ssim": score}),))
        for i, score in enumerate(scores)
    ]


def test_three_examples_are_the_best_the_median_and_the_worst():
    found = measured([1.5, 0.5, 3.0, 2.0, 1.0])
    assert choose_examples(found, SYSTEMS, "lsd", 3) == {1: "best", 0: "median", 2: "worst"}


def test_the_best_has_the_highest_figure_where_more_is_better():
    found = measured([1.5, 0.5, 3.0])
    assert choose_examples(found, SYSTEMS, "ssim", 3) == {2: "best", 0: "median", 1: "worst"}


@pytest.mark.parametrize(
    ("count", "chosen"), [(0, []), (1, [0]), (2, [1, 2]), (9, [1, 4, 0, 3, 2])]
)
def test_examples_are_as_many_as_asked_for_where_there_are_so_many(count, chosen):
    found = measured([1.5, 0.5, 3.0, 2.0, 1.0])
    assert list(choose_examples(found, SYSTEMS, "lsd", count)) == chosen


def test_clips_without_a_figure_are_not_shown():
    assert choose_examples(measured([None, None]), SYSTEMS, "lsd", 3) == {}
    assert list(choose_examples(measured([None, 1.0]), SYSTEMS, "lsd", 3)) == [1]


def test_an_example_holds_the_start_of_input_outputs_and_reference():
    (example,) = make_examples(
        [("best", clip("b2"))],
        {"unprocessed": Unprocessed(), "model": Reference()},
        Protocol(cutoffs_hz=(4000, 8000)),
        seed=0,
        device=torch.device("cpu"),
        seconds=0.1,
    )
    assert (example.key, example.place) == ("b2", "best")
    assert set(example.inputs) == set(example.outputs["model"]) == {4000, 8000}
    assert (example.outputs["model"][4000] == example.reference).all()
    assert example.reference.shape == (4800,)
    assert set(example.outputs) == {"unprocessed", "model"}
