"""Does a run that is killed again and again end with the numbers of a run that never was?

python -m bench.resume SHARDS [--kills 20] [--workers 0 2] [--ranks 1 2]

What a run imports is imported once, and each run is a fork of that; ranks start as torchrun would
start them and take `trainer=ddp`. The processor alone: on a GPU some sums have no fixed order.
"""

import argparse
import csv
import os
import random
import signal
import socket
import sys
import tempfile
import time
from pathlib import Path

import torch

import audiosr.training.run
from audiosr.cli import main as run_command

STEPS = 120
PATIENCE_SECONDS = 300
"""A run that logs no step for so long hangs."""
TRAIN = [
    *("train", "stage=vae", "data=shards", "threads=1"),
    *("trainer.enable_progress_bar=false", "trainer.log_every_n_steps=1", "panels.clips=0"),
    *(f"max_steps={STEPS}", "valid_every_n_steps=40", "checkpoint.every_n_steps=3"),
    *("data.batch_size=2", "data.crop_seconds=0.32", "data.valid_crop_seconds=0.32"),
    *("size.autoencoder.width=16", "size.autoencoder.blocks=1", "stage.module.fit_clips=4"),
    *("size.patch_discriminator.channels=4", "stage.module.adversarial_start=20"),
]
ALONE = ("trainer=cpu",)
TOGETHER = ("trainer=ddp", "trainer.accelerator=cpu")
TIMES = ("train/clips_per_s", "train/wait")


def main() -> int:
    """Compare curves and weights for every number of workers and ranks; 1 where any differs."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("data", help="folder or URL of shards with train and valid clips")
    parser.add_argument("--kills", type=int, default=20, help="times that a run is killed")
    parser.add_argument("--workers", type=int, nargs="+", default=[0, 2], help="of the loader")
    parser.add_argument("--ranks", type=int, nargs="+", default=[1, 2], help="processes")
    parser.add_argument("--seed", type=int, default=0, help="of the steps at which it is killed")
    arguments = parser.parse_args()
    good = True
    print("| ranks | workers | kills | hangs | steps done again | rows | curve | weights |")
    print("| --- " * 8 + "|")
    for ranks in arguments.ranks:
        for workers in arguments.workers:
            command = [*TRAIN, f"data.root={arguments.data}", f"data.num_workers={workers}"]
            command += ALONE if ranks == 1 else [*TOGETHER, f"trainer.devices={ranks}"]
            with tempfile.TemporaryDirectory() as folder:
                unbroken, broken = Path(folder, "unbroken"), Path(folder, "broken")
                hung, _ = kill(command, ranks, unbroken, 0, random.Random())
                chance = random.Random(arguments.seed)
                hangs, again = kill(command, ranks, broken, arguments.kills, chance)
                curves = [curve(unbroken), curve(broken)]
                weights = [final_weights(unbroken), final_weights(broken)]
            same = curves[0] == curves[1] and len(curves[0]) >= STEPS
            alike = all(torch.equal(weights[1][name], one) for name, one in weights[0].items())
            good &= same and alike and not hung + hangs
            verdicts = ["equal" if one else "DIFFERS" for one in (same, alike)]
            row = (ranks, workers, arguments.kills, hung + hangs, again, len(curves[1]), *verdicts)
            print(f"| {' | '.join(map(str, row))} |", flush=True)
    return not good


def kill(
    command: list[str], ranks: int, folder: Path, kills: int, chance: random.Random
) -> tuple[int, int]:
    """Train in `folder` to the end, killed `kills` times at random steps.

    Returns:
        How often it hung, and the steps done again.
    """
    hangs = again = done = 0
    for left in range(kills, -1, -1):
        resumes = (folder / "checkpoints/last.ckpt").exists()
        process = start([*command, f"{'resume' if resumes else 'run_dir'}={folder}"], ranks)
        # So far that the rest is enough for the kills that are to come.
        target = done + chance.randint(1, max(1, 2 * (STEPS - 10 - done) // (left + 1)))
        hangs += not watch(process, folder, target if left else None)
        checkpoints = (folder / "checkpoints").glob("step=*.ckpt")
        kept = max((int(path.stem.split("=")[1]) for path in checkpoints), default=0)
        again += max(0, logged(folder) - kept)
        done = kept
    return hangs, again


def start(arguments: list[str], ranks: int) -> int:
    """Fork a run in a session of its own; returns the id of its first rank."""
    with socket.socket() as free:
        free.bind(("localhost", 0))
        port = free.getsockname()[1]
    if leader := os.fork():
        return leader
    os.setsid()
    rank = next((rank for rank in range(1, ranks) if os.fork() == 0), 0)
    if ranks > 1:
        os.environ |= {"MASTER_ADDR": "localhost", "MASTER_PORT": str(port)}
        os.environ |= {"WORLD_SIZE": str(ranks), "RANK": str(rank), "LOCAL_RANK": str(rank)}
    os.dup2(sys.stderr.fileno(), sys.stdout.fileno())
    code = 1
    try:
        code = run_command(arguments)
    finally:
        os._exit(code)


def watch(process: int, folder: Path, target: int | None) -> bool:
    """Kill a run at the step `target`, or wait for its end; false where it hung."""
    steps, since = logged(folder), time.monotonic()
    while os.waitid(os.P_PID, process, os.WEXITED | os.WNOHANG | os.WNOWAIT) is None:
        time.sleep(0.01)
        if (now := logged(folder)) != steps:
            steps, since = now, time.monotonic()
        reached = target is not None and steps >= target
        if reached or time.monotonic() - since > PATIENCE_SECONDS:
            break
    else:
        reached = True
    os.killpg(process, signal.SIGKILL)
    status = os.waitstatus_to_exitcode(os.waitpid(process, 0)[1])
    if status not in (0, -signal.SIGKILL):
        raise SystemExit(f"training failed with {status}")
    return reached


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


def final_weights(folder: Path) -> dict[str, torch.Tensor]:
    """Weights in the last checkpoint of a run."""
    return torch.load(folder / "checkpoints/last.ckpt", weights_only=False)["state_dict"]


if __name__ == "__main__":
    assert audiosr.training.run, "imported before the first fork"
    sys.exit(main())
