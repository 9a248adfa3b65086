"""Where are a run's numbers kept, whatever else logs? In `metrics.csv`, continued on resuming."""

import csv
from pathlib import Path
from typing import Any, cast

import lightning as L
from lightning.fabric.utilities.rank_zero import rank_zero_only
from lightning.pytorch.loggers.logger import Logger

from audiosr.files import atomic_path


def has_row(trainer: L.Trainer) -> bool:
    """Whether the loggers get a row for the step that `trainer` has just done."""
    every: int = cast(Any, trainer).log_every_n_steps  # Lightning sets it and declares it nowhere
    return trainer.global_step % every == 0


class MetricsCSV(Logger):
    """Appends one row per step to `folder/metrics.csv`; the columns grow as metrics appear.

    Lightning's own CSV logger deletes the file of the run it continues, hence this one.
    """

    def __init__(self, folder: str | Path) -> None:
        super().__init__()
        self.path = Path(folder) / "metrics.csv"
        self.rows: dict[int, dict[str, Any]] = {}
        self._columns: list[str] = []
        self._new: list[int] = []  # rows that can be appended
        self._rewrite = False  # a new column, or more values for a row that is written already

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
        """Read only rows 0 to step - 1 of the file, for a run that resumes after `step` steps."""
        if self.path.is_file():
            with self.path.open(newline="") as file:
                rows = {int(row["step"]): row for row in csv.DictReader(file)}
            self.rows = {
                at: {key: value for key, value in row.items() if value != ""}
                for at, row in rows.items()
                if at < step
            }
            self._columns = sorted({key for row in self.rows.values() for key in row} - {"step"})
            self._rewrite = True

    @rank_zero_only
    def log_metrics(self, metrics: dict[str, float], step: int | None = None) -> None:
        """Keep `metrics` for `step`."""
        step, metrics = step or 0, {k: v for k, v in metrics.items() if k != "epoch"}
        if step not in self.rows:
            self.rows[step] = {"step": step}
            self._new.append(step)
        elif step not in self._new:
            self._rewrite = True
        self.rows[step].update(metrics)
        if unknown := set(metrics) - set(self._columns):
            self._columns = sorted({*self._columns, *unknown})
            self._rewrite = True

    @rank_zero_only
    def log_hyperparams(self, params: Any, *args: Any, **kwargs: Any) -> None:
        """The configuration is kept in `config.yaml`."""

    @rank_zero_only
    def save(self) -> None:
        """Append the new rows.

        Where columns or old rows have changed, write the file anew and rename it.
        """
        if self._rewrite:
            with atomic_path(self.path) as partial:
                self._write(partial, "w", sorted(self.rows))
        elif self._new:
            self._write(self.path, "a", self._new)
        self._rewrite, self._new = False, []

    def _write(self, path: Path, mode: str, steps: list[int]) -> None:
        with path.open(mode, newline="") as file:
            writer = csv.DictWriter(file, ["step", *self._columns], restval="")
            if mode == "w":
                writer.writeheader()
            writer.writerows(self.rows[step] for step in steps)

    @rank_zero_only
    def finalize(self, status: str) -> None:
        """Write what is left."""
        self.save()
