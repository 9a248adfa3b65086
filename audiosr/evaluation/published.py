"""What have others published for a benchmark, and how far can it be compared with a run?"""

from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any

import yaml

from audiosr.evaluation.results import ALL, Results
from audiosr.evaluation.table import Table

_DEFINITIONS = ("lsd_ssr_eval", "lsd_nuwave2")
"""The two that nearly all published rows are in."""


@dataclass(frozen=True)
class PublishedRow:
    """A system's row as printed, of `published.yaml`."""

    system: str
    source: str
    definition: str | None
    """The metric of ours that computes it the same way; None where none does or nobody knows."""
    protocol: str
    lowpass: str | None
    """Kind of the low-pass that made the inputs; None where the source does not say."""
    lsd: dict[float, float]
    """By cutoff in Hz."""
    suspect: str | None = None
    """Why the row should not be a target."""


@lru_cache(maxsize=1)
def published_rows() -> dict[str, list[PublishedRow]]:
    """The rows by the name of the benchmark."""
    text = Path(__file__).with_name("published.yaml").read_text(encoding="utf-8")
    return {
        name: [PublishedRow(**row) for row in rows] for name, rows in yaml.safe_load(text).items()
    }


def published_table(results: Results) -> Table | None:
    """Published rows of the benchmarks of a run beside the run's own; None where there are none.

    In a joint benchmark, whose parts are its domains, each part has the rows of its own.
    """
    parts = [p for p in results.protocol.benchmark.name.split("+") if p in published_rows()]
    if not parts:
        return None
    cutoffs = sorted({hz for part in parts for row in published_rows()[part] for hz in row.lsd})
    cutoffs = sorted({*cutoffs, *results.protocol.cutoffs_hz})
    joint = "+" in results.protocol.benchmark.name
    rows = []
    for part in parts:
        for row in published_rows()[part]:
            figures = [f"{row.lsd[hz]:.2f}" if hz in row.lsd else "-" for hz in cutoffs]
            label = row.definition or "other or not stated"
            notes = [row.protocol, *_marks(row, results)]
            rows.append((part, row.system, row.source, label, *figures, "; ".join(notes)))
        for definition in _DEFINITIONS:
            means = {
                (a.system, a.cutoff_hz): a.mean
                for a in results.aggregates
                if (a.metric, a.domain) == (definition, part if joint else ALL)
            }
            for system in dict.fromkeys(name for name, _ in means):
                figures = [
                    f"{means[system, hz]:.2f}" if (system, hz) in means else "-" for hz in cutoffs
                ]
                note = _lowpass(results.protocol.lowpass)
                rows.append((part, system, "this run", definition, *figures, note))
    return Table(
        "Published beside ours",
        "LSD as others have printed it, by cutoff, and of this run under both definitions. Compare "
        "rows of one definition only. †: made under conditions other than this run's, as the note "
        "says; ‡: suspect.",
        (
            *("benchmark", "system", "source", "definition"),
            *(f"{hz / 1000:g} kHz" for hz in cutoffs),
            "note",
        ),
        tuple(rows),
        labels=4,
        bold=frozenset(
            (i, j) for i, row in enumerate(rows) if row[2] == "this run" for j in (1, 2)
        ),
    )


def _marks(row: PublishedRow, results: Results) -> list[str]:
    """What parts a row from the run, and why it is suspect, each with its mark."""
    ours = _lowpass(results.protocol.lowpass)
    other = []
    if row.lowpass is None:
        other.append("low-pass not stated")
    elif row.lowpass != ours:
        other.append(f"low-pass {row.lowpass}, here {ours}")
    if row.definition is None:
        other.append("LSD of another definition, or not stated")
    return [*(f"† {text}" for text in other), *([f"‡ {row.suspect}"] if row.suspect else [])]


def _lowpass(card: dict[str, Any]) -> str:
    """The kind of the low-pass that a protocol card describes."""
    return str(card.get("family") or card.get("kind") or card.get("name") or "other")
