import numpy as np
import pytest

from audiosr.evaluation.aggregate import ALL, aggregate

pytestmark = pytest.mark.smoke


def entry(key: str, domain: str, value: float, system: str = "model") -> dict:
    return {
        "key": key,
        "domain": domain,
        "cutoff_hz": 4000,
        "system": system,
        "metrics": {"lsd": value},
    }


def pick(aggregates: list[dict], domain: str, system: str = "model") -> dict:
    return next(a for a in aggregates if (a["domain"], a["system"]) == (domain, system))


def test_all_is_the_mean_over_domains_not_over_files():
    files = [entry("a", "music", 1.0), entry("b", "music", 1.0), entry("c", "speech", 4.0)]
    result = aggregate(files)
    assert pick(result, "music")["mean"] == pytest.approx(1.0)
    assert pick(result, ALL)["mean"] == pytest.approx(2.5)
    assert [pick(result, d)["n"] for d in ("music", "speech", ALL)] == [2, 1, 3]


def test_interval_has_the_width_that_theory_gives():
    values = np.random.default_rng(0).normal(2.0, 0.5, 100)
    files = [entry(f"{i}", "music", float(v)) for i, v in enumerate(values)]
    result = pick(aggregate(files, resamples=4000), "music")
    width = 2 * 1.96 * values.std() / 10
    assert result["high"] - result["low"] == pytest.approx(width, rel=0.1)
    assert result["low"] < result["mean"] < result["high"]


def test_interval_follows_the_seed_alone():
    files = [entry(f"{i}", "music", i / 7) for i in range(9)]
    assert aggregate(files, seed=1) == aggregate(files, seed=1)
    assert aggregate(files, seed=1) == aggregate(files[::-1], seed=1)
    assert aggregate(files, seed=1) != aggregate(files, seed=2)


def test_systems_are_resampled_with_the_same_files():
    files = [entry(f"{i}", "music", i / 7) for i in range(9)]
    files += [entry(f"{i}", "music", i / 7 + 1, "other") for i in range(9)]
    result = aggregate(files)
    for bound in ("mean", "low", "high"):
        difference = pick(result, ALL, "other")[bound] - pick(result, ALL)[bound]
        assert difference == pytest.approx(1.0)


def test_no_files_give_no_aggregates():
    assert aggregate([]) == []
