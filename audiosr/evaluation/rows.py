"""Which systems make the rows of a table?"""

from collections.abc import Mapping
from typing import Any

from omegaconf import DictConfig

from audiosr.errors import UsageError

Row = tuple[DictConfig | Mapping[str, Any], Mapping[str, Any]]
"""What describes a system, and the settings that differ from it."""


def table_rows(cfg: DictConfig) -> dict[str, Row]:
    """The systems of `system`, of `models` and of `outputs`, by the names of their rows.

    With `models={general: A, finetuned: B}` each system that has a model is there once for each:
    `model` under the model's name, others with that name after their own.

    Raises:
        UsageError: a list in the place of one model, a name that two rows would have, or no row.
    """
    if str(cfg.model).startswith("["):  # taken letter by letter, as a folder is
        raise UsageError(
            "model= names one model: several have names, models={general: DIR, finetuned: DIR}"
        )
    rows: dict[str, Row] = {}

    def add(name: str, node: DictConfig | Mapping[str, Any], **settings: Any) -> None:
        if name in rows:
            raise UsageError(f"two systems would be called {name}: choose another name")
        rows[name] = (node, settings)

    # An empty list of systems leaves no such key.
    for name, node in cfg.system.items() if "system" in cfg else ():
        if not cfg.models or "model" not in node:
            add(str(name), node)
            continue
        for label, folder in cfg.models.items():
            add(str(label) if name == "model" else f"{name} {label}", node, model=str(folder))
    for label, folder in (cfg.outputs or {}).items():
        add(
            str(label),
            {"_target_": "audiosr.evaluation.external.OutputFolder", "root": str(folder)},
        )
    if not rows:
        raise UsageError("no systems to evaluate: give system=[unprocessed,model]")
    return rows
