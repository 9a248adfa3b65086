"""Is the log-mel front end the released one, whatever the batch, the length and the precision?"""

from typing import Any

import librosa
import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from audiosr.audio.mel import LogMel, MelSettings, band_edges, hz_to_mel, mel_basis, mel_to_hz
from audiosr.errors import UsageError
from tests.audio import released

FEATURES = released.cases("features")


@pytest.fixture(scope="module")
def log_mel() -> LogMel:
    return LogMel()


@pytest.mark.parametrize(
    "settings",
    [
        MelSettings(),
        MelSettings(rate=16000, n_fft=1024, hop=160, n_mels=64, fmin=0, fmax=8000),
        MelSettings(rate=44100, n_fft=1024, hop=256, n_mels=80, fmin=0, fmax=11000),
    ],
    ids=str,
)
def test_the_filters_are_those_of_librosa(settings: MelSettings):
    theirs = librosa.filters.mel(
        sr=settings.rate,
        n_fft=settings.n_fft,
        n_mels=settings.n_mels,
        fmin=settings.fmin,
        fmax=settings.fmax,
    )

    # torchaudio places the triangles in float32.
    assert np.abs(mel_basis(settings).numpy() - theirs).max() < 1e-5 * theirs.max()


def test_the_mel_scale_inverts():
    hz = np.linspace(0, 24000, 1001)

    assert np.allclose(mel_to_hz(hz_to_mel(hz)), hz, atol=1e-9)


def test_band_edges_are_where_the_filters_are():
    edges = band_edges(MelSettings())

    assert len(edges) == 258
    assert edges[[0, -1]] == pytest.approx([20, 24000])
    centres = edges[1:-1]
    assert centres[[160, 200, 240]] == pytest.approx([5020, 9634, 18491], abs=1)


@pytest.mark.parametrize("name", FEATURES)
def test_log_mel_equals_the_released(log_mel: LogMel, name: str):
    case = FEATURES[name]
    wave = released.wave(case["signal"])

    mel = log_mel(wave)

    assert mel.shape == (1, 1, wave.shape[-1] // 480, 256)
    # The release fills up to the target with zeros after taking the logarithm, or cuts.
    filled = torch.zeros(case["frames"], 256)
    frames = min(len(filled), mel.shape[2])
    filled[:frames] = mel[0, 0, :frames]
    assert released.error(filled[::6], f"{name}_mel") < 1e-4


@pytest.mark.parametrize("name", ["speech", "short_pad"])
def test_magnitudes_equal_the_released(log_mel: LogMel, name: str):
    magnitude = log_mel.magnitude(released.wave(FEATURES[name]["signal"]))

    filled = torch.zeros(FEATURES[name]["frames"], 1024)
    filled[: magnitude.shape[1]] = magnitude[0, :, :1024]
    assert released.error(filled[::12], f"{name}_stft") < 1e-5


@given(samples=st.integers(0, 5000), batch=st.integers(1, 3))
def test_frames_are_samples_by_hop(samples: int, batch: int):
    mel = LogMel()(torch.randn(batch, 1, samples))

    assert mel.shape == (batch, 1, samples // 480, 256)
    assert mel.isfinite().all()


def test_silence_lies_on_the_floor(log_mel: LogMel):
    mel = log_mel(torch.zeros(1, 1, 4800))

    assert (mel - np.log(1e-5)).abs().max() < 1e-5


def test_clips_of_a_batch_do_not_touch(log_mel: LogMel):
    waves = torch.randn(3, 1, 9600)

    together = log_mel(waves)

    alone = torch.cat([log_mel(wave[None]) for wave in waves])
    assert torch.allclose(together, alone, atol=1e-5)


def test_features_stay_in_float32_under_autocast_and_in_a_bfloat16_model():
    wave = 0.1 * torch.randn(1, 1, 9600)
    mel = LogMel()(wave)

    with torch.autocast("cpu", torch.bfloat16):
        under_autocast = LogMel()(wave)
    in_bfloat16 = torch.nn.Sequential(LogMel()).to(torch.bfloat16)(wave)

    for other in (under_autocast, in_bfloat16):
        assert other.dtype == torch.float32
        assert torch.equal(other, mel)


def test_silence_gives_finite_gradients(log_mel: LogMel):
    wave = torch.zeros(1, 1, 4800, requires_grad=True)

    log_mel(wave).sum().backward()

    assert wave.grad is not None
    assert wave.grad.isfinite().all()


def test_the_tables_are_not_stored_in_checkpoints(log_mel: LogMel):
    assert not log_mel.state_dict()


@pytest.mark.parametrize(
    "wrong", [{"fmax": 30000.0}, {"fmin": 25000.0}, {"hop": 481}, {"hop": 4096}, {"floor": 0.0}]
)
def test_settings_that_contradict_are_refused(wrong: dict[str, Any]):
    with pytest.raises(UsageError, match="mel"):
        MelSettings(**wrong)
