"""What do metrics cost: beside numpy and librosa, and beside the audio that they judge?

The first table compares the LSD of ssr_eval with its own arithmetic on librosa's STFT (float32), as
an evaluation meets it, nine outputs of one reference, and of a single pair. The second gives every
metric in processor time per second of one output. Run:

    python -m bench.metrics
"""

from collections.abc import Callable
from statistics import median

import librosa
import numpy as np
import torch
from torchmetrics import MetricCollection

from audiosr.entry import compose_config
from audiosr.evaluation.run import build_metrics
from audiosr.metrics.clip import ClipMetric
from audiosr.metrics.lsd import log_spectral_distance, ssr_eval
from bench.timing import interleaved, options, ratio, set_threads

OUTPUTS = 9
SECONDS = 5.12
RATE = 48_000


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


def main() -> None:
    """Time both sides and every metric."""
    arguments = options(__doc__).parse_args()
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
    metrics, _ = build_metrics(cfg.metrics, "lsd_nuwave2")
    cutoff_hz = torch.full((OUTPUTS,), 4000.0)

    def judge(metric: ClipMetric) -> Callable[[], object]:
        one = MetricCollection([metric], compute_groups=False)
        return lambda: one(outputs, reference, cutoff_hz=cutoff_hz, low=outputs)

    judged = {metric.names[0]: judge(metric) for metric in metrics}
    times = interleaved(judged, arguments.rounds)
    print("\n| metric | time per second of one output, s |")
    print("| --- | --- |")
    for name, taken in times.items():
        print(f"| {name} | {median(taken) / OUTPUTS / SECONDS:.4f} |")
    without = sum(median(taken) for name, taken in times.items() if name != "visqol")
    print(f"| all but visqol | {without / OUTPUTS / SECONDS:.4f} |")


if __name__ == "__main__":
    main()
