"""On which miniature trees do the recipes work?"""

from argparse import ArgumentParser
from collections import defaultdict
from collections.abc import Callable
from pathlib import Path
from types import ModuleType

import numpy as np
import pytest
import soundfile

from data_prep.clips import Drop, Item


@pytest.fixture
def put(tmp_path: Path) -> Callable[..., Path]:
    """Writer of a short file below `tmp_path`, audio or text."""
    rng = np.random.default_rng(0)

    def write(name: str, text: str | None = None, *, seconds: float = 0.1) -> Path:
        path = tmp_path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        if text is None:
            wave = 0.1 * rng.standard_normal(round(seconds * 44100))
            soundfile.write(path, wave, 44100)
        else:
            path.write_text(text)
        return path

    return write


@pytest.fixture
def run() -> Callable[..., list[Item | Drop]]:
    """Runner of a recipe with the options of its own command line."""

    def found(recipe: ModuleType, *argv: str | Path) -> list[Item | Drop]:
        parser = ArgumentParser()
        recipe.add_arguments(parser)
        args = parser.parse_args([str(one) for one in argv])
        args.min_bandwidth, args.clip_seconds, args.workers = 16_000.0, 10.24, 1
        return list(recipe.items(args))

    return found


@pytest.fixture
def splits() -> Callable[[list[Item | Drop]], dict[str, list[str]]]:
    """Names of the items by split, and those left out by the reason."""

    def sort(found: list[Item | Drop]) -> dict[str, list[str]]:
        names: dict[str, list[str]] = defaultdict(list)
        for one in found:
            names[one.split if isinstance(one, Item) else one.reason].append(one.name)
        return dict(names)

    return sort
