"""How are systems run over a benchmark and turned into figures?"""

import hashlib
import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np
import torch
from einops import rearrange, repeat
from numpy.typing import NDArray
from torch import Tensor
from torchmetrics import MetricCollection

from audiosr.audio.io import RATE
from audiosr.errors import AudioSRError
from audiosr.evaluation.benchmark import ReferenceClip
from audiosr.evaluation.protocol import Protocol
from audiosr.evaluation.results import ClipFacts, Example, Failure, FileFigures, LeftOut
from audiosr.evaluation.systems import System, Trial
from audiosr.metrics.clip import ClipMetric


@dataclass
class Measurement:
    """What came out of a benchmark."""

    files: list[FileFigures] = field(default_factory=list)
    failures: list[Failure] = field(default_factory=list)
    left_out: list[LeftOut] = field(default_factory=list)
    clips: list[ClipFacts] = field(default_factory=list)
    examples: list[Example] = field(default_factory=list)


@torch.inference_mode()
def measure(
    benchmark: Iterable[ReferenceClip | Failure],
    systems: Mapping[str, System],
    protocol: Protocol,
    metrics: Sequence[ClipMetric],
    *,
    seed: int,
    device: torch.device,
    examples: int = 3,
    example_seconds: float = 4.0,
    progress: Callable[[], None] = lambda: None,
) -> Measurement:
    """Run every system on every clip at every cutoff.

    A clip at all cutoffs is one batch. A clip that cannot be read, or on which a system fails,
    counts for no system, so that means are over the same files. A clip that nothing can be judged
    by is left out, and so is a cutoff above which it holds nothing.

    Args:
        benchmark: the references.
        systems: name -> system, in the order of the tables.
        protocol: the conditions.
        metrics: what is computed, per clip, in the order of the tables.
        seed: rules the systems' random draws (by clip, not by order) and the choice of examples.
        device: where systems and metrics run.
        examples: how many clips to keep to be heard; spread over the domains.
        example_seconds: how much of each.
        progress: called after each clip.
    """
    result = Measurement()
    collection = MetricCollection(
        {",".join(metric.names): metric for metric in metrics}, compute_groups=False
    ).to(device)
    kept: dict[str, list[tuple[int, Example]]] = {}
    for clip in benchmark:
        try:
            if isinstance(clip, Failure):
                raise AudioSRError(clip.reason)
            mono, cutoffs = _fit(clip, protocol, result.left_out)
            if cutoffs:
                trial = _trial(clip, mono, cutoffs, protocol, seed=seed, device=device)
                outputs = _run(trial, systems)
        except AudioSRError as error:
            result.failures.append(Failure(clip.key, str(error)))
        else:
            if cutoffs:
                facts = ClipFacts(clip.key, clip.domain, len(mono) / RATE, clip.source_rate)
                result.clips.append(facts)
                result.files += _score(clip, trial, outputs, protocol, metrics, collection)
                drawn = kept.setdefault(clip.domain, [])
                example = _example(clip, trial, outputs, round(example_seconds * RATE))
                drawn.append((_draw(seed, clip.key), example))
                drawn.sort(key=lambda item: item[0])
                del drawn[examples:]
        progress()
    rounds = [
        kept[domain][i] for i in range(examples) for domain in sorted(kept) if i < len(kept[domain])
    ]
    result.examples = [example for _, example in rounds[:examples]]
    return result


def _fit(
    clip: ReferenceClip, protocol: Protocol, left_out: list[LeftOut]
) -> tuple[NDArray[np.float32], list[float]]:
    """The mono reference (T,) and the cutoffs at which it can be judged; the others are noted."""
    mono = protocol.mono(clip.wave)
    if reason := protocol.unfit(clip.wave):
        left_out.append(LeftOut(clip.key, None, reason))
        return mono, []
    empty = protocol.empty_above(mono, clip.source_rate)
    left_out += [LeftOut(clip.key, cutoff, reason) for cutoff, reason in empty.items()]
    return mono, [cutoff for cutoff in protocol.cutoffs_hz if cutoff not in empty]


def _trial(
    clip: ReferenceClip,
    mono: NDArray[np.float32],
    cutoffs: Sequence[float],
    protocol: Protocol,
    *,
    seed: int,
    device: torch.device,
) -> Trial:
    reference = rearrange(torch.from_numpy(mono), "t -> 1 1 t").to(device)
    low, cutoff_hz = protocol.degrade(reference, cutoffs)
    return Trial(
        name=clip.name,
        reference=reference,
        low=low,
        cutoff_hz=cutoff_hz,
        cutoff_given=protocol.cutoff_given,
        limit_hz=protocol.limit_hz(clip.source_rate),
        seeds=tuple(_draw(seed, f"{clip.key}@{hz:g}") for hz in cutoffs),
    )


def _run(trial: Trial, systems: Mapping[str, System]) -> dict[str, Tensor]:
    """Every system's outputs (B, 1, T) for a trial."""
    outputs = {}
    for name, system in systems.items():
        output = outputs[name] = system(trial)
        if output.shape != trial.low.shape:
            raise AudioSRError(
                f"system {name} returned {output.shape[-1]} samples for {trial.low.shape[-1]}"
            )
        if not output.isfinite().all():
            raise AudioSRError(f"system {name} returned NaN or infinite samples")
    return outputs


def _score(
    clip: ReferenceClip,
    trial: Trial,
    outputs: dict[str, Tensor],
    protocol: Protocol,
    metrics: Sequence[ClipMetric],
    collection: MetricCollection,
) -> list[FileFigures]:
    """The figures of one clip: all systems and cutoffs as one batch."""
    n = len(outputs)
    target = rearrange(trial.reference, "1 1 t -> 1 t")
    estimates = rearrange(torch.stack(list(outputs.values())), "s b 1 t -> (s b) t")
    found = collection(
        protocol.compared(estimates, target),
        target,
        cutoff_hz=repeat(trial.cutoff_hz, "b -> (s b)", s=n),
        low=repeat(trial.low, "b 1 t -> (s b) t", s=n),
    )
    names = [name for metric in metrics for name in metric.names]
    rows = {name: found[name].reshape(-1).tolist() for name in names}
    return [
        FileFigures(
            clip.key,
            clip.domain,
            hz,
            system,
            {name: _finite(column[s * len(trial.low) + b]) for name, column in rows.items()},
        )
        for b, hz in enumerate(trial.cutoff_hz.tolist())
        for s, system in enumerate(outputs)
    ]


def _finite(value: float) -> float | None:
    """None for a figure that a clip does not have."""
    return None if math.isnan(value) else value


def _example(
    clip: ReferenceClip, trial: Trial, outputs: dict[str, Tensor], samples: int
) -> Example:
    cutoffs = trial.cutoff_hz.tolist()

    def by_cutoff(waves: Tensor) -> dict[float, NDArray[np.float32]]:
        return dict(zip(cutoffs, waves[:, 0, :samples].cpu().numpy(), strict=True))

    return Example(
        clip.key,
        clip.domain,
        RATE,
        reference=trial.reference[0, 0, :samples].cpu().numpy(),
        inputs=by_cutoff(trial.low),
        outputs={name: by_cutoff(waves) for name, waves in outputs.items()},
    )


def _draw(seed: int, name: str) -> int:
    """A number below 2^31 that belongs to `name`, whatever comes before it in a run."""
    return int.from_bytes(hashlib.sha256(f"{seed}/{name}".encode()).digest()[:4], "big") >> 1
