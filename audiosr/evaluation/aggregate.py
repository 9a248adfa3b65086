"""What do the figures of single files say about a system?

The mean of a domain is the mean over its files; the domain `all` is the mean over domains, so that
a large domain does not outweigh a small one. In a joint benchmark, whose domains have parts (the
speakers of VCTK), the mean of a domain is the mean over its parts, as in the table of that
benchmark alone. Intervals are percentile bootstraps over files, drawn within domains and parts; one
file has no spread, and so its domain and `all` have no interval. Every system, cutoff and
difference is resampled with the same draws of files.
"""

from collections.abc import Sequence
from dataclasses import dataclass

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
    by_part: bool = False,
) -> tuple[Aggregate, ...]:
    """Means with bootstrap intervals, per system, cutoff, metric and domain.

    Args:
        files: figures of all files; what a file lacks is left out of the means.
        confidence: share of the bootstrap means that lies between `low` and `high`.
        resamples: number of bootstrap draws.
        seed: seed of the draws.
        by_part: whether keys start with the part of their domain that they belong to, and the mean
            of a domain is over its parts.

    Returns:
        Means with `n` files each; the domain `all` comes last, over the domains that have the
        figure, with `n` counting the files of all of them.
    """
    places, rows = _figures(files, by_part=by_part)
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
    by_part: bool = False,
) -> tuple[Difference, ...]:
    """Mean differences over the files that both systems of a pair have, with intervals.

    The second system's figure is subtracted from the first's; otherwise as `aggregate`.
    """
    places, rows = _figures(files, by_part=by_part)
    columns = [
        (mine, other, cutoff_hz, metric, index, places[other, cutoff_hz, metric])
        for mine, other in pairs
        for (system, cutoff_hz, metric), index in places.items()
        if system == mine and (other, cutoff_hz, metric) in places
    ]
    left, right = [c[-2] for c in columns], [c[-1] for c in columns]
    gaps = {place: values[:, left] - values[:, right] for place, values in rows.items()}
    return tuple(
        Difference(mine, other, domain, cutoff_hz, metric, *estimate)
        for (mine, other, cutoff_hz, metric, *_), estimates in zip(
            columns, _estimate(gaps, confidence, resamples, seed), strict=True
        )
        for domain, estimate in estimates.items()
    )


_Rows = dict[tuple[str, str], NDArray[np.float64]]
"""Figures (files, columns) by domain and part of it."""


def _figures(files: Sequence[FileFigures], *, by_part: bool) -> tuple[dict[_Column, int], _Rows]:
    """The columns, and the figures of each part, NaN where a file has none."""
    place = {
        column: index
        for index, column in enumerate(
            dict.fromkeys((f.system, f.cutoff_hz, m) for f in files for m in f.metrics)
        )
    }
    rows: dict[tuple[str, str], dict[str, NDArray[np.float64]]] = {}
    for file in files:
        part = file.domain, file.key.partition("/")[0] if by_part else ""
        row = rows.setdefault(part, {}).setdefault(file.key, np.full(len(place), np.nan))
        for metric, value in file.metrics.items():
            row[place[file.system, file.cutoff_hz, metric]] = np.nan if value is None else value
    return place, {
        part: np.stack([rows[part][key] for key in sorted(rows[part])]) for part in sorted(rows)
    }


_Estimate = tuple[float, float | None, float | None, int]
"""Mean, interval, number of files."""


@dataclass(frozen=True)
class _Means:
    """Of every column (K,) over files, or over the means of parts."""

    mean: NDArray[np.float64]
    """NaN where there is no file."""
    draws: NDArray[np.float64]
    """Bootstrap means (resamples, K), NaN where one file alone says nothing of the spread."""
    files: NDArray[np.int64]


def _estimate(
    rows: _Rows, confidence: float, resamples: int, seed: int
) -> list[dict[str, _Estimate]]:
    """Per column the estimates of the domains that have a figure, and `ALL`."""
    if not rows:
        return []
    generator = np.random.default_rng(seed)
    parts: dict[str, list[_Means]] = {}
    for (domain, _), figures in rows.items():
        parts.setdefault(domain, []).append(_over_files(figures, resamples, generator))
    domains = {domain: _over_parts(means) for domain, means in parts.items()}
    every = {**domains, ALL: _over_parts(list(domains.values()))}
    tail = (1 - confidence) / 2
    return [
        {
            domain: (
                float(means.mean[column]),
                *_interval(means.draws[:, column], tail),
                int(means.files[column]),
            )
            for domain, means in every.items()
            if means.files[column]
        }
        for column in range(len(every[ALL].mean))
    ]


def _over_files(
    figures: NDArray[np.float64], resamples: int, generator: np.random.Generator
) -> _Means:
    known = ~np.isnan(figures)
    values = np.where(known, figures, 0.0)
    files = known.sum(0)
    weights = generator.multinomial(
        len(values), np.full(len(values), 1 / len(values)), size=resamples
    )
    with np.errstate(invalid="ignore"):
        draws = np.where(files > 1, weights @ values, np.nan) / (weights @ known)
        return _Means(values.sum(0) / files, draws, files)


def _over_parts(parts: Sequence[_Means]) -> _Means:
    """The mean over the parts that have a file."""
    files = np.stack([part.files for part in parts])
    held = files > 0
    mean = np.where(held, np.stack([part.mean for part in parts]), 0)
    draws = np.where(held[:, None], np.stack([part.draws for part in parts]), 0)
    with np.errstate(invalid="ignore"):
        return _Means(mean.sum(0) / held.sum(0), draws.sum(0) / held.sum(0), files.sum(0))


def _interval(draws: NDArray[np.float64], tail: float) -> tuple[float | None, float | None]:
    """Quantiles of the draws that hold a file at all; None where no file or one alone has them."""
    kept = draws[~np.isnan(draws)]
    if not len(kept):
        return None, None
    low, high = np.quantile(kept, [tail, 1 - tail])
    return float(low), float(high)
