"""How often is the edge of a recording found, by kind, beside plain rules, and how sure is it?

python -m bench.edge [FOLDER_OF_FULL_BAND_CLIPS] [--count 500] [--seed 1]

The recordings are of the kinds that the detector was trained on, made of other clips.
"""

import argparse
from collections import defaultdict
from itertools import pairwise
from pathlib import Path

import numpy as np

from audiosr.audio.cutoff import edge_over_silence
from audiosr.audio.edge import FULL, NEAR, SURE, find_edge
from audiosr.audio.edge_features import edge_features
from audiosr.degrade.recordings import Recording, draw_recording
from audiosr.training.edge import read_clips

COVERS = ("noise", "8 bit", "16 bit", "clipped", "clicks", "hum", "tone", "jingle", "drop-out")
SURENESS = (0.0, 0.5, 0.7, 0.9, 1.01)


def kinds(recording: Recording) -> list[str]:
    """The rows of the table in which a recording counts."""
    parts = recording.kind.split(", ")
    covers = [cover for cover in COVERS if any(part.startswith(cover) for part in parts)]
    return [*(covers or ["nothing above the edge"]), "all"]


def is_right(hz: float, recording: Recording) -> bool:
    """Whether an answer is within a tenth of what is right."""
    low, high = recording.low_hz * (1 - NEAR), recording.high_hz * (1 + NEAR)
    return low <= min(hz, recording.rate / 2) <= high


def main() -> None:
    """Print the tables."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("clips", nargs="?", type=Path, default=Path("demo/audio/test"))
    parser.add_argument("--count", type=int, default=500, help="recordings")
    parser.add_argument("--seed", type=int, default=1)
    options = parser.parse_args()
    clips = read_clips(options.clips)
    found: dict[str, list[tuple[bool, bool]]] = defaultdict(list)
    sure: list[tuple[float, bool]] = []
    lost = 0
    for number in range(options.count):
        rng = np.random.default_rng([options.seed, number])
        clip = clips[int(rng.integers(len(clips)))]
        recording = draw_recording(clip.wave, clip.end_hz, rng)
        features = edge_features(recording.wave, recording.rate)
        edge = find_edge(recording.wave, recording.rate)
        rules = is_right(edge_over_silence(features.level, features.bin_hz), recording)
        network = is_right(edge.hz, recording)
        for kind in kinds(recording):
            found[kind].append((rules, network))
        sure.append((edge.confidence, network))
        full_hz = FULL * min(recording.rate / 2, 24_000)
        lost += recording.high_hz < full_hz / (1 + NEAR) and edge.hz >= full_hz
    print("| above the edge | recordings | plain rules | detector |\n| --- | --- | --- | --- |")
    for kind, pairs in sorted(found.items(), key=lambda item: item[0] == "all"):
        shares = np.mean(pairs, axis=0)
        print(f"| {kind} | {len(pairs)} | {shares[0]:.0%} | {shares[1]:.0%} |")
    print(f"\n{lost} band-limited ones taken for full band with {SURE:.0%} or more")
    print("\n| how sure | recordings | right |\n| --- | --- | --- |")
    for low, high in pairwise(SURENESS):
        right = [good for confidence, good in sure if low <= confidence < high]
        if right:
            print(f"| {low:.0%} to {min(high, 1):.0%} | {len(right)} | {np.mean(right):.0%} |")


if __name__ == "__main__":
    main()
