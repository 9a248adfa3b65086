"""Does the table of trials rank by distance, compare clip by clip, and name what wins by blur?"""

from typing import Any

from bench.quality import VARIANTS, table

FIRST, *OTHERS = VARIANTS


def trial(variant: str, distances: list[float], variance_db: float) -> dict[str, Any]:
    rows = [
        {
            "clip": clip,
            "cutoff_hz": 4000.0,
            "steps": steps,
            "lsd_hf": distance + steps,
            "visqol": None if clip else 3.0,
            "energy_db": -2.0,
            "variance_db": variance_db,
        }
        for clip, distance in enumerate(distances)
        for steps in (1, 8)
    ]
    return {"variant": variant, "seed": 0, "steps": 50, "rows": rows}


def test_variants_are_ranked_and_blur_is_named() -> None:
    results = [
        trial(FIRST, [1.0, 2.0, 3.0], -1.0),
        trial(OTHERS[0], [0.5, 1.5, 2.5], -3.0),
        trial(OTHERS[1], [0.8, 1.8, 2.8], -1.2),
        trial(OTHERS[2], [1.5, 2.5, 3.5], -4.0),
    ]

    _, _, *lines = table(results, steps=8).splitlines()

    names = [line.split(" | ")[0].lstrip("| ") for line in lines]
    assert names == [OTHERS[0], OTHERS[1], FIRST, OTHERS[2]]
    assert ["by blur" in line for line in lines] == [True, False, False, False]
    assert "| 9.500 | -0.500 +- 0.000 **by blur** | 3.00 | -2.0 | -3.0 |" in lines[0]


def test_less_of_too_much_is_no_blur() -> None:
    results = [trial(FIRST, [1.0, 2.0], 2.0), trial(OTHERS[0], [0.5, 1.5], -0.4)]

    _, _, best, _ = table(results, steps=8).splitlines()

    assert OTHERS[0] in best
    assert "by blur" not in best
