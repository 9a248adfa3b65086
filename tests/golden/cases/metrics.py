"""Are the metrics those of ssr_eval?"""

import math
from typing import Any

import torch

from audiosr.metrics.lsd import log_spectral_distance, ssr_eval
from audiosr.metrics.similarity import SpectralSimilarity
from tests.golden import recipe
from tests.golden.cases.case import Case, Cases, Folder, NotCovered, same, scaled_error

TOLERANCE = 1e-3

ROUNDING_DB = 60.0
"""Above it a scale-invariant ratio measures the rounding of the reference's own STFT."""

SIMILARITIES = {"sispec": "sispec_db", "log_sispec": "log_sispec_db", "ssim": "ssim"}
"""Names in the golden file and ours."""


def lsd_cases(folder: Folder) -> Cases:
    """Every pair, those that the reference refuses included."""
    others: set[str] = set()
    for pair in folder.text("lsd.json")["pairs"]:
        rate, label = pair["rate"], f"lsd {pair['rate']} Hz {pair['name']}"

        def distance(pair: dict = pair, rate: int = rate) -> float:
            estimate, target = (
                torch.from_numpy(recipe.signal(pair[side])) for side in ("est", "target")
            )
            return log_spectral_distance(estimate, target, ssr_eval, rate=rate).full.item()

        def refused(distance=distance) -> bool:
            try:
                distance()
            except ValueError:
                return True
            return False

        if "result" in pair and pair["result"]["lsd"] is None:
            yield same(f"{label}, not finite", lambda d=distance: math.isfinite(d()), False)
        elif "result" in pair:
            yield Case(label, distance, pair["result"]["lsd"], TOLERANCE, scaled_error)
            yield from _similarities(pair)
            others |= set(pair["result"]) - {"lsd", *SIMILARITIES}
        elif pair["error"].startswith("AssertionError"):
            yield same(f"{label}, refused", refused, True)
        else:
            yield NotCovered(label, f"the reference fails in another metric ({pair['error']})")
    if others:
        yield NotCovered(f"lsd.json {', '.join(sorted(others))}", "metrics that we do not have")


def _similarities(pair: dict[str, Any]) -> Cases:
    """SiSpec, log-SiSpec and SSIM of one pair."""
    for name, ours in SIMILARITIES.items():
        label = f"{name} {pair['rate']} Hz {pair['name']}"
        want = pair["result"].get(name)

        def figure(ours: str = ours) -> float:
            metric = SpectralSimilarity(rate=pair["rate"])
            metric.update(*(torch.from_numpy(recipe.signal(pair[s])) for s in ("est", "target")))
            return metric.compute()[ours].item()

        if want is None:
            continue
        if ours.endswith("_db") and want > ROUNDING_DB:
            yield same(f"{label}, rounding alone", lambda f=figure: f() > ROUNDING_DB, True)
        else:
            yield Case(label, figure, want, TOLERANCE, scaled_error)
