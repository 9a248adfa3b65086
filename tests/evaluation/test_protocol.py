import json
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch

from audiosr.audio.io import RATE
from audiosr.errors import UsageError
from audiosr.evaluation.bandlimit import ZeroPhase
from audiosr.evaluation.protocol import Protocol
from tests.evaluation.conftest import tone_burst

pytestmark = pytest.mark.smoke


def test_default_cutoffs_and_filter_are_the_papers():
    protocol = Protocol()
    assert protocol.cutoffs_hz == (4000, 8000, 12000)
    assert protocol.lowpass == ZeroPhase("cheby1", 8)


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
        ({"channels": "left"}, "choose mean or first"),
        ({"confidence": 1.0}, "0 < confidence < 1"),
    ],
)
def test_contradictions_are_named(change, sentence):
    with pytest.raises(UsageError, match=sentence):
        replace(Protocol(), **change)


def test_unknown_filter_family_is_named_before_any_work():
    brick: Any = "brick"

    with pytest.raises(UsageError, match="boxcar"):
        ZeroPhase(brick)


def test_card_says_all_in_plain_values():
    card = json.loads(json.dumps(Protocol().card()))
    assert card["lowpass"]["ripple_db"] == 0.1
    assert (card["channels"], card["gain"]) == ("mean of the channels", "kept")


def clip(channels: int = 1) -> np.ndarray:
    return np.stack([tone_burst(0.5, 22_000, seed) for seed in range(channels)])


def test_mono_is_the_mean_of_the_channels_or_the_first():
    wave = clip(2)
    np.testing.assert_allclose(Protocol().mono(wave), wave.mean(0), atol=1e-7)
    np.testing.assert_array_equal(Protocol(channels="first").mono(wave), wave[0])


def test_silence_and_channels_that_cancel_cannot_be_judged():
    good = clip()
    assert Protocol().unfit(good) is None
    assert Protocol().unfit(0 * good) == "silence"
    opposed = np.concatenate([good, -good])
    assert "cancel" in (Protocol().unfit(opposed) or "")
    assert Protocol(channels="first").unfit(opposed) is None
    assert "first channel" in (
        Protocol(channels="first").unfit(np.concatenate([0 * good, good])) or ""
    )


def test_a_recording_of_8_khz_cannot_be_judged_above_4_khz():
    narrow = tone_burst(0.5, 4000)
    told = Protocol(cutoffs_hz=(2000, 4000)).empty_above(narrow, 8000)
    assert list(told) == [4000]
    assert "stored at 8000 Hz" in told[4000]
    rounded = (np.round(narrow * 2**15) / 2**15).astype(np.float32)
    for wave in (narrow, rounded):  # nothing says so, and it is stored at 48 kHz
        found = Protocol(cutoffs_hz=(2000, 4000, 8000)).empty_above(wave, 48_000)
        assert list(found) == [4000, 8000]


def test_aligned_outputs_have_the_references_level():
    reference = torch.from_numpy(clip())
    outputs = torch.cat([0.3 * reference, reference])
    aligned = Protocol(align_gain=True).compared(outputs, reference)
    torch.testing.assert_close(aligned, reference.expand(2, -1), atol=1e-6, rtol=0)
    assert Protocol().compared(outputs, reference) is outputs
