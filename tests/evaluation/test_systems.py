from dataclasses import replace

import pytest
import torch

from audiosr.audio.io import RATE
from audiosr.errors import AudioSRError
from audiosr.evaluation.protocol import Protocol
from audiosr.evaluation.systems import (
    AutoencodedMel,
    GroundTruthMel,
    Restored,
    Trial,
    Unprocessed,
    load_model,
)
from audiosr.metrics.snr import snr_below_cutoff_db
from audiosr.restore.settings import load_profile
from tests.evaluation.conftest import tone_burst
from tests.tiny import reaching_model, save_tiny_model

STEPS = load_profile(steps=2)


@pytest.fixture(scope="module")
def folder(tmp_path_factory) -> str:
    load_model.cache_clear()
    return str(save_tiny_model(tmp_path_factory.mktemp("model") / "tiny"))


def trial(seconds: float = 0.7, *, limit_hz: float | None = None, cutoffs=(4000, 12_000)) -> Trial:
    reference = torch.from_numpy(tone_burst(seconds, 22_000))[None, None]
    low, cutoff_hz = Protocol(cutoffs_hz=cutoffs).degrade(reference)
    return Trial("music/a", reference, low, cutoff_hz, True, limit_hz, tuple(range(len(cutoffs))))


def power_above(wave: torch.Tensor, hz: float) -> torch.Tensor:
    window = torch.hann_window(wave.shape[-1])
    spectrum = torch.fft.rfft(wave * window).abs().square()
    return spectrum[..., int(hz / RATE * wave.shape[-1]) :].sum()


def test_unprocessed_is_the_input():
    one = trial()
    assert torch.equal(Unprocessed()(one), one.low)


def test_model_keeps_the_band_below_the_cutoff_and_fills_the_one_above(folder):
    one = trial()
    output = Restored(folder, settings=STEPS)(one)
    assert output.shape == one.low.shape
    snr = snr_below_cutoff_db(output[:, 0], one.low[:, 0], one.cutoff_hz, RATE)
    assert (snr >= 40).all()
    assert power_above(output[0], 6000) > 100 * power_above(one.low[0], 6000)


def test_output_of_the_model_follows_the_trials_seed(folder):
    system, one = Restored(folder, settings=STEPS), trial(cutoffs=(4000,))
    assert torch.equal(system(one), system(one))
    assert not torch.equal(system(one), system(replace(one, seeds=(9,))))


def test_output_of_the_model_does_not_depend_on_the_other_cutoffs(folder):
    system = Restored(folder, settings=STEPS)
    alone = replace(trial(cutoffs=(12_000,)), seeds=(1,))
    torch.testing.assert_close(system(alone)[0], system(trial())[1], atol=1e-5, rtol=0)


def test_cutoff_is_found_where_it_is_not_given(folder):
    told = trial(cutoffs=(8000,))
    output = Restored(folder, settings=STEPS)(replace(told, cutoff_given=False))
    snr = snr_below_cutoff_db(output[:, 0], told.low[:, 0], 6000.0, RATE)
    assert (snr >= 40).all()


@pytest.mark.parametrize("system", [Restored, GroundTruthMel])
def test_nothing_is_made_above_the_limit_of_the_source(folder, system):
    run = system(folder)
    free, limited = run(trial(cutoffs=(4000,))), run(trial(cutoffs=(4000,), limit_hz=16_000))
    assert power_above(limited, 18_000) < 1e-4 * power_above(free, 18_000)


def test_a_limit_above_what_the_model_fills_by_itself_changes_nothing(tmp_path):
    system = Restored(str(reaching_model(12_000.0).save(tmp_path / "model")), settings=STEPS)
    free, above, below = (system(trial(cutoffs=(4000,), limit_hz=hz)) for hz in (None, 16e3, 9e3))
    assert torch.equal(free, above)
    assert not torch.equal(free, below)


def test_ground_truth_mel_is_the_same_at_every_cutoff_and_keeps_length_and_level(folder):
    system, one = GroundTruthMel(folder), trial(0.7003)
    output = system(one)
    assert output.shape == one.low.shape
    assert torch.equal(output[0], output[1])
    louder = system(replace(one, reference=2 * one.reference))
    torch.testing.assert_close(louder, 2 * output, atol=1e-5, rtol=1e-3)


def test_ground_truth_mel_of_silence_is_silence(folder):
    one = trial()
    output = GroundTruthMel(folder)(replace(one, reference=torch.zeros_like(one.reference)))
    assert not output.any()


def test_ground_truth_mel_needs_the_vocoder_alone(tmp_path):
    vocoder = save_tiny_model(tmp_path / "vocoder", "vocoder")
    assert GroundTruthMel(str(vocoder))(trial()).isfinite().all()
    with pytest.raises(AudioSRError, match="no autoencoder"):
        AutoencodedMel(str(vocoder))
    with pytest.raises(AudioSRError, match="no autoencoder and no denoiser"):
        Restored(str(vocoder))


def test_autoencoded_mel_goes_through_the_autoencoder_and_keeps_the_length(folder):
    one = trial(0.7003)
    output, true = AutoencodedMel(folder)(one), GroundTruthMel(folder)(one)
    assert output.shape == one.low.shape
    assert output.isfinite().all()
    assert not torch.allclose(output, true, atol=1e-3)
    assert "autoencoder" in AutoencodedMel(folder).card()["kind"]


def test_two_systems_share_one_copy_of_the_weights(folder):
    assert Restored(folder).restorer.model is GroundTruthMel(folder).model


def test_card_says_where_the_weights_come_from(folder):
    card = Restored(folder, settings=STEPS).card()
    assert card["settings"]["steps"] == 2
    assert card["model"]["folder"] == folder
    assert card["model"]["provenance"]["vocoder"] == {"run": "tests"}


def test_missing_model_is_named():
    with pytest.raises(AudioSRError, match="no model at nowhere"):
        GroundTruthMel("nowhere")
