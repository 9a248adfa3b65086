"""How are systems run over a benchmark and turned into figures?"""

import hashlib
import math
from collections.abc import Iterable, Iterator, Mapping, Sequence

import torch
import torch.nn.functional as F
from einops import rearrange, repeat
from torch import Tensor
from torchmetrics import MetricCollection

from audiosr.audio.io import RATE
from audiosr.errors import AudioSRError
from audiosr.evaluation.clips import ReferenceClip
from audiosr.evaluation.protocol import Protocol
from audiosr.evaluation.results import (
    Change,
    ClipFacts,
    Failure,
    FileFigures,
    LeftOut,
    Measured,
)
from audiosr.evaluation.sets import embed_clip
from audiosr.evaluation.systems import LONGEST_EXCESS, FittedOutputs, System, Trial
from audiosr.metrics.clip import ClipMetric
from audiosr.metrics.frechet import FrechetDistance

LENGTH_FIGURE = "length_difference_s"
"""Name of the figure of an output's length, which is taken before it is fitted to its input."""


@torch.inference_mode()
def measure(
    clips: Iterable[tuple[int, ReferenceClip | Failure]],
    systems: Mapping[str, System],
    protocol: Protocol,
    metrics: Sequence[ClipMetric],
    sets: Sequence[FrechetDistance] = (),
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
        sets: distances between sets of clips, for which each is embedded.
        seed: rules the systems' random draws, by clip, not by order.
        device: where systems and metrics run.
    """
    collection = MetricCollection(
        {",".join(metric.names): metric for metric in metrics}, compute_groups=False
    ).to(device)
    for index, clip in clips:
        left_out: list[LeftOut] = []
        name = "" if isinstance(clip, Failure) else clip.name
        try:
            if isinstance(clip, Failure):
                raise AudioSRError(clip.reason)
            trial = make_trial(clip, protocol, left_out, seed=seed, device=device)
            outputs = run_systems(trial, systems) if trial else {}
        except AudioSRError as error:
            yield Measured(index, name=name, failures=(Failure(clip.key, str(error)),))
            continue
        if trial is None:
            yield Measured(index, name=name, left_out=tuple(left_out))
            continue
        seconds = trial.reference.shape[-1] / RATE
        target = rearrange(trial.reference, "1 1 t -> 1 t")
        heard = {
            system: protocol.compared(output.waves[:, 0], target)[:, None]
            for system, output in outputs.items()
        }
        cutoffs = trial.cutoff_hz.tolist()
        yield Measured(
            index,
            name=name,
            files=tuple(_score(clip, trial, heard, outputs, metrics, collection)),
            clips=(ClipFacts(clip.key, clip.domain, seconds, clip.source_rate),),
            left_out=tuple(left_out),
            changes=tuple(
                Change(system, hz, text)
                for system, output in outputs.items()
                for hz, text in zip(cutoffs, output.changes, strict=True)
                if text
            ),
            embedded=embed_clip(sets, trial.reference, heard, cutoffs),
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


def run_systems(trial: Trial, systems: Mapping[str, System]) -> dict[str, FittedOutputs]:
    """Every system's outputs for a trial, as long as their inputs.

    Raises:
        AudioSRError: a system fails, returns NaN, or a length that is far from the input's.
    """
    outputs = {}
    for name, system in systems.items():
        found = system(trial)
        output = found if isinstance(found, FittedOutputs) else _fit_length(found, trial.low, name)
        if not output.waves.isfinite().all():
            raise AudioSRError(f"system {name} returned NaN or infinite samples")
        outputs[name] = output
    return outputs


def _fit_length(found: Tensor, low: Tensor, name: str) -> FittedOutputs:
    excess = found.shape[-1] - low.shape[-1]
    if found.shape[:-1] != low.shape[:-1] or abs(excess) > LONGEST_EXCESS:
        raise AudioSRError(
            f"system {name} returned {tuple(found.shape)} for inputs {tuple(low.shape)}"
        )
    text = f"{abs(excess)} samples {'longer' if excess > 0 else 'shorter'}" if excess else ""
    return FittedOutputs(F.pad(found, (0, -excess)), (text,) * len(low), (excess,) * len(low))


def _score(
    clip: ReferenceClip,
    trial: Trial,
    heard: dict[str, Tensor],
    outputs: dict[str, FittedOutputs],
    metrics: Sequence[ClipMetric],
    collection: MetricCollection,
) -> list[FileFigures]:
    """The figures of one clip: what is heard of all systems at all cutoffs as one batch."""
    n = len(heard)
    found = collection(
        rearrange(torch.stack(list(heard.values())), "s b 1 t -> (s b) t"),
        rearrange(trial.reference, "1 1 t -> 1 t"),
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
            {name: _finite(column[s * len(trial.low) + b]) for name, column in rows.items()}
            | {LENGTH_FIGURE: abs(outputs[system].excess[b]) / RATE},
        )
        for b, hz in enumerate(trial.cutoff_hz.tolist())
        for s, system in enumerate(heard)
    ]


def _finite(value: float) -> float | None:
    """None for a figure that a clip does not have."""
    return None if math.isnan(value) else value


def _draw(seed: int, name: str) -> int:
    """A number below 2^31 that belongs to `name`, whatever comes before it in a run."""
    return int.from_bytes(hashlib.sha256(f"{seed}/{name}".encode()).digest()[:4], "big") >> 1
