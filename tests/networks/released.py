"""How far is a network from the released one?"""

import hashlib
import json
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from tests.golden import recipe

GOLDEN = Path(__file__).parents[1] / "golden"
# networks.npz holds every fifth value of each output of the released code, in memory order.
THIN = 5


def relative_error(got: Tensor, want: Tensor) -> float:
    """Norm of the difference over the norm of `want`."""
    return float((got.double() - want.double()).norm() / want.double().norm())


def golden_error(got: Tensor, key: str) -> float:
    """Relative error against the released output `key` of networks.npz."""
    with np.load(GOLDEN / "networks.npz") as outputs:
        return relative_error(got.flatten()[::THIN], torch.from_numpy(outputs[key]))


def summary(module: nn.Module, group: str) -> dict[str, Any]:
    """What released_names.json says of a group of tensors, of `module` instead."""
    prefix = names(group)["prefix"]
    shapes = {prefix + name: value.shape for name, value in module.state_dict().items()}
    lines = sorted(f"{name}:{'x'.join(map(str, shape))}" for name, shape in shapes.items())
    return {
        "prefix": prefix,
        "tensors": len(shapes),
        "parameters": sum(shape.numel() for shape in shapes.values()),
        "sha256": hashlib.sha256("\n".join(lines).encode()).hexdigest(),
    }


def names(group: str) -> dict[str, Any]:
    """Number, size and the hash of the sorted `name:shape` lines of a group of released tensors."""
    return json.loads((GOLDEN / "released_names.json").read_text())[group]


def noise(seed: int, *shape: int) -> Tensor:
    """Standard normal numbers."""
    return torch.from_numpy(recipe.normal(seed, shape))


def mels(*seeds: int, frames: int) -> Tensor:
    """Log-mel pictures `(B, 1, frames, 256)`, one per seed."""
    pictures = [recipe.meanlike_mel(seed, frames) for seed in seeds]
    return torch.from_numpy(np.stack(pictures)[:, None])
