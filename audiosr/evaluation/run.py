"""How does one evaluation go? `evaluate(cfg)`: build the parts, measure, write."""

import importlib.metadata
import platform
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
from hydra.utils import instantiate
from omegaconf import DictConfig

from audiosr import __version__
from audiosr.errors import AudioSRError, UsageError
from audiosr.evaluation import outputs, report, systems
from audiosr.evaluation.aggregate import aggregate
from audiosr.evaluation.benchmark import Benchmark
from audiosr.evaluation.external import write_inputs
from audiosr.evaluation.figures import read_metrics
from audiosr.evaluation.measure import Measurement, measure
from audiosr.evaluation.protocol import Protocol
from audiosr.evaluation.results import BenchmarkCard, ProtocolCard, Results
from audiosr.evaluation.rows import table_rows
from audiosr.evaluation.systems import System
from audiosr.evaluation.tables import headline_table
from audiosr.files import replaced_folder
from audiosr.metrics.clip import ClipMetric
from audiosr.progress import progress_bar
from audiosr.restore.load import torch_device


def evaluate(cfg: DictConfig) -> Results:
    """Evaluate as `conf/evaluate.yaml` says, write the evaluation folder and return its results.

    Raises:
        UsageError: contradictions in the configuration, or results in the folder that may not be
            overwritten; before any work.
        AudioSRError: no model or no clips; or, after everything has been written, the list of the
            clips that failed.
    """
    folder = Path(cfg.out)
    outputs.check_free(folder, overwrite=cfg.overwrite)
    runs = [Path(path) for path in cfg.runs]
    for path in runs:
        read_metrics(path)
    if cfg.threads is not None:
        torch.set_num_threads(cfg.threads)
    device = torch_device(cfg.device)
    protocol: Protocol = instantiate_plainly(cfg.protocol)
    metrics = build_metrics(cfg.metrics, protocol.headline)
    benchmark: Benchmark = instantiate_plainly(cfg.benchmark)
    # A folder may hold another model than at the last call of this process.
    systems.load_model.cache_clear()
    chosen: dict[str, System] = {
        name: instantiate_plainly(node, **settings)
        for name, (node, settings) in table_rows(cfg).items()
    }

    with progress_bar("evaluating", len(benchmark)) as advance:
        measurement = measure(
            benchmark,
            chosen,
            protocol,
            metrics,
            seed=cfg.seed,
            device=device,
            examples=cfg.report.clips,
            example_seconds=cfg.report.seconds,
            progress=lambda: advance(1),
        )
    results = compose(
        measurement, benchmark, chosen, protocol, metrics, seed=cfg.seed, device=device
    )
    with replaced_folder(folder) as building:
        outputs.write_results(building, results)
        report.write_report(
            building, results, measurement.examples, runs=runs, seconds=cfg.report.seconds
        )
    if results.aggregates:
        print(headline_table(results).markdown())
    if results.left_out:
        listed = "\n  ".join(f"{clip.key}: {clip.reason}" for clip in results.left_out)
        print(f"left out of the means:\n  {listed}")
    print(f"report {folder / report.REPORT}", flush=True)
    if results.failures:
        listed = "\n  ".join(f"{clip.key}: {clip.reason}" for clip in results.failures)
        raise AudioSRError(f"{len(results.failures)} clips of {benchmark.root} failed:\n  {listed}")
    return results


def prepare_inputs(cfg: DictConfig) -> None:
    """Write what systems would get as float WAV files to `inputs`, for tools that run elsewhere.

    Raises:
        UsageError: contradictions in the configuration, or a folder with something in it.
        AudioSRError: no clips; or, when the others have been written, those that cannot be read.
    """
    folder = Path(cfg.inputs)
    if folder.exists() and any(folder.iterdir()) and not cfg.overwrite:
        raise UsageError(f"{folder} holds something: name another folder or add overwrite=true")
    benchmark: Benchmark = instantiate_plainly(cfg.benchmark)
    protocol: Protocol = instantiate_plainly(cfg.protocol)
    with progress_bar("writing", len(benchmark)) as advance:
        failures = write_inputs(benchmark, protocol, folder, progress=lambda: advance(1))
    print(
        f"inputs in {folder}: let a tool write its outputs under the same names to another folder, "
        "then evaluate with outputs={NAME: FOLDER}",
        flush=True,
    )
    if failures:
        listed = "\n  ".join(f"{clip.key}: {clip.reason}" for clip in failures)
        raise AudioSRError(f"{len(failures)} clips of {benchmark.root} failed:\n  {listed}")


def instantiate_plainly(node: DictConfig | Mapping[str, Any], **settings: Any) -> Any:
    """The object that `node` describes; errors come from it as they are, not wrapped by Hydra."""
    make: Callable[[], Any] = instantiate(node, _partial_=True, _convert_="all", **settings)
    return make()


def build_metrics(nodes: DictConfig, headline: str) -> list[ClipMetric]:
    """The metrics that a configuration lists.

    Raises:
        UsageError: the headline is none of them.
    """
    metrics: list[ClipMetric] = [
        instantiate_plainly(node, per_clip=True) for node in nodes.values()
    ]
    names = [name for metric in metrics for name in metric.names]
    if headline not in names:
        raise UsageError(f"no metric {headline} to head the table: choose from {', '.join(names)}")
    return metrics


def compose(
    measurement: Measurement,
    benchmark: Benchmark,
    chosen: Mapping[str, System],
    protocol: Protocol,
    metrics: Sequence[ClipMetric],
    *,
    seed: int,
    device: torch.device,
) -> Results:
    """The content of `results.json`."""
    card = ProtocolCard(
        benchmark=BenchmarkCard(
            benchmark.name, str(benchmark.root), tuple(measurement.clips), benchmark.card()
        ),
        metrics={name: text for metric in metrics for name, text in metric.describe().items()},
        systems={name: system.card() for name, system in chosen.items()},
        **protocol.card(),
    )
    packages = ("torch", "numpy", "scipy", "soxr", "torchmetrics")
    return Results(
        protocol=card,
        versions={
            "audiosr": __version__,
            "python": platform.python_version(),
            **{name: importlib.metadata.version(name) for name in packages},
            "device": torch.cuda.get_device_name(device) if device.type == "cuda" else device.type,
        },
        seed=seed,
        files=tuple(measurement.files),
        aggregates=aggregate(
            measurement.files,
            confidence=protocol.confidence,
            resamples=protocol.resamples,
            seed=seed,
        ),
        failures=tuple(measurement.failures),
        left_out=tuple(measurement.left_out),
    )
