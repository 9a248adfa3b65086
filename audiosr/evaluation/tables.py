"""How are results laid out as tables?

Everything here reads `Results` (the content of `results.json`) and nothing else, so a table can be
made again from the file.
"""

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

from audiosr.evaluation.results import ALL, BASELINE, Aggregate, Results

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
    "length_samples": "length (samples)",
    "snr_below_cutoff_db": "SNR below cutoff (dB)",
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


def headline_table(results: Results) -> Table:
    """The headline metric per domain and as mean over domains, with its ratio to unprocessed."""
    metric = results.protocol.headline
    found = _by_place(results, metric)
    domains = [d for d in _names(results.aggregates, "domain") if d != ALL]
    rows = []
    for cutoff_hz in _names(results.aggregates, "cutoff_hz"):
        for system in _names(results.aggregates, "system"):
            cells = [found.get((system, cutoff_hz, domain)) for domain in (*domains, ALL)]
            rows.append(
                (
                    f"{cutoff_hz / 1000:g} kHz",
                    system,
                    *("-" if cell is None else f"{cell.mean:.2f}" for cell in cells),
                    interval_text(cells[-1]),
                    ratio_text(results, system, cutoff_hz),
                )
            )
    percent = f"{100 * results.protocol.interval['confidence']:g} %"
    gain = "" if results.protocol.gain == "kept" else f" Level {results.protocol.gain}."
    return Table(
        f"{LABELS.get(metric, metric)} ({metric}), {'higher' if metric in HIGHER else 'lower'} is "
        f"better. Mean: mean over domains, with a bootstrap interval ({percent}); ratio: mean of "
        f"the system over mean of the unprocessed input.{gain}",
        ("cutoff", "system", *domains, "mean", percent, "ratio"),
        tuple(rows),
    )


def metrics_table(results: Results) -> Table:
    """Every metric as mean over domains."""
    metrics: list[str] = _names(results.aggregates, "metric")
    means = {m: _by_place(results, m) for m in metrics}

    def text(system: str, cutoff_hz: float, metric: str) -> str:
        cell = means[metric].get((system, cutoff_hz, ALL))
        if cell is None:
            return "-"
        return f"{cell.mean:.1f}" if metric.endswith("_db") else f"{cell.mean:.2f}"

    rows = [
        (f"{cutoff_hz / 1000:g} kHz", system, *(text(system, cutoff_hz, m) for m in metrics))
        for cutoff_hz in _names(results.aggregates, "cutoff_hz")
        for system in _names(results.aggregates, "system")
    ]
    gain = "" if results.protocol.gain == "kept" else f" Level {results.protocol.gain}."
    return Table(
        f"All metrics, mean over domains. HF and LF: above and below the cutoff.{gain}",
        ("cutoff", "system", *(LABELS.get(m, m) for m in metrics)),
        tuple(rows),
    )


def interval_text(cell: Aggregate | None) -> str:
    """The interval with two decimals, or a dash where a single file gives none."""
    if cell is None or cell.low is None or cell.high is None:
        return "-"
    return f"{cell.low:.2f}-{cell.high:.2f}"


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
    return (headline_table(results), metrics_table(results)) if results.aggregates else ()


def _names(aggregates: Iterable[Aggregate], field: str) -> list[Any]:
    """Values of a field of the aggregates, in order of appearance."""
    return list(dict.fromkeys(getattr(a, field) for a in aggregates))


def _by_place(results: Results, metric: str) -> dict[tuple[str, float, str], Aggregate]:
    """The aggregates of a metric by system, cutoff and domain."""
    return {(a.system, a.cutoff_hz, a.domain): a for a in results.aggregates if a.metric == metric}
