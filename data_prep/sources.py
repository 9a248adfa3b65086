"""Which folders of shards belong together, and are the parts of a job all there?"""

import json
import re
from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

from audiosr.errors import DataError, UsageError
from audiosr.shards.index import INDEX_NAME, Index
from data_prep import report
from data_prep.listing import ListedClip
from data_prep.staging import CLIPS, REPORT_JSON, shards

_T = TypeVar("_T")


@dataclass(frozen=True)
class Part:
    """A share of the files: those that come at `number`, `number + of` and so on."""

    number: int
    """From 1."""
    of: int

    @classmethod
    def parse(cls, text: str) -> "Part":
        """Read `I/N`.

        Raises:
            UsageError: not of that form, or I not in 1 to N.
        """
        found = re.fullmatch(r"(\d+)/(\d+)", text)
        if not found or not 1 <= int(found[1]) <= int(found[2]) < 10_000:
            raise UsageError(f"--part {text} is not I/N with I from 1 to N, such as 1/4")
        return cls(int(found[1]), int(found[2]))

    def __str__(self) -> str:
        return f"{self.number}/{self.of}"

    def share(self, found: Sequence[_T]) -> Sequence[_T]:
        """What of `found` is in this part."""
        return found[self.number - 1 :: self.of]


@dataclass(frozen=True)
class ShardFolder:
    """A folder that `prepare` or `merge` has written."""

    index: Index
    origin: Mapping[str, Any] | None
    settings: Mapping[str, Any] | None
    runs: Sequence[Mapping[str, Any]]

    @property
    def root(self) -> Path:
        """Where it lies."""
        return self.index.root

    @property
    def part(self) -> Part | None:
        """Which share of a job it is, if it is one."""
        text = self.origin["part"] if self.origin else None
        return Part.parse(text) if text else None

    @property
    def corpus(self) -> str:
        """Fingerprint of the files and settings that all parts of a job share."""
        return self.origin["corpus"] if self.origin else ""

    def clips(self) -> Iterator[ListedClip]:
        """What is known of each clip, in the order of the shards."""
        return map(ListedClip.parse, report.read_lines(self.root / CLIPS))


def find_roots(folders: Sequence[Path], out: Path) -> list[Path]:
    """The folders with shards among `folders` and right inside them.

    Raises:
        UsageError: none there, one twice, or one of them is `out`.
    """
    found: list[Path] = []
    for folder in folders:
        inside = sorted(path.parent for path in folder.glob(f"*/{INDEX_NAME}"))
        roots = [folder] if (folder / INDEX_NAME).exists() else inside
        if not roots:
            raise UsageError(f"{folder} holds no shards, nor do the folders in it")
        found += roots
    found = [root.resolve() for root in found]
    if out.resolve() in found:
        raise UsageError(f"{out} is one of the folders to join; give another OUT")
    if again := [root for root in found if found.count(root) > 1]:
        raise UsageError(f"{again[0]} is given twice")
    return found


def read_source(root: Path) -> ShardFolder:
    """Read the lists of a folder of shards.

    Raises:
        DataError: one is missing or of another version, or a shard is not as the index says.
    """
    index = Index.load(root)
    try:
        content = json.loads((root / REPORT_JSON).read_text(encoding="utf-8"))
        known = content["schema"] == report.REPORT_SCHEMA and (root / CLIPS).is_file()
        source = ShardFolder(index, content["origin"], content["settings"], content["runs"])
    except (OSError, ValueError, KeyError, TypeError):
        known, source = False, None
    if source is None or not known:
        raise DataError(
            f"{root} lacks {REPORT_JSON} or {CLIPS} of this version; prepare the shards again"
        )
    for shard in shards(index):
        path = root / shard.name
        if not path.is_file() or path.stat().st_size != shard.bytes:
            raise DataError(f"{path} is not the shard that the index lists; prepare it again")
    return source


def refuse_incomplete(sources: Sequence[ShardFolder]) -> None:
    """Raise `UsageError` where a part of a job is missing or there twice."""
    jobs: dict[tuple[str, int], list[ShardFolder]] = defaultdict(list)
    for source in sources:
        if source.part is not None:
            jobs[source.corpus, source.part.of].append(source)
    for (_, of), parts in jobs.items():
        numbers = [source.part.number for source in parts if source.part]
        names = ", ".join(str(source.root) for source in parts)
        if again := sorted({number for number in numbers if numbers.count(number) > 1}):
            raise UsageError(f"part {again[0]}/{of} is there more than once: {names}")
        if missing := [str(number) for number in range(1, of + 1) if number not in numbers]:
            other = "; the other parts are of other files or settings" if len(jobs) > 1 else ""
            raise UsageError(f"part {', '.join(missing)} of {of} is missing beside {names}{other}")
