"""What does one choice change? The tables and the report of studies.

A study is a question and a few variants of one evaluation; each variant is judged on the same
clips, and compared file by file with the first.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from audiosr.evaluation import figures
from audiosr.evaluation.aggregate import compare
from audiosr.evaluation.outputs import RESULTS, write_tables
from audiosr.evaluation.report import REPORT, render_page
from audiosr.evaluation.results import ALL, BASELINE, Difference, Results, primary
from audiosr.evaluation.table import Table
from audiosr.evaluation.tables import (
    HIGHER,
    LABELS,
    best_means,
    describe_losses,
    difference_text,
    interval_text,
    is_worse,
)
from audiosr.files import atomic_path


@dataclass(frozen=True)
class Study:
    """A question and what was found."""

    name: str
    question: str
    variants: dict[str, Results]
    """By name, in the order of the table; the first is what the others are compared with."""


def study_table(study: Study) -> Table:
    """The headline metric of the model per cutoff and variant, beside its input and the first."""
    first, results = next(iter(study.variants.items()))
    metric = results.protocol.headline
    domains = list(
        dict.fromkeys(
            a.domain for r in study.variants.values() for a in r.aggregates if a.domain != ALL
        )
    )
    gaps, several = _gaps(study), len(study.variants) > 1
    rows, bold = [], set()
    for cutoff_hz in sorted({a.cutoff_hz for r in study.variants.values() for a in r.aggregates}):
        means = {}
        for name, found in study.variants.items():
            cells = {
                (a.system, a.domain): a
                for a in found.aggregates
                if (a.cutoff_hz, a.metric) == (cutoff_hz, metric)
            }
            system = primary(found.protocol.systems) or BASELINE
            if not (mine := cells.get((system, ALL))):
                continue
            base = cells.get((BASELINE, ALL))
            means[len(rows)] = mine.mean
            rows.append(
                (
                    f"{cutoff_hz / 1000:g} kHz",
                    name,
                    f"{base.mean:.2f}" if base else "-",
                    f"{mine.mean:.2f}{' !' if is_worse(mine, base, metric) else ''}",
                    interval_text(mine),
                    *([difference_text(gaps.get((name, cutoff_hz)))] if several else []),
                    *(
                        f"{cells[system, domain].mean:.2f}" if (system, domain) in cells else "-"
                        for domain in domains
                    ),
                )
            )
        bold |= {(row, 3) for row in best_means(means, metric)}
    percent = f"{100 * results.protocol.interval['confidence']:g} %"
    return Table(
        study.name,
        f"{study.question} {LABELS.get(metric, metric)} ({metric}), "
        f"{'higher' if metric in HIGHER else 'lower'} is better, the best in bold; over domains, "
        f"bootstrap interval ({percent}); "
        f"{f'minus {first}: paired difference on the same files; ' if several else ''}"
        "then the model per domain. !: worse than the unprocessed input.",
        (
            *("cutoff", "variant", "unprocessed", "model", percent),
            *([f"minus {first}"] if several else []),
            *domains,
        ),
        tuple(rows),
        bold=frozenset(bold),
    )


def write_studies(folder: Path, studies: Sequence[Study]) -> Path:
    """Write the results of every variant, the tables and one report; returns the report."""
    for study in studies:
        for name, results in study.variants.items():
            path = folder / study.name / name / RESULTS
            path.parent.mkdir(parents=True)
            path.write_text(results.json(), encoding="utf-8")
    shown = [study_table(study) for study in studies]
    write_tables(folder, shown)
    results = next(iter(studies[0].variants.values()))
    page = render_page(
        "study.html",
        versions=results.versions,
        title=f"AudioSR studies: {results.protocol.benchmark.name}",
        subtitle=f"{len(results.protocol.benchmark.clips)} clips, model "
        f"{', '.join(sorted(_models(studies)))}",
        studies=[
            {
                "name": study.name,
                "table": table,
                "plot": _plot(study),
                "losses": {
                    name: sentences
                    for name, found in study.variants.items()
                    if (sentences := describe_losses(found))
                },
            }
            for study, table in zip(studies, shown, strict=True)
        ],
    )
    with atomic_path(folder / REPORT) as partial:
        partial.write_text(page, encoding="utf-8")
    return folder / REPORT


def _gaps(study: Study) -> dict[tuple[str, float], Difference]:
    """Variant minus the first, by variant and cutoff, over the files that both have."""
    (first, base), *_ = study.variants.items()
    metric = base.protocol.headline
    files = [
        replace(file, system=name, metrics={metric: file.metrics[metric]})
        for name, results in study.variants.items()
        for file in results.files
        if file.system == primary(results.protocol.systems)
    ]
    interval = base.protocol.interval
    differences = compare(
        files,
        [(name, first) for name in study.variants if name != first],
        confidence=interval["confidence"],
        resamples=interval["resamples"],
        seed=base.seed,
        by_part="parts" in base.protocol.benchmark.about,
    )
    return {(d.system, d.cutoff_hz): d for d in differences if d.domain == ALL}


def _plot(study: Study) -> str:
    """Against the cutoff the unprocessed input of the first variant, and a line per variant."""
    metric = next(iter(study.variants.values())).protocol.headline
    lines: dict[str, list[tuple[float, float, float | None, float | None]]] = {}
    for number, (name, results) in enumerate(study.variants.items()):
        for label, system in ((BASELINE, BASELINE), (name, primary(results.protocol.systems))):
            if system == BASELINE and number:
                continue
            rows = [
                (a.cutoff_hz, a.mean, a.low, a.high)
                for a in results.aggregates
                if (a.system, a.domain, a.metric) == (system, ALL, metric)
            ]
            if rows:
                lines[label] = sorted(rows, key=lambda row: row[0])
    label = LABELS.get(metric, metric)
    return figures.draw_by_cutoff(lines, label, prefix=f"study-{study.name}") if lines else ""


def _models(studies: Sequence[Study]) -> set[str]:
    return {
        str(card["model"]["folder"])
        for study in studies
        for results in study.variants.values()
        for card in results.protocol.systems.values()
        if isinstance(card.get("model"), dict) and "folder" in card["model"]
    }
