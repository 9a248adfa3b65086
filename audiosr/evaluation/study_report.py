"""What do studies show? Every result, the tables, and a report with pictures, in one folder."""

from collections import Counter
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from audiosr.evaluation import figures
from audiosr.evaluation.outputs import RESULTS, write_tables
from audiosr.evaluation.report import REPORT, folded_details, protocol_lines, render_page
from audiosr.evaluation.results import ALL, BASELINE
from audiosr.evaluation.studies import Study, cells_at, describe_gaps, judged, study_table
from audiosr.evaluation.tables import LABELS, describe_losses
from audiosr.files import atomic_path

_FEW = 10
"""Clips of a domain below which intervals are too narrow to be taken at their word."""

_PANELS = 3
"""Cutoffs up to which each has a picture of its own, with a row per variant."""


def write_studies(folder: Path, studies: Sequence[Study]) -> Path:
    """Write the results of every variant, the tables and one report; returns the report."""
    for study in studies:
        for name, results in study.variants.items():
            path = folder / study.name / name / RESULTS
            path.parent.mkdir(parents=True)
            path.write_text(results.json(), encoding="utf-8")
    tables = [study_table(study) for study in studies]
    write_tables(folder, tables)
    results = studies[0].first
    clips = Counter(clip.domain for clip in results.protocol.benchmark.clips)
    page = render_page(
        "study.html",
        versions=results.versions,
        title=f"AudioSR studies: {results.protocol.benchmark.name}",
        subtitle=f"{clips.total()} clips ({', '.join(f'{n} {d}' for d, n in clips.items())}), "
        f"model {', '.join(sorted(_models(studies)))}",
        few=min(clips.values(), default=0) if min(clips.values(), default=0) < _FEW else None,
        studies=[
            {
                "name": study.name,
                "question": study.question,
                "found": describe_gaps(study),
                "table": replace(table, caption=table.caption.removeprefix(study.question)),
                "plots": _plots(study),
                "losses": {
                    name: sentences
                    for name, found in study.variants.items()
                    if (sentences := describe_losses(found))
                },
            }
            for study, table in zip(studies, tables, strict=True)
        ],
        card=protocol_lines(results),
        details=folded_details(results),
    )
    with atomic_path(folder / REPORT) as partial:
        partial.write_text(page, encoding="utf-8")
    return folder / REPORT


def _plots(study: Study) -> list[str]:
    """A picture per cutoff with a row per variant; of many cutoffs one, with a line per variant."""
    if not study.cutoffs_hz:
        return []
    label = LABELS.get(study.metric, study.metric)
    if len(study.variants) == 1 or len(study.cutoffs_hz) > _PANELS:
        return [figures.draw_by_cutoff(_lines(study), label, prefix=f"study-{study.name}")]
    panels = {cutoff_hz: _panel(study, cutoff_hz) for cutoff_hz in study.cutoffs_hz}
    values = [v for rows in panels.values() for row in rows.values() for v in row if v is not None]
    margin = 0.05 * (max(values) - min(values)) or 0.1
    return [
        figures.draw_variants(
            rows,
            f"{label} at {cutoff_hz / 1000:g} kHz, mean over domains",
            limits=(min(values) - margin, max(values) + margin),
            prefix=f"study-{study.name}-{cutoff_hz:g}",
        )
        for cutoff_hz, rows in panels.items()
    ]


def _panel(
    study: Study, cutoff_hz: float
) -> dict[str, tuple[float, float | None, float | None, float | None]]:
    """Mean, interval and mean of the input of each variant that has figures at a cutoff."""
    rows = {}
    for name, results in study.variants.items():
        cells = cells_at(results, cutoff_hz)
        base = cells.get((BASELINE, ALL, study.metric))
        if mine := cells.get((judged(results), ALL, study.metric)):
            rows[name] = mine.mean, mine.low, mine.high, base.mean if base else None
    return rows


def _lines(
    study: Study,
) -> dict[str, list[tuple[float, float, float | None, float | None]]]:
    """Cutoff, mean and interval, of the first variant's input and of every variant."""
    lines = {BASELINE: (study.first, BASELINE)}
    for name, results in study.variants.items():
        system = judged(results)
        lines[name if len(study.variants) > 1 else system] = results, system
    return {
        name: [
            (cutoff_hz, cell.mean, cell.low, cell.high)
            for cutoff_hz in study.cutoffs_hz
            if (cell := cells_at(results, cutoff_hz).get((system, ALL, study.metric)))
        ]
        for name, (results, system) in lines.items()
    }


def _models(studies: Sequence[Study]) -> set[str]:
    return {
        str(card["model"]["folder"])
        for study in studies
        for results in study.variants.values()
        for card in results.protocol.systems.values()
        if isinstance(card.get("model"), dict) and "folder" in card["model"]
    }
