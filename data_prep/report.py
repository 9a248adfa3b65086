"""What is in a corpus that was prepared, and what was left out? Two files say: JSON and HTML.

Everything but `runs` depends on the corpus and the settings alone, not on how it was made.
"""

import json
from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from importlib.metadata import version
from pathlib import Path
from typing import Any

import jinja2
import numpy as np

from audiosr.audio.io import RATE
from audiosr.shards.index import Index
from data_prep.clips import Settings
from data_prep.listing import ListedClip
from data_prep.staging import CLIPS, DROPPED, REPORT_HTML, REPORT_JSON

REPORT_SCHEMA = 1
"""Version of the layout of `report.json`."""

BANDWIDTH_EDGES = [*range(0, RATE // 2 + 1, 1000)]
"""Hz."""

LOUDNESS_EDGES = [*range(-70, 1, 2)]
"""LUFS; what lies beyond counts in the first or last bin."""

_EXAMPLES = 5


@dataclass(frozen=True)
class Origin:
    """What the shards were made of."""

    corpus: str
    """Fingerprint of all files with the settings, the same for all parts of one job."""
    part: str | None
    """I/N, or None for all."""


@dataclass(frozen=True)
class Throughput:
    """How long a run took."""

    seconds: float
    clips: int
    """Written by this run."""
    hours: float
    """Their length."""
    engine: str
    workers: int | None
    resumed_shards: int
    """Finished by a run before that broke off; neither clips nor hours count them."""


def write_data_report(
    folder: Path,
    index: Index,
    settings: Settings | None,
    origin: Origin | None,
    runs: Sequence[Throughput],
) -> None:
    """Write `report.json` and `report.html` into `folder`.

    Args:
        folder: holds `clips.jsonl` and `dropped.jsonl`.
        index: of the shards.
        settings: how they were made; None where parts differ.
        origin: of the corpus; None where there are several.
        runs: what made the shards.
    """
    content = {
        "schema": REPORT_SCHEMA,
        "audiosr": version("audiosr-lightning"),
        "recipe": index.recipe,
        "command": index.command,
        "settings": None if settings is None else asdict(settings),
        "origin": None if origin is None else asdict(origin),
        "contents": contents_table(index),
        **_measured(map(ListedClip.parse, read_lines(folder / CLIPS))),
        "drops": _drops(read_lines(folder / DROPPED)),
        "runs": [asdict(run) for run in runs],
    }
    text = json.dumps(content, indent=1, ensure_ascii=False)
    (folder / REPORT_JSON).write_text(text, encoding="utf-8", errors="backslashreplace")
    page = _template().render(content, root=index.root.resolve().name, bars=bars)
    (folder / REPORT_HTML).write_text(page, encoding="utf-8", errors="backslashreplace")


def read_lines(path: Path) -> Iterator[dict[str, Any]]:
    """The objects of a file with one of them a line."""
    with path.open(encoding="utf-8") as file:
        yield from map(json.loads, file)


def bars(histogram: Mapping[str, Any]) -> dict[str, Any]:
    """Corners of the stacked bars of a histogram, in a field 1 wide and 1 high."""
    edges, hours = histogram["edges"], histogram["hours"]
    counts = np.array([hours[name] for name in sorted(hours)]).reshape(-1, len(edges) - 1)
    most = float(counts.sum(0).max(initial=0)) or 1.0
    width = 1 / (len(edges) - 1)
    below = np.cumsum(counts, axis=0) - counts
    rectangles = [
        (number, column * width, 1 - (low + high) / most, width, high / most, high)
        for number, (lows, highs) in enumerate(zip(below, counts, strict=True))
        for column, (low, high) in enumerate(zip(lows, highs, strict=True))
        if high > 0
    ]
    return {"most": most, "rectangles": rectangles}


def contents_table(index: Index) -> list[dict[str, Any]]:
    """Clips, hours, shards and bytes of each split and domain, by name."""
    return [
        {
            "split": split,
            "domain": domain,
            "clips": sum(shard.clips for shard in shards),
            "hours": sum(shard.seconds for shard in shards) / 3600,
            "shards": len(shards),
            "bytes": sum(shard.bytes for shard in shards),
        }
        for split, domains in sorted(index.splits.items())
        for domain, shards in sorted(domains.items())
    ]


def _measured(clips: Iterable[ListedClip]) -> dict[str, Any]:
    bandwidth: dict[str, Any] = defaultdict(lambda: np.zeros(len(BANDWIDTH_EDGES) - 1))
    loudness: dict[str, Any] = defaultdict(lambda: np.zeros(len(LOUDNESS_EDGES) - 1))
    licences: dict[tuple[str, str], list[float]] = defaultdict(lambda: [0, 0.0])
    splits: dict[str, set[str]] = defaultdict(set)
    clipped = 0
    for clip in clips:
        meta, hours = clip.meta, clip.meta.seconds / 3600
        bandwidth[meta.domain][_bin(meta.bandwidth_hz, BANDWIDTH_EDGES)] += hours
        loudness[meta.domain][_bin(meta.loudness_lufs, LOUDNESS_EDGES)] += hours
        count = licences[meta.licence, meta.domain]
        count[0] += 1
        count[1] += hours
        splits[meta.source].add(clip.split)
        clipped += meta.clipped_share > 0
    return {
        "sources": len(splits),
        "sources_in_several_splits": sorted(name for name in splits if len(splits[name]) > 1),
        "clips_with_samples_at_full_scale": clipped,
        "bandwidth_hz": _histogram(BANDWIDTH_EDGES, bandwidth),
        "loudness_lufs": _histogram(LOUDNESS_EDGES, loudness),
        "licences": [
            {"licence": licence, "domain": domain, "clips": count, "hours": hours}
            for (licence, domain), (count, hours) in sorted(licences.items())
        ],
    }


def _bin(value: float, edges: Sequence[int]) -> int:
    return int(np.clip((value - edges[0]) // (edges[1] - edges[0]), 0, len(edges) - 2))


def _histogram(edges: Sequence[int], hours: Mapping[str, Any]) -> dict[str, Any]:
    return {"edges": list(edges), "hours": {name: hours[name].tolist() for name in sorted(hours)}}


def _drops(lines: Iterable[Mapping[str, Any]]) -> list[dict[str, Any]]:
    counts: Counter[str] = Counter()
    examples: dict[str, list[dict[str, str]]] = defaultdict(list)
    for line in lines:
        counts[line["reason"]] += 1
        if len(examples[line["reason"]]) < _EXAMPLES:
            examples[line["reason"]].append({"name": line["name"], "detail": line["detail"]})
    return [
        {"reason": reason, "count": count, "examples": examples[reason]}
        for reason, count in sorted(counts.items(), key=lambda one: (-one[1], one[0]))
    ]


def _template() -> jinja2.Template:
    environment = jinja2.Environment(
        loader=jinja2.PackageLoader("data_prep"),
        autoescape=True,
        trim_blocks=True,
        lstrip_blocks=True,
        undefined=jinja2.StrictUndefined,
    )
    return environment.get_template(REPORT_HTML)
