"""How are two ways of doing the same work timed, so that the ratio means something?"""

import argparse
import ctypes
import os
import statistics
import time
from collections.abc import Callable, Mapping
from pathlib import Path

import torch


def options(description: str | None) -> argparse.ArgumentParser:
    """Parser with the flags that every benchmark takes."""
    parser = argparse.ArgumentParser(description=description)
    parser.add_argument("--rounds", type=int, default=7, help="timed rounds; the median counts")
    parser.add_argument("--threads", type=int, default=1, help="threads of torch and BLAS")
    return parser


def set_threads(threads: int) -> None:
    """Hold torch to `threads`, and say so beside the processor's count."""
    torch.set_num_threads(threads)
    print(f"{threads} of {os.cpu_count()} cores, torch {torch.__version__}")


def interleaved(works: Mapping[str, Callable[[], object]], rounds: int) -> dict[str, list[float]]:
    """Seconds of each work in each round.

    Every round runs all works one after the other, so that whatever else the machine does meanwhile
    falls on all of them; a first round warms up and is not counted.
    """
    seconds: dict[str, list[float]] = {name: [] for name in works}
    for turn in range(rounds + 1):
        for name, work in works.items():
            start = time.perf_counter()
            work()
            if torch.cuda.is_available():
                torch.cuda.synchronize()
            if turn:
                seconds[name].append(time.perf_counter() - start)
    return seconds


def ratio(numerator: list[float], denominator: list[float]) -> str:
    """Time of `numerator` over that of `denominator`, round by round: median and range."""
    ratios = sorted(n / d for n, d in zip(numerator, denominator, strict=True))
    return f"{statistics.median(ratios):.2f} ({ratios[0]:.2f}-{ratios[-1]:.2f})"


def peak_memory(work: Callable[[], object], device: str = "cpu") -> float:
    """MiB taken at most while `work` runs: of the CUDA device, else of the process (glibc)."""
    if device.startswith("cuda"):
        torch.cuda.reset_peak_memory_stats(device)
        before = torch.cuda.memory_allocated(device)
        work()
        return (torch.cuda.max_memory_allocated(device) - before) / 2**20
    ctypes.CDLL(None).malloc_trim(0)  # what earlier work has freed must not serve this one unseen
    Path("/proc/self/clear_refs").write_text("5")  # the high-water mark starts again from here
    before = _status("VmRSS")
    work()
    return (_status("VmHWM") - before) / 1024


def _status(field: str) -> int:
    """A field of this process's status in KiB."""
    lines = Path("/proc/self/status").read_text().splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith(field))
