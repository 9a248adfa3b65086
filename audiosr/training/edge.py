"""How is the detector of the edge trained? On recordings made of clips, whose edge is known.

python -m audiosr.training.edge --clips demo/audio/train --out outputs/edge.safetensors
python -m audiosr.training.edge --clips data/debian --out outputs/edge.safetensors
"""

import argparse
import sys
import time
from collections.abc import Iterable, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from safetensors.torch import save
from torch import Tensor, nn

from audiosr.audio import io
from audiosr.audio.cutoff import edge_over_silence
from audiosr.audio.edge_features import (
    BELOW_NYQUIST,
    LEVEL_FEATURES,
    LEVEL_RANGE_DB,
    MEASURED,
    EdgeFeatures,
    edge_features,
)
from audiosr.audio.edge_net import EdgeNet
from audiosr.degrade.recordings import RECORDING_SECONDS, draw_recording
from audiosr.errors import UsageError, report
from audiosr.progress import progress_bar
from audiosr.shards.corpus import Corpus
from audiosr.shards.index import INDEX_NAME
from audiosr.shards.reader import open_reader

_JITTER = 0.03
"""Noise on what is measured, in its unit of about 20 dB: small differences are chance."""

_EQUALISED = 0.7
"""How often the levels of an example are bent along the bands."""

_BENDS = (0.2, 0.15, 0.1, 0.1, 0.08)
"""Standard deviation of 1 to 5 half waves over all bands, in that unit."""

_TILT = 0.35
"""The same of a slope over nine octaves."""

_LEFT_OUT = 0.04
"""How often each of the measured features is 0 for a whole example."""


class SourceClip(NamedTuple):
    """A clip to make recordings of."""

    wave: NDArray[np.floating]
    end_hz: float
    """Where its own band ends."""


@dataclass(frozen=True)
class Examples:
    """Features of recordings and the bands in which an answer is right, the last one included."""

    features: Tensor
    """(N, EDGE_FEATURES, BANDS) in float16."""
    first: Tensor
    last: Tensor

    def __len__(self) -> int:
        return len(self.first)


def read_clips(folder: Path, per_domain: int = 200) -> list[SourceClip]:
    """The first channel at 48 kHz of every audio file below `folder`, or of clips in shards there.

    Silent ones, which have no edge, are left out.

    Args:
        folder: of audio files or of shards with an index.
        per_domain: most clips of each domain of the train split of shards, evenly spread over it,
            of each as much as a recording takes.
    """
    sharded = (folder / INDEX_NAME).is_file()
    waves = _waves_of_shards(folder, per_domain) if sharded else _waves_of_files(folder)
    clips = []
    for wave in waves:
        features = edge_features(wave, io.RATE)
        if (end_hz := edge_over_silence(features.level, features.bin_hz)) > 0:
            clips.append(SourceClip(wave, end_hz))
    return clips


def _waves_of_files(folder: Path) -> Iterator[NDArray[np.floating]]:
    for path in io.expand(folder):
        wave, rate = io.read_audio(path)
        yield io.resample(wave[:1], rate, io.RATE)[0]


def _waves_of_shards(folder: Path, per_domain: int) -> Iterator[NDArray[np.floating]]:
    reader = open_reader(Corpus.open(folder), "train")
    for domain in reader.domains:
        held = reader.clips(domain)
        for number in np.linspace(0, held - 1, min(per_domain, held)).round().astype(int):
            if (clip := reader.read(domain, int(number))) is not None:
                yield clip.wave[0, : int(RECORDING_SECONDS * io.RATE)].copy()


def make_example(
    number: int, clips: Sequence[SourceClip], seed: int
) -> tuple[NDArray[np.float16], int, int]:
    """Example `number` of a seed: features, first and last right band."""
    rng = np.random.default_rng([seed, number])
    clip = clips[int(rng.integers(len(clips)))]
    if rng.random() < 0.15:
        other = clips[int(rng.integers(len(clips)))]
        samples = min(len(clip.wave), len(other.wave))
        mixed = clip.wave[:samples] + rng.uniform(0.1, 1) * other.wave[:samples]
        clip = SourceClip(mixed, max(clip.end_hz, other.end_hz))
    recording = draw_recording(clip.wave, clip.end_hz, rng)
    features = edge_features(recording.wave, recording.rate)
    first, last = right_bands(features, recording.low_hz, recording.high_hz)
    return features.values.astype(np.float16), first, last


def right_bands(features: EdgeFeatures, low_hz: float, high_hz: float) -> tuple[int, int]:
    """The first and the last band that lie between two frequencies, at least one."""
    first = int(low_hz / features.band_hz)
    last = max(first, int(np.ceil(high_hz / features.band_hz)) - 1)
    return min(first, features.bands - 1), min(last, features.bands - 1)


def make_recordings(
    clips: Sequence[SourceClip], count: int, *, seed: int, workers: int
) -> Examples:
    """Examples 0 to `count` - 1 of a seed, whatever the number of processes."""
    with ProcessPoolExecutor(workers) as pool, progress_bar("recordings", count) as advance:
        make = partial(make_example, clips=clips, seed=seed)
        made = []
        for example in pool.map(make, range(count), chunksize=max(1, count // (8 * workers))):
            made.append(example)
            advance(1)
    features, first, last = zip(*made, strict=True)
    return Examples(torch.from_numpy(np.stack(features)), torch.tensor(first), torch.tensor(last))


def edge_loss(logits: Tensor, first: Tensor, last: Tensor) -> Tensor:
    """Negative log of the probability of the right bands, mean over a batch.

    Where noise covers the edge all that is known is a range, and every answer in it is as good.
    """
    band = torch.arange(logits.shape[-1])
    wrong = (band < first[:, None]) | (band > last[:, None])
    return -logits.log_softmax(-1).masked_fill(wrong, -torch.inf).logsumexp(-1).mean()


def train_edge(examples: Examples, *, epochs: int, seed: int, batch: int = 64) -> EdgeNet:
    """A network trained from random values by AdamW under one cycle of the learning rate."""
    torch.manual_seed(seed)
    net, chance = EdgeNet(), torch.Generator().manual_seed(seed)
    optimiser = torch.optim.AdamW(net.parameters(), weight_decay=0.01)
    steps = epochs * (len(examples) // batch)
    schedule = torch.optim.lr_scheduler.OneCycleLR(
        optimiser, 3e-3, total_steps=steps, pct_start=0.1
    )
    with progress_bar("training", steps) as advance:
        for chosen in _batches(len(examples), batch, epochs, chance):
            features = varied(examples.features[chosen].float(), chance)
            loss = edge_loss(net(features), examples.first[chosen], examples.last[chosen])
            optimiser.zero_grad()
            loss.backward()
            nn.utils.clip_grad_norm_(net.parameters(), 1.0)
            optimiser.step()
            schedule.step()
            advance(1)
    return net


def varied(features: Tensor, chance: torch.Generator) -> Tensor:
    """Features (B, EDGE_FEATURES, BANDS) as other recordings with the same edges might have them.

    An equaliser bends the levels of content and of what covers it alike, so that the edge stays.
    """
    features, valid = features.clone(), features[:, BELOW_NYQUIST : BELOW_NYQUIST + 1]
    count, bands = features.shape[0], features.shape[2]
    measured, levels = features[:, :MEASURED], features[:, :LEVEL_FEATURES]
    measured += _JITTER * torch.randn(measured.shape, generator=chance)
    place = torch.linspace(0, 1, bands)
    waves = [torch.cos(torch.pi * n * place) for n in range(1, len(_BENDS) + 1)]
    curves = torch.stack([*waves, torch.log2((400 * place).clamp_min(1)) / 9])
    size = torch.randn(count, len(curves), generator=chance) * torch.tensor([*_BENDS, _TILT])
    bent = torch.rand(count, 1, generator=chance) < _EQUALISED
    levels += ((size @ curves) * bent)[:, None]
    # As the 95th percentile is.
    loudest = (levels[:, LEVEL_FEATURES - 2] - 9 * (1 - valid[:, 0])).amax(-1)
    levels[:] = (levels - loudest[:, None, None]).clamp_min(-LEVEL_RANGE_DB / 20)
    left = torch.rand(count, MEASURED, 1, generator=chance) >= _LEFT_OUT
    features[:, :MEASURED] = measured * left * valid
    return features


def _batches(count: int, batch: int, epochs: int, chance: torch.Generator) -> Iterable[Tensor]:
    for _ in range(epochs):
        order = torch.randperm(count, generator=chance)
        yield from (order[i : i + batch] for i in range(0, count - batch + 1, batch))


def main(argv: Sequence[str] | None = None) -> int:
    """Make the examples, train, write the weights."""
    parser = argparse.ArgumentParser(
        prog="python -m audiosr.training.edge", description=(__doc__ or "").splitlines()[0]
    )
    parser.add_argument(
        "--clips",
        type=Path,
        required=True,
        help="folder of full-band audio, or of shards, of which the train split is taken",
    )
    parser.add_argument(
        "--per-domain", type=int, default=200, help="clips of shards (default: %(default)s)"
    )
    parser.add_argument("--out", type=Path, required=True, help="weights, .safetensors")
    parser.add_argument("--count", type=int, default=15_000, help="recordings made of the clips")
    parser.add_argument("--epochs", type=int, default=20)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--workers", type=int, default=1, help="processes that make recordings")
    options = parser.parse_args(argv)
    if options.out.suffix != ".safetensors":
        raise UsageError(f"--out {options.out} does not end in .safetensors")
    started = time.perf_counter()
    clips = read_clips(options.clips, options.per_domain)
    examples = make_recordings(clips, options.count, seed=options.seed, workers=options.workers)
    net = train_edge(examples, epochs=options.epochs, seed=options.seed)
    options.out.write_bytes(save(net.state_dict()))
    minutes = (time.perf_counter() - started) / 60
    print(f"{options.out}: {len(examples)} recordings of {len(clips)} clips, {minutes:.1f} minutes")
    return 0


if __name__ == "__main__":
    sys.exit(report(main))
