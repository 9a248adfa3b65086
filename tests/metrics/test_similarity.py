"""SiSpec, log-SiSpec and SSIM are those of ssr_eval."""

import json
from pathlib import Path

import pytest
import torch

from audiosr.metrics.similarity import SpectralSimilarity
from tests.golden.recipe import signal

GOLDEN = [
    pair
    for pair in json.loads((Path(__file__).parents[1] / "golden" / "lsd.json").read_text())
    if pair.get("ssim") is not None
]
NAMES = {"sispec": "sispec_db", "log_sispec": "log_sispec_db", "ssim": "ssim"}


@pytest.mark.parametrize("pair", GOLDEN, ids=lambda pair: f"{pair['rate']}-{pair['name']}")
def test_figures_equal_those_of_ssr_eval(pair):
    metric = SpectralSimilarity(rate=pair["rate"])
    metric.update(*(torch.from_numpy(signal(pair[side])) for side in ("estimate", "target")))
    found = metric.compute()
    for theirs, ours in NAMES.items():
        if theirs == "ssim" or pair[theirs] < 60:  # above, the rounding of a float32 STFT
            assert found[ours].item() == pytest.approx(pair[theirs], abs=1e-3, rel=1e-3)


def test_clips_smaller_than_a_window_have_no_ssim():
    metric = SpectralSimilarity(per_clip=True)
    metric.update(torch.randn(1, 1000), torch.randn(1, 1000))
    assert metric.compute()["ssim"].isnan().all()
