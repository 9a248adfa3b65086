"""Does what the input still holds survive below the cutoff, and nothing of it above?"""

import math

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from audiosr.audio.cutoff import cumulative_magnitude
from audiosr.audio.mel import LogMel, MelSettings, band_edges
from audiosr.audio.replace import TRANSITION_HZ, crossover, replace_mel, replace_stft
from audiosr.metrics.snr import snr_below_cutoff_db
from tests.audio import released
from tests.golden import recipe

RATE = 48000
POSTPROCESS = released.cases("postprocess")


def level_above_db(wave: torch.Tensor, hz: float) -> float:
    """Energy of a clip's middle above a frequency."""
    middle = wave[0, 0, 2400:-2400].double()
    spectrum = torch.fft.rfft(middle * torch.hann_window(len(middle), dtype=torch.float64))
    above = torch.fft.rfftfreq(len(middle), 1 / RATE) > hz
    return 10 * math.log10(float(spectrum[above].abs().square().sum()) + 1e-30)


@pytest.mark.parametrize("name", ["low4k", "speech_low4k", "low12k"])
def test_mel_bands_below_the_cutoff_are_the_inputs_as_in_the_release(name: str):
    wave = released.wave(released.cases("cutoffs")[name]["signal"])
    low = LogMel()(wave)[:, :, :32]
    generated = torch.from_numpy(recipe.meanlike_mel(1270, 32))[None, None]
    first = cumulative_magnitude(low[:, 0].exp())
    centres = torch.from_numpy(band_edges(MelSettings())[1:-1])

    mel = replace_mel(generated, low, centres[first], MelSettings())

    assert released.error(mel[:, :, ::4], f"{name}_replaced") < 1e-5


def test_mel_bands_are_replaced_up_to_each_clips_own_cutoff():
    generated, low = torch.zeros(2, 1, 4, 256), torch.ones(2, 1, 4, 256)

    mel = replace_mel(generated, low, torch.tensor([2000.0, 12000.0]), MelSettings())

    # The bands nearest to 2 and 12 kHz are 104 and 213.
    assert mel[:, 0, 0].sum(-1).tolist() == pytest.approx([104, 213], abs=1)
    assert (mel.diff(dim=-1) <= 0).all()


@pytest.mark.parametrize("cutoff", [2000.0, 4000.0, 8000.0, 16000.0])
def test_the_input_stays_below_the_cutoff(cutoff: float):
    low, generated = torch.randn(1, 1, RATE), torch.randn(1, 1, RATE)

    wave = crossover(low, generated, cutoff, RATE)

    assert wave.shape == low.shape
    assert snr_below_cutoff_db(wave[:, 0], low[:, 0], cutoff, RATE).item() >= 60


@pytest.mark.parametrize("cutoff", [2000.0, 8000.0])
def test_nothing_of_the_input_is_above_the_transition(cutoff: float):
    low, silence = torch.randn(1, 1, RATE), torch.zeros(1, 1, RATE)

    wave = crossover(low, silence, cutoff, RATE)

    above = cutoff + TRANSITION_HZ + 20
    assert level_above_db(wave, above) < level_above_db(low, above) - 80


@pytest.mark.parametrize("cutoff", [2000.0, 8000.0])
def test_what_was_generated_stays_above_the_transition(cutoff: float):
    low, generated = torch.randn(1, 1, RATE), torch.randn(1, 1, RATE)

    wave = crossover(low, generated, cutoff, RATE)

    above = cutoff + TRANSITION_HZ + 20
    assert level_above_db(wave - generated, above) < level_above_db(generated, above) - 80


def test_equal_signals_pass_the_crossover_unchanged():
    wave = torch.randn(2, 1, 9600)

    assert torch.allclose(crossover(wave, wave.clone(), 4000.0, RATE), wave, atol=1e-6)


def test_the_crossover_delays_nothing():
    impulse = torch.zeros(1, 1, 9601)
    impulse[..., 4800] = 1

    for low, generated in [(impulse, 0 * impulse), (0 * impulse, impulse)]:
        wave = crossover(low, generated, 6000.0, RATE)
        assert wave.argmax() == 4800
        assert torch.allclose(wave, wave.flip(-1), atol=1e-6)


def test_each_clip_is_joined_at_its_own_cutoff():
    low, generated = torch.randn(2, 1, 9600), torch.randn(2, 1, 9600)
    cutoffs = torch.tensor([3000.0, 9000.0])

    together = crossover(low, generated, cutoffs, RATE)

    for index, cutoff in enumerate(cutoffs):
        one = slice(index, index + 1)
        assert torch.allclose(
            together[one], crossover(low[one], generated[one], cutoff, RATE), atol=1e-5
        )


def test_a_cutoff_at_nyquist_gives_the_input_back():
    low, generated = torch.randn(1, 1, 9600), torch.randn(1, 1, 9600)

    assert torch.allclose(crossover(low, generated, 24000.0, RATE), low, atol=1e-5)


@given(samples=st.integers(0, 6000))
def test_the_crossover_keeps_any_length(samples: int):
    wave = crossover(torch.randn(1, 1, samples), torch.randn(1, 1, samples), 4000.0, RATE)

    assert wave.shape == (1, 1, samples)
    assert wave.isfinite().all()


@pytest.mark.parametrize("name", POSTPROCESS)
def test_stft_bins_are_replaced_as_in_the_release(name: str):
    case = POSTPROCESS[name]

    wave = replace_stft(
        released.wave(case["generated"]), released.wave(case["input"]), case["cutoff_bin"]
    )

    assert released.error(wave[0, 0, ::9], f"{name}_joined") < 1e-5


def test_without_level_match_the_inputs_level_stays():
    time = torch.arange(12288) / RATE
    low = torch.sin(2 * math.pi * 1000 * time)[None, None]

    wave = replace_stft(0.1 * torch.randn(1, 1, 12288), low, 170, match_level=False)

    assert snr_below_cutoff_db(wave[:, 0], low[:, 0], 1500.0, RATE).item() > 40


def test_stft_bins_are_replaced_up_to_each_clips_own_bin():
    low, generated = torch.randn(2, 1, 9600), torch.randn(2, 1, 9600)

    together = replace_stft(generated, low, torch.tensor([100, 400]))

    alone = [
        replace_stft(generated[i : i + 1], low[i : i + 1], bin_)
        for i, bin_ in enumerate((100, 400))
    ]
    assert torch.allclose(together, torch.cat(alone), atol=1e-6)


def test_silence_on_both_sides_stays_silence():
    silence = torch.zeros(1, 1, 9600)

    assert (replace_stft(silence, silence, 170) == 0).all()
