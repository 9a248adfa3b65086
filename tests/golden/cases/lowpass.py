"""Is the low-pass that of the released pipeline?"""

import re
from typing import Any

import numpy as np
import torch
from torch import Tensor

from audiosr.audio import released
from audiosr.audio.mel import LogMel
from audiosr.audio.ssr_eval import SSR_EVAL_KINDS, degrade_ssr_eval
from tests.golden import recipe
from tests.golden.cases.audio import wave
from tests.golden.cases.case import Arrays, Case, Cases, Folder, NotCovered, same

TOLERANCE = 1e-5
ORDER = 8
"""Order of the filter in the wrapper."""

REASONS = {
    "lowpass_filter": "Chebyshev II is a family that the pipeline never draws",
    "bandpass": "the pipeline has no band-pass",
}


def lowpass_cases(folder: Folder, arrays: Arrays) -> Cases:
    """The chain of filters and rates, its wrapper at inference, families and edges."""
    signals = arrays["signals_json"]
    for case in arrays["cases_json"]:
        yield from _filter(case, signals[case["signal"]], arrays)
    for name, case in arrays.get("wrapper_json", {}).items():
        yield from _wrapper(name, case, arrays)
    for key in arrays:
        if match := re.fullmatch(r"family_index_for_seed_(\d+)_(\d+)", key):
            first, last = int(match[1]), int(match[2])
            yield same(
                f"lowpass {key}",
                lambda first=first, last=last: [
                    released.RELEASED_FAMILIES.index(released.family_for_seed(seed))
                    for seed in range(first, last + 1)
                ],
                arrays[key],
            )
    if (key := "cutoffs_where_rate_is_2c_minus_1") in arrays:
        want = arrays[key]
        yield same(
            f"lowpass {key}",
            lambda: [
                cutoff
                for cutoff in range(int(want.min()), int(want.max()) + 1)
                if released.inner_rate(cutoff, 48_000) == 2 * cutoff - 1
            ],
            want,
        )
    for cutoff, outcome in arrays.get("edge_json", {}).items():
        yield _edge(float(cutoff), outcome)


def _filter(case: dict[str, Any], spec: Any, arrays: Arrays) -> Cases:
    """One call of a filter."""
    details = " ".join(str(case[key]) for key in ("family", "order", "cutoff") if key in case)
    label = f"lowpass {case['key']} {case['func']} {case['signal']} {details} {case['fs']} Hz"
    want = arrays.get(case["key"])

    if want is None:
        yield NotCovered(label, f"no result is stored ({case.get('error', 'and no error')})")
    elif case["func"] == "lowpass":
        yield Case(label, lambda: _chain(wave(spec), case)[0, 0], want, TOLERANCE)
    elif case["func"] == "resample_chain":

        def resampled() -> np.ndarray:
            samples = recipe.signal(spec)
            rate = case["fs"]
            return released.through_rate(samples, int(case["ratio"] * rate), rate, len(samples))

        yield Case(label, resampled, want, TOLERANCE)
    elif case["func"] == "ssr_eval.lowpass" and case["family"] in SSR_EVAL_KINDS:

        def degraded() -> np.ndarray:
            return degrade_ssr_eval(
                recipe.signal(spec),
                case["cutoff"],
                case["fs"],
                kind=case["family"],
                order=case["order"],
            )

        yield Case(label, degraded, want, TOLERANCE)
    else:
        yield NotCovered(label, REASONS.get(case["func"], "no such function"))


def _chain(clip: Tensor, case: dict[str, Any]) -> Tensor:
    return released.lowpass_chain(
        clip,
        cutoff_hz=case["cutoff"],
        order=case["order"],
        family=case["family"],
        rate=case["fs"],
    )


def _wrapper(name: str, case: dict[str, Any], arrays: Arrays) -> Cases:
    """Estimate of the cutoff, family by seed, and what the chain makes of the signal."""
    clip, label = wave(case["signal"]), f"lowpass {name}"
    yield same(f"{label} family", lambda: released.family_for_seed(case["seed"]), case["family"])

    def filtered() -> Tensor:
        cutoff_hz = released.locate_cutoff(LogMel().magnitude(clip)[:, :, :-1])
        family = released.family_for_seed(case["seed"])
        return released.lowpass_chain(
            clip, cutoff_hz=cutoff_hz, order=ORDER, family=family, rate=48_000
        )

    if "error" in case:
        yield same(f"{label}, which fails there and is left alone here", filtered, clip)
    else:
        want = arrays[name]
        yield Case(label, lambda: filtered()[0, 0, : len(want)], want, TOLERANCE)


def _edge(cutoff: float, outcome: Any) -> Case:
    """A cutoff at the edge of what can be designed: filtered; finite where the release fails."""

    def filtered() -> bool:
        clip = torch.from_numpy(recipe.normal(0, (1, 1, 4800)))
        out = released.lowpass_chain(
            clip, cutoff_hz=cutoff, order=ORDER, family="butter", rate=48_000
        )
        return bool(out.isfinite().all()) and (outcome is not True or not torch.equal(out, clip))

    note = "" if outcome is True else ", which fails there, gives finite samples"
    return same(f"lowpass at {cutoff:g} Hz{note}", filtered, True)
