"""Where does a file not hold the sound that it should?"""

from collections.abc import Sequence
from dataclasses import dataclass

BROKEN = "is broken"
"""The kind of damage at which something is there that cannot be decoded."""

TOLERANCE_SECONDS = 0.1
"""A length that is promised in milliseconds, or counts what codecs add at the ends, may be off by
this before sound counts as missing.
"""

EXACT_SECONDS = 0.01
"""The same of one that counts samples, of a codec that has them in frames."""

SAMPLE_SECONDS = 2e-6
"""The same of one that counts samples, of a codec that loses none: less than any of them."""

SAME_SECONDS = 1.0
"""What is broken within this time of the last broken place belongs to it."""

_TOLD = 5  # places in one sentence


@dataclass(frozen=True)
class Damage:
    """A place at which a file does not hold the sound that it should."""

    second: float
    """Where, counted in decoded samples."""
    kind: str
    """What it does there: "is broken", "skips 0.52 s", "ends, though 4.00 s are promised"."""

    def __str__(self) -> str:
        return f"at {self.second:.2f} s it {self.kind}"


def note_damage(damage: list[Damage], second: float, kind: str) -> None:
    """Add a place to those that are known, unless it belongs to the last of them."""
    near = damage and second - damage[-1].second < SAME_SECONDS
    if not (near and damage[-1].kind == kind == BROKEN):
        damage.append(Damage(second, kind))


def note_end(
    damage: list[Damage],
    second: float,
    promised: float | None,
    *,
    tolerance: float,
    cut: bool,
) -> None:
    """Add that the sound ends before it should, if it does.

    Args:
        damage: the known places.
        second: where it ends.
        promised: its length in seconds as the header has it.
        tolerance: by how much that may be off; one of the above.
        cut: whether bytes are missing at the end of the file.
    """
    early = promised is not None and second < promised - tolerance
    exact = tolerance < TOLERANCE_SECONDS
    whole = exact and promised is not None and abs(second - promised) <= tolerance
    at_end = damage and second - damage[-1].second < TOLERANCE_SECONDS
    if at_end and damage[-1].kind == BROKEN and (early or cut or whole):
        # Either it is said below, or no sound is missing: FLAC with a tag of MP3 at its end.
        damage.pop()
    if early:
        damage.append(Damage(second, f"ends, though {promised:.2f} s are promised"))
    elif cut:
        damage.append(Damage(second, "is cut off"))


def describe_damage(damage: Sequence[Damage]) -> str:
    """Every damaged place in words; of many the first few and how many more there are."""
    more = len(damage) - _TOLD
    return ", ".join(map(str, damage[:_TOLD])) + (f", and {more} places more" if more > 0 else "")
