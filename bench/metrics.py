"""What do metrics cost: beside numpy and librosa, and beside the audio that they judge?

The first table compares the LSD of ssr_eval with its own arithmetic on librosa's STFT (float32), as
an evaluation meets it, nine outputs of one reference, and of a single pair. The second gives every
metric in processor time per second of one output. With `--size` an untrained model of that size
restores a clip in every round, and the metrics of one output are set beside it. Run:

    python -m bench.metrics
    python -m bench.metrics --size base --rounds 3
"""

import math
from collections.abc import Callable
from dataclasses import replace
from statistics import median

import librosa
import numpy as np
import torch
from torchmetrics import MetricCollection

from audiosr.entry import compose_config
from audiosr.evaluation.run import build_metrics
from audiosr.metrics.clip import ClipMetric
from audiosr.metrics.lsd import log_spectral_distance, ssr_eval
from audiosr.model import PARTS, FillSettings, Model
from audiosr.networks.build import build_network
from audiosr.restore.restorer import Restorer
from audiosr.restore.settings import load_profile
from bench.timing import interleaved, options, ratio, set_threads

OUTPUTS = 9
SECONDS = 5.12
RATE = 48_000
RESTORED = "restored"


def numpy_lsd(estimates: np.ndarray, target: np.ndarray) -> list[float]:
    """LSD of `estimates (B, T)` to `target (T,)` as ssr_eval computes it, pair by pair."""
    n_fft, hop = ssr_eval.frame(RATE)
    distances = []
    for estimate in estimates:
        found, wanted = (
            np.abs(librosa.stft(wave, n_fft=n_fft, hop_length=hop)).T for wave in (estimate, target)
        )
        decades = np.log10(wanted**2 / (found + 1e-12) ** 2 + 1e-12)
        distances.append(float(np.mean(np.sqrt(np.mean(decades**2, axis=-1)))))
    return distances


def restoration(size: str) -> Callable[[], object]:
    """A restoration of `SECONDS` as `infer.py` does it, with random weights of a size."""
    networks = compose_config("train", ["stage=ldm", f"size={size}"]).size
    model = Model(**{part: build_network(networks[part]).eval() for part in PARTS})
    restorer = Restorer(model, settings=replace(load_profile(), cutoff_hz=4000.0))
    low = 0.1 * torch.randn(1, round(SECONDS * RATE), generator=torch.Generator().manual_seed(0))
    return lambda: restorer.restore(low, RATE)


@torch.inference_mode()
def main() -> None:
    """Time both sides and every metric."""
    parser = options(__doc__)
    parser.add_argument("--size", help="also set beside a restoration by a model of it: base")
    arguments = parser.parse_args()
    set_threads(arguments.threads)
    rng = np.random.default_rng(0)
    samples = round(SECONDS * RATE)
    waves = (0.1 * rng.standard_normal((OUTPUTS + 1, samples))).astype(np.float32)
    target, estimates = waves[0], waves[1:]
    outputs, reference = torch.from_numpy(estimates), torch.from_numpy(target)[None]

    print(f"LSD ssr_eval of outputs of {SECONDS} s to one reference\n")
    print("| outputs | numpy and librosa, s | ours, s | ratio | difference |")
    print("| --- | --- | --- | --- | --- |")
    for count in (OUTPUTS, 1):
        found = [numpy_lsd(estimates[:count], target)]
        found += [log_spectral_distance(outputs[:count], reference, ssr_eval).full.tolist()]
        works: dict[str, Callable[[], object]] = {
            "numpy": lambda count=count: numpy_lsd(estimates[:count], target),
            "ours": lambda count=count: log_spectral_distance(outputs[:count], reference, ssr_eval),
        }
        seconds = interleaved(works, arguments.rounds)
        cells = [str(count), *(f"{median(seconds[name]):.3f}" for name in works)]
        cells += [ratio(seconds["numpy"], seconds["ours"])]
        print(f"| {' | '.join(cells)} | {np.abs(np.subtract(found[0], found[1])).max():.1e} |")

    cfg = compose_config("evaluate", ["metrics=full", "system=unprocessed"])
    metrics, sets = build_metrics(cfg.metrics, "lsd_nuwave2")
    cutoff_hz = torch.full((OUTPUTS,), 4000.0)

    def judge(metric: ClipMetric) -> Callable[[], object]:
        one = MetricCollection([metric], compute_groups=False)
        return lambda: one(outputs, reference, cutoff_hz=cutoff_hz, low=outputs)

    works = {metric.names[0]: judge(metric) for metric in metrics}
    works |= {each.name: lambda each=each: each.embed(outputs[:, None]) for each in sets}
    if arguments.size:
        works[RESTORED] = restoration(arguments.size)
    times = interleaved(works, arguments.rounds)
    restored = times.pop(RESTORED, None)
    times = {name: [taken / OUTPUTS for taken in all_] for name, all_ in times.items()}
    print("\n| metric | time per second of one output, s |")
    print("| --- | --- |")
    for name, taken in times.items():
        print(f"| {name} | {median(taken) / SECONDS:.4f} |")
    whole = [math.fsum(taken) for taken in zip(*times.values(), strict=True)]
    standard = [every - one for every, one in zip(whole, times["visqol"], strict=True)]
    print(f"| all but visqol | {median(standard) / SECONDS:.4f} |")
    if restored:
        did = f"size {arguments.size} restores {SECONDS} s with {FillSettings().steps} steps"
        print(f"\n{did} in {median(restored):.1f} s; per cent of that time for one output:")
        for name, taken in {"standard": standard, "full": whole}.items():
            print(f"metrics={name}: {ratio([100 * each for each in taken], restored)}")


if __name__ == "__main__":
    main()
