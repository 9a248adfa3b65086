from dataclasses import replace

import pytest

from audiosr.evaluation.published import published_rows, published_table
from audiosr.evaluation.results import Results
from audiosr.metrics.lsd import PRESETS

pytestmark = pytest.mark.smoke


def named(results: Results, name: str) -> Results:
    card = replace(results.protocol, benchmark=replace(results.protocol.benchmark, name=name))
    return replace(results, protocol=card)


def test_every_published_row_is_in_a_definition_of_ours_or_says_that_it_is_not():
    rows = [row for rows in published_rows().values() for row in rows]
    definitions = {f"lsd_{preset}" for preset in PRESETS}
    assert {row.definition for row in rows} <= definitions | {None}
    assert all(0.3 < value < 7 for row in rows for value in row.lsd.values())
    assert all(500 <= hz < 24_000 for row in rows for hz in row.lsd)


def test_a_benchmark_without_published_rows_has_no_such_table(results):
    assert published_table(results) is None


def test_ours_stand_beside_the_published_rows(results):
    table = published_table(named(results, "vctk"))
    assert table is not None
    ours = [row for row in table.rows if row[2] == "this run"]
    assert {row[1] for row in ours} == {"unprocessed", "model", "gt_mel"}
    column = table.head.index("8 kHz")
    mean = next(
        a.mean
        for a in results.aggregates
        if (a.system, a.domain, a.cutoff_hz, a.metric) == ("model", "all", 8000, "lsd_nuwave2")
    )
    row = next(row for row in ours if row[1] == "model")
    assert row[column] == f"{mean:.2f}"


def test_rows_that_differ_or_are_suspect_carry_a_mark(results):
    table = published_table(named(results, "vctk"))
    assert table is not None
    notes = {(row[1], row[2]): row[-1] for row in table.rows}
    assert "† low-pass sinc, here cheby1" in notes["AP-BWE", "arXiv 2401.06387"]
    assert "‡" in notes["AudioSR basic", "AudioSR, table 1"]
    assert "†" not in notes["AudioSR basic", "AudioSR, table 1"]


def test_a_joint_benchmark_has_the_rows_of_each_part(results):
    table = published_table(named(results, "vctk+sfx"))
    assert table is not None
    assert {row[0] for row in table.rows} == {"vctk", "sfx"}
