"""Which model does a checkpoint of a training run hold? It carries the settings of its network."""

import zipfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from audiosr.averages import mixed_average
from audiosr.errors import AudioSRError, UsageError
from audiosr.model import ENVELOPE, Model
from audiosr.networks.build import build_network

HELD_MODEL = "audiosr_model"
"""Key of a checkpoint: `part`, and `settings` as in a `model.yaml` of that part."""


def holds_model(path: Path) -> bool:
    """Whether a file is a checkpoint that a training run of this package has written."""
    if path.suffix != ".ckpt" or not zipfile.is_zipfile(path):
        return False
    return HELD_MODEL in _read(path)


def export_checkpoint(
    path: Path,
    folder: Path,
    *,
    averaged: bool | None = None,
    weights: Mapping[str, Tensor] | None = None,
) -> Path:
    """Write the model folder of a training checkpoint, with the frozen networks of its run.

    Args:
        path: the checkpoint; the run folder around it is asked for `frozen/`.
        folder: where to.
        averaged: whether to take the average of the weights; None: where there is one.
        weights: parameters of the stage by name that take the place of both.

    Raises:
        AudioSRError: no such checkpoint, or it keeps no average.
    """
    held = _read(path)
    if HELD_MODEL not in held:
        raise AudioSRError(
            f"{path} tells of no model: it is no checkpoint of a run of this version"
        )
    part, settings = held[HELD_MODEL]["part"], held[HELD_MODEL]["settings"]
    average = held.get("callbacks", {}).get("EMA", {}).get("average", {})
    if averaged and not average:
        raise AudioSRError(f"{path} keeps no average of the weights (ema_decay was null)")
    state = held["state_dict"] | (average if averaged is not False else {}) | dict(weights or {})
    networks = {
        name: _network(settings["networks"][name], state, f"{name}.")
        for name in (part, *([ENVELOPE] if part == "denoiser" else []))
        if name in settings["networks"]
    }
    model = Model.of(settings, networks)
    frozen = path.resolve().parent.parent / "frozen"
    return (Model.load(frozen).merge(model) if frozen.is_dir() else model).save(folder)


def export_run(
    run: Path,
    out: Path | None,
    *,
    step: int | None,
    which: str | None,
    ema_width: float | None = None,
) -> Path:
    """Write the model folder of a run: of its best or its last checkpoint, or of one by its step.

    Args:
        run: the run folder.
        out: where to; None: `export/` in the run folder.
        step: the checkpoint after so many steps.
        which: `best`, as it was validated; `last`, the weights that are trained; `ema`, their
            average. None: best, or of a step the average where there is one.
        ema_width: take the average of this width, of those that `ema_snapshots` has kept, at
            `step` or at the last.

    Raises:
        UsageError: what cannot go together, or no such checkpoint or averages.
    """
    if ema_width is not None:
        if which is not None:
            raise UsageError("--ema-width is an average of its own: leave out --which")
        weights = mixed_average(run / "averages", ema_width, step)
        name = f"ema-width-{ema_width:g}" + (f"-step={step}" if step is not None else "")
        last = run / "checkpoints/last.ckpt"  # for all that is not learnt
        return export_checkpoint(last, out or run / "export" / name, weights=weights)
    if step is not None and which == "best":
        raise UsageError(
            "--which best has a step of its own: leave out --step, or give ema or last"
        )
    name = f"step={step}" if step is not None else "best" if which in (None, "best") else "last"
    path = run / "checkpoints" / f"{name}.ckpt"
    if not path.is_file():
        there = ", ".join(sorted(file.stem for file in path.parent.glob("*.ckpt"))) or "none"
        raise UsageError(f"{run} has no checkpoint {name}; there is {there}")
    averaged = {"ema": True, "last": False}.get(which or "")
    return export_checkpoint(
        path, out or run / "export" / f"{name}-{which or 'best'}", averaged=averaged
    )


def _network(spec: Mapping[str, Any], state: Mapping[str, Tensor], prefix: str) -> Any:
    """The network of `spec` with its tensors of a stage's."""
    network: Any = build_network(spec)
    network.load_state_dict(
        {name.removeprefix(prefix): v for name, v in state.items() if name.startswith(prefix)}
    )
    return network


def _read(path: Path) -> dict[str, Any]:
    try:
        return torch.load(path, map_location="cpu", weights_only=True, mmap=True)
    except (RuntimeError, EOFError, ValueError) as error:
        raise AudioSRError(
            f"{path} cannot be read as a checkpoint: {str(error).splitlines()[0]}"
        ) from error
