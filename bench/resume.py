"""Does a run that is killed again and again end with the numbers of a run that never was?

python -m bench.resume SHARDS [--kills 20] [--workers 0 2] [--ranks 1 2]

The processor alone: on a GPU some sums have no fixed order.
"""

import argparse
import csv
import os
import random
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path

STEPS = 200
TRAIN = [
    *(sys.executable, "train.py", "stage=vae", "data=shards", "trainer=cpu", "threads=1"),
    *("trainer.enable_progress_bar=false", "trainer.log_every_n_steps=1", "panels.clips=0"),
    *(f"max_steps={STEPS}", "valid_every_n_steps=50", "checkpoint.every_n_steps=5"),
    *("data.batch_size=2", "data.crop_seconds=0.64", "data.valid_crop_seconds=0.64"),
    *("size.autoencoder.width=16", "size.autoencoder.blocks=1", "stage.module.fit_batches=2"),
    *("size.patch_discriminator.channels=4", "stage.module.adversarial_start=20"),
]

TIMES = ("train/clips_per_s", "train/wait")


def main() -> int:
    """Compare the loss curves for every number of workers and ranks; 1 where any differs."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("data", help="folder or URL of shards with train and valid clips")
    parser.add_argument("--kills", type=int, default=20, help="times that a run is killed")
    parser.add_argument("--workers", type=int, nargs="+", default=[0, 2], help="of the loader")
    parser.add_argument("--ranks", type=int, nargs="+", default=[1, 2], help="processes")
    parser.add_argument("--seed", type=int, default=0, help="of the steps at which it is killed")
    arguments = parser.parse_args()
    equal = True
    print("| workers | ranks | kills | steps done again | rows | curve |\n" + "| --- " * 6 + "|")
    for ranks in arguments.ranks:
        for workers in arguments.workers:
            command = [*TRAIN, f"data.root={arguments.data}", f"data.num_workers={workers}"]
            if ranks > 1:
                strategy = "trainer.strategy=ddp_find_unused_parameters_true"
                command += [f"trainer.devices={ranks}", strategy]
            with tempfile.TemporaryDirectory() as folder:
                unbroken, broken = Path(folder, "unbroken"), Path(folder, "broken")
                subprocess.run([*command, f"run_dir={unbroken}"], check=True, stdout=2)
                again = kill(command, broken, arguments.kills, random.Random(arguments.seed))
                curves = [curve(unbroken), curve(broken)]
            same = curves[0] == curves[1] and len(curves[0]) >= STEPS
            equal &= same
            verdict = "equal" if same else "DIFFERS"
            row = (workers, ranks, arguments.kills, again, len(curves[1]), verdict)
            print(f"| {' | '.join(map(str, row))} |", flush=True)
    return not equal


def kill(command: list[str], folder: Path, kills: int, chance: random.Random) -> int:
    """Train in `folder`, killed `kills` times at random steps; returns the steps done again."""
    again = done = 0
    for left in range(kills, -1, -1):
        resume = f"resume={folder}" if (folder / "checkpoints/last.ckpt").exists() else ""
        start = [f"run_dir={folder}"] if not resume else [resume]
        with subprocess.Popen([*command, *start], start_new_session=True, stdout=2) as process:
            if not left:
                process.wait()
                break
            # So far that the rest is enough for the kills that are to come.
            target = done + chance.randint(1, max(1, 2 * (STEPS - 10 - done) // (left + 1)))
            while process.poll() is None and logged(folder) < target:
                time.sleep(0.01)
            if process.poll() is None:
                os.killpg(process.pid, signal.SIGKILL)
            elif process.returncode:
                raise SystemExit(f"training failed with {process.returncode}")
        checkpoints = (folder / "checkpoints").glob("step=*.ckpt")
        kept = max((int(path.stem.split("=")[1]) for path in checkpoints), default=0)
        again += max(0, logged(folder) - kept)
        done = kept
    return again


def logged(folder: Path) -> int:
    """Steps in the metrics of the run."""
    try:
        last = (folder / "metrics.csv").read_text().rstrip().rsplit("\n", 1)[-1]
        return int(last.split(",", 1)[0]) + 1
    except (OSError, ValueError):
        return 0


def curve(folder: Path) -> list[dict[str, str]]:
    """All metrics of a run but those that time it."""
    with (folder / "metrics.csv").open(newline="") as file:
        return [
            {name: value for name, value in row.items() if name not in TIMES}
            for row in csv.DictReader(file)
        ]


if __name__ == "__main__":
    sys.exit(main())
