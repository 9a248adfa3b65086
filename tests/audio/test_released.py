"""What the released pipeline does around its networks is repeated to the sample."""

import pytest
import torch

from audiosr.audio import released as steps
from audiosr.audio.mel import LogMel
from tests.audio import released

CUTOFFS = released.cases("cutoffs")
POSTPROCESS = released.cases("postprocess")


@pytest.mark.parametrize("case", released.cases("chain"), ids=lambda case: case["key"])
def test_the_low_pass_chain_is_the_released(case: dict):
    wave = released.wave(case["signal"])

    low = steps.lowpass_chain(
        wave,
        cutoff_hz=case["cutoff"],
        order=case["order"],
        family=case["family"],
        rate=case["fs"],
    )

    assert low.shape == wave.shape
    assert low.dtype == torch.float32
    assert released.error(low[0, 0, ::5], case["key"]) < 1e-5


def test_the_chain_filters_every_clip_of_a_batch_alike():
    batch = torch.randn(3, 1, 2400, generator=torch.Generator().manual_seed(0))
    chain = {"cutoff_hz": 4000.0, "order": 8, "family": "ellip", "rate": 48000}

    low = steps.lowpass_chain(batch, **chain)

    assert torch.equal(low[1], steps.lowpass_chain(batch[1], **chain))


def test_a_cutoff_at_nyquist_leaves_the_waveform_where_the_release_crashes():
    wave = torch.randn(1, 1, 500, generator=torch.Generator().manual_seed(0))

    low = steps.lowpass_chain(wave, cutoff_hz=24000.0, order=8, family="butter", rate=48000)

    assert torch.equal(low, wave)


def test_the_seed_picks_the_family_that_numpy_picks():
    picked = [steps.family_for_seed(seed) for seed in range(200)]

    assert picked == [steps.RELEASED_FAMILIES[i] for i in released.numbers("families")]
    assert steps.family_for_seed(42) == "ellip"
    assert steps.family_for_seed(-1) in steps.RELEASED_FAMILIES


def test_the_clip_is_normalised_as_in_the_release():
    wave = released.wave(released.cases("norm"))

    assert released.error(steps.normalise(wave)[0, 0, ::13], "norm") < 1e-5
    assert steps.normalise(torch.zeros(1, 1, 9)).abs().max() == 0


def test_lengths_are_padded_with_the_rounding_of_the_release():
    for samples, padded, frames in released.numbers("padding").tolist():
        assert steps.padded_length(samples, 48_000) == (padded, frames)
    assert steps.padded_length(44_100, 44_100) == (245_760, 512)
    assert steps.padded_length(811, 48_000) == (245_759, 511)


@pytest.mark.parametrize("name", CUTOFFS)
def test_the_three_cutoff_estimates_are_the_released(name: str):
    case, log_mel = CUTOFFS[name], LogMel()
    wave = released.wave(case["signal"])

    cutoff_hz = steps.locate_cutoff(log_mel.magnitude(wave)[..., :1024])

    estimate = case["stft"] / 1024 * 24000
    assert cutoff_hz == (24000 if estimate < 1000 else estimate)
    assert steps.mel_cutoff_bin(log_mel(wave)).tolist() == [case["mel"]]
    assert steps.stft_cutoff_bin(wave).tolist() == [case["librosa"]]


@pytest.mark.parametrize("name", POSTPROCESS)
def test_the_input_is_put_back_and_levelled_as_in_the_release(name: str):
    case = POSTPROCESS[name]

    joined = steps.postprocess(released.wave(case["generated"]), released.wave(case["input"]))

    assert released.error(joined[0, 0, ::9], f"{name}_joined") < 1e-5
    assert released.error(steps.final_level(joined)[0, 0, :2000:4], f"{name}_final") < 1e-5


def test_silence_keeps_its_level():
    assert (steps.final_level(torch.zeros(1, 1, 100)) == 0).all()
