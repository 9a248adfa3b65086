"""Which clips could not be used, why, and when are they too many?"""

import logging
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field

from audiosr.errors import DataError

_NAMED = 10
"""Clips named in the message that ends a run."""

UNCOUNTED = 1000
"""Clips that shards without an index are taken to hold until more have come: of ten, one bad clip
would be many.
"""

_LOG = logging.getLogger(__name__)


class BadClip(Exception):
    """A clip that cannot be used; the message is the kind of reason, by which bad clips count."""


@dataclass
class Ledger:
    """Clips that could not be used, each counted once, and members that are passed over.

    Raises `DataError` with the list as soon as the clips are more than `max_fraction` of `total`.
    """

    where: str
    """The shards in question, for the message."""
    total: int | None
    """Clips in them; None where nobody has counted: see `meet`."""
    max_fraction: float
    reasons: dict[str, str] = field(default_factory=dict)
    """Name of the clip or shard to the reason."""
    clips: int = 0
    foreign: Counter[str] = field(default_factory=Counter)
    """Members that are no clips, by kind; they do no harm and end no run."""
    _by_reason: Counter[str] = field(default_factory=Counter)
    _met: dict[str, int] = field(default_factory=dict)
    _passed: set[str] = field(default_factory=set)

    def meet(self, shard: str, clips: int) -> None:
        """Note how many clips a shard, whose clips nobody has counted, has given so far."""
        self._met[shard] = max(clips, self._met.get(shard, 0))

    def add(self, name: str, reason: str, clips: int = 1) -> None:
        """Note once that `name`, which stands for `clips` clips, is unusable.

        Raises:
            DataError: with this one there are too many.
        """
        if name in self.reasons:
            return
        self.reasons[name] = reason
        self.clips += clips
        self._by_reason[reason] += clips
        _LOG.warning("%s: %s is left out: %s", self.where, printable(name), reason)
        total = max(UNCOUNTED, sum(self._met.values())) if self.total is None else self.total
        if self.clips > self.max_fraction * total:
            raise DataError(
                f"{self.clips} of {total} clips in {self.where} cannot be used, above "
                f"max_bad_fraction={self.max_fraction:g} ({_list(self.by_reason())}): "
                f"{self._names()}{self._passed_over()}; prepare the shards again"
            )

    def pass_over(self, shard: str, kinds: Mapping[str, int]) -> None:
        """Note members of a shard that are neither audio nor JSON; they are never opened."""
        if kinds and shard not in self._passed:
            self._passed.add(shard)
            self.foreign.update(kinds)
            _LOG.warning(
                "%s: members of %s passed over: %s", self.where, shard, printable(_list(kinds))
            )

    def by_reason(self) -> dict[str, int]:
        """Number of clips for each reason."""
        return dict(sorted(self._by_reason.items()))

    def _names(self) -> str:
        names = [printable(name) for name in self.reasons]
        more = f" and {len(names) - _NAMED} more" if len(names) > _NAMED else ""
        return ", ".join(names[:_NAMED]) + more

    def _passed_over(self) -> str:
        return f" (also passed over: {printable(_list(self.foreign))})" if self.foreign else ""


def printable(name: str) -> str:
    """`name` on one line, without what a terminal would obey, up to 200 characters."""
    return "".join(c if c.isprintable() else "?" for c in name[:200])


def _list(counts: Mapping[str, int]) -> str:
    return ", ".join(f"{count} x {what}" for what, count in sorted(counts.items()))
