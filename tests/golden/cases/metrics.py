"""Is the log-spectral distance that of ssr_eval?"""

import math

import torch

from audiosr.metrics.lsd import log_spectral_distance, ssr_eval
from tests.golden import recipe
from tests.golden.cases.case import Case, Cases, Folder, NotCovered, same, scaled_error

TOLERANCE = 1e-3


def lsd_cases(folder: Folder) -> Cases:
    """Every pair, those that the reference refuses included."""
    others = set()
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
            others |= set(pair["result"]) - {"lsd"}
            yield Case(label, distance, pair["result"]["lsd"], TOLERANCE, scaled_error)
        elif pair["error"].startswith("AssertionError"):
            yield same(f"{label}, refused", refused, True)
        else:
            yield NotCovered(label, f"the reference fails in another metric ({pair['error']})")
    if others:
        yield NotCovered(f"lsd.json {', '.join(sorted(others))}", "metrics that we do not have")
