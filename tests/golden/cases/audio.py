"""Are the features and what is done to them and to the waveform those of the released pipeline?"""

import re
from functools import cache
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from audiosr.audio import released
from audiosr.audio.cutoff import cumulative_magnitude
from audiosr.audio.mel import LogMel, MelSettings, mel_basis
from tests.golden import recipe
from tests.golden.cases.case import Arrays, Case, Cases, Folder, NotCovered, same, tensor

MEL_TOLERANCE = 1e-4
TOLERANCE = 1e-5
FRACTION = "0.985"
"""Part of the magnitude that lies below the release's cutoffs."""


def wave(spec: Any) -> Tensor:
    """The waveform (1, 1, T) of a recipe."""
    return torch.from_numpy(recipe.signal(spec))[None, None]


def fitted(frames: Tensor, count: int) -> Tensor:
    """`frames (frames, bins)` cut or continued by zeros to `count`, as the release does."""
    return F.pad(frames[:count], (0, 0, 0, max(0, count - len(frames))))


def feature_cases(folder: Folder, arrays: Arrays) -> Cases:
    """Log-mel, STFT, filters, lengths and the level of a clip."""
    front_end = LogMel()
    for name, case in arrays["cases_json"].items():
        clip, count = wave(case["signal"]), case["target_frame"]
        ours = {
            "mel": lambda clip=clip, count=count: fitted(front_end(clip)[0, 0], count),
            "stft": lambda clip=clip, count=count: fitted(
                front_end.magnitude(clip)[0, :, :-1], count
            ),
        }
        for part, tolerance in (("mel", MEL_TOLERANCE), ("stft", TOLERANCE)):
            if (key := f"{name}_{part}") in arrays:
                yield Case(f"features {key}", ours[part], arrays[key], tolerance)
        if shape := arrays.get("frames_raw", {}).get(name):
            yield same(
                f"features {name} frames",
                lambda clip=clip: front_end(clip)[0, 0].T.shape,
                tuple(shape),
            )
    if "mel_basis" in arrays:
        yield Case(
            "features mel_basis", lambda: mel_basis(MelSettings()), arrays["mel_basis"], TOLERANCE
        )
    if "padding_table" in arrays:
        arrays.known("padding_table_columns")
        for samples, padded, frames, _ in arrays["padding_table"].astype(int):
            yield same(
                f"features padding of {samples} samples",
                lambda samples=int(samples): released.padded_length(samples, 48_000),
                (padded, frames),
            )
    for key in arrays:
        if match := re.fullmatch(r"norm_out_first(\d+)", key):
            kept = int(match[1])
            level = released.normalise(wave(arrays["norm_signal"]))[0, 0]
            zeros = released.padded_length(len(level), 48_000)[0] - len(level)
            padded = F.pad(level, (0, zeros))
            yield Case(f"features {key}", lambda p=padded, n=kept: p[:n], arrays[key], TOLERANCE)
            yield same(
                "features norm_out_tail_absmax",
                lambda p=padded, n=kept: float(p[n:].abs().max()),
                float(arrays["norm_out_tail_absmax"]),
            )


def replace_cases(folder: Folder, arrays: Arrays) -> Cases:
    """Three estimators of the cutoff, and log-mels whose low bands are replaced."""
    signals = arrays["signals_json"]
    front_end = LogMel()
    for name, cutoffs in arrays["cutoffs_json"].items():
        yield from _cutoffs(name, front_end, wave(signals[name]), cutoffs)
    seeds = arrays["gen_seeds_json"]

    @cache
    def low(name: str, frames: int) -> Tensor:
        return front_end(wave(signals[name]))[:, :, :frames]

    for name in (name for name in signals if f"{name}_out" in arrays):
        frames = seeds["single_frames"]
        made = tensor(recipe.meanlike_mel(seeds["single"], frames))[None, None]
        if (key := f"{name}_bin_first{frames}frames") in arrays:
            yield same(
                f"mel_replace {key}",
                lambda name=name, frames=frames: released.mel_cutoff_bin(low(name, frames)).item(),
                int(arrays[key]),
            )
        yield Case(
            f"mel_replace {name}_out",
            lambda name=name, made=made: released.replace_mel_bins(made, low(name, made.shape[2])),
            arrays[f"{name}_out"],
            TOLERANCE,
        )
    if "batch_out" in arrays:
        want, frames = arrays["batch_out"], seeds["batch_frames"]
        # The file does not name the signals of the batch: they are those with these low bands.
        names = [
            min(signals, key=lambda s: float((low(s, frames)[0, 0] - tensor(p[0]))[:, :8].norm()))
            for p in want
        ]
        made = tensor(np.stack([recipe.meanlike_mel(seed, frames) for seed in seeds["batch"]]))
        lows = torch.cat([low(name, frames) for name in names])
        yield Case(
            f"mel_replace batch_out ({', '.join(names)})",
            lambda: released.replace_mel_bins(made[:, None], lows),
            want,
            TOLERANCE,
        )


def postprocess_cases(folder: Folder, arrays: Arrays) -> Cases:
    """The input's bins put into the generated waveform, and the level of the result."""
    for name, case in arrays["cases_json"].items():
        low, generated = wave(case["input"]), wave(case["generated"])

        @cache
        def joined(low: Tensor = low, generated: Tensor = generated) -> Tensor:
            return released.postprocess(generated, low)

        yield same(
            f"postprocess {name} cutoff bin",
            lambda low=low: released.stft_cutoff_bin(low).item(),
            case["cutoff_bin"],
        )
        if (key := f"{name}_out") in arrays:
            yield Case(
                f"postprocess {key}",
                lambda joined=joined: joined()[0, 0],
                arrays[key],
                TOLERANCE,
            )
        for key in arrays:
            if match := re.fullmatch(re.escape(name) + r"_final_first(\d+)", key):
                yield Case(
                    f"postprocess {key}",
                    lambda joined=joined, n=int(match[1]): released.final_level(joined())[0, 0, :n],
                    arrays[key],
                    TOLERANCE,
                )


def _cutoffs(name: str, front_end: LogMel, clip: Tensor, cutoffs: dict[str, float]) -> Cases:
    """The bins and frequencies of one signal, exactly."""

    @cache
    def magnitude() -> Tensor:
        return front_end.magnitude(clip)[:, :, :-1]

    for key, want in cutoffs.items():
        kind, _, fraction = key.rpartition("_")
        ours = {
            "cutoff_hz": lambda: cumulative_magnitude(magnitude()).item() / 1024 * 24_000,
            "cutoff_hz_used": lambda: released.locate_cutoff(magnitude()),
            f"mel_bin_{FRACTION}": lambda: released.mel_cutoff_bin(front_end(clip)).item(),
            f"librosa_bin_{FRACTION}": lambda: released.stft_cutoff_bin(clip).item(),
        }
        if kind == "wave_stft_bin":
            share = float(fraction)
            ours[key] = lambda share=share: cumulative_magnitude(magnitude(), share).item()
        if key in ours:
            yield same(f"cutoff {name} {key}", ours[key], want)
        else:
            yield NotCovered(f"cutoff {name} {key}", "no estimator of ours has this name")
