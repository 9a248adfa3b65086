"""What do the figures of single files say about a system?

The mean of a domain is the mean over its files; the domain `all` is the mean over domains, so that
a large domain does not outweigh a small one. Intervals are percentile bootstraps over files, drawn
within domains; one file has no spread, and so its domain and `all` have no interval. Every system,
cutoff and difference is resampled with the same draws of files.
"""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from audiosr.evaluation.results import ALL, Aggregate, Difference, FileFigures

_Column = tuple[str, float, str]
"""System, cutoff in Hz, metric."""


def aggregate(
    files: Sequence[FileFigures],
    *,
    confidence: float = 0.95,
    resamples: int = 1000,
    seed: int = 0,
) -> tuple[Aggregate, ...]:
    """Means with bootstrap intervals, per system, cutoff, metric and domain.

    Args:
        files: figures of all files; what a file lacks is left out of the means.
        confidence: share of the bootstrap means that lies between `low` and `high`.
        resamples: number of bootstrap draws.
        seed: seed of the draws.

    Returns:
        Means with `n` files each; the domain `all` comes last, over the domains that have the
        figure, with `n` counting the files of all of them.
    """
    places, rows = _figures(files)
    return tuple(
        Aggregate(system, domain, cutoff_hz, metric, *estimate)
        for (system, cutoff_hz, metric), estimates in zip(
            places, _estimate(rows, confidence, resamples, seed), strict=True
        )
        for domain, estimate in estimates.items()
    )


def compare(
    files: Sequence[FileFigures],
    pairs: Sequence[tuple[str, str]],
    *,
    confidence: float = 0.95,
    resamples: int = 1000,
    seed: int = 0,
) -> tuple[Difference, ...]:
    """Mean differences of pairs of systems over the files that both have, with intervals.

    Args:
        files: figures of all files.
        pairs: system and the other, whose figure is subtracted.
        confidence: as in `aggregate`.
        resamples: as in `aggregate`.
        seed: as in `aggregate`.
    """
    places, rows = _figures(files)
    columns = [
        (mine, other, cutoff_hz, metric, index, places[other, cutoff_hz, metric])
        for mine, other in pairs
        for (system, cutoff_hz, metric), index in places.items()
        if system == mine and (other, cutoff_hz, metric) in places
    ]
    left, right = [c[-2] for c in columns], [c[-1] for c in columns]
    gaps = {domain: values[:, left] - values[:, right] for domain, values in rows.items()}
    return tuple(
        Difference(mine, other, domain, cutoff_hz, metric, *estimate)
        for (mine, other, cutoff_hz, metric, *_), estimates in zip(
            columns, _estimate(gaps, confidence, resamples, seed), strict=True
        )
        for domain, estimate in estimates.items()
    )


def _figures(
    files: Sequence[FileFigures],
) -> tuple[dict[_Column, int], dict[str, NDArray[np.float64]]]:
    """The columns, and per domain the figures (files, columns), NaN where a file has none."""
    place = {
        column: index
        for index, column in enumerate(
            dict.fromkeys((f.system, f.cutoff_hz, m) for f in files for m in f.metrics)
        )
    }
    rows: dict[str, dict[str, NDArray[np.float64]]] = {}
    for file in files:
        row = rows.setdefault(file.domain, {}).setdefault(file.key, np.full(len(place), np.nan))
        for metric, value in file.metrics.items():
            row[place[file.system, file.cutoff_hz, metric]] = np.nan if value is None else value
    return place, {
        domain: np.stack([rows[domain][key] for key in sorted(rows[domain])])
        for domain in sorted(rows)
    }


_Estimate = tuple[float, float | None, float | None, int]
"""Mean, interval, number of files."""


def _estimate(
    rows: dict[str, NDArray[np.float64]], confidence: float, resamples: int, seed: int
) -> list[dict[str, _Estimate]]:
    """Per column of (files, columns) the estimates of the domains that have a figure, and `ALL`."""
    generator = np.random.default_rng(seed)
    means: dict[str, NDArray[np.float64]] = {}
    draws: dict[str, NDArray[np.float64]] = {}
    counts: dict[str, NDArray[np.int64]] = {}
    for domain, figures in rows.items():
        known = ~np.isnan(figures)
        values = np.where(known, figures, 0.0)
        counts[domain] = known.sum(0)
        weights = generator.multinomial(
            len(values), np.full(len(values), 1 / len(values)), size=resamples
        )
        with np.errstate(invalid="ignore"):
            means[domain] = values.sum(0) / counts[domain]
            draws[domain] = np.where(counts[domain] > 1, weights @ values, np.nan)
            draws[domain] /= weights @ known
    if not rows:
        return []
    counted = np.stack(list(counts.values()))
    held = counted > 0
    every = np.where(held[:, None], np.stack(list(draws.values())), 0)
    with np.errstate(invalid="ignore"):
        means[ALL] = np.where(held, np.stack(list(means.values())), 0).sum(0) / held.sum(0)
        draws[ALL] = every.sum(0) / held.sum(0)
    counts[ALL] = counted.sum(0)
    tail = (1 - confidence) / 2
    return [
        {
            domain: (
                float(means[domain][index]),
                *_interval(draws[domain][:, index], tail),
                int(counts[domain][index]),
            )
            for domain in means
            if not np.isnan(means[domain][index])
        }
        for index in range(counted.shape[1])
    ]


def _interval(draws: NDArray[np.float64], tail: float) -> tuple[float | None, float | None]:
    """Quantiles of the draws that hold a file at all; None where no file or one alone has them."""
    kept = draws[~np.isnan(draws)]
    if not len(kept):
        return None, None
    low, high = np.quantile(kept, [tail, 1 - tail])
    return float(low), float(high)
