"""What does one choice change? The tables and the report of studies.

A study is a question and a few variants of one evaluation; each variant is judged on the same
clips, and compared file by file with the first.
"""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from audiosr.evaluation import figures
from audiosr.evaluation.aggregate import compare
from audiosr.evaluation.outputs import RESULTS, write_tables
from audiosr.evaluation.report import REPORT, folded_details, protocol_lines, render_page
from audiosr.evaluation.results import (
    ALL,
    BASELINE,
    Aggregate,
    Difference,
    Results,
    primary,
)
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

HIGH_BAND = ("hf_energy_db", "hf_envelope_db")
"""What stands beside the headline where it was measured: LSD alone rewards blur."""

_FEW = 10
"""Clips of a domain below which intervals are too narrow to be taken at their word."""

_PANELS = 3
"""Cutoffs up to which each has a picture of its own, with a row per variant."""


@dataclass(frozen=True)
class Study:
    """A question and what was found."""

    name: str
    question: str
    variants: dict[str, Results]
    """By name, in the order of the table; the first is what the others are compared with."""

    @property
    def first(self) -> Results:
        """What the others are compared with."""
        return next(iter(self.variants.values()))

    @property
    def metric(self) -> str:
        """The name of the headline metric."""
        return self.first.protocol.headline

    @property
    def cutoffs_hz(self) -> list[float]:
        """Those at which any variant has figures."""
        return sorted({a.cutoff_hz for r in self.variants.values() for a in r.aggregates})


def study_table(study: Study) -> Table:
    """The headline metric of the model per cutoff and variant, beside its input and the first."""
    metric = study.metric
    every = [a for results in study.variants.values() for a in results.aggregates]
    domains = list(dict.fromkeys(a.domain for a in every if a.domain != ALL))
    beside = [name for name in HIGH_BAND if any(a.metric == name for a in every)]
    gaps, several = _gaps(study), len(study.variants) > 1
    names = ("cutoff", *(["variant"] if several else []), "unprocessed", "model")
    rows, bold = [], set()
    for cutoff_hz in study.cutoffs_hz:
        means = {}
        for name, found in study.variants.items():
            cells = _cells(found, cutoff_hz)
            if not (mine := cells.get((_judged(found), ALL, metric))):
                continue
            base = cells.get((BASELINE, ALL, metric))
            others = [(ALL, metric) for metric in beside] + [(domain, metric) for domain in domains]
            found_there = [cells.get((_judged(found), *place)) for place in others]
            digits = [1] * len(beside) + [2] * len(domains)
            means[len(rows)] = mine.mean
            rows.append(
                (
                    f"{cutoff_hz / 1000:g} kHz",
                    *([name] if several else []),
                    f"{base.mean:.2f}" if base else "-",
                    f"{mine.mean:.2f}{' !' if is_worse(mine, base, metric) else ''}",
                    interval_text(mine),
                    *([difference_text(gaps.get((name, cutoff_hz)))] if several else []),
                    *(
                        "-" if cell is None else f"{round(cell.mean, n) + 0.0:.{n}f}"
                        for cell, n in zip(found_there, digits, strict=True)
                    ),
                )
            )
        bold |= {(row, names.index("model")) for row in best_means(means, metric)}
    return Table(
        study.name,
        f"{study.question} {_legend(study, beside)}",
        (
            *names,
            "interval",
            *(["difference"] if several else []),
            *(LABELS[name].removesuffix(" (dB)") for name in beside),
            *domains,
        ),
        tuple(rows),
        labels=len(names) - 2,
        bold=frozenset(bold),
    )


def describe_gaps(study: Study) -> list[str]:
    """A sentence for each variant after the first: where it is better or worse, and by how much."""
    gaps = _gaps(study)
    first, *others = study.variants
    sentences = []
    for name in others:
        said: dict[str, list[str]] = {}
        for cutoff_hz in study.cutoffs_hz:
            if gap := gaps.get((name, cutoff_hz)):
                verdict, size = _verdict(gap, first)
                said.setdefault(verdict, []).append(f"{size}{cutoff_hz / 1000:g} kHz")
        if said:
            parts = (f"{verdict} {' and '.join(places)}" for verdict, places in said.items())
            sentences.append(f"{name}: {'; '.join(parts)}")
    return sentences


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


def _judged(results: Results) -> str:
    """The system that a study is about."""
    return primary(results.protocol.systems) or BASELINE


def _cells(results: Results, cutoff_hz: float) -> dict[tuple[str, str, str], Aggregate]:
    """The aggregates at a cutoff by system, domain and metric."""
    return {
        (a.system, a.domain, a.metric): a for a in results.aggregates if a.cutoff_hz == cutoff_hz
    }


def _legend(study: Study, beside: Sequence[str]) -> str:
    """What the columns of the table are."""
    metric, (first, *others) = study.metric, study.variants
    percent = f"{100 * study.first.protocol.interval['confidence']:g} %"
    sentences = [
        f"{LABELS.get(metric, metric)} ({metric}), mean over domains with its bootstrap interval "
        f"({percent}); {'higher' if metric in HIGHER else 'lower'} is better"
        f"{', the best are bold' if others else ''}. "
        "!: worse than the unprocessed input."
    ]
    if others:
        sentences.append(f"Difference: from {first!r} on the same files, with its interval.")
    if beside:
        sentences.append(
            "HF: the energy of the high band over that of the recording in dB (0 is right, below "
            "is dull) and how far that is off from frame to frame."
        )
    return " ".join(sentences)


def _verdict(gap: Difference, first: str) -> tuple[str, str]:
    """Better or worse than the first, and by how much; or neither."""
    size = abs(round(gap.mean, 2))
    if not size or gap.low is None or gap.high is None or gap.low <= 0 <= gap.high:
        return "no clear difference at", ""
    better = (gap.mean > 0) == (gap.metric in HIGHER)
    return f"{'better' if better else 'worse'} than {first!r} by", f"{size:.2f} at "


def _gaps(study: Study) -> dict[tuple[str, float], Difference]:
    """Variant minus the first, by variant and cutoff, over the files that both have."""
    (first, base), *_ = study.variants.items()
    metric = base.protocol.headline
    files = [
        replace(file, system=name, metrics={metric: file.metrics[metric]})
        for name, results in study.variants.items()
        for file in results.files
        if file.system == _judged(results)
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
        cells = _cells(results, cutoff_hz)
        base = cells.get((BASELINE, ALL, study.metric))
        if mine := cells.get((_judged(results), ALL, study.metric)):
            rows[name] = mine.mean, mine.low, mine.high, base.mean if base else None
    return rows


def _lines(
    study: Study,
) -> dict[str, list[tuple[float, float, float | None, float | None]]]:
    """Cutoff, mean and interval, of the first variant's input and of every variant."""
    lines = {BASELINE: (study.first, BASELINE)}
    for name, results in study.variants.items():
        system = _judged(results)
        lines[name if len(study.variants) > 1 else system] = results, system
    return {
        name: [
            (cutoff_hz, cell.mean, cell.low, cell.high)
            for cutoff_hz in study.cutoffs_hz
            if (cell := _cells(results, cutoff_hz).get((system, ALL, study.metric)))
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
