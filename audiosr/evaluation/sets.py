"""How far is all that a system returned from all references, as two sets of embeddings?

The embeddings of each clip are kept with its other figures, so that the distances are computed from
all clips in their order, whichever process embedded them and when.
"""

import base64
from collections.abc import Iterable, Mapping, Sequence
from statistics import fmean

import numpy as np
import torch
from torch import Tensor

from audiosr.evaluation.results import ALL, Aggregate, Embedded, Measured
from audiosr.metrics.frechet import FrechetDistance, embedded_distance


def embed_clip(
    metrics: Sequence[FrechetDistance],
    reference: Tensor,
    outputs: Mapping[str, Tensor],
    cutoffs_hz: Sequence[float],
) -> tuple[Embedded, ...]:
    """The embeddings of a reference (1, 1, T) and of each system's outputs (B, 1, T), one by one.

    There is an output for each of the B cutoffs.
    """
    waves = [("", 0.0, reference)]
    for system, rows in outputs.items():
        waves += [(system, hz, row[None]) for hz, row in zip(cutoffs_hz, rows, strict=True)]
    return tuple(
        Embedded(metric.name, system, hz, _packed(metric.embed(wave)))
        for metric in metrics
        for system, hz, wave in waves
    )


def aggregate_sets(
    found: Iterable[Measured], metrics: Sequence[FrechetDistance]
) -> tuple[Aggregate, ...]:
    """The distances per system, cutoff and domain, and their mean over domains, without intervals.

    The clips come in their order.
    """
    dimensions = {metric.name: metric.embed.dimensions for metric in metrics}
    sets: dict[tuple[str, float, str], dict[str, list[tuple[Tensor, Tensor]]]] = {}
    for clip in found:
        rows = {
            (one.metric, one.system, one.cutoff_hz): _unpacked(one.rows, dimensions[one.metric])
            for one in clip.embedded
        }
        for (metric, system, hz), outputs in rows.items():
            for facts in clip.clips if system else ():
                domains = sets.setdefault((system, hz, metric), {})
                pair = outputs, rows[metric, "", 0.0]
                domains.setdefault(facts.domain, []).append(pair)
    aggregates = []
    for (system, hz, name), domains in sets.items():
        known: dict[str, tuple[float, int]] = {}
        for domain, pairs in sorted(domains.items()):
            distance = embedded_distance(*(torch.cat(side) for side in zip(*pairs, strict=True)))
            if not distance.isnan():
                known[domain] = float(distance), len(pairs)
        if known:
            known[ALL] = fmean(d for d, _ in known.values()), sum(n for _, n in known.values())
        aggregates += [
            Aggregate(system, domain, hz, name, distance, None, None, clips)
            for domain, (distance, clips) in known.items()
        ]
    return tuple(aggregates)


def _packed(rows: Tensor) -> str:
    return base64.b64encode(rows.float().cpu().numpy().tobytes()).decode()


def _unpacked(rows: str, dimensions: int) -> Tensor:
    values = np.frombuffer(base64.b64decode(rows), np.float32)
    return torch.from_numpy(values.reshape(-1, dimensions).copy())
