"""What does an evaluation leave on disk?"""

import csv
from pathlib import Path

from audiosr.errors import UsageError
from audiosr.evaluation.results import Results
from audiosr.evaluation.tables import tables

RESULTS = "results.json"


def check_free(folder: Path, *, overwrite: bool) -> None:
    """Raise `UsageError` if `folder` holds other things than results, or results to keep."""
    if folder.is_dir() and not any(folder.iterdir()):
        return
    if (folder / RESULTS).is_file():
        if not overwrite:
            raise UsageError(
                f"{folder} holds results already: set overwrite=true or another out=FOLDER"
            )
    elif folder.exists():
        raise UsageError(f"{folder} exists and is no evaluation folder: set another out=FOLDER")


def write_results(folder: Path, results: Results) -> None:
    """Write `results.json`, `results.csv` (one row per file, cutoff and system) and the tables."""
    (folder / RESULTS).write_text(results.json(), encoding="utf-8")
    metrics = list(dict.fromkeys(name for file in results.files for name in file.metrics))
    with (folder / "results.csv").open("w", newline="", encoding="utf-8") as target:
        writer = csv.writer(target)
        writer.writerow(["key", "domain", "cutoff_hz", "system", *metrics])
        for file in results.files:
            figures = (file.metrics.get(name) for name in metrics)
            cells = ("" if value is None else f"{value:.6g}" for value in figures)
            writer.writerow([file.key, file.domain, file.cutoff_hz, file.system, *cells])
    shown = tables(results)
    (folder / "table.md").write_text("\n".join(t.markdown() for t in shown), encoding="utf-8")
    (folder / "table.tex").write_text("\n".join(t.latex() for t in shown), encoding="utf-8")
