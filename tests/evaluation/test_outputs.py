import csv

import pytest

from audiosr.errors import UsageError
from audiosr.evaluation.outputs import check_free, write_results
from audiosr.evaluation.results import Results

pytestmark = pytest.mark.smoke


def test_results_are_written_in_every_form(results, tmp_path):
    write_results(tmp_path, results)
    assert Results.read(tmp_path / "results.json") == results
    with (tmp_path / "results.csv").open() as file:
        rows = list(csv.DictReader(file))
    assert len(rows) == len(results.files)
    wanted = results.files[5]
    assert rows[5]["key"] == wanted.key
    assert float(rows[5]["lsd_nuwave2"]) == pytest.approx(wanted.metrics["lsd_nuwave2"], rel=1e-5)
    with (tmp_path / "means.csv").open() as file:
        means = list(csv.DictReader(file))
    assert len(means) == len(results.aggregates)
    assert float(means[7]["low"]) == pytest.approx(results.aggregates[7].low, rel=1e-5)
    with (tmp_path / "differences.csv").open() as file:
        gaps = list(csv.DictReader(file))
    assert (gaps[0]["system"], gaps[0]["other"]) == ("model", "unprocessed")
    assert "| 4 kHz | model |" in (tmp_path / "table.md").read_text()
    assert r"\toprule" in (tmp_path / "table.tex").read_text()


def test_infinite_figures_are_refused_rather_than_written_as_invalid_json(results, tmp_path):
    results.files[0].metrics["lsd_nuwave2"] = float("inf")
    with pytest.raises(ValueError, match="JSON"):
        write_results(tmp_path, results)


def test_results_are_kept_unless_overwriting_is_asked_for(results, tmp_path):
    write_results(tmp_path, results)
    with pytest.raises(UsageError, match="overwrite=true"):
        check_free(tmp_path, overwrite=False)
    check_free(tmp_path, overwrite=True)


def test_folder_of_other_things_is_never_replaced(tmp_path):
    (tmp_path / "thesis.txt").write_text("years of work")
    with pytest.raises(UsageError, match="no evaluation folder"):
        check_free(tmp_path, overwrite=True)


def test_new_and_empty_folders_are_free(tmp_path):
    check_free(tmp_path, overwrite=False)
    check_free(tmp_path / "new", overwrite=False)
