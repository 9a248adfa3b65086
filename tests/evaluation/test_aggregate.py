from collections.abc import Sequence

import numpy as np
import pytest

from audiosr.evaluation.aggregate import aggregate, compare
from audiosr.evaluation.results import ALL, Aggregate, FileFigures

pytestmark = pytest.mark.smoke


def entry(
    key: str, domain: str, value: float | None, system: str = "model", cutoff: float = 4000
) -> FileFigures:
    return FileFigures(key, domain, cutoff, system, {"lsd": value})


def pick(aggregates: Sequence[Aggregate], domain: str, system: str = "model") -> Aggregate:
    return next(a for a in aggregates if (a.domain, a.system) == (domain, system))


def test_all_is_the_mean_over_domains_not_over_files():
    files = [entry("a", "music", 1.0), entry("b", "music", 1.0), entry("c", "speech", 4.0)]
    result = aggregate(files)
    assert pick(result, "music").mean == pytest.approx(1.0)
    assert pick(result, ALL).mean == pytest.approx(2.5)
    assert [pick(result, d).n for d in ("music", "speech", ALL)] == [2, 1, 3]


def test_interval_has_the_width_that_theory_gives():
    values = np.random.default_rng(0).normal(2.0, 0.5, 100)
    files = [entry(f"{i}", "music", float(v)) for i, v in enumerate(values)]
    result = pick(aggregate(files, resamples=4000), "music")
    assert result.low is not None
    assert result.high is not None
    width = 2 * 1.96 * values.std() / 10
    assert result.high - result.low == pytest.approx(width, rel=0.1)
    assert result.low < result.mean < result.high


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
        difference = getattr(pick(result, ALL, "other"), bound) - getattr(pick(result, ALL), bound)
        assert difference == pytest.approx(1.0)


def test_no_files_give_no_aggregates():
    assert aggregate([]) == ()


def test_one_clip_says_nothing_of_the_spread():
    files = [entry("a", "music", 1.0), entry("b", "music", 2.0), entry("c", "speech", 4.0)]

    result = aggregate(files)

    assert pick(result, "music").low is not None
    for domain in ("speech", ALL):
        assert (pick(result, domain).low, pick(result, domain).high) == (None, None)
    assert pick(result, ALL).mean == pytest.approx(2.75)


def test_what_a_file_lacks_is_left_out_of_the_means():
    files = [entry("a", "music", 1.0), entry("b", "music", None), entry("c", "music", 2.0)]
    files += [entry(key, "speech", 5.0, cutoff=2000) for key in "de"]

    result = aggregate(files)

    assert pick(result, "music").mean == pytest.approx(1.5)
    assert pick(result, "music").n == 2
    at_4k = [a for a in result if a.cutoff_hz == 4000]
    assert {a.domain for a in at_4k} == {"music", ALL}
    assert pick(at_4k, ALL).mean == pytest.approx(1.5)


def test_paired_differences_see_what_the_spread_of_files_hides():
    files = []
    for number in range(20):
        for system, value in (("a", number), ("b", number + 0.1 + 0.01 * (number % 2))):
            files.append(FileFigures(f"f{number}", "music", 4000, system, {"lsd": float(value)}))
    a, b = (r for r in aggregate(files) if r.domain == "music")
    assert a.high is not None
    assert b.low is not None
    assert a.high > b.low  # the intervals of the means overlap by far
    gap = next(d for d in compare(files, [("b", "a")]) if d.domain == "music")
    assert gap.mean == pytest.approx(0.105)
    assert gap.low is not None
    assert gap.high is not None
    assert 0.1 <= gap.low < gap.mean < gap.high <= 0.11
    assert gap.n == 20


def test_a_difference_is_over_the_files_that_both_have():
    files = [
        FileFigures("x", "music", 4000, "a", {"lsd": 1.0}),
        FileFigures("x", "music", 4000, "b", {"lsd": 3.0}),
        FileFigures("y", "music", 4000, "a", {"lsd": 7.0}),
        FileFigures("y", "music", 4000, "b", {"lsd": None}),
    ]
    gap = compare(files, [("b", "a")])[0]
    assert (gap.mean, gap.n) == (2.0, 1)
    assert compare(files, [("b", "nobody")]) == ()


def test_a_domain_of_a_joint_benchmark_is_the_mean_over_its_parts():
    files = [entry("p360/1", "vctk", 1.0), entry("p360/2", "vctk", 1.0), entry("s5/1", "vctk", 4.0)]
    assert pick(aggregate(files), "vctk").mean == pytest.approx(2.0)
    found = pick(aggregate(files, by_part=True), "vctk")
    assert found.mean == pytest.approx(2.5)
    assert (found.n, found.low) == (3, None)  # s5 has a single file


def test_parts_are_resampled_each_on_its_own():
    rng = np.random.default_rng(0)
    files = [
        entry(f"{part}/{i}", "vctk", float(level + 0.01 * rng.normal()))
        for part, level in (("p360", 1.0), ("s5", 9.0))
        for i in range(20)
    ]
    found = pick(aggregate(files, by_part=True), "vctk")
    assert found.low is not None
    assert found.high is not None
    assert found.high - found.low < 0.02  # how many of each are drawn does not vary
    gap = compare([*files, *(entry(f.key, "vctk", 0.0, "other") for f in files)],
                  [("model", "other")], by_part=True)  # fmt: skip
    assert gap[0].mean == pytest.approx(found.mean)
