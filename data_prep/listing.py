"""What does the list of clips beside the shards, `clips.jsonl`, say of one?"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from audiosr.shards.meta import Meta

_LISTED = (
    *("seconds", "bandwidth_hz", "loudness_lufs", "clipped_share", "source", "licence"),
    *("source_file", "source_start", "samples_sha256"),
)


@dataclass(frozen=True)
class ListedClip:
    """A clip and where it is."""

    split: str
    shard: str
    """Name in the index."""
    key: str
    meta: Meta
    """Read from the list, it lacks what only the JSON in the shard says, such as `sha256`."""

    @classmethod
    def parse(cls, line: Mapping[str, Any]) -> "ListedClip":
        """Read what `line` gave; raises KeyError or TypeError for anything else."""
        told = {name: line[name] for name in ("domain", *_LISTED)}
        return cls(line["split"], line["shard"], line["key"], Meta(**told))

    def line(self) -> dict[str, Any]:
        """Its line in the list, as JSON."""
        where = {"split": self.split, "domain": self.meta.domain, "shard": self.shard}
        return {**where, "key": self.key, **{name: getattr(self.meta, name) for name in _LISTED}}
