"""How are results laid out as tables?

Everything here reads a results dictionary (the content of `results.json`) and nothing else, so a
table can be made again from the file.
"""

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

from audiosr.evaluation.aggregate import ALL

BASELINE = "unprocessed"
"""Name of the system that returns its input: what ratios refer to."""
CEILING = "gt_mel"
"""Name of the system that sees the reference's mel."""

LABELS = {
    "lsd_nuwave2": "LSD",
    "lsd_hf_nuwave2": "LSD-HF",
    "lsd_lf_nuwave2": "LSD-LF",
    "lsd_ssr_eval": "LSD (ssr_eval)",
    "lsd_hf_ssr_eval": "LSD-HF (ssr_eval)",
    "lsd_lf_ssr_eval": "LSD-LF (ssr_eval)",
    "snr_below_cutoff_db": "SNR below cutoff (dB)",
}
"""Column heads of the metrics."""

_TEX_SPECIAL = str.maketrans({c: f"\\{c}" for c in "_%&#$"})


@dataclass(frozen=True)
class Table:
    """Rows of text under a head; the first `labels` columns name the row, the others measure it."""

    caption: str
    head: tuple[str, ...]
    rows: tuple[tuple[str, ...], ...]
    labels: int = 2

    def markdown(self) -> str:
        """The table in GitHub's Markdown, figures aligned right, the caption above."""
        rule = ["---"] * self.labels + ["---:"] * (len(self.head) - self.labels)
        lines = [f"| {' | '.join(row)} |" for row in (self.head, tuple(rule), *self.rows)]
        return f"{self.caption}\n\n" + "\n".join(lines) + "\n"

    def latex(self) -> str:
        """A LaTeX table that needs the package booktabs; a rule parts the cutoffs."""
        columns = "l" * self.labels + "r" * (len(self.head) - self.labels)
        body = []
        for index, row in enumerate(self.rows):
            if index and row[0] != self.rows[index - 1][0]:
                body.append(r"\midrule")
            body.append(" & ".join(cell.translate(_TEX_SPECIAL) for cell in row) + r" \\")
        head = " & ".join(cell.translate(_TEX_SPECIAL) for cell in self.head)
        return "\n".join(
            [
                r"\begin{table}",
                r"\centering",
                rf"\caption{{{self.caption.translate(_TEX_SPECIAL)}}}",
                rf"\begin{{tabular}}{{{columns}}}",
                r"\toprule",
                rf"{head} \\",
                r"\midrule",
                *body,
                r"\bottomrule",
                r"\end{tabular}",
                r"\end{table}",
                "",
            ]
        )


def headline_table(results: dict[str, Any]) -> Table:
    """The headline metric per domain and as mean over domains, with its ratio to unprocessed."""
    metric = results["protocol"]["headline"]
    domains = [d for d in _names(results, "domain") if d != ALL]
    rows = []
    for cutoff_hz in _names(results, "cutoff_hz"):
        for system in _names(results, "system"):
            cells = {d: _find(results, system, d, cutoff_hz, metric) for d in (*domains, ALL)}
            overall = cells[ALL]
            rows.append(
                (
                    f"{cutoff_hz / 1000:g} kHz",
                    system,
                    *(f"{cells[d]['mean']:.2f}" for d in domains),
                    f"{overall['mean']:.2f}",
                    f"{overall['low']:.2f}-{overall['high']:.2f}",
                    ratio_text(results, system, cutoff_hz),
                )
            )
    percent = f"{100 * results['protocol']['interval']['confidence']:g} %"
    return Table(
        f"{LABELS[metric]} ({metric}), lower is better. Mean: mean over domains, with a bootstrap "
        f"interval ({percent}); ratio: mean of the system over mean of the unprocessed input.",
        ("cutoff", "system", *domains, "mean", percent, "ratio"),
        tuple(rows),
    )


def metrics_table(results: dict[str, Any]) -> Table:
    """Every metric as mean over domains."""
    metrics: list[str] = _names(results, "metric")

    def text(system: str, cutoff_hz: float, metric: str) -> str:
        value = _find(results, system, ALL, cutoff_hz, metric)["mean"]
        return f"{value:.1f}" if metric.endswith("_db") else f"{value:.2f}"

    rows = [
        (f"{cutoff_hz / 1000:g} kHz", system, *(text(system, cutoff_hz, m) for m in metrics))
        for cutoff_hz in _names(results, "cutoff_hz")
        for system in _names(results, "system")
    ]
    return Table(
        "All metrics, mean over domains. HF and LF: bins above and below the cutoff.",
        ("cutoff", "system", *(LABELS.get(m, m) for m in metrics)),
        tuple(rows),
    )


def ratio(results: dict[str, Any], system: str, cutoff_hz: float) -> float | None:
    """Headline mean of `system` over that of the unprocessed input; None where there is none."""
    metric = results["protocol"]["headline"]
    means = {
        a["system"]: a["mean"]
        for a in results["aggregates"]
        if (a["domain"], a["cutoff_hz"], a["metric"]) == (ALL, cutoff_hz, metric)
    }
    base = means.get(BASELINE)
    return means[system] / base if base else None


def ratio_text(results: dict[str, Any], system: str, cutoff_hz: float) -> str:
    """The ratio with two decimals, or a dash."""
    value = ratio(results, system, cutoff_hz)
    return "-" if value is None else f"{value:.2f}"


def tables(results: dict[str, Any]) -> tuple[Table, ...]:
    """The tables of a report; none if no file was evaluated."""
    return (headline_table(results), metrics_table(results)) if results["aggregates"] else ()


def primary(systems: Iterable[str]) -> str | None:
    """The system that the report puts first: the first that restores from the input."""
    return next((name for name in systems if name not in (BASELINE, CEILING)), None)


def _names(results: dict[str, Any], field: str) -> list[Any]:
    """Values of a field of the aggregates, in order of appearance."""
    return list(dict.fromkeys(a[field] for a in results["aggregates"]))


def _find(
    results: dict[str, Any], system: str, domain: str, cutoff_hz: float, metric: str
) -> dict[str, Any]:
    wanted = (system, domain, cutoff_hz, metric)
    return next(
        a
        for a in results["aggregates"]
        if (a["system"], a["domain"], a["cutoff_hz"], a["metric"]) == wanted
    )
