"""Which clips are systems measured on?"""

import os
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol as Interface

import numpy as np
from numpy.typing import NDArray

from audiosr.audio import io
from audiosr.audio.io import RATE
from audiosr.errors import AudioFileError
from audiosr.evaluation.results import Failure
from audiosr.shards.corpus import Corpus
from audiosr.shards.reader import Reader


@dataclass(frozen=True)
class ReferenceClip:
    """A full-band reference."""

    key: str
    domain: str
    wave: NDArray[np.float32]
    """Samples (C, T) at 48 kHz."""
    source_rate: int
    """Rate in Hz of the recording; nothing above half of it can be in the clip."""


class Benchmark(Interface):
    """An iterable of clips, in an order that does not change, with those that cannot be read."""

    @property
    def name(self) -> str:
        """What it is called in results and reports."""
        ...

    @property
    def root(self) -> str | Path:
        """Where it lies, a path or a URL."""
        ...

    def __len__(self) -> int: ...

    def __iter__(self) -> Iterator[ReferenceClip | Failure]: ...


class Shards:
    """A split of a folder of shards that `data_prep` made, here or behind a URL."""

    def __init__(self, root: str | os.PathLike[str], *, split: str, name: str) -> None:
        """Read the index.

        Raises:
            DataError: no shards at `root`, or no such split.
        """
        self.root, self.split, self.name = os.fspath(root), split, name
        self.corpus = Corpus.open(root)
        self.corpus.domains(split)

    def __len__(self) -> int:
        return self.corpus.clips(self.split)

    def __iter__(self) -> Iterator[ReferenceClip | Failure]:
        # Every bad clip is listed, so the reader itself need not stop at any number of them.
        reader = Reader(self.corpus, self.split, max_bad_fraction=1.0)
        met: Counter[tuple[str, str]] = Counter()
        for domain in reader.domains:
            for number in range(reader.clips(domain)):
                clip = reader.read(domain, number)
                if clip is not None:
                    source_rate = clip.meta.source_rate or RATE
                    met[domain, clip.key] += 1
                    # Keys are unique within a shard alone.
                    again = f"-{count}" if (count := met[domain, clip.key]) > 1 else ""
                    yield ReferenceClip(clip.key + again, domain, clip.wave, source_rate)
        for name, reason in reader.ledger.reasons.items():
            yield Failure(name, reason)


class Folder:
    """Every audio file below a folder; the first folder level is the domain, if there is one."""

    def __init__(self, root: str | os.PathLike[str], *, name: str) -> None:
        """Find the files.

        Raises:
            AudioFileError: `root` does not exist or holds no audio file.
        """
        self.root, self.name = Path(root), name
        self.files = io.expand(self.root)

    def __len__(self) -> int:
        return len(self.files)

    def __iter__(self) -> Iterator[ReferenceClip | Failure]:
        for path in self.files:
            parts = path.relative_to(self.root).parts
            key = _printable("/".join(parts))
            try:
                wave, rate = io.read_audio(path)
            except AudioFileError as error:
                yield Failure(key, _printable(str(error)))
                continue
            wave = io.resample(wave, rate, RATE)
            if wave.shape[1] == 0:
                yield Failure(key, f"{_printable(str(path))} is shorter than a sample at {RATE} Hz")
                continue
            domain = parts[0] if len(parts) > 1 else self.root.resolve().name
            yield ReferenceClip(key, _printable(domain), wave, rate)


def _printable(name: str) -> str:
    """What goes into tables and JSON: file names need not be Unicode."""
    return os.fsencode(name).decode("utf-8", "backslashreplace")
