"""Which clips has an interrupted evaluation finished already, and what of the rest is whose?

Each process appends a line per clip to a file of its own, in a folder that only the same
configuration finds again. A line that was cut short does not count.
"""

import hashlib
import json
import os
import shutil
import uuid
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import asdict
from pathlib import Path
from typing import Any

from audiosr.evaluation.processes import Processes
from audiosr.evaluation.results import Measured, parsed_rows
from audiosr.model import shipped_model
from audiosr.progress import progress_bar


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
                    record = Measured(**parsed_rows(json.loads(line)))
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


def measure_rest(
    processes: Processes,
    journal: ClipJournal,
    clips: int,
    measured: Callable[[Sequence[int]], Iterable[Measured]],
) -> list[Measured]:
    """Measure the clips that the journal lacks, each process its part; then read all, in order.

    Args:
        processes: this process among those that evaluate together.
        journal: of the evaluation.
        clips: how many the benchmark has.
        measured: measures the clips of the numbers that it is given.
    """
    done = {index for index, record in journal.read().items() if not record.failures}
    if processes.rank == 0 and done:
        print(f"{len(done)} of {clips} clips are finished already", flush=True)
    processes.wait()  # nobody writes before all have read
    left = [index for index in range(clips) if processes.mine(index) and index not in done]
    with journal.writer() as write, progress_bar("evaluating", len(left)) as advance:
        for record in measured(left):
            write(record)
            advance(1)
    processes.wait()
    found = journal.read()
    processes.wait()  # the first removes the journal when all have read it
    return [found[index] for index in sorted(found)]


def stamp_configuration(values: Mapping[str, Any], paths: Mapping[str, Any]) -> str:
    """A short hash of plain values, and of the files that the texts among `paths` name.

    Of files, names, sizes and times of change count: a model trained anew is another one.
    """
    places = {text: _place(text) for text in _texts(paths)}
    stamps = {text: _stamp(place) for text, place in places.items() if os.path.exists(place)}
    content = json.dumps([values, stamps], sort_keys=True, default=str)
    return hashlib.sha256(content.encode()).hexdigest()[:16]


def _place(text: str) -> str | Path:
    """The file or folder of that name, or the model that the package carries under it."""
    return text if os.path.exists(text) else shipped_model(text) or text


def _texts(value: Any) -> Iterator[str]:
    if isinstance(value, str):
        yield value
    elif isinstance(value, Mapping):
        for part in value.values():
            yield from _texts(part)
    elif isinstance(value, list | tuple):
        for part in value:
            yield from _texts(part)


def _stamp(path: str | Path) -> list[tuple[str, int, int]]:
    path = Path(path)
    files = [path] if path.is_file() else sorted(p for p in path.rglob("*") if p.is_file())
    states = [(str(file), file.stat()) for file in files]
    return [(name, state.st_size, state.st_mtime_ns) for name, state in states]
