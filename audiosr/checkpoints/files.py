"""How are files of several gigabytes of tensors read and written in little memory?"""

import io
import itertools
import json
import pickle
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from audiosr.errors import AudioSRError
from audiosr.files import atomic_path

Progress = Callable[[int], None]
"""Called with the number of bytes done since the last call."""

_CHUNK = 2**24
_MAPPED = 2**28
"""Bytes that may be read from one mapping of a file before it is mapped anew."""
_SAFETENSORS = {
    torch.float64: "F64",
    torch.float32: "F32",
    torch.float16: "F16",
    torch.bfloat16: "BF16",
    torch.int64: "I64",
    torch.int32: "I32",
    torch.int16: "I16",
    torch.int8: "I8",
    torch.uint8: "U8",
    torch.bool: "BOOL",
}


class Pickled:
    """The tensors of a file that `torch.save` wrote, read without running what it pickles.

    The file is mapped into memory. What has been read of a mapping counts as memory of the process
    until the mapping is dropped, so a new one is made from time to time: hold no tensor longer
    than it is needed.

    Attributes:
        path: the file.
        content: the unpickled dictionary.
    """

    def __init__(self, path: Path) -> None:
        """Raises `AudioSRError` for what is no such file, or holds more than plain values."""
        self.path = path
        self.content = self._map()
        self._mapped = 0

    def read(self, key: str, name: str) -> Tensor:
        """The tensor `name` of the dictionary `key`."""
        if self._mapped > _MAPPED:
            self.content = {}  # drops the old mapping first
            self.content = self._map()
            self._mapped = 0
        tensor: Tensor = self.content[key][name]
        self._mapped += tensor.nbytes
        return tensor

    def _map(self) -> dict[str, Any]:
        try:
            content = torch.load(self.path, weights_only=True, mmap=True, map_location="cpu")
        except FileNotFoundError:
            raise AudioSRError(f"{self.path} does not exist: check the path") from None
        except pickle.UnpicklingError as error:
            raise AudioSRError(
                f"{self.path} is refused, since reading it could run code: it holds more than "
                f"tensors and plain values ({_culprit(error)})"
            ) from error
        except (RuntimeError, ValueError, EOFError, OSError) as error:
            raise AudioSRError(
                f"{self.path} is no checkpoint in the zip format of torch.save, or it was cut "
                "short; bare pickles are refused, since reading one could run code"
            ) from error
        if not isinstance(content, dict):
            raise AudioSRError(f"{self.path} holds no dictionary: it is no checkpoint")
        return content


def _culprit(error: Exception) -> str:
    """The name that stopped the unpickler, from torch's page of advice."""
    words = str(error).replace("`", " ").split()
    for before, name in itertools.pairwise(words):
        if before in ("GLOBAL", "global", "class") and "." in name:
            return name.rstrip(".,:")
    return "an object"


def write_safetensors(
    path: Path,
    layout: Mapping[str, tuple[tuple[int, ...], torch.dtype]],
    read: Callable[[str], Tensor],
) -> None:
    """Write a safetensors file one tensor at a time.

    Args:
        path: the file.
        layout: shape and dtype of every tensor; `read` must give just these.
        read: gives the tensor of a name.
    """
    names = sorted(layout, key=lambda name: (-layout[name][1].itemsize, name))  # stays aligned
    header, offset = {}, 0
    for name in names:
        shape, dtype = layout[name]
        end = offset + torch.Size(shape).numel() * dtype.itemsize
        header[name] = {
            "dtype": _SAFETENSORS[dtype],
            "shape": list(shape),
            "data_offsets": [offset, end],
        }
        offset = end
    text = json.dumps(header, separators=(",", ":")).encode()
    text += b" " * (-len(text) % 8)
    with path.open("wb") as target:
        target.write(len(text).to_bytes(8, "little"))
        target.write(text)
        for name in names:
            tensor = read(name).contiguous()
            assert (tuple(tensor.shape), tensor.dtype) == layout[name], name
            target.write(tensor.reshape(-1).view(torch.uint8).numpy().data)


def save(content: object, path: Path, progress: Progress | None = None) -> None:
    """`torch.save` under a temporary name, then renamed."""
    tell = progress or (lambda count: None)
    with atomic_path(path) as partial, _Counted(partial, tell) as target:
        torch.save(content, target)


class _Counted(io.BufferedWriter):
    """A file that tells how much is written to it."""

    def __init__(self, path: Path, progress: Progress) -> None:
        super().__init__(io.FileIO(path, "w"))
        self.progress = progress

    def write(self, buffer: Any, /) -> int:
        written = super().write(buffer)
        self.progress(written)
        return written


def work(source: Path) -> int:
    """About how many bytes an import of `source` goes through: it is hashed, then read."""
    return 2 * source.stat().st_size if source.is_file() else 0


@contextmanager
def said(path: Path) -> Iterator[None]:
    """Turn what the disk refuses into a sentence about `path`."""
    try:
        yield
    except OSError as error:
        raise AudioSRError(f"cannot write {path}: {error.strerror or error}") from error


def listed(names: Iterable[str], limit: int = 20) -> str:
    """Up to `limit` of `names`, and how many more there are."""
    names = list(names)
    more = len(names) - limit
    return ", ".join(names[:limit]) + (f" and {more} more" if more > 0 else "")
