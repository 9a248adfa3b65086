"""What did the released code compute in the signal room?"""

import json
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from tests.golden import recipe

_GOLDEN = Path(__file__).parents[1] / "golden"


@cache
def numbers(key: str) -> np.ndarray:
    """The golden array `key`."""
    for name in ("audio", "released"):
        with np.load(_GOLDEN / f"{name}.npz", allow_pickle=False) as file:
            if key in file:
                return file[key]
    raise KeyError(key)


def cases(name: str) -> Any:
    """The cases of a group: "features", "cutoffs", "postprocess", "lowpass", "chain" or "e2e"."""
    return json.loads(str(numbers(f"{name}_json")))


def wave(spec: dict[str, Any]) -> Tensor:
    """The input signal of a case, (1, 1, T)."""
    return torch.from_numpy(recipe.signal(spec))[None, None]


def error(got: Tensor, key: str) -> float:
    """Relative error of a result against the golden array `key` of its shape."""
    want = numbers(key)
    assert tuple(got.shape) == want.shape
    return float(np.linalg.norm(got.numpy() - want) / max(float(np.linalg.norm(want)), 1e-30))
