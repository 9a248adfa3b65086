"""What is one golden case, and how is it told from one that is not replayed?"""

import json
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import torch

Got = Callable[[], Any]
Error = Callable[[npt.ArrayLike, npt.ArrayLike], float]


def relative_error(got: npt.ArrayLike, want: npt.ArrayLike) -> float:
    """Norm of the difference over the norm of `want`, in float64."""
    ours, theirs = np.asarray(got, np.float64), np.asarray(want, np.float64)
    if ours.shape != theirs.shape:
        raise ValueError(f"shape {ours.shape}, the golden one is {theirs.shape}")
    return float(np.linalg.norm(ours - theirs) / (np.linalg.norm(theirs) + 1e-30))


def scaled_error(got: npt.ArrayLike, want: npt.ArrayLike) -> float:
    """Difference of two numbers over the larger of 1 and `want`: absolute and relative at once."""
    value = float(np.asarray(want))
    return abs(float(np.asarray(got)) - value) / max(1.0, abs(value))


@dataclass(frozen=True)
class Case:
    """One comparison: `got()` is ours, computed when it is needed, `want` the golden value."""

    name: str
    got: Got
    want: npt.ArrayLike
    tolerance: float
    error: Error = relative_error


def same(name: str, got: Got, want: Any) -> Case:
    """A case without tolerance: counts, names, integers; the error is 0 or 1."""
    return Case(name, got, want, 0.0, lambda a, b: float(not np.array_equal(a, b)))


@dataclass(frozen=True)
class NotCovered:
    """What a file holds and is not compared, with the reason."""

    name: str
    reason: str


Cases = Iterator[Case | NotCovered]


@dataclass
class Arrays(Mapping[str, Any]):
    """The arrays of one file by name, JSON texts decoded; remembers which were asked for."""

    path: Path
    read: set[str] = field(default_factory=set)

    @cached_property
    def _file(self) -> Any:
        return np.load(self.path, allow_pickle=False)

    def __getitem__(self, name: str) -> Any:
        value = self._file[name]
        self.read.add(name)
        if value.dtype.kind != "U":
            return value
        text = str(value)
        return json.loads(text) if text[:1] in "{[" else text

    def __iter__(self) -> Iterator[str]:
        return iter(self._file.files)

    def __len__(self) -> int:
        return len(self._file.files)

    def known(self, *names: str) -> None:
        """Mark arrays as looked after that hold nothing to compare."""
        self.read.update(names)

    def left(self) -> list[str]:
        """The names that nobody asked for."""
        return sorted(set(self) - self.read)


@dataclass(frozen=True)
class Folder:
    """A folder of golden data."""

    path: Path

    def text(self, name: str) -> Any:
        """The JSON file `name`, or nothing where it is absent."""
        path = self.path / name
        return json.loads(path.read_text()) if path.is_file() else {}

    @cached_property
    def config(self) -> dict[str, Any]:
        """Arguments of the released networks at the tiny width."""
        return self.text("tiny_config.json")

    def shapes(self, width: str, prefix: str) -> dict[str, list[int]]:
        """Released tensors of "tiny" or "base" width by name; those under `prefix`."""
        listed = self.text("state_names.json").get(width, {})
        return {name: shape for name, shape in listed.items() if name.startswith(prefix)}


def tensor(value: npt.ArrayLike) -> torch.Tensor:
    """A float32 tensor."""
    return torch.from_numpy(np.array(value, dtype=np.float32))
