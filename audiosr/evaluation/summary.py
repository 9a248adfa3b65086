"""What do the measured clips add up to? The content of `results.json`."""

import importlib.metadata
import platform
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

import torch

from audiosr import __version__
from audiosr.evaluation.aggregate import aggregate, compare
from audiosr.evaluation.benchmark import Benchmark, Joint
from audiosr.evaluation.external import OutputFolder, input_stem
from audiosr.evaluation.measure import LENGTH_FIGURE
from audiosr.evaluation.protocol import Protocol
from audiosr.evaluation.results import (
    BASELINE,
    BenchmarkCard,
    Measured,
    ProtocolCard,
    Results,
    primary,
)
from audiosr.evaluation.sets import aggregate_sets
from audiosr.evaluation.systems import System
from audiosr.metrics.clip import ClipMetric
from audiosr.metrics.frechet import FrechetDistance


@dataclass(frozen=True)
class EvaluationParts:
    """What an evaluation is made of."""

    benchmark: Benchmark
    systems: dict[str, System]
    protocol: Protocol
    metrics: list[ClipMetric]
    sets: list[FrechetDistance]
    seed: int
    device: torch.device


def sum_up(found: Sequence[Measured], parts: EvaluationParts) -> Results:
    """The content of `results.json`, from the clips in their order."""
    benchmark, protocol, device = parts.benchmark, parts.protocol, parts.device
    files = tuple(row for clip in found for row in clip.files)
    clips = tuple(facts for clip in found for facts in clip.clips)
    described = {k: text for m in (*parts.metrics, *parts.sets) for k, text in m.describe().items()}
    length = "how much longer or shorter than its input an output was, before it was cut or filled"
    card = ProtocolCard(
        benchmark=BenchmarkCard(benchmark.name, str(benchmark.root), clips, benchmark.card()),
        metrics={**described, LENGTH_FIGURE: length},
        systems={
            name: _system_card(name, system, found, protocol)
            for name, system in parts.systems.items()
        },
        **protocol.card(),
    )
    drawn: Any = {
        "confidence": protocol.confidence,
        "resamples": protocol.resamples,
        "seed": parts.seed,
        "by_part": isinstance(benchmark, Joint),
    }
    kind = torch.cuda.get_device_name(device) if device.type == "cuda" else device.type
    return Results(
        protocol=card,
        versions={**versions(), "device": kind},
        seed=parts.seed,
        files=files,
        aggregates=(*aggregate(files, **drawn), *aggregate_sets(found, parts.sets)),
        differences=compare(files, compared_pairs(parts.systems), **drawn),
        failures=tuple(row for clip in found for row in clip.failures),
        left_out=tuple(row for clip in found for row in clip.left_out),
    )


def _system_card(
    name: str, system: System, found: Sequence[Measured], protocol: Protocol
) -> dict[str, Any]:
    """What the system says of itself, and what became of its outputs, whoever measured them."""
    card = system.card()
    changed = {
        input_stem(clip.name, change.cutoff_hz): change.text
        for clip in found
        for change in clip.changes
        if change.system == name
    }
    if changed:
        card["changed"] = changed
    if isinstance(system, OutputFolder):
        asked = (
            input_stem(clip.name, hz) for clip in found if clip.name for hz in protocol.cutoffs_hz
        )
        card["extra"] = system.extra(asked)
    return card


def compared_pairs(names: Iterable[str]) -> list[tuple[str, str]]:
    """Each system with the unprocessed input, and with the first that restores."""
    names = list(names)
    others = [other for other in (BASELINE, primary(names)) if other in names]
    return list(
        dict.fromkeys(
            (name, other) for other in others for name in names if name not in (other, BASELINE)
        )
    )


def versions() -> dict[str, str]:
    """Of what figures depend on."""
    packages = ("torch", "numpy", "scipy", "soxr", "torchmetrics")
    return {
        "audiosr": __version__,
        "python": platform.python_version(),
        **{name: importlib.metadata.version(name) for name in packages},
    }
