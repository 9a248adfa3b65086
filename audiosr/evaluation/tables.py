"""How are results laid out as tables?

Everything here reads `Results` (the content of `results.json`) and nothing else, so a table can be
made again from the file.
"""

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from audiosr.evaluation.published import published_table
from audiosr.evaluation.results import ALL, BASELINE, Aggregate, Difference, Results, sees_reference
from audiosr.evaluation.table import Table

_BANDS = {"lsd": "LSD", "lsd_hf": "LSD-HF", "lsd_lf": "LSD-LF"}
LABELS = {
    **{f"{band}_nuwave2": label for band, label in _BANDS.items()},
    **{
        f"{band}_{preset}": f"{label} ({preset})"
        for preset in ("ssr_eval", "universr", "released")
        for band, label in _BANDS.items()
    },
    "sispec_db": "SiSpec (dB)",
    "log_sispec_db": "log-SiSpec (dB)",
    "ssim": "SSIM",
    "mel_distance": "mel L1",
    "stft_distance": "MR-STFT",
    "si_sdr_db": "SI-SDR (dB)",
    "snr_db": "SNR (dB)",
    "hf_energy_db": "HF energy (dB)",
    "hf_envelope_db": "HF envelope (dB)",
    "visqol": "ViSQOL",
    "loudness_lu": "loudness (LU)",
    "snr_below_cutoff_db": "SNR below cutoff (dB)",
    "length_difference_s": "length (s)",
    "frechet_mel_statistics": "Frechet (mel statistics)",
}
"""Column heads of the metrics."""

HIGHER = {
    "visqol",
    "ssim",
    "sispec_db",
    "log_sispec_db",
    "si_sdr_db",
    "snr_db",
    "snr_below_cutoff_db",
}
"""Metrics of which more is better."""

_NEAR_ZERO = {"hf_energy_db", "loudness_lu", "length_difference_s"}
"""Metrics that are right at 0."""

_LISTED = 10
"""Files of a system that are named before the rest is left to its card."""

_WORSE = "!"
"""Behind a figure that is worse than that of the unprocessed input."""


def headline_table(results: Results) -> Table:
    """The headline metric per domain and as mean over domains, with its ratio to unprocessed.

    The best system of a cutoff and domain stands out, but for those that see the reference.
    """
    metric = results.protocol.headline
    found = _by_place(results, metric)
    domains = [d for d in _names(results.aggregates, "domain") if d != ALL]
    systems = _names(results.aggregates, "system")
    lost = _losses(results)
    rows: list[tuple[str, ...]] = []
    bold: set[tuple[int, int]] = set()
    for cutoff_hz in _names(results.aggregates, "cutoff_hz"):
        for column, domain in enumerate((*domains, ALL)):
            means = {
                len(rows) + row: found[system, cutoff_hz, domain].mean
                for row, system in enumerate(systems)
                if not sees_reference(system) and (system, cutoff_hz, domain) in found
            }
            bold |= {(row, 2 + column) for row in best_means(means, metric)}
        for system in systems:
            cells = [found.get((system, cutoff_hz, domain)) for domain in (*domains, ALL)]
            texts = (
                "-" if cell is None else f"{cell.mean:.2f}" + (f" {_WORSE}" if cell in lost else "")
                for cell in cells
            )
            rows.append(
                (
                    f"{cutoff_hz / 1000:g} kHz",
                    system,
                    *texts,
                    interval_text(cells[-1]),
                    ratio_text(results, system, cutoff_hz),
                )
            )
    percent = f"{100 * results.protocol.interval['confidence']:g} %"
    legend = f" {_WORSE}: worse than the unprocessed input." if lost else ""
    return Table(
        "Per domain",
        f"{LABELS.get(metric, metric)} ({metric}), {'higher' if metric in HIGHER else 'lower'} is "
        f"better, the best in bold. Mean: over domains, with a bootstrap interval ({percent}); "
        "ratio: mean of the system over mean of the unprocessed input."
        f"{legend}{_gain(results)}",
        ("cutoff", "system", *domains, "mean", percent, "ratio"),
        tuple(rows),
        bold=frozenset(bold),
    )


def difference_table(results: Results) -> Table:
    """The headline metric of a system minus that of another on the same files, with intervals."""
    metric = results.protocol.headline
    found = {
        (d.cutoff_hz, d.system, d.other, d.domain): d
        for d in results.differences
        if d.metric == metric
    }
    domains = _names(results.differences, "domain")
    rows, bold = [], set()
    for cutoff_hz, system, other in dict.fromkeys(place[:3] for place in found):
        cells = [found.get((cutoff_hz, system, other, domain)) for domain in domains]
        bold |= {
            (len(rows), 2 + column)
            for column, d in enumerate(cells)
            if d and d.low is not None and d.high is not None and (d.low > 0 or d.high < 0)
        }
        texts = map(difference_text, cells)
        rows.append((f"{cutoff_hz / 1000:g} kHz", f"{system} - {other}", *texts))
    better = "above" if metric in HIGHER else "below"
    percent = f"{100 * results.protocol.interval['confidence']:g} %"
    return Table(
        "Paired differences",
        f"{LABELS.get(metric, metric)} of one system minus that of another on the same files, with "
        f"a bootstrap interval ({percent}); {better} 0 the first is better, bold where the "
        f"interval does not hold 0.{_gain(results)}",
        ("cutoff", "systems", *domains),
        tuple(rows),
        bold=frozenset(bold),
    )


def metrics_table(results: Results) -> Table:
    """Every metric as mean over domains, a row for each cutoff and metric."""
    metrics: list[str] = _names(results.aggregates, "metric")
    systems: list[str] = _names(results.aggregates, "system")
    rows = []
    for cutoff_hz in _names(results.aggregates, "cutoff_hz"):
        for metric in metrics:
            digits = 1 if metric.endswith("_db") else 3 if metric.endswith("_s") else 2
            found = _by_place(results, metric)
            cells = (found.get((system, cutoff_hz, ALL)) for system in systems)
            texts = ("-" if cell is None else f"{cell.mean:.{digits}f}" for cell in cells)
            rows.append((f"{cutoff_hz / 1000:g} kHz", LABELS.get(metric, metric), *texts))
    return Table(
        "All metrics",
        f"Mean over domains. HF and LF: above and below the cutoff. {_directions(metrics)}"
        f"{_gain(results)}",
        ("cutoff", "metric", *systems),
        tuple(rows),
    )


def _directions(metrics: Iterable[str]) -> str:
    """Which of the metrics are better high, and which near 0: `Lower is better, but for ...`."""
    kinds = (("the higher the better", HIGHER), ("right at 0", _NEAR_ZERO))
    named = {text: [LABELS.get(m, m) for m in metrics if m in kind] for text, kind in kinds}
    others = [f"{', '.join(labels)} ({text})" for text, labels in named.items() if labels]
    return f"Lower is better{', but for ' if others else ''}{' and '.join(others)}."


def describe_losses(results: Results) -> list[str]:
    """A sentence for each system that is worse than its input somewhere, by the headline mean."""
    label = LABELS.get(results.protocol.headline, results.protocol.headline)
    found = _by_place(results, results.protocol.headline)
    lost: dict[str, list[str]] = {}
    for cell in _losses(results):
        base = found[BASELINE, cell.cutoff_hz, cell.domain].mean
        where = "on the whole" if cell.domain == ALL else cell.domain
        lost.setdefault(cell.system, []).append(
            f"{where} at {cell.cutoff_hz / 1000:g} kHz ({label} {cell.mean:.2f}, input {base:.2f})"
        )
    return [
        f"{system} is worse than the unprocessed input: {', '.join(places)}"
        for system, places in lost.items()
    ]


def describe_changes(results: Results) -> list[str]:
    """A sentence for each system whose outputs had to be fitted, or has files of no clip."""
    sentences = []
    for name, card in results.protocol.systems.items():
        changed, extra = card.get("changed", {}), card.get("extra", [])
        if changed:
            lines = _shortened([f"{stem}: {text}" for stem, text in changed.items()])
            sentences.append(f"{name}: brought to the form of their inputs:\n  {lines}")
        if extra:
            sentences.append(f"{name}: files that belong to no clip:\n  {_shortened(extra)}")
    return sentences


def _shortened(lines: Sequence[str]) -> str:
    rest = len(lines) - _LISTED
    more = [f"and {rest} more, as its card in results.json says"] if rest > 0 else []
    return "\n  ".join([*lines[:_LISTED], *more])


def _losses(results: Results) -> list[Aggregate]:
    """Where a system is worse than the unprocessed input."""
    metric = results.protocol.headline
    found = _by_place(results, metric)
    return [
        cell
        for cell in found.values()
        if is_worse(cell, found.get((BASELINE, cell.cutoff_hz, cell.domain)), metric)
    ]


def is_worse(cell: Aggregate, base: Aggregate | None, metric: str) -> bool:
    """Whether a mean is worse than that of the unprocessed input by what two decimals show."""
    if base is None:
        return False
    gap = round(cell.mean, 2) - round(base.mean, 2)
    return gap < 0 if metric in HIGHER else gap > 0


def best_means(means: Mapping[int, float], metric: str) -> list[int]:
    """The rows with the best of two or more means; all that look equal."""
    if len(means) < 2:
        return []
    shown = {row: round(mean, 2) for row, mean in means.items()}
    best = (max if metric in HIGHER else min)(shown.values())
    return [row for row, mean in shown.items() if mean == best]


def _gain(results: Results) -> str:
    return "" if results.protocol.gain == "kept" else f" Level {results.protocol.gain}."


def interval_text(cell: Aggregate | Difference | None) -> str:
    """The interval with two decimals, or a dash where a single file gives none."""
    if cell is None or cell.low is None or cell.high is None:
        return "-"
    return f"{_rounded(cell.low):.2f} to {_rounded(cell.high):.2f}"


def difference_text(gap: Difference | None) -> str:
    """The difference with its interval, if it has one."""
    if gap is None:
        return "-"
    return f"{_rounded(gap.mean):+.2f}" + ("" if gap.low is None else f" ({interval_text(gap)})")


def _rounded(value: float) -> float:
    """With two decimals, and without the sign of what is 0 then."""
    return round(value, 2) + 0.0


def ratio(results: Results, system: str, cutoff_hz: float) -> float | None:
    """Headline mean of `system` over that of the unprocessed input; None where there is none."""
    found = _by_place(results, results.protocol.headline)
    mine, base = (found.get((name, cutoff_hz, ALL)) for name in (system, BASELINE))
    return mine.mean / base.mean if mine and base and base.mean else None


def ratio_text(results: Results, system: str, cutoff_hz: float) -> str:
    """The ratio with two decimals, or a dash."""
    value = ratio(results, system, cutoff_hz)
    return "-" if value is None else f"{value:.2f}"


def tables(results: Results) -> tuple[Table, ...]:
    """The tables of a report; none if no file was evaluated."""
    if not results.aggregates:
        return ()
    compared = (difference_table(results),) if results.differences else ()
    published = published_table(results)
    return (
        headline_table(results),
        *compared,
        *((published,) if published else ()),
        metrics_table(results),
    )


def _names(rows: Iterable[Aggregate] | Iterable[Difference], field: str) -> list[Any]:
    """Values of a field of the rows, in order of appearance."""
    return list(dict.fromkeys(getattr(row, field) for row in rows))


def _by_place(results: Results, metric: str) -> dict[tuple[str, float, str], Aggregate]:
    """The aggregates of a metric by system, cutoff and domain."""
    return {(a.system, a.cutoff_hz, a.domain): a for a in results.aggregates if a.metric == metric}
