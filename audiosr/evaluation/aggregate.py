"""What do the figures of single files say about a system?

The mean of a domain is the mean over its files; the domain `all` is the mean over domains, so that
a large domain does not outweigh a small one. Intervals are percentile bootstraps over files, drawn
within domains.
"""

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

ALL = "all"


def aggregate(
    files: Sequence[dict[str, Any]],
    *,
    confidence: float = 0.95,
    resamples: int = 1000,
    seed: int = 0,
) -> list[dict[str, Any]]:
    """Means with bootstrap intervals, per system, cutoff, metric and domain.

    Every system and cutoff is resampled with the same draws of files, so intervals compare.

    Args:
        files: entries `{key, domain, cutoff_hz, system, metrics}`; each key has all systems and
            cutoffs.
        confidence: share of the bootstrap means that lies between `low` and `high`.
        resamples: number of bootstrap draws.
        seed: seed of the draws.

    Returns:
        Entries `{system, domain, cutoff_hz, metric, mean, low, high, n}` with `n` files each; the
        domain `all` comes last, with `n` counting the files of all domains.
    """
    columns = list(
        dict.fromkeys((f["system"], f["cutoff_hz"], m) for f in files for m in f["metrics"])
    )
    place = {column: index for index, column in enumerate(columns)}
    tables: dict[str, dict[str, NDArray[np.float64]]] = {}
    for entry in files:
        row = tables.setdefault(entry["domain"], {}).setdefault(
            entry["key"], np.full(len(columns), np.nan)
        )
        for metric, value in entry["metrics"].items():
            row[place[entry["system"], entry["cutoff_hz"], metric]] = value

    generator = np.random.default_rng(seed)
    means, draws, counts = {}, {}, {}
    for domain in sorted(tables):
        values = np.stack([tables[domain][key] for key in sorted(tables[domain])])
        n = counts[domain] = len(values)
        weights = generator.multinomial(n, np.full(n, 1 / n), size=resamples) / n
        means[domain], draws[domain] = values.mean(axis=0), weights @ values
    if tables:
        means[ALL] = np.mean([means[domain] for domain in tables], axis=0)
        draws[ALL] = np.mean([draws[domain] for domain in tables], axis=0)
        counts[ALL] = sum(counts.values())

    tail = (1 - confidence) / 2
    bounds = {domain: np.quantile(draw, [tail, 1 - tail], axis=0) for domain, draw in draws.items()}
    return [
        {
            "system": system,
            "domain": domain,
            "cutoff_hz": cutoff_hz,
            "metric": metric,
            "mean": float(means[domain][index]),
            "low": float(bounds[domain][0, index]),
            "high": float(bounds[domain][1, index]),
            "n": counts[domain],
        }
        for (system, cutoff_hz, metric), index in place.items()
        for domain in means
    ]
