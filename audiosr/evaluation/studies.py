"""What does one choice change? The tables of studies, and what they say in words.

A study is a question and a few variants of one evaluation; each variant is judged on the same
clips, and compared file by file with the first.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace

from audiosr.evaluation.aggregate import compare
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
    difference_text,
    interval_text,
    is_worse,
)

HIGH_BAND = ("hf_energy_db", "hf_envelope_db")
"""What stands beside the headline where it was measured: LSD alone rewards blur."""


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
            cells = cells_at(found, cutoff_hz)
            if not (mine := cells.get((judged(found), ALL, metric))):
                continue
            base = cells.get((BASELINE, ALL, metric))
            others = [(ALL, metric) for metric in beside] + [(domain, metric) for domain in domains]
            found_there = [cells.get((judged(found), *place)) for place in others]
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


def judged(results: Results) -> str:
    """The system that a study is about."""
    return primary(results.protocol.systems) or BASELINE


def cells_at(results: Results, cutoff_hz: float) -> dict[tuple[str, str, str], Aggregate]:
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
        if file.system == judged(results)
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
