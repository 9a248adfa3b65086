"""What did the released code compute in the signal room?"""

import json
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from tests.golden import recipe

_FILE = Path(__file__).parents[1] / "golden" / "audio.npz"


@cache
def numbers(key: str) -> np.ndarray:
    """The golden array `key`."""
    with np.load(_FILE, allow_pickle=False) as file:
        return file[key]


def cases(name: str) -> Any:
    """The cases of a group: "features", "cutoffs", "postprocess" or "lowpass"."""
    return json.loads(str(numbers(f"{name}_json")))


def wave(spec: dict[str, Any]) -> Tensor:
    """The input signal of a case, (1, 1, T)."""
    return torch.from_numpy(recipe.signal(spec))[None, None]


def error(got: Tensor, key: str) -> float:
    """Relative error of a result against the golden array `key` of its shape."""
    want = numbers(key)
    assert tuple(got.shape) == want.shape
    return float(np.linalg.norm(got.numpy() - want) / max(float(np.linalg.norm(want)), 1e-30))
