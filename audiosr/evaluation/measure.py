"""How are systems run over a benchmark and turned into figures?"""

import hashlib
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

import torch
from einops import rearrange, repeat
from torch import Tensor

from audiosr.audio.io import RATE
from audiosr.errors import AudioSRError
from audiosr.evaluation.benchmark import Benchmark, Failure, ReferenceClip
from audiosr.evaluation.protocol import PRESETS, Protocol
from audiosr.evaluation.report import Example
from audiosr.evaluation.systems import System, Trial
from audiosr.evaluation.tables import primary
from audiosr.metrics.lsd import log_spectral_distance
from audiosr.metrics.snr import snr_below_cutoff_db

SNR_CEILING_DB = 120.0
"""What equal signals count: float32 samples resolve no more, and JSON has no infinity."""


@dataclass
class Measurement:
    """What came out of a benchmark, in the shapes of `results.json`."""

    files: list[dict[str, Any]] = field(default_factory=list)
    failures: list[dict[str, str]] = field(default_factory=list)
    clips: list[dict[str, Any]] = field(default_factory=list)
    examples: list[Example] = field(default_factory=list)


@torch.inference_mode()
def measure(
    benchmark: Benchmark,
    systems: Mapping[str, System],
    protocol: Protocol,
    *,
    seed: int,
    device: torch.device,
    examples: int = 3,
    progress: Callable[[], None] = lambda: None,
) -> Measurement:
    """Run every system on every clip at every cutoff.

    A clip at all cutoffs is one batch. A clip that cannot be read, or on which a system fails,
    counts for no system, so that means are over the same files.

    Args:
        benchmark: the references.
        systems: name -> system, in the order of the tables.
        protocol: the conditions.
        seed: rules the systems' random draws (by clip, not by order) and the choice of examples.
        device: where filters, systems and metrics run.
        examples: how many clips to keep for the report; spread over the domains.
        progress: called after each clip.
    """
    result = Measurement()
    kept: dict[str, list[tuple[int, Example]]] = {}
    for clip in benchmark:
        try:
            if isinstance(clip, Failure):
                raise AudioSRError(clip.reason)
            trial, outputs = _run(clip, systems, protocol, seed=seed, device=device)
        except AudioSRError as error:
            result.failures.append({"key": clip.key, "reason": str(error)})
        else:
            result.clips.append(
                {
                    "key": clip.key,
                    "domain": clip.domain,
                    "seconds": len(clip.wave) / RATE,
                    "source_rate": clip.source_rate,
                }
            )
            result.files += _score(clip, trial, outputs)
            drawn = kept.setdefault(clip.domain, [])
            drawn.append((_draw(seed, clip.key), _example(clip, trial, outputs)))
            drawn.sort(key=lambda item: item[0])
            del drawn[examples:]
        progress()
    rounds = [
        kept[domain][i] for i in range(examples) for domain in sorted(kept) if i < len(kept[domain])
    ]
    result.examples = [example for _, example in rounds[:examples]]
    return result


def _run(
    clip: ReferenceClip,
    systems: Mapping[str, System],
    protocol: Protocol,
    *,
    seed: int,
    device: torch.device,
) -> tuple[Trial, dict[str, Tensor]]:
    """The trial of a clip and every system's outputs (B, 1, T)."""
    reference = rearrange(torch.from_numpy(clip.wave), "t -> 1 1 t").to(device)
    low, cutoff_hz = protocol.degrade(reference)
    trial = Trial(
        reference=reference,
        low=low,
        cutoff_hz=cutoff_hz,
        cutoff_given=protocol.cutoff_given,
        limit_hz=protocol.limit_hz(clip.source_rate),
        seeds=tuple(_draw(seed, f"{clip.key}@{hz:g}") for hz in protocol.cutoffs_hz),
    )
    outputs = {}
    for name, system in systems.items():
        output = outputs[name] = system(trial)
        if output.shape != low.shape:
            raise AudioSRError(
                f"system {name} returned {output.shape[-1]} samples for {low.shape[-1]}"
            )
        if not output.isfinite().all():
            raise AudioSRError(f"system {name} returned NaN or infinite samples")
    return trial, outputs


def _score(clip: ReferenceClip, trial: Trial, outputs: dict[str, Tensor]) -> list[dict[str, Any]]:
    """The entries of `files` for one clip: all systems and cutoffs as one batch."""
    n = len(outputs)
    estimates = rearrange(torch.stack(list(outputs.values())), "s b 1 t -> (s b) t")
    target = trial.reference.reshape(1, -1)
    cutoff_hz = repeat(trial.cutoff_hz, "b -> (s b)", s=n)
    values = {}
    for name, preset in PRESETS.items():
        distance = log_spectral_distance(estimates, target, preset, cutoff_hz, rate=RATE)
        values |= {
            f"lsd_{name}": distance.full,
            f"lsd_hf_{name}": distance.hf,
            f"lsd_lf_{name}": distance.lf,
        }
    low = repeat(trial.low, "b 1 t -> (s b) t", s=n)
    snr = snr_below_cutoff_db(estimates, low, cutoff_hz, RATE)
    values["snr_below_cutoff_db"] = snr.clamp(-SNR_CEILING_DB, SNR_CEILING_DB)
    rows = {name: column.tolist() for name, column in values.items()}
    return [
        {
            "key": clip.key,
            "domain": clip.domain,
            "cutoff_hz": hz,
            "system": system,
            "metrics": {name: column[s * len(trial.low) + b] for name, column in rows.items()},
        }
        for b, hz in enumerate(trial.cutoff_hz.tolist())
        for s, system in enumerate(outputs)
    ]


def _example(clip: ReferenceClip, trial: Trial, outputs: dict[str, Tensor]) -> Example:
    cutoffs = trial.cutoff_hz.tolist()
    main = primary(outputs)
    restored = outputs[main] if main else trial.low[:0]
    return Example(
        clip.key,
        clip.domain,
        RATE,
        reference=clip.wave,
        inputs=dict(zip(cutoffs, trial.low[:, 0].cpu().numpy(), strict=True)),
        restored=dict(zip(cutoffs, restored[:, 0].cpu().numpy(), strict=False)),
    )


def _draw(seed: int, name: str) -> int:
    """A number below 2^31 that belongs to `name`, whatever comes before it in a run."""
    return int.from_bytes(hashlib.sha256(f"{seed}/{name}".encode()).digest()[:4], "big") >> 1
