"""Which clips are shown and heard, and what did the systems make of them?"""

from collections.abc import Iterable, Mapping, Sequence

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from audiosr.audio.io import RATE
from audiosr.evaluation.clips import ReferenceClip
from audiosr.evaluation.measure import make_trial, run_systems
from audiosr.evaluation.protocol import Protocol
from audiosr.evaluation.results import Example, Failure, Measured, primary
from audiosr.evaluation.systems import FittedOutputs, System, Trial
from audiosr.evaluation.tables import HIGHER


def choose_examples(
    found: Sequence[Measured], systems: Sequence[str], headline: str, count: int
) -> dict[int, str]:
    """Clips from the best to the worst by a system's headline figure, in equal steps.

    Three are the best, the median and the worst; a single one is the median.

    Args:
        found: the clips.
        systems: names; the first that restores is the one that is judged by.
        headline: name of the figure, of which the mean over a clip's cutoffs counts.
        count: how many.

    Returns:
        Number in the benchmark -> place, from the best on.
    """
    judged = primary(systems) or next(iter(systems), None)
    scores: dict[int, float] = {}
    for clip in found:
        figures = [f.metrics[headline] for f in clip.files if f.system == judged]
        if known := [value for value in figures if value is not None]:
            scores[clip.index] = sum(known) / len(known)
    ranked = sorted(scores, key=lambda index: (scores[index], index), reverse=headline in HIGHER)
    last = len(ranked) - 1
    places = np.linspace(0, last, count) if count > 1 else np.array([last / 2] * count)
    names = {last: "worst", last // 2: "median", 0: "best"}
    chosen = dict.fromkeys(int(place) for place in places) if ranked else {}
    return {ranked[i]: names.get(i, f"number {i + 1} of {len(ranked)}") for i in chosen}


@torch.inference_mode()
def make_examples(
    clips: Iterable[tuple[str, ReferenceClip | Failure]],
    systems: Mapping[str, System],
    protocol: Protocol,
    *,
    seed: int,
    device: torch.device,
    seconds: float,
) -> list[Example]:
    """Run the systems once more on chosen clips, which gives what was measured, to be heard.

    Clips come with their place; `seed` is that of the measurement, and `seconds` of each are kept.
    """
    examples = []
    for place, clip in clips:
        if isinstance(clip, Failure):
            continue
        if trial := make_trial(clip, protocol, [], seed=seed, device=device):
            outputs = run_systems(trial, systems)
            samples = round(seconds * RATE)
            examples.append(_example(clip, trial, outputs, samples=samples, place=place))
    return examples


def _example(
    clip: ReferenceClip,
    trial: Trial,
    outputs: dict[str, FittedOutputs],
    *,
    samples: int,
    place: str,
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
        outputs={name: by_cutoff(output.waves) for name, output in outputs.items()},
        place=place,
    )
