import re
from dataclasses import replace

import pytest

from audiosr.evaluation.results import ALL, Aggregate, Results, primary
from audiosr.evaluation.tables import (
    describe_losses,
    difference_table,
    difference_text,
    headline_table,
    metrics_table,
    ratio,
    tables,
)

pytestmark = pytest.mark.smoke


def mean(results: Results, system: str, cutoff: float) -> float:
    return next(
        a.mean
        for a in results.aggregates
        if (a.system, a.domain, a.cutoff_hz, a.metric) == (system, ALL, cutoff, "lsd_nuwave2")
    )


def test_headline_table_holds_every_cutoff_and_system_with_its_ratio(results):
    table = headline_table(results)
    assert table.head == (
        "cutoff", "system", "effects", "music", "speech", "mean", "95 %", "ratio",
    )  # fmt: skip
    assert len(table.rows) == 9
    row = next(r for r in table.rows if r[:2] == ("8 kHz", "model"))
    assert row[5] == f"{mean(results, 'model', 8000):.2f}"
    expected = mean(results, "model", 8000) / mean(results, "unprocessed", 8000)
    assert row[-1] == f"{expected:.2f}"


def test_ratio_is_left_out_when_unprocessed_was_not_evaluated(results):
    kept = tuple(a for a in results.aggregates if a.system != "unprocessed")
    results = replace(results, aggregates=kept)
    assert ratio(results, "model", 4000) is None
    assert {row[-1] for row in headline_table(results).rows} == {"-"}


def test_metrics_table_has_a_row_per_metric_and_a_column_per_system(results):
    table = metrics_table(results)
    assert table.head == ("cutoff", "metric", "unprocessed", "model", "gt_mel")
    assert len(table.rows) == 3 * 4
    row = next(r for r in table.rows if r[:2] == ("8 kHz", "LSD"))
    assert row[3] == f"{mean(results, 'model', 8000):.2f}"


def test_metrics_table_says_which_way_each_metric_is_better(results):
    def renamed(name: str) -> Results:
        rows = tuple(replace(a, metric=name) for a in results.aggregates if "nuwave2" in a.metric)
        return replace(results, aggregates=rows)

    assert "Lower is better." in metrics_table(renamed("mel_distance")).caption
    assert "but for SSIM (the higher the better)." in metrics_table(renamed("ssim")).caption
    assert "but for loudness (LU) (right at 0)." in metrics_table(renamed("loudness_lu")).caption


def test_markdown_is_a_table_whose_rows_have_as_many_cells_as_its_head(results):
    lines = headline_table(results).markdown().strip().splitlines()[2:]
    assert len({line.count("|") for line in lines}) == 1
    assert set(lines[1]) <= set("|-: ")


def test_latex_escapes_names_and_balances_environments(results):
    text = headline_table(results).latex()
    assert r"gt\_mel" in text
    assert "95 \\%" in text
    assert text.count(r"\midrule") == 3
    assert len(re.findall(r"\\begin", text)) == len(re.findall(r"\\end", text)) == 2
    assert text.count(r"\textbf") == 3 * 4
    body = [line for line in text.splitlines() if line.endswith(r"\\")]
    assert {line.count("&") for line in body} == {7}


def test_the_best_that_does_not_see_the_reference_stands_out(results):
    table = headline_table(results)
    assert {table.rows[i][1] for i, _ in table.bold} == {"model"}
    assert {j for _, j in table.bold} == {2, 3, 4, 5}
    assert table.markdown().count("**") == 2 + 2 * 3 * 4


def test_a_single_system_beside_a_bound_is_not_the_best(results):
    kept = tuple(a for a in results.aggregates if a.system != "unprocessed")
    assert headline_table(replace(results, aggregates=kept)).bold == frozenset()


def worse_at_8_khz(results: Results) -> Results:
    return replace(
        results,
        aggregates=tuple(
            replace(a, mean=9.0)
            if (a.system, a.domain, a.cutoff_hz, a.metric)
            == ("model", "music", 8000, "lsd_nuwave2")
            else a
            for a in results.aggregates
        ),
    )


def test_a_system_that_is_worse_than_its_input_is_marked_and_named(results):
    assert describe_losses(results) == []
    assert "!" not in headline_table(results).markdown()
    results = worse_at_8_khz(results)
    (sentence,) = describe_losses(results)
    assert re.fullmatch(
        r"model is worse than the unprocessed input: music at 8 kHz "
        r"\(LSD 9\.00, input \d\.\d\d\)",
        sentence,
    )
    assert headline_table(results).markdown().count("9.00 !") == 1
    assert "!: worse" in headline_table(results).caption


def test_differences_are_shown_with_interval_and_stand_out_where_they_are_no_chance(results):
    table = difference_table(results)
    assert table.head == ("cutoff", "systems", "effects", "music", "speech", "all")
    assert [row[:2] for row in table.rows[:2]] == [
        ("4 kHz", "model - unprocessed"), ("8 kHz", "model - unprocessed"),
    ]  # fmt: skip
    (gap,) = (
        d
        for d in results.differences
        if (d.system, d.other, d.domain, d.cutoff_hz, d.metric)
        == ("model", "unprocessed", ALL, 4000, "lsd_nuwave2")
    )
    assert gap.mean == pytest.approx(
        mean(results, "model", 4000) - mean(results, "unprocessed", 4000)
    )
    assert table.rows[0][-1] == f"{gap.mean:+.2f} ({gap.low:.2f} to {gap.high:.2f})"
    assert (0, 5) in table.bold


def test_tables_can_be_made_again_from_the_file(results, tmp_path):
    (tmp_path / "results.json").write_text(results.json())
    assert tables(Results.read(tmp_path / "results.json")) == tables(results)


def test_no_aggregates_give_no_tables(results):
    assert tables(replace(results, aggregates=())) == ()


def test_primary_is_the_first_system_that_restores():
    assert primary(["unprocessed", "gt_mel", "model", "other"]) == "model"
    assert primary(["unprocessed"]) is None


def test_primary_is_no_yardstick_wherever_it_stands():
    assert primary(["unprocessed", "mean_noise", "envelope", "model"]) == "model"
    assert primary(["mean_noise", "envelope"]) is None


def test_a_mean_without_an_interval_shows_a_dash(results):
    alone = tuple(replace(a, low=None, high=None) for a in results.aggregates)
    table = headline_table(replace(results, aggregates=alone))
    assert {row[-2] for row in table.rows} == {"-"}


def test_tables_say_that_the_level_was_aligned(results):
    aligned = replace(results.protocol, gain="aligned to the reference")
    shown = tables(replace(results, protocol=aligned))
    assert all("aligned" in table.caption for table in shown)
    assert not any("aligned" in table.caption for table in tables(results))


def test_systems_that_look_equal_are_both_best_and_neither_is_worse(results):
    def equal(a: Aggregate) -> Aggregate:
        return replace(a, mean=1.004 if a.system == "model" else 1.0)

    results = replace(results, aggregates=tuple(map(equal, results.aggregates)))
    table = headline_table(results)
    assert {table.rows[i][1] for i, _ in table.bold} == {"unprocessed", "model"}
    assert describe_losses(results) == []


def test_no_difference_has_no_sign(results):
    none = replace(results.differences[0], mean=-0.001, low=-0.002, high=0.0)
    assert difference_text(none) == "+0.00 (0.00 to 0.00)"
