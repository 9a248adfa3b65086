"""What does an evaluation find? The schema of `results.json`, and the clips kept to be heard."""

import json
from collections.abc import Iterable
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

RESULTS_SCHEMA = 3
"""Version of the layout of `results.json`."""

ALL = "all"
"""Name of the domain that is the mean over domains."""
BASELINE = "unprocessed"
"""Name of the system that returns its input: what ratios refer to."""
CEILING = "gt_mel"
"""Name of the system that sees the reference's mel."""
BOUNDS = {CEILING, "vae_mel"}
"""Names of the systems that see the reference: they bound the others, and are never the best."""
YARDSTICKS = {"mean_noise", "envelope"}
"""Names of the systems that a model has to beat: no report is about them."""


@dataclass(frozen=True)
class FileFigures:
    """What one system reached on one clip at one cutoff."""

    key: str
    domain: str
    cutoff_hz: float
    system: str
    metrics: dict[str, float | None]
    """By name; None where the clip has no such figure."""


@dataclass(frozen=True)
class Aggregate:
    """A metric of a system at a cutoff, over the files of a domain or (`ALL`) over domains."""

    system: str
    domain: str
    cutoff_hz: float
    metric: str
    mean: float
    low: float | None
    """Lower end of the interval; None where a domain has a single file, which says nothing of the
    spread."""
    high: float | None
    n: int
    """Files in the mean."""


@dataclass(frozen=True)
class Difference:
    """A metric of a system minus that of another on the same files, as `Aggregate` has means."""

    system: str
    other: str
    domain: str
    cutoff_hz: float
    metric: str
    mean: float
    low: float | None
    """Lower end of the interval; where it does not hold 0, the difference is not chance."""
    high: float | None
    n: int
    """Files that both have."""


@dataclass(frozen=True)
class Failure:
    """A clip that could not be evaluated, and why."""

    key: str
    reason: str


@dataclass(frozen=True)
class LeftOut:
    """A reference that there is nothing to be judged by, and at which cutoff (None: at none)."""

    key: str
    cutoff_hz: float | None
    reason: str


@dataclass(frozen=True)
class ClipFacts:
    """A reference that was evaluated."""

    key: str
    domain: str
    seconds: float
    source_rate: int


@dataclass(frozen=True)
class Change:
    """What was done to an output to bring it to the form of its input."""

    system: str
    cutoff_hz: float
    text: str


@dataclass(frozen=True)
class Embedded:
    """What an embedding makes of a waveform of a clip."""

    metric: str
    """The figure of sets that it is for."""
    system: str
    """Whose output; empty for the reference."""
    cutoff_hz: float
    rows: str
    """Embeddings (n, d) as base64 of float32."""


@dataclass(frozen=True)
class Measured:
    """What came out of one clip of a benchmark."""

    index: int
    """Number of the clip in the benchmark."""
    files: tuple[FileFigures, ...] = ()
    clips: tuple[ClipFacts, ...] = ()
    """The clip, if it was evaluated."""
    failures: tuple[Failure, ...] = ()
    left_out: tuple[LeftOut, ...] = ()
    changes: tuple[Change, ...] = ()
    embedded: tuple[Embedded, ...] = ()
    name: str = ""
    """Domain and key; empty where the clip could not be read."""


@dataclass(frozen=True)
class BenchmarkCard:
    """Which clips were evaluated."""

    name: str
    root: str
    clips: tuple[ClipFacts, ...]
    about: dict[str, Any] = field(default_factory=dict)
    """Source, part and hash of the list of clips, as the benchmark's own card has them."""


@dataclass(frozen=True)
class ProtocolCard:
    """All that has to be known to repeat the figures, as plain values."""

    benchmark: BenchmarkCard
    name: str
    rate: int
    cutoffs_hz: tuple[float, ...]
    lowpass: dict[str, Any]
    cutoff_given: bool
    source_limit: bool
    channels: str
    level: str
    gain: str
    signal: str
    metrics: dict[str, Any]
    headline: str
    interval: dict[str, Any]
    systems: dict[str, dict[str, Any]]
    """The card of each system by its name, in the order of the tables."""


@dataclass(frozen=True)
class Results:
    """The content of `results.json`."""

    protocol: ProtocolCard
    versions: dict[str, str]
    seed: int
    files: tuple[FileFigures, ...]
    aggregates: tuple[Aggregate, ...]
    differences: tuple[Difference, ...]
    """Of each system and the unprocessed input, and the first that restores."""
    failures: tuple[Failure, ...]
    left_out: tuple[LeftOut, ...]
    schema: int = RESULTS_SCHEMA

    def json(self) -> str:
        """The text of `results.json`; `ValueError` for figures that are not finite."""
        return json.dumps(asdict(self), indent=1, allow_nan=False, ensure_ascii=False) + "\n"

    @classmethod
    def read(cls, path: Path) -> "Results":
        """What `json` wrote to `path`."""
        plain = json.loads(path.read_text(encoding="utf-8"))
        card = plain.pop("protocol")
        benchmark = card.pop("benchmark")
        card["cutoffs_hz"] = tuple(card["cutoffs_hz"])
        protocol = ProtocolCard(benchmark=BenchmarkCard(**parsed_rows(benchmark)), **card)
        return cls(protocol=protocol, **parsed_rows(plain))


@dataclass(frozen=True)
class Example:
    """One clip as it is kept to be seen and heard. Waveforms are (T,), float32."""

    key: str
    domain: str
    rate: int
    reference: NDArray[np.float32]
    inputs: dict[float, NDArray[np.float32]]
    """Low-passed inputs by cutoff in Hz."""
    outputs: dict[str, dict[float, NDArray[np.float32]]]
    """Outputs by system and cutoff in Hz."""
    place: str = ""
    """Where it stands among all clips, as "best" or "median"."""

    @property
    def name(self) -> str:
        """Domain and key; the key of a file in a folder starts with its domain already."""
        return joined_name(self.domain, self.key)


def joined_name(domain: str, key: str) -> str:
    """Domain and key as one name; a key that starts with its domain is one already."""
    return key if key.startswith(f"{domain}/") else f"{domain}/{key}"


_ROWS = {
    "files": FileFigures,
    "clips": ClipFacts,
    "aggregates": Aggregate,
    "differences": Difference,
    "failures": Failure,
    "left_out": LeftOut,
    "changes": Change,
    "embedded": Embedded,
}
"""What the rows of a list are, by its name."""


def parsed_rows(plain: dict[str, Any]) -> dict[str, Any]:
    """`plain` as JSON had it, with the objects that the rows of its lists stand for."""
    return {
        name: tuple(_ROWS[name](**row) for row in value) if name in _ROWS else value
        for name, value in plain.items()
    }


def sees_reference(name: str) -> bool:
    """Whether the system of that name sees the reference; the name of a model may follow."""
    return name.partition(" ")[0] in BOUNDS


def primary(systems: Iterable[str]) -> str | None:
    """The system that a report puts first: the first that restores and is no yardstick."""
    plain = {BASELINE, *YARDSTICKS}
    return next((name for name in systems if name not in plain and not sees_reference(name)), None)
