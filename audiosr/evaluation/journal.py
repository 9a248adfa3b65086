"""Which clips has an interrupted evaluation finished already?

Each process appends a line per clip to a file of its own, in a folder that only the same
configuration finds again. A line that was cut short does not count.
"""

import hashlib
import json
import os
import shutil
import uuid
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import asdict
from pathlib import Path
from typing import Any

from audiosr.evaluation.results import ClipFacts, Failure, FileFigures, LeftOut, Measured


class ClipJournal:
    """The finished clips of an evaluation, beside the folder that its results will have.

    Args:
        out: folder of the results; the journal is `OUT.unfinished/FINGERPRINT/`.
        fingerprint: of all that decides a figure.
    """

    def __init__(self, out: Path, fingerprint: str) -> None:
        self.root = out.with_name(f"{out.name}.unfinished")
        self.folder = self.root / fingerprint

    def read(self) -> dict[int, Measured]:
        """The clips by their number in the benchmark; of two records, one that succeeded."""
        found: dict[int, Measured] = {}
        for path in sorted(self.folder.glob("*.jsonl")):
            with path.open(encoding="utf-8") as file:
                for line in file:
                    if not line.endswith("\n"):
                        continue
                    record = _record(json.loads(line))
                    if record.index not in found or found[record.index].failures:
                        found[record.index] = record
        return found

    @contextmanager
    def writer(self) -> Iterator[Callable[[Measured], None]]:
        """A function that writes a clip down, in a file that no other process writes to."""
        self.folder.mkdir(parents=True, exist_ok=True)
        path = self.folder / f"{uuid.uuid4().hex}.jsonl"
        with path.open("w", encoding="utf-8") as file:

            def write(record: Measured) -> None:
                file.write(json.dumps(asdict(record), allow_nan=False) + "\n")
                file.flush()

            yield write

    def remove(self) -> None:
        """Forget all, and what other configurations had left here."""
        shutil.rmtree(self.root, ignore_errors=True)


def stamp_configuration(values: Mapping[str, Any], paths: Mapping[str, Any]) -> str:
    """A short hash of plain values, and of the files that the texts among `paths` name.

    Of files, names, sizes and times of change count: a model trained anew is another one.
    """
    stamps = {text: _stamp(Path(text)) for text in _texts(paths) if os.path.exists(text)}
    content = json.dumps([values, stamps], sort_keys=True, default=str)
    return hashlib.sha256(content.encode()).hexdigest()[:16]


def _texts(value: Any) -> Iterator[str]:
    if isinstance(value, str):
        yield value
    elif isinstance(value, Mapping):
        for part in value.values():
            yield from _texts(part)
    elif isinstance(value, list | tuple):
        for part in value:
            yield from _texts(part)


def _stamp(path: Path) -> list[tuple[str, int, int]]:
    files = [path] if path.is_file() else sorted(p for p in path.rglob("*") if p.is_file())
    states = [(str(file), file.stat()) for file in files]
    return [(name, state.st_size, state.st_mtime_ns) for name, state in states]


def _record(plain: dict[str, Any]) -> Measured:
    return Measured(
        plain["index"],
        files=tuple(FileFigures(**row) for row in plain["files"]),
        clips=tuple(ClipFacts(**row) for row in plain["clips"]),
        failures=tuple(Failure(**row) for row in plain["failures"]),
        left_out=tuple(LeftOut(**row) for row in plain["left_out"]),
    )
