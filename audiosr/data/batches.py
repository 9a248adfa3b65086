"""Which clips make up batch n, for training and for validation?

Clip `n` of a run is drawn by a generator seeded with (seed, n), where n counts the clips of all
ranks from the first step on, so a batch is a function of its number and nothing remembers a
position. Clips of a stream come in the order of the stream instead (`audiosr.data.streams`).
"""

import math
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import KW_ONLY, dataclass, replace
from typing import Any, TypeVar
from zlib import crc32

import numpy as np
import torch
from numpy.typing import NDArray
from torch.utils.data import Dataset, default_collate

from audiosr.degrade.twins import Degradation, degrade_batch
from audiosr.errors import DataError, UsageError
from audiosr.shards.clip import ClipWave, ShardClip
from audiosr.shards.reader import NumberedClips, Reader

SILENT_PEAK = 1e-4
"""A crop whose peak is below this is drawn again (the loader of AudioLDM, from which AudioSR's
comes).
"""

_TRIES = 100
_DEGRADATION = 1013
"""Purpose, in the seed of a generator, of the draws of a degradation; no attempt counts so far."""

_T = TypeVar("_T")

Batch = dict[str, Any]
"""`waveform (B, 1, T)` float32, `key` and `domain` as lists of B strings, `bandwidth_hz (B,)`
float32; and what `degrade_batch` adds where there is a degradation.
"""


@dataclass(eq=False)
class TrainDraws(Dataset[Batch | DataError]):
    """Batch number `step` of one rank, as a pure function of the seed; see `audiosr.data`.

    The domain of a clip is drawn by weight, one of its channels evenly (a mix of the channels would
    comb-filter what two microphones heard), and the crop evenly. A clip shorter than the crop is
    followed by zeros, as a short file is at inference; repeated or mirrored it would show the model
    seams that no recording has. With `degrade` each clip gets a twin, drawn by (seed, n).
    """

    reader: Any
    _: KW_ONLY
    batch_size: int
    crop_samples: int
    seed: int
    rank: int = 0
    ranks: int = 1
    domain_weights: Mapping[str, float] | None = None
    min_bandwidth_hz: float | None = None
    degrade: Degradation | None = None

    def __post_init__(self) -> None:
        self.where = self.reader.ledger.where
        self.weights = share_weights(self.reader.domains, self.where, self.domain_weights)

    def __getitem__(self, step: int) -> Batch | DataError:
        first = (step * self.ranks + self.rank) * self.batch_size
        numbers = range(first, first + self.batch_size)
        try:
            clips = self.clips(step, numbers)
        except DataError as error:
            # As a value: raised in a worker process it would come out as a page of traceback.
            return error
        seeds = [(self.seed, number, _DEGRADATION) for number in numbers]
        return collate(clips, self.degrade, seeds)

    def clips(self, step: int, numbers: Sequence[int]) -> list[ShardClip]:
        """Clips `numbers` of the run, of batch `step`: cropped, `(1, crop_samples)`.

        Raises:
            DataError: too many clips are bad.
        """
        raise NotImplementedError


@dataclass(eq=False)
class TrainBatches(TrainDraws):
    """Batches of clips that are drawn evenly within their domain.

    With `min_bandwidth_hz` another clip of the same domain is drawn for one whose JSON says less.
    """

    reader: Reader

    def clips(self, step: int, numbers: Sequence[int]) -> list[ShardClip]:
        """As `TrainDraws` says."""
        return [self.draw(number) for number in numbers]

    def draw(self, number: int) -> ShardClip:
        """Clip `number` of the run: one channel, cropped and normalised, `(1, crop_samples)`.

        Raises:
            DataError: nothing but bad clips, too many of them, or none of the bandwidth asked for.
        """
        for attempt in range(_TRIES):
            # A new generator for each attempt: whether a bad clip is known already changes nothing.
            generator = np.random.default_rng([self.seed, number, attempt])
            which = generator.choice(len(self.weights), p=[*self.weights.values()])
            domain = list(self.weights)[which]
            clip = self._choose(domain, generator)
            crop = DrawnCrop(self.crop_samples, generator)
            found = self.reader.read(domain, clip, crop.range, crop.sounds)
            if found is not None:
                return crop.normalised(found)
        raise DataError(f"{_TRIES} clips drawn in a row from {self.where} are all bad")

    def _choose(self, domain: str, generator: np.random.Generator) -> int:
        """Number of a clip of `domain` that has the bandwidth asked for."""
        least, reader = self.min_bandwidth_hz, self.reader
        clips = reader.clips(domain)
        clip = int(generator.integers(clips))
        if least is None:
            return clip
        for _ in range(_TRIES):
            bandwidth = reader.bandwidth_hz(domain, clip)
            # A clip whose JSON cannot be read is counted as bad when it is read itself.
            if bandwidth is None or bandwidth >= least:
                return clip
            clip = int(generator.integers(clips))
        # There are few: the next one from here on, in the order of the index.
        for other in (*range(clip, clips), *range(clip)):
            bandwidth = reader.bandwidth_hz(domain, other)
            if bandwidth is not None and bandwidth >= least:
                return other
        raise DataError(
            f"no clip of {domain} in {self.where} reaches "
            f"data.min_bandwidth_hz={least:g}: lower it, or give the domain weight 0"
        )


class DrawnCrop:
    """One channel and a part of a clip, drawn evenly; drawn again while it is silent."""

    def __init__(self, samples: int, generator: np.random.Generator) -> None:
        self.samples = samples
        self._channel = generator.random()
        self._generator = generator

    def range(self, channels: int, samples: int) -> tuple[int, int]:
        """First sample and number of samples, of a clip with `samples`."""
        count = min(self.samples, samples)
        return int(self._generator.integers(samples - count + 1)), count

    def sounds(self, wave: ClipWave) -> bool:
        """Whether the channel of `wave (C, T)` is not silent."""
        return bool(np.abs(self._of(wave)).max() > SILENT_PEAK)

    def normalised(self, clip: ShardClip) -> ShardClip:
        """The clip with its one channel, normalised, `(1, samples)`."""
        return replace(clip, wave=normalised(self._of(clip.wave), self.samples))

    def _of(self, wave: ClipWave) -> ClipWave:
        which = int(self._channel * len(wave))
        return wave[which : which + 1]


@dataclass(eq=False)
class ValidBatches(Dataset[Batch | DataError]):
    """The middle of each validation clip, first channel, in batches that stay the same.

    Every rank has the same number of batches and none is empty, so no rank waits for another; a
    clip is seen by one rank alone, except where there are fewer clips than ranks. Batches hold up
    to one clip more than `batch_size`, so that this comes out. Domains without weight are left out,
    as in training, unless no other has validation clips. With `degrade` each clip gets a twin,
    drawn by its domain and key: always the same, whatever the seed of the run.
    """

    reader: NumberedClips
    _: KW_ONLY
    batch_size: int
    crop_samples: int
    rank: int = 0
    ranks: int = 1
    domain_weights: Mapping[str, float] | None = None
    degrade: Degradation | None = None

    def __post_init__(self) -> None:
        reader, rank, ranks, wanted = self.reader, self.rank, self.ranks, self.domain_weights
        weighted = [d for d in reader.domains if wanted is None or wanted.get(d)]
        counts = {domain: reader.clips(domain) for domain in weighted or reader.domains}
        # Domains in turn, so that a run that validates on the first few batches hears all of them.
        clips = sorted(
            (number, domain) for domain, count in counts.items() for number in range(count)
        )
        own = [clips[rank % len(clips)]] if len(clips) < ranks else _parts(clips, ranks)[rank]
        self.batches = _parts(own, -(-max(len(clips) // ranks, 1) // self.batch_size))

    def __len__(self) -> int:
        return len(self.batches)

    def __getitem__(self, number: int) -> Batch | DataError:
        def crop(channels: int, samples: int) -> tuple[int, int]:
            count = min(self.crop_samples, samples)
            return (samples - count) // 2, count

        try:
            places = self.batches[number]
            found = [self.reader.read(domain, place, crop) for place, domain in places]
            if not any(found):
                # No rank may lack a batch: the next good clip stands in, of the domain if there is.
                others = (self.reader.read(d, place, crop) for place, d in self._after(*places[0]))
                found = [next(filter(None, others), None)]
            clips = [clip for clip in found if clip is not None]
            if not clips:
                raise DataError(f"no clip in {self.reader.ledger.where} can be used")
        except DataError as error:
            return error
        clips = [replace(c, wave=normalised(c.wave[:1], self.crop_samples)) for c in clips]
        seeds = [(crc32(f"{c.domain}/{c.key}".encode()), _DEGRADATION) for c in clips]
        return collate(clips, self.degrade, seeds)

    def _after(self, place: int, domain: str) -> Iterator[tuple[int, str]]:
        """All clips: those of the domain from `place` on and around, then the other domains'."""
        for name in sorted(self.reader.domains, key=lambda name: name != domain):
            clips = self.reader.clips(name)
            yield from (((place + i) % clips, name) for i in range(clips))


def normalised(wave: NDArray[np.float32], samples: int) -> NDArray[np.float32]:
    """`wave (1, T)` without its mean, peak 0.5, zeros after it up to `samples` in all.

    As the AudioSR release treats its input (utils.py, normalize_wav and pad_wav), but that silence
    is not blown up.
    """
    out = np.zeros((1, samples), np.float32)
    clip = out[:, : wave.shape[1]]
    np.subtract(wave, wave.mean(), out=clip)
    peak = max(clip.max(), -clip.min(), np.float32(SILENT_PEAK))
    clip *= 0.5
    clip /= peak
    return out


def collate(
    clips: list[ShardClip], degrade: Degradation | None, seeds: Sequence[Sequence[int]]
) -> Batch:
    """Clips of one length as a batch, with twins by `degrade`, each drawn by its seed."""
    # Into shared memory where a worker process does it, which saves a copy.
    waveform = default_collate([torch.from_numpy(clip.wave) for clip in clips])
    twins = {} if degrade is None else degrade_batch(waveform, degrade, seeds)
    return {
        "waveform": waveform,
        "key": [clip.key for clip in clips],
        "domain": [clip.domain for clip in clips],
        "bandwidth_hz": torch.tensor([clip.bandwidth_hz for clip in clips]),
        **twins,
    }


def _parts(items: Sequence[_T], parts: int) -> list[list[_T]]:
    """Cut into `parts` runs of equal length, give or take one."""
    return [[items[i] for i in part] for part in np.array_split(np.arange(len(items)), parts)]


def share_weights(
    domains: Collection[str], where: str, weights: Mapping[str, float] | None
) -> dict[str, float]:
    """How often each domain that has a weight is drawn; 1 in all."""
    if weights is None:
        return {domain: 1 / len(domains) for domain in domains}
    if unknown := set(weights) - set(domains):
        raise UsageError(
            f"data.domain_weights names {', '.join(sorted(unknown))}, but {where} "
            f"holds {', '.join(domains)}"
        )
    numbers = all(isinstance(weight, int | float) for weight in weights.values())
    total = sum(weights.values()) if numbers else math.nan
    if not 0 < total < math.inf or min(weights.values()) < 0:
        raise UsageError("data.domain_weights must be numbers, at least 0 and not all 0")
    return {domain: weights[domain] / total for domain in domains if weights.get(domain)}
