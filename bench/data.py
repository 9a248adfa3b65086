"""How many clips per second per core are decoded, degraded and loaded, beside the release's chain?

Every work of a round takes the same clips; the drawn filters are those of the configuration. The
last column of the first table is the largest difference from scipy's result, relative to its norm.
The loader's clips are read from FLAC shards that the benchmark writes, of noise, which no codec of
the kind packs well: recordings decode faster. Run:

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
from torch import Tensor

from audiosr.audio import io as audio_io
from audiosr.audio import lowpass, released
from audiosr.audio.lowpass import Lowpass
from audiosr.data.datamodule import ShardDataModule
from audiosr.degrade.filters import Degrade, Released
from audiosr.degrade.robust import Robust
from bench.timing import interleaved, options, ratio, set_threads

CLIPS = 16
SECONDS = 5.12
RATE = 48_000
FAMILIES = ("cheby1", "ellip", "butter", "bessel")


def generator() -> torch.Generator:
    """The draws of every work of a round."""
    return torch.Generator().manual_seed(0)


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


def scipy_chain(batch: Tensor, filters: list[Lowpass]) -> np.ndarray:
    """Waveforms (B, 1, T), each through the chain of the release by scipy, (B, T)."""
    clips = [
        released.lowpass_chain(
            clip, cutoff_hz=f.cutoff_hz, order=f.order, family=f.family, rate=RATE
        )
        for clip, f in zip(batch, filters, strict=True)
    ]
    return torch.cat(clips).numpy()


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
    """Decoding alone, and the whole loader, over the clips under `root`."""
    files = [path.read_bytes() for path in sorted(root.glob("source/train/noise/*.flac"))]
    data = ShardDataModule(
        root / "shards",
        batch_size=CLIPS,
        crop_seconds=SECONDS,
        steps_per_epoch=1,
        num_workers=workers,
    )
    return {
        "decode": lambda: [audio_io.read_audio(file) for file in files],
        "loader": lambda: list(data.train_dataloader()),
    }


def main() -> None:
    """Time all works in turns and print both tables."""
    parser = options(__doc__)
    parser.add_argument("--workers", type=int, default=0, help="processes of the loader")
    arguments = parser.parse_args()
    set_threads(arguments.threads)
    noise = np.random.default_rng(0).standard_normal((CLIPS, round(SECONDS * RATE)))
    clips = (0.1 * noise).astype(np.float32)
    batch = torch.from_numpy(clips)[:, None]
    ours = {"paper": Degrade(families=FAMILIES), "released": Released()}
    drawn = {name: degrade.draw(CLIPS, generator()) for name, degrade in ours.items()}

    with tempfile.TemporaryDirectory() as folder:
        write_shards(Path(folder), clips)
        works: dict[str, Callable[[], object]] = {
            "scipy paper": lambda: scipy_filter(clips, drawn["paper"]),
            "paper": lambda: ours["paper"](batch, generator()),
            "scipy released": lambda: scipy_chain(batch, drawn["released"]),
            "released": lambda: ours["released"](batch, generator()),
            "robust": lambda: Robust()(batch, generator()),
            **loader_works(Path(folder), arguments.workers),
        }
        seconds = interleaved(works, arguments.rounds)

    print(f"{CLIPS} clips of {SECONDS} s, clips per second per core\n")
    print("| degrade | scipy, clip by clip | ours | ratio | difference |")
    print("| --- | --- | --- | --- | --- |")
    cores = arguments.threads
    for name, degrade in ours.items():
        theirs = works[f"scipy {name}"]()
        inside = slice(lowpass.MARGIN, -lowpass.MARGIN)
        got = degrade(batch, generator()).waveform[:, 0].numpy()
        gap = np.linalg.norm((got - theirs)[:, inside], axis=1)  # pyright: ignore
        gap = (gap / np.linalg.norm(theirs[:, inside], axis=1)).max()  # pyright: ignore
        speeds = [CLIPS / median(seconds[key]) / cores for key in (f"scipy {name}", name)]
        times = ratio(seconds[f"scipy {name}"], seconds[name])
        print(f"| {name} | {speeds[0]:.1f} | {speeds[1]:.1f} | {times} | {gap:.1e} |")
    print("\n| work | clips per second per core | of the release's chain |")
    print("| --- | --- | --- |")
    for name in ("robust", "decode", "loader"):
        used = max(1, arguments.workers) if name == "loader" else cores
        speed = CLIPS / median(seconds[name]) / used
        print(f"| {name} | {speed:.1f} | {ratio(seconds['scipy released'], seconds[name])} |")


if __name__ == "__main__":
    main()
