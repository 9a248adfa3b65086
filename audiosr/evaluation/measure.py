"""How are systems run over a benchmark and turned into figures?"""

import hashlib
import math
from collections.abc import Iterable, Iterator, Mapping, Sequence

import torch
from einops import rearrange, repeat
from torch import Tensor
from torchmetrics import MetricCollection

from audiosr.audio.io import RATE
from audiosr.errors import AudioSRError
from audiosr.evaluation.benchmark import ReferenceClip
from audiosr.evaluation.protocol import Protocol
from audiosr.evaluation.results import ClipFacts, Failure, FileFigures, LeftOut, Measured
from audiosr.evaluation.systems import System, Trial
from audiosr.metrics.clip import ClipMetric


@torch.inference_mode()
def measure(
    clips: Iterable[tuple[int, ReferenceClip | Failure]],
    systems: Mapping[str, System],
    protocol: Protocol,
    metrics: Sequence[ClipMetric],
    *,
    seed: int,
    device: torch.device,
) -> Iterator[Measured]:
    """Run every system on every clip at every cutoff, clip by clip.

    A clip at all cutoffs is one batch, and nothing depends on the clips beside it. A clip that
    cannot be read, or on which a system fails, counts for no system, so that means are over the
    same files. A clip that nothing can be judged by is left out, and so is a cutoff above which it
    holds nothing.

    Args:
        clips: the references, each with its number in the benchmark.
        systems: name -> system, in the order of the tables.
        protocol: the conditions.
        metrics: what is computed, per clip, in the order of the tables.
        seed: rules the systems' random draws, by clip, not by order.
        device: where systems and metrics run.
    """
    collection = MetricCollection(
        {",".join(metric.names): metric for metric in metrics}, compute_groups=False
    ).to(device)
    for index, clip in clips:
        left_out: list[LeftOut] = []
        try:
            if isinstance(clip, Failure):
                raise AudioSRError(clip.reason)
            trial = make_trial(clip, protocol, left_out, seed=seed, device=device)
            outputs = run_systems(trial, systems) if trial else {}
        except AudioSRError as error:
            yield Measured(index, failures=(Failure(clip.key, str(error)),))
            continue
        if trial is None:
            yield Measured(index, left_out=tuple(left_out))
            continue
        seconds = trial.reference.shape[-1] / RATE
        yield Measured(
            index,
            files=tuple(_score(clip, trial, outputs, protocol, metrics, collection)),
            clips=(ClipFacts(clip.key, clip.domain, seconds, clip.source_rate),),
            left_out=tuple(left_out),
        )


def make_trial(
    clip: ReferenceClip,
    protocol: Protocol,
    left_out: list[LeftOut],
    *,
    seed: int,
    device: torch.device,
) -> Trial | None:
    """The clip at the cutoffs at which it can be judged; the others are noted in `left_out`."""
    mono = protocol.mono(clip.wave)
    if reason := protocol.unfit(clip.wave):
        left_out.append(LeftOut(clip.key, None, reason))
        return None
    empty = protocol.empty_above(mono, clip.source_rate)
    left_out += [LeftOut(clip.key, cutoff, reason) for cutoff, reason in empty.items()]
    cutoffs = [cutoff for cutoff in protocol.cutoffs_hz if cutoff not in empty]
    if not cutoffs:
        return None
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


def run_systems(trial: Trial, systems: Mapping[str, System]) -> dict[str, Tensor]:
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


def _draw(seed: int, name: str) -> int:
    """A number below 2^31 that belongs to `name`, whatever comes before it in a run."""
    return int.from_bytes(hashlib.sha256(f"{seed}/{name}".encode()).digest()[:4], "big") >> 1
