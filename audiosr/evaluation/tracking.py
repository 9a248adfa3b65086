"""How does Weights & Biases learn of an evaluation? Means and files as tables, headline as summary.

Imported only where a logger is asked for.
"""

from collections.abc import Mapping
from dataclasses import asdict, astuple, fields

import wandb.errors
from lightning.pytorch.loggers import WandbLogger

from audiosr.errors import AudioSRError
from audiosr.evaluation.outputs import file_rows
from audiosr.evaluation.results import ALL, Aggregate, Results


def log_results(logger: WandbLogger, found: Mapping[str, Results]) -> None:
    """Log each results below its prefix, empty or ending in "/", as one run, and end the run.

    The tables `means` and `files` have the columns of `means.csv` and `results.csv`; the summary
    holds `SYSTEM/CUTOFF_kHz/METRIC` of the headline metric as mean over domains.

    Raises:
        AudioSRError: W&B refuses the run, as without a key where it is not offline.
    """
    try:
        for prefix, results in found.items():
            card = asdict(results.protocol)
            del card["benchmark"]["clips"]
            logger.log_hyperparams({f"{prefix}protocol": card, f"{prefix}seed": results.seed})
            means = [list(astuple(row)) for row in results.aggregates]
            logger.log_table(f"{prefix}means", [f.name for f in fields(Aggregate)], means)
            head, rows = file_rows(results)
            logger.log_table(f"{prefix}files", head, rows)
            logger.experiment.summary.update(_headline(prefix, results))
        logger.experiment.finish()
    except wandb.errors.Error as error:
        raise AudioSRError(
            f"the results are written, but W&B does not take them: {error}"
        ) from error


def _headline(prefix: str, results: Results) -> dict[str, float]:
    metric = results.protocol.headline
    return {
        f"{prefix}{row.system}/{row.cutoff_hz / 1000:g}_kHz/{metric}": row.mean
        for row in results.aggregates
        if (row.metric, row.domain) == (metric, ALL)
    }
