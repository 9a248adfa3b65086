import json
from dataclasses import replace
from typing import Any

import pytest
import torch

from audiosr.audio.io import RATE
from audiosr.errors import UsageError
from audiosr.evaluation.protocol import METRICS, Protocol
from tests.evaluation.conftest import tone_burst

pytestmark = pytest.mark.smoke


def test_default_cutoffs_and_filter_are_the_papers():
    protocol = Protocol()
    assert protocol.cutoffs_hz == (4000, 8000, 12000)
    assert (protocol.family, protocol.order) == ("cheby1", 8)


def test_inputs_keep_the_low_band_and_lose_the_high_band():
    reference = torch.from_numpy(tone_burst(1.0, 22_000))[None, None]
    low, cutoff_hz = Protocol().degrade(reference)
    hz = torch.fft.rfftfreq(RATE, 1 / RATE)
    window = torch.hann_window(RATE)  # the ends of a clip are no steps in its spectrum then
    power = [torch.fft.rfft(window * wave).abs().square() for wave in (low, reference)]
    gain = power[0] / power[1]
    for spectrum, cutoff in zip(gain[:, 0], cutoff_hz.tolist(), strict=True):
        kept = spectrum[(hz > 200) & (hz < 0.8 * cutoff)].median()
        lost = spectrum[(hz > 1.3 * cutoff) & (hz < 21_000)].median()
        assert 10 * kept.log10() == pytest.approx(0, abs=0.3)
        assert 10 * lost.log10() < -80


def test_source_limit_ends_where_the_source_does():
    assert Protocol().limit_hz(44_100) == 22_050
    assert Protocol().limit_hz(48_000) is None
    assert Protocol().limit_hz(96_000) is None
    assert Protocol(source_limit=False).limit_hz(44_100) is None


def test_one_cutoff_need_not_be_a_list():
    one: Any = 4000

    assert Protocol(cutoffs_hz=one).cutoffs_hz == (4000,)


@pytest.mark.parametrize(
    ("change", "sentence"),
    [
        ({"cutoffs_hz": (4, 8)}, "cutoffs are in Hz, 4 kHz is 4000"),
        ({"cutoffs_hz": (24_000,)}, "outside 500-23999"),
        ({"cutoffs_hz": ()}, "no cutoffs"),
        ({"cutoffs_hz": (4000, 4000)}, "named twice"),
        ({"headline": "lsd"}, "choose from lsd_nuwave2"),
        ({"confidence": 1.0}, "0 < confidence < 1"),
    ],
)
def test_contradictions_are_named(change, sentence):
    with pytest.raises(UsageError, match=sentence):
        replace(Protocol(), **change)


def test_unknown_filter_family_is_named_before_any_work():
    brick: Any = "brick"

    with pytest.raises(UsageError, match="boxcar"):
        Protocol(family=brick)


def test_card_says_all_in_plain_values():
    card = json.loads(json.dumps(Protocol().card()))
    assert card["lowpass"]["ripple_db"] == 0.1
    assert (card["metrics"]["lsd_nuwave2"]["n_fft"], card["metrics"]["lsd_nuwave2"]["hop"]) == (
        2048,
        512,
    )
    assert card["metrics"]["lsd_ssr_eval"]["n_fft"] == 2229
    assert len(METRICS) == 7
