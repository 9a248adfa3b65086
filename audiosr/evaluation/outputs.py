"""What does an evaluation leave on disk?"""

import csv
from collections.abc import Iterable, Sequence
from dataclasses import fields
from pathlib import Path
from typing import Any

from audiosr.errors import UsageError
from audiosr.evaluation.results import Aggregate, Difference, Results
from audiosr.evaluation.table import Table
from audiosr.evaluation.tables import tables
from audiosr.files import check_folder

RESULTS = "results.json"


def check_free(folder: Path, *, overwrite: bool) -> None:
    """Raise `UsageError` if `folder` is no folder, or holds other things or results to keep."""
    check_folder(folder, "out")
    if folder.is_dir() and not any(folder.iterdir()):
        return
    if (folder / RESULTS).is_file() or any(folder.glob(f"*/*/{RESULTS}")):
        if not overwrite:
            raise UsageError(
                f"{folder} holds results already: set overwrite=true or another out=FOLDER"
            )
    elif folder.exists():
        raise UsageError(f"{folder} exists and is no evaluation folder: set another out=FOLDER")


def write_results(folder: Path, results: Results) -> None:
    """Write `results.json`, the tables, and three lists for other programs.

    The lists are `results.csv` (a row per file, cutoff and system), `means.csv` and
    `differences.csv` (a row per system, domain, cutoff and metric).
    """
    (folder / RESULTS).write_text(results.json(), encoding="utf-8")
    head, rows = file_rows(results)
    _write_csv(folder / "results.csv", head, rows)
    for name, kind, listed in (
        ("means.csv", Aggregate, results.aggregates),
        ("differences.csv", Difference, results.differences),
    ):
        names = [field.name for field in fields(kind)]
        _write_csv(folder / name, names, [[getattr(row, n) for n in names] for row in listed])
    write_tables(folder, tables(results))


def write_tables(folder: Path, shown: Sequence[Table]) -> None:
    """Write `table.md` and `table.tex`."""
    (folder / "table.md").write_text("\n".join(t.markdown() for t in shown), encoding="utf-8")
    (folder / "table.tex").write_text("\n".join(t.latex() for t in shown), encoding="utf-8")


def file_rows(results: Results) -> tuple[list[str], list[list[Any]]]:
    """Head and rows of the figures of single files; None where a file has no such figure."""
    metrics = list(dict.fromkeys(name for file in results.files for name in file.metrics))
    rows = [
        [f.key, f.domain, f.cutoff_hz, f.system, *(f.metrics.get(name) for name in metrics)]
        for f in results.files
    ]
    return ["key", "domain", "cutoff_hz", "system", *metrics], rows


def _write_csv(path: Path, head: Sequence[str], rows: Iterable[Sequence[Any]]) -> None:
    """Numbers with six digits, nothing where there is none."""
    with path.open("w", newline="", encoding="utf-8") as target:
        writer = csv.writer(target)
        writer.writerow(head)
        for row in rows:
            writer.writerow([f"{v:.6g}" if isinstance(v, float) else v for v in row])
