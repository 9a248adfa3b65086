"""Where are a run's numbers kept, whatever else logs? In `metrics.csv`, which a resumed run continues."""

import csv
from pathlib import Path
from typing import Any

from lightning.pytorch.loggers.logger import Logger
from lightning.pytorch.utilities.rank_zero import rank_zero_only


class MetricsCSV(Logger):
    """Appends one row per step to `folder/metrics.csv`; the columns grow as metrics appear.

    Lightning's own CSV logger deletes the file of the run it continues, hence this one.

    Args:
        folder: the run folder.
    """

    def __init__(self, folder: str | Path) -> None:
        super().__init__()
        self.path = Path(folder) / "metrics.csv"
        self.rows: dict[int, dict[str, Any]] = {}
        self._changed = False

    @property
    def name(self) -> str:
        """Lightning wants a name."""
        return "metrics"

    @property
    def version(self) -> str:
        """Lightning wants a version; a run has one file."""
        return ""

    @rank_zero_only
    def forget_after(self, step: int) -> None:
        """Read the file of a run that resumes after `step` steps (rows 0 to step - 1), without what came after."""
        if self.path.is_file():
            with self.path.open(newline="") as file:
                rows = {int(row["step"]): row for row in csv.DictReader(file)}
            self.rows = {
                at: {key: value for key, value in row.items() if value != ""}
                for at, row in rows.items()
                if at < step
            }

    @rank_zero_only
    def log_metrics(self, metrics: dict[str, float], step: int | None = None) -> None:
        """Keep `metrics` for `step`."""
        self.rows.setdefault(step or 0, {"step": step or 0}).update(metrics)
        self._changed = True

    @rank_zero_only
    def log_hyperparams(self, params: Any, *args: Any, **kwargs: Any) -> None:
        """The configuration is kept in `config.yaml`."""

    @rank_zero_only
    def save(self) -> None:
        """Write the file, whole or not at all."""
        if not self._changed:
            return
        columns = sorted({key for row in self.rows.values() for key in row} - {"step", "epoch"})
        partial = self.path.with_suffix(".partial")
        with partial.open("w", newline="") as file:
            writer = csv.DictWriter(file, ["step", *columns], restval="", extrasaction="ignore")
            writer.writeheader()
            writer.writerows(self.rows[step] for step in sorted(self.rows))
        partial.replace(self.path)
        self._changed = False

    @rank_zero_only
    def finalize(self, status: str) -> None:
        """Write what is left."""
        self.save()
