"""How does one evaluation go? `evaluate(cfg)`: build the parts, measure, write."""

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import torch
from hydra.utils import instantiate
from omegaconf import DictConfig, OmegaConf

from audiosr.errors import AudioSRError, UsageError
from audiosr.evaluation import outputs, report, systems
from audiosr.evaluation.benchmark import Benchmark
from audiosr.evaluation.examples import choose_examples, make_examples
from audiosr.evaluation.external import write_inputs
from audiosr.evaluation.figures import read_metrics
from audiosr.evaluation.journal import ClipJournal, measure_rest, stamp_configuration
from audiosr.evaluation.measure import measure
from audiosr.evaluation.processes import Processes, joined_processes
from audiosr.evaluation.protocol import Protocol
from audiosr.evaluation.results import Failure, Measured, Results, sees_reference
from audiosr.evaluation.rows import table_rows
from audiosr.evaluation.studies import Study, study_table
from audiosr.evaluation.study_report import write_studies
from audiosr.evaluation.summary import EvaluationParts, sum_up, versions
from audiosr.evaluation.systems import System
from audiosr.evaluation.tables import describe_changes, describe_losses, headline_table
from audiosr.files import check_folder, replaced_folder
from audiosr.metrics.clip import ClipMetric
from audiosr.metrics.frechet import FrechetDistance
from audiosr.progress import progress_bar
from audiosr.restore.load import torch_device

_NO_MATTER = {"out", "overwrite", "runs", "report", "paths", "study", "logger"}
"""Keys of the configuration that decide no figure."""


def evaluate(cfg: DictConfig) -> Results:
    """Evaluate as `conf/evaluate.yaml` says, write the evaluation folder and return its results.

    Processes that were started together share the clips; the first of them writes what all
    return. What an interrupted evaluation of the same configuration has finished is taken over.

    Raises:
        UsageError: contradictions in the configuration, or results in the folder that may not be
            overwritten; before any work.
        AudioSRError: no model or no clips; another process has ended; or, after everything has
            been written, the list of the clips that failed.
    """
    folder = _prepare(cfg)
    runs = [Path(path) for path in cfg.runs]
    for path in runs:
        read_metrics(path)
    with joined_processes() as processes:
        parts = _build(cfg)
        found = _measure_parts(cfg, parts, processes)
    results = sum_up(found, parts)
    if processes.rank:
        return results
    shown = choose_examples(found, list(parts.systems), parts.protocol.headline, cfg.report.clips)
    examples = make_examples(
        ((place, parts.benchmark.entries[index].read()) for index, place in shown.items()),
        parts.systems,
        parts.protocol,
        seed=parts.seed,
        device=parts.device,
        seconds=cfg.report.seconds,
    )
    with replaced_folder(folder) as building:
        outputs.write_results(building, results)
        report.write_report(building, results, examples, runs=runs, seconds=cfg.report.seconds)
    ClipJournal(folder, "").remove()
    _track(cfg, {"": results})
    _say(results, folder)
    return results


def evaluate_studies(cfg: DictConfig) -> list[Study]:
    """Evaluate every variant of the studies in `cfg.study` and write one report.

    Systems that see the reference are left out. Processes and interruptions as in `evaluate`.

    Raises:
        AudioSRError: as `evaluate`; the failures of every variant.
    """
    folder = _prepare(cfg)
    with joined_processes() as processes:
        studies = _measure_studies(cfg, processes)
    if not processes.rank:
        with replaced_folder(folder) as building:
            write_studies(building, studies)
        ClipJournal(folder, "").remove()
        _track(
            cfg, {f"{s.name}/{name}/": found for s in studies for name, found in s.variants.items()}
        )
        for study in studies:
            print(study_table(study).markdown())
        print(f"report {folder / report.REPORT}", flush=True)
        _refuse_failures(
            {
                f"{s.name}, {variant}: {clip.key}": clip
                for s in studies
                for variant, results in s.variants.items()
                for clip in results.failures
            },
            "the studies",
        )
    return studies


def _measure_studies(cfg: DictConfig, processes: Processes) -> list[Study]:
    studies = []
    base = cfg.copy()
    # A variant may put an object with other settings in the place of one.
    OmegaConf.set_struct(base, False)
    for name, study in cfg.study.items():
        variants: dict[str, Results] = {}
        for variant, changes in study.variants.items():
            changed = OmegaConf.merge(base, changes)
            assert isinstance(changed, DictConfig)
            parts = _build(changed)
            if not processes.rank:
                print(f"study {name}: {variant}", flush=True)
            variants[str(variant)] = sum_up(_measure_parts(changed, parts, processes), parts)
        studies.append(Study(str(name), study.question, variants))
    return studies


def _prepare(cfg: DictConfig) -> Path:
    """The folder of the results, which is free to be written."""
    folder = Path(cfg.out)
    outputs.check_free(folder, overwrite=cfg.overwrite)
    if cfg.logger and list(cfg.logger) != ["wandb"]:
        raise UsageError("an evaluation's tables go to files and, with logger=wandb, to W&B alone")
    if cfg.threads is not None:
        torch.set_num_threads(cfg.threads)
    return folder


def _build(cfg: DictConfig) -> EvaluationParts:
    """Everything that `cfg` describes; `UsageError` for what contradicts itself."""
    device = torch_device(cfg.device)
    protocol: Protocol = instantiate_plainly(cfg.protocol)
    metrics, sets = build_metrics(cfg.metrics, protocol.headline)
    benchmark: Benchmark = instantiate_plainly(cfg.benchmark)
    # A folder may hold another model than at the last call of this process.
    systems.load_model.cache_clear()
    chosen: dict[str, System] = {
        name: instantiate_plainly(node, **settings)
        for name, (node, settings) in table_rows(cfg).items()
        if not (cfg.study and sees_reference(name))
    }
    return EvaluationParts(benchmark, chosen, protocol, metrics, sets, cfg.seed, device)


def _measure_parts(cfg: DictConfig, parts: EvaluationParts, processes: Processes) -> list[Measured]:
    return measure_rest(
        processes,
        ClipJournal(Path(cfg.out), _fingerprint(cfg, parts.benchmark)),
        len(parts.benchmark),
        lambda left: measure(
            ((index, parts.benchmark.entries[index].read()) for index in left),
            parts.systems,
            parts.protocol,
            parts.metrics,
            parts.sets,
            seed=parts.seed,
            device=parts.device,
        ),
    )


def _fingerprint(cfg: DictConfig, benchmark: Benchmark) -> str:
    """Of all that decides a figure: configuration, list of clips, versions, the systems' files."""
    plain = OmegaConf.to_container(cfg, resolve=True)
    assert isinstance(plain, dict)
    values = {str(key): value for key, value in plain.items() if key not in _NO_MATTER}
    made = {"clips": benchmark.card(), "versions": versions()}
    named = {key: values[key] for key in ("system", "model", "models", "outputs", "yardsticks")}
    return stamp_configuration({**values, **made}, named)


def _track(cfg: DictConfig, found: Mapping[str, Results]) -> None:
    """Hand results by their prefix to the logger, if one is chosen."""
    if cfg.logger:
        from audiosr.evaluation.tracking import log_results

        log_results(instantiate_plainly(cfg.logger.wandb), found)


def _say(results: Results, folder: Path) -> None:
    """Print table, report and what is missing; `AudioSRError` if clips failed."""
    if results.aggregates:
        print(headline_table(results).markdown())
    for sentence in (*describe_losses(results), *describe_changes(results)):
        print(sentence)
    if results.left_out:
        listed = "\n  ".join(f"{clip.key}: {clip.reason}" for clip in results.left_out)
        print(f"left out of the means:\n  {listed}")
    print(f"report {folder / report.REPORT}", flush=True)
    _refuse_failures({clip.key: clip for clip in results.failures}, results.protocol.benchmark.root)


def _refuse_failures(failures: Mapping[str, Failure], where: str) -> None:
    """Raise `AudioSRError` with the failures, each under its name, if there are any."""
    if failures:
        listed = "\n  ".join(f"{name}: {clip.reason}" for name, clip in failures.items())
        raise AudioSRError(f"{len(failures)} clips of {where} failed:\n  {listed}")


def prepare_inputs(cfg: DictConfig) -> None:
    """Write what systems would get as float WAV files to `inputs`, for tools that run elsewhere.

    Raises:
        UsageError: contradictions in the configuration, or a folder with something in it.
        AudioSRError: no clips; or, when the others have been written, those that cannot be read.
    """
    folder = Path(cfg.inputs)
    check_folder(folder, "inputs")
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
    _refuse_failures({clip.key: clip for clip in failures}, str(benchmark.root))


def instantiate_plainly(node: DictConfig | Mapping[str, Any], **settings: Any) -> Any:
    """The object that `node` describes; errors come from it as they are, not wrapped by Hydra."""
    make: Callable[[], Any] = instantiate(node, _partial_=True, _convert_="all", **settings)
    return make()


def build_metrics(
    nodes: DictConfig, headline: str
) -> tuple[list[ClipMetric], list[FrechetDistance]]:
    """The metrics that a configuration lists: those of clips, and those of sets of clips.

    The latter are the ones with an embedding.

    Raises:
        UsageError: the headline is none of the former.
    """
    metrics: list[ClipMetric] = [
        instantiate_plainly(node, per_clip=True) for node in nodes.values() if "embed" not in node
    ]
    names = [name for metric in metrics for name in metric.names]
    if headline not in names:
        raise UsageError(f"no metric {headline} to head the table: choose from {', '.join(names)}")
    return metrics, [instantiate_plainly(node) for node in nodes.values() if "embed" in node]
