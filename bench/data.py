"""How many clips per second per core are decoded, degraded and loaded?

Every work of a round takes the same clips, one at a time as the loader's workers do; filters are
drawn as in training. The released chain is scipy's, which resamples by ratios of whole Hz that may
be odd; the paper's filter is compared with scipy's. The loaders' clips are read from FLAC shards
that the benchmark writes, at random places and as a stream, of noise, which no codec of the kind
packs well: recordings decode faster. Run:

    python -m bench.data
"""

import subprocess
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path
from statistics import median

import numpy as np
import scipy.signal
import soundfile
import torch

from audiosr.audio import io as audio_io
from audiosr.audio import lowpass
from audiosr.audio.lowpass import Lowpass
from audiosr.data.datamodule import ShardDataModule
from audiosr.degrade.paper import PaperDegradation
from audiosr.degrade.released import ReleasedDegradation
from audiosr.degrade.robust import RobustDegradation
from audiosr.degrade.twins import Degradation, degrade_batch
from bench.timing import interleaved, options, ratio, set_threads

CLIPS = 16
SECONDS = 5.12
STEPS = 8
"""Batches of a loader in a round; what a stream reads to fill its shuffle is in the first."""
RATE = 48_000


def scipy_filter(clips: np.ndarray, filters: list[Lowpass]) -> np.ndarray:
    """`clips (B, T)`, each forward and backward through its filter by scipy."""
    return np.stack([_filtered(clip, f) for clip, f in zip(clips, filters, strict=True)])


def _filtered(clip: np.ndarray, filter: Lowpass) -> np.ndarray:
    sections = scipy.signal.iirfilter(
        filter.order,
        filter.cutoff_hz,
        rp=lowpass.RIPPLE_DB if filter.family in ("cheby1", "ellip") else None,
        rs=lowpass.STOP_DB if filter.family == "ellip" else None,
        btype="lowpass",
        ftype=filter.family,
        output="sos",
        fs=RATE,
    )
    return scipy.signal.sosfiltfilt(sections, clip)


def write_shards(root: Path, clips: np.ndarray) -> None:
    """The clips as shards under `root`, by `python -m data_prep`."""
    for number, clip in enumerate(clips):
        folder = root / "source" / "train" / "noise"
        folder.mkdir(parents=True, exist_ok=True)
        soundfile.write(folder / f"{number:02d}.flac", clip, RATE, subtype="PCM_16")
    command = ["folder", "--source", str(root / "source"), "--out", str(root / "shards")]
    subprocess.run(
        [sys.executable, "-m", "data_prep", *command], check=True, stdout=subprocess.DEVNULL
    )


def loader_works(root: Path, workers: int) -> dict[str, Callable[[], object]]:
    """Decoding alone, and loaders with and without twins, over the clips under `root`."""
    files = [path.read_bytes() for path in sorted(root.glob("source/train/noise/*.flac"))]

    def load(shards: str, degrade: Degradation | None = None) -> object:
        data = ShardDataModule(
            root / shards,
            batch_size=CLIPS,
            crop_seconds=SECONDS,
            steps_per_epoch=STEPS,
            num_workers=workers,
            degrade=degrade,
        )
        return list(data.train_dataloader())

    return {
        "decode": lambda: [audio_io.read_audio(file) for file in files],
        "loader": lambda: load("shards"),
        "loader, streamed": lambda: load("shards/train/*.tar"),
        "loader, paper": lambda: load("shards", PaperDegradation()),
    }


def main() -> None:
    """Time all works in turns and print the table."""
    parser = options(__doc__)
    parser.add_argument("--workers", type=int, default=0, help="processes of the loader")
    arguments = parser.parse_args()
    set_threads(arguments.threads)
    noise = np.random.default_rng(0).standard_normal((CLIPS, round(SECONDS * RATE)))
    clips = (0.1 * noise).astype(np.float32)
    batch = torch.from_numpy(clips)[:, None]
    paper = PaperDegradation(families=("cheby1", "ellip", "butter", "bessel"))
    seeds = [(0, number) for number in range(CLIPS)]
    filters = [paper.draw(np.random.default_rng(seed)) for seed in seeds]

    with tempfile.TemporaryDirectory() as folder:
        write_shards(Path(folder), clips)
        works: dict[str, Callable[[], object]] = {
            "paper, by scipy": lambda: scipy_filter(clips, filters),
            "paper": lambda: degrade_batch(batch, paper, seeds),
            "released": lambda: degrade_batch(batch, ReleasedDegradation(), seeds),
            "robust": lambda: degrade_batch(batch, RobustDegradation(), seeds),
            **loader_works(Path(folder), arguments.workers),
        }
        seconds = interleaved(works, arguments.rounds)

    print(f"{CLIPS} clips of {SECONDS} s\n")
    print("| work | clips per second per core | time, of scipy's filter |")
    print("| --- | --- | --- |")
    for name, times in seconds.items():
        used = max(1, arguments.workers) if "loader" in name else arguments.threads
        times = [time / STEPS for time in times] if "loader" in name else times
        speed = CLIPS / median(times) / used
        print(f"| {name} | {speed:.1f} | {ratio(times, seconds['paper, by scipy'])} |")
    inside = slice(lowpass.MARGIN, -lowpass.MARGIN)
    theirs = scipy_filter(clips, filters)[:, inside]
    ours = degrade_batch(batch, paper, seeds)["degraded"][:, 0, inside].numpy()
    gaps = [np.linalg.norm(a - b) / np.linalg.norm(b) for a, b in zip(ours, theirs, strict=True)]
    print(f"\nlargest difference of the paper's filter from scipy's: {max(gaps):.1e}")


if __name__ == "__main__":
    main()
