"""Restore recordings: `python infer.py input=FILE|DIR|GLOB output=PATH [key=value ...]`."""

import sys

from omegaconf import DictConfig

from audiosr.entry import run_hydra
from audiosr.errors import UsageError


def main() -> int:
    """Compose the configuration and restore."""
    return run_hydra(restore, "infer", paths=("input", "output", "model"))


def restore(cfg: DictConfig) -> None:
    """Restore what `cfg` names; the configuration is `conf/infer.yaml`."""
    import torch

    from audiosr.checkpoints.hub import resolve
    from audiosr.restore.files import plan_restore, restore_files
    from audiosr.restore.load import load_restorer
    from audiosr.restore.settings import RestoreSettings

    for name in ("input", "output", "model"):
        if not cfg[name]:
            raise UsageError(f"{name} is empty: give {name}=PATH")
    if not isinstance(cfg.overwrite, bool):
        raise UsageError(f"overwrite={cfg.overwrite}: give true or false")
    if cfg.threads is not None:
        torch.set_num_threads(cfg.threads)
    settings = RestoreSettings(**{name: cfg[name] for name in RestoreSettings.names()})
    todo = plan_restore([cfg.input], cfg.output)
    restorer = load_restorer(resolve(cfg.model), device=cfg.device, dtype=cfg.dtype)
    restore_files(
        restorer, todo, settings, overwrite=cfg.overwrite, subtype=cfg.subtype, track=cfg.track
    )


if __name__ == "__main__":
    sys.exit(main())
