"""How does one evaluation go? `evaluate(cfg)`: build the parts, measure, write."""

import importlib.metadata
import platform
from collections.abc import Callable, Mapping
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
from audiosr.evaluation.figures import read_metrics
from audiosr.evaluation.measure import Measurement, measure
from audiosr.evaluation.protocol import Protocol
from audiosr.evaluation.systems import System
from audiosr.evaluation.tables import headline_table
from audiosr.files import replaced_folder
from audiosr.progress import progress_bar
from audiosr.restore.load import torch_device

RESULTS_SCHEMA = 1
"""Version of the layout of `results.json`."""


def evaluate(cfg: DictConfig) -> dict[str, Any]:
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
    protocol: Protocol = build_node(cfg.protocol)
    benchmark: Benchmark = build_node(cfg.benchmark)
    # A folder may hold another model than at the last call of this process.
    systems.load_model.cache_clear()
    chosen: dict[str, System] = {str(name): build_node(node) for name, node in cfg.system.items()}
    if not chosen:
        raise UsageError("no systems to evaluate: give system=[unprocessed,model]")

    measurement = measure_with_bar(
        benchmark, chosen, protocol, seed=cfg.seed, device=device, examples=cfg.report.clips
    )
    results = compose(measurement, benchmark, chosen, protocol, seed=cfg.seed, device=device)
    with replaced_folder(folder) as building:
        outputs.write_results(building, results)
        report.write_report(
            building, results, measurement.examples, runs=runs, seconds=cfg.report.seconds
        )
    if results["aggregates"]:
        print(headline_table(results).markdown())
    print(f"report {folder / report.REPORT}", flush=True)
    if failures := measurement.failures:
        listed = "\n  ".join(f"{f['key']}: {f['reason']}" for f in failures)
        raise AudioSRError(f"{len(failures)} clips of {benchmark.root} failed:\n  {listed}")
    return results


def build_node(node: DictConfig) -> Any:
    """The object that `node` describes; errors come from it as they are, not wrapped by Hydra."""
    make: Callable[[], Any] = instantiate(node, _partial_=True, _convert_="all")
    return make()


def measure_with_bar(
    benchmark: Benchmark,
    chosen: Mapping[str, System],
    protocol: Protocol,
    *,
    seed: int,
    device: torch.device,
    examples: int,
) -> Measurement:
    """`measure` with a progress bar on a terminal."""
    with progress_bar("evaluating", len(benchmark)) as advance:
        return measure(
            benchmark,
            chosen,
            protocol,
            seed=seed,
            device=device,
            examples=examples,
            progress=lambda: advance(1),
        )


def compose(
    measurement: Measurement,
    benchmark: Benchmark,
    chosen: Mapping[str, System],
    protocol: Protocol,
    *,
    seed: int,
    device: torch.device,
) -> dict[str, Any]:
    """The content of `results.json`."""
    return {
        "schema": RESULTS_SCHEMA,
        "protocol": {
            "benchmark": {
                "name": benchmark.name,
                "root": str(benchmark.root),
                "clips": measurement.clips,
            },
            **protocol.card(),
            "systems": {name: system.card() for name, system in chosen.items()},
        },
        "versions": {
            "audiosr": __version__,
            "python": platform.python_version(),
            **{
                name: importlib.metadata.version(name)
                for name in ("torch", "numpy", "scipy", "soxr")
            },
            "device": torch.cuda.get_device_name(device) if device.type == "cuda" else device.type,
        },
        "seed": seed,
        "files": measurement.files,
        "aggregates": aggregate(
            measurement.files,
            confidence=protocol.confidence,
            resamples=protocol.resamples,
            seed=seed,
        ),
        "failures": measurement.failures,
    }
