"""Run a benchmark: `python evaluate.py [benchmark= system= protocol= model= cutoffs= ...]`."""

import sys

from omegaconf import DictConfig

from audiosr.entry import run_hydra


def main() -> int:
    """Compose the configuration and evaluate."""

    def evaluate(cfg: DictConfig) -> None:
        # Imported late, so that a mistyped key is answered at once.
        from audiosr.evaluation import run

        run.evaluate(cfg)

    return run_hydra(evaluate, "evaluate")


if __name__ == "__main__":
    sys.exit(main())
