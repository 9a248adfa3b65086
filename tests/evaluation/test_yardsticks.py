"""What a model has to beat: fitted from shards, kept in a file, better than nothing."""

from pathlib import Path

import numpy as np
import pytest
import torch

from audiosr.audio import io
from audiosr.audio.io import RATE
from audiosr.cli import main
from audiosr.errors import AudioSRError, UsageError
from audiosr.evaluation.protocol import Protocol
from audiosr.evaluation.systems import Trial
from audiosr.evaluation.yardsticks import Envelope, FitSettings, MeanNoise, Yardsticks
from audiosr.metrics.lsd import log_spectral_distance
from data_prep.__main__ import main as data_prep

CUTOFFS = (4000, 8000, 12_000)


def hissing(seed: int, seconds: float = 2.0) -> np.ndarray:
    """Noise whose level changes, the band above 3 kHz with the one below, by a power of 2."""
    rng = np.random.default_rng(seed)
    samples = round(seconds * RATE)
    frames = np.repeat(rng.uniform(-2, 0, samples // 4800 + 1), 4800)[:samples]
    noise = np.fft.rfft(rng.standard_normal(samples))
    hz = np.fft.rfftfreq(samples, 1 / RATE)
    low, high = (np.fft.irfft(noise * mask, samples) for mask in (hz < 3000, hz >= 3000))
    wave = low * 10**frames + high * 10 ** (2 * frames)
    return (0.3 * wave / np.abs(wave).max()).astype(np.float32)


@pytest.fixture(scope="module")
def fitted(tmp_path_factory) -> Path:
    root = tmp_path_factory.mktemp("yardsticks")
    for seed in range(6):
        domain = ("music", "speech")[seed % 2]
        io.write_audio(root / f"in/train/{domain}/{seed}.wav", hissing(seed)[None], RATE)
    argv = ["folder", "--source", f"{root}/in", "--out", f"{root}/shards", "--workers", "1"]
    argv += ["--min-bandwidth", "0"]  # hiss is no content to the measure of bandwidth
    data_prep(argv)
    file = root / "deep" / "yard.safetensors"
    assert main(["yardsticks", "--data", f"{root}/shards", "--out", str(file)]) == 0
    return file


def trial(seed: int = 99, limit_hz: float | None = None, *, given: bool = True) -> Trial:
    reference = torch.from_numpy(hissing(seed))[None, None]
    low, cutoff_hz = Protocol(cutoffs_hz=CUTOFFS).degrade(reference)
    return Trial("x", reference, low, cutoff_hz, given, limit_hz, (1, 2, 3))


def lsd(outputs: torch.Tensor, one: Trial) -> torch.Tensor:
    return log_spectral_distance(outputs[:, 0], one.reference[0]).full


def test_each_yardstick_is_better_than_the_one_before(fitted):
    one = trial()
    unprocessed, mean, envelope = (
        lsd(outputs, one)
        for outputs in (one.low, MeanNoise(str(fitted))(one), Envelope(str(fitted))(one))
    )
    assert (mean < 0.6 * unprocessed).all()
    assert (envelope < 0.8 * mean).all()


@pytest.mark.parametrize("system", [MeanNoise, Envelope])
def test_the_input_is_kept_below_the_cutoff_and_the_limit_holds_above(fitted, system):
    one = trial(limit_hz=16_000)
    added = (system(str(fitted))(one) - one.low)[:, 0]
    assert added.shape == one.low[:, 0].shape
    power = torch.fft.rfft(added * torch.hann_window(added.shape[1])).abs().square()
    hz = torch.fft.rfftfreq(added.shape[1], 1 / RATE)
    for row, cutoff in zip(power, CUTOFFS, strict=True):
        outside = row[(hz < 0.97 * cutoff) | (hz > 16_200)].sum()
        assert outside < 1e-3 * row.sum()


@pytest.mark.parametrize("system", [MeanNoise, Envelope])
def test_noise_follows_the_seed(fitted, system):
    run = system(str(fitted))
    assert torch.equal(run(trial()), run(trial()))


def test_the_cutoff_is_found_where_it_is_not_given(fitted):
    one = trial(given=False)
    assert (lsd(Envelope(str(fitted))(one), one) < 0.8 * lsd(one.low, one)).all()


def test_short_and_silent_inputs_are_done(fitted):
    for wave in (torch.zeros(1, 1, RATE), torch.from_numpy(hissing(3))[None, None, :300]):
        one = Trial("x", wave, wave, torch.tensor([4000.0]), True, None, (1,))
        for system in (MeanNoise, Envelope):
            output = system(str(fitted))(one)
            assert output.shape == wave.shape
            assert output.isfinite().all()


def test_card_says_what_it_was_fitted_from(fitted):
    card = Envelope(str(fitted)).card()
    assert card["fitted"]["domains"] == "music, speech"
    assert (card["fitted"]["read"], card["fitted"]["split"]) == ("6", "train")
    assert len(card["sha256"]) == 64
    assert fitted.stat().st_size < 2_000_000


def test_clips_of_each_domain_are_limited(fitted):
    settings = FitSettings(str(fitted.parent.parent / "shards"), clips=1)
    assert Yardsticks.fit(settings).about["read"] == "2"
    with pytest.raises(UsageError, match="at least 1"):
        FitSettings("x", clips=0)


def test_absent_file_says_how_to_make_it(tmp_path):
    (tmp_path / "other").write_text("no tensors")
    for path in (tmp_path / "nowhere", tmp_path / "other"):
        with pytest.raises(AudioSRError, match="audiosr yardsticks --data SHARDS --out"):
            MeanNoise(str(path))
