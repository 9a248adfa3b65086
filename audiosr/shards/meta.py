"""What is said about a clip, in the JSON beside its audio?"""

import json
import math
from dataclasses import dataclass, fields
from typing import Any

from audiosr.audio.io import RATE
from audiosr.shards.ledger import BadClip


@dataclass(frozen=True)
class Meta:
    """The content of `KEY.json`. Whatever it does not say is NaN, 0 or empty, by its type.

    `python -m data_prep` says all but `copyright` of every clip; shards of others may say less, or
    have more keys, which are passed over.
    """

    source: str = ""
    """Work, speaker, record or package."""
    licence: str = ""
    domain: str = ""
    seconds: float = math.nan
    rate: int = 0
    """Of the audio in the shard, in Hz."""
    channels: int = 0
    bandwidth_hz: float = math.nan
    """Frequency in Hz up to which the clip has content."""
    loudness_lufs: float = math.nan
    clipped_share: float = math.nan
    """Of the samples, those at full scale."""
    sha256: str = ""
    """Of the encoded audio."""
    samples_sha256: str = ""
    """Of the samples in 24 bits, so the same for a WAV and its FLAC."""
    source_rate: int = 0
    """Hz; nothing above half of it can be in the clip."""
    source_file: str = ""
    source_start: float = math.nan
    """Where in that file the clip began, in seconds."""
    copyright: str = ""

    @classmethod
    def parse(cls, text: bytes) -> "Meta":
        """Read JSON; `null` says as little as a key that is not there.

        Raises:
            BadClip: not a JSON object, or it says what cannot be: numbers that are none or not
                finite, a hash that is no text, a bandwidth above half the rate.
        """
        try:
            content = json.loads(text)
            told = {
                field.name: _typed(field.name, field.default, content[field.name])
                for field in fields(cls)
                if content.get(field.name) is not None
            }
            meta = cls(**told)
            if "bandwidth_hz" in told and not 0 <= meta.bandwidth_hz <= (meta.rate or RATE) / 2:
                raise ValueError(meta.bandwidth_hz)
        except (ValueError, TypeError, AttributeError, OverflowError, RecursionError) as error:
            raise BadClip("JSON is broken or says what cannot be") from error
        return meta

    def dump(self) -> bytes:
        """What `parse` reads; the same clip gives the same bytes."""
        return json.dumps(self.told(), ensure_ascii=False).encode("utf-8", "backslashreplace")

    def told(self) -> dict[str, Any]:
        """All that it says, by name, in the order of the fields."""
        values = {field.name: getattr(self, field.name) for field in fields(self)}
        # A share or a start of 0.0 says something; a rate of 0 and an empty text do not.
        return {name: v for name, v in values.items() if v == v and (isinstance(v, float) or v)}


def _typed(name: str, unsaid: Any, value: Any) -> Any:
    """`value` as what the field `name` holds; texts that are none, which only inform, as unsaid."""
    if isinstance(unsaid, str):
        if not isinstance(value, str) and name == "sha256":
            raise TypeError(value)
        return value if isinstance(value, str) else unsaid
    number = float(value)
    if not math.isfinite(number):
        raise ValueError(value)
    return type(unsaid)(number)
