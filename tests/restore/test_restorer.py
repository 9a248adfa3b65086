"""Whatever the networks do: length, level, channels and low band of a recording are kept.

In one piece, as each is a promise of the same call.
"""

from dataclasses import replace

import numpy as np
import pytest
import soxr
import torch
from torch import nn

from audiosr.audio.edge import find_edge
from audiosr.errors import UsageError
from audiosr.metrics.snr import snr_below_cutoff_db
from audiosr.model import DiffusionSettings
from audiosr.networks.envelope_prior import EnvelopePrior
from audiosr.networks.frame_denoiser import FrameDenoiser
from audiosr.restore.restorer import Restorer
from audiosr.restore.settings import load_profile
from tests.restore.conftest import STEPS, band
from tests.tiny import reaching_model, tiny_model


@pytest.mark.parametrize(
    ("rate", "samples"),
    [
        (4000, 1),
        (8000, 8123),
        (11025, 7000),
        (44100, 441),
        (44100, 30001),
        (48000, 2),
        (48000, 30720),
        (48000, 30721),
        (96000, 50000),
        (192000, 19200),
    ],
)
def test_length_is_that_of_the_input_at_48_khz(restorer, noise, rate, samples):
    wave = noise(samples / rate, rate=rate)

    restored = restorer.restore(wave, rate)

    assert restored.shape == (1, round(samples * 48000 / rate))
    assert restored.dtype == np.float32
    assert np.isfinite(restored).all()


@pytest.mark.parametrize("channels", [1, 2, 32])
def test_every_channel_comes_back(restorer, noise, channels):
    restored = restorer.restore(noise(0.2, rate=16000, channels=channels), 16000)

    assert restored.shape == (channels, 9600)
    assert all(band(channel, 9000, 20000) > 0 for channel in restored)


def test_an_array_comes_back_as_the_kind_it_was(restorer, noise):
    wave = noise(0.3, channels=2)

    array = restorer.restore(wave, 48000)
    tensor = restorer.restore(torch.from_numpy(wave), 48000)
    flat = restorer.restore(wave[0], 48000)

    assert isinstance(array, np.ndarray)
    assert isinstance(tensor, torch.Tensor)
    np.testing.assert_array_equal(tensor.numpy(), array)
    assert flat.shape == wave[0].shape
    np.testing.assert_allclose(flat, array[0], atol=1e-6)


def test_the_band_below_the_cutoff_is_the_input(restorer, chord):
    wave = chord(1.0, rate=44100, channels=2)

    restored = restorer.restore(wave, 44100)

    expected = soxr.resample(wave.T, 44100, 48000, quality="VHQ").T
    snr = snr_below_cutoff_db(torch.from_numpy(restored), torch.from_numpy(expected), 3000.0, 48000)
    assert (snr > 55).all()


def test_something_is_generated_above_the_cutoff(restorer, noise):
    wave = soxr.resample(noise(1.0, rate=8000)[0], 8000, 48000, quality="VHQ")[None]

    restored = restorer.restore(wave, 48000)

    assert band(restored, 6000, 20000) > 1000 * band(wave, 6000, 20000)


@pytest.mark.parametrize("gain", [0.25, 1e-3, 3.7])
def test_a_gain_comes_out_as_it_went_in(restorer, chord, gain):
    wave = chord(0.7)

    restored = restorer.restore(wave, 48000, cutoff_hz=12000.0)

    scaled = restorer.restore(gain * wave, 48000, cutoff_hz=12000.0)
    np.testing.assert_allclose(scaled, gain * restored, atol=1e-4 * gain)
    # The rounding of other samples is other noise below all that is heard.
    edge, scaled_edge = find_edge(wave[0], 48000), find_edge(gain * wave[0], 48000)
    assert scaled_edge.hz == pytest.approx(edge.hz, rel=2e-3)


def test_a_constant_is_kept_and_changes_nothing_else(restorer, chord):
    wave = chord(0.5)

    shifted = restorer.restore(wave + 0.25, 48000)

    np.testing.assert_allclose(shifted, restorer.restore(wave, 48000) + 0.25, atol=1e-3)


def test_equal_channels_stay_equal_and_a_pan_stays_a_pan(restorer, chord):
    mono = chord(0.7)
    stereo = np.concatenate([mono, mono, 0.3 * mono])

    restored = restorer.restore(stereo, 48000)

    np.testing.assert_allclose(restored[1], restored[0], atol=1e-5)
    np.testing.assert_allclose(restored[2], 0.3 * restored[0], atol=1e-4)


def test_a_channel_in_opposite_phase_gets_a_high_band_in_opposite_phase(restorer, chord):
    mono = chord(0.7)
    stereo = np.concatenate([mono, -mono, -0.5 * mono])

    restored = restorer.restore(stereo, 48000)

    np.testing.assert_allclose(restored[1], -restored[0], atol=1e-5)
    np.testing.assert_allclose(restored[2], -0.5 * restored[0], atol=1e-4)


def test_channels_that_do_not_fit_at_once_share_their_noise_too(restorer, noise):
    wave = noise(0.7, channels=3)
    one_by_one = Restorer(restorer.model, settings=STEPS, batch_seconds=1.0)

    together = restorer.restore(wave, 48000, sampler="ddim", eta=1.0)
    apart = one_by_one.restore(wave, 48000, sampler="ddim", eta=1.0)

    np.testing.assert_allclose(apart, together, atol=1e-4)


@pytest.mark.parametrize("rate", [8000, 44100, 48000])
@pytest.mark.parametrize("value", [0.0, 0.3, -1.0])
def test_silence_and_a_constant_come_back_as_they_are(restorer, rate, value):
    restored = restorer.restore(np.full((2, rate // 10), value, np.float32), rate, cutoff_hz=None)

    assert restored.shape == (2, 4800)
    np.testing.assert_allclose(restored, value, atol=1e-7)


def test_a_silent_channel_stays_silent_beside_others(restorer, noise):
    wave = noise(0.3, channels=3)
    wave[1] = 0

    restored = restorer.restore(wave, 48000)

    assert (restored[1] == 0).all()
    assert band(restored[2], 9000, 20000) > 0


def test_clipped_input_is_handled(restorer, noise):
    wave = np.clip(20 * noise(0.5), -1, 1)

    assert np.isfinite(restorer.restore(wave, 48000)).all()


def test_seed_and_options_rule_the_result(restorer, noise):
    wave = noise(0.5)
    first = restorer.restore(wave, 48000, steps=4)

    np.testing.assert_array_equal(restorer.restore(wave, 48000, steps=4), first)
    for options in (
        {"seed": 1},
        {"steps": 3},
        {"sampler": "ddim"},
        {"spacing": "released"},
        {"guidance": 2.0},
        {"temperature": 0.5},
        {"prefilter": "bessel"},
    ):
        other = restorer.restore(wave, 48000, **{"steps": 4, **options})
        assert np.abs(other - first).max() > 1e-6, options


def test_noise_is_as_strong_as_the_model_or_else_the_call_asks(restorer, noise):
    wave = noise(0.5)
    fill = replace(restorer.model.fill, temperature=0.5)
    asks = Restorer(replace(restorer.model, fill=fill), settings=restorer.settings)

    np.testing.assert_array_equal(
        asks.restore(wave, 48000), restorer.restore(wave, 48000, temperature=0.5)
    )
    np.testing.assert_array_equal(
        asks.restore(wave, 48000, temperature=1.0), restorer.restore(wave, 48000)
    )


def test_without_temperature_no_seed_matters(restorer, noise):
    wave = noise(0.5)

    one, other = (
        restorer.restore(wave, 48000, temperature=0.0, seed=seed, noise_floor="none")
        for seed in (0, 1)
    )

    np.testing.assert_array_equal(one, other)


def test_a_bridge_starts_from_the_input_and_refuses_fresh_noise(noise):
    spec = {"_target_": "audiosr.diffusion.start.FromCondition", "sigma": 0.0}
    model = replace(tiny_model(), diffusion=DiffusionSettings(start=spec))
    seen, wave = {}, noise(0.5)
    restorer = Restorer(model, settings=STEPS)
    assert isinstance(model.denoiser, FrameDenoiser)

    def keep(_: object, inputs: tuple[torch.Tensor, ...]) -> None:
        seen.setdefault("x", inputs[0])

    model.denoiser.register_forward_pre_hook(keep)

    restorer.restore(wave, 48000, watch=lambda name, value: seen.setdefault(name, value))

    assert torch.equal(seen["x"], seen["condition"])
    with pytest.raises(UsageError, match="give eta=0"):
        restorer.restore(wave, 48000, sampler="ddim", eta=1.0)


def test_nothing_is_generated_above_the_output_bandwidth(restorer, noise):
    wave = soxr.resample(noise(1.0, rate=8000)[0], 8000, 48000, quality="VHQ")[None]

    free = restorer.restore(wave, 48000)
    limited = restorer.restore(wave, 48000, output_bandwidth_hz=11025.0)

    assert band(limited, 13000, 24000) < 1e-2 * band(free, 13000, 24000)
    assert band(limited, 4000, 10000) == pytest.approx(band(free, 4000, 10000), rel=0.05)


def test_nothing_is_generated_above_what_the_model_fills_by_itself(noise):
    wave = soxr.resample(noise(1.0, rate=8000)[0], 8000, 48000, quality="VHQ")[None]
    wave += 1e-3 * noise(1.0, seed=1)

    free, limited = (
        Restorer(reaching_model(hz), settings=STEPS).restore(wave, 48000) for hz in (None, 11025.0)
    )

    assert band(limited, 13000, 24000) < 1e-2 * band(free, 13000, 24000)
    assert band(limited, 4000, 10000) == pytest.approx(band(free, 4000, 10000), rel=0.3)


def test_an_output_bandwidth_below_the_cutoff_leaves_the_input(restorer, noise):
    wave = noise(0.2)

    restored = restorer.restore(wave, 48000, output_bandwidth_hz=2000.0)

    np.testing.assert_array_equal(restored, wave)


def test_bfloat16_networks_keep_the_low_band_exact(noise):
    restorer = Restorer(tiny_model(), dtype=torch.bfloat16, settings=STEPS)
    wave = noise(0.5)

    restored = torch.from_numpy(restorer.restore(wave, 48000))

    assert snr_below_cutoff_db(restored, torch.from_numpy(wave), 3000.0, 48000).item() > 55


def test_the_end_is_not_shown_to_the_networks_as_a_stop(restorer, noise):
    seen = {}

    restorer.restore(noise(0.7), 48000, watch=seen.__setitem__)

    levels = seen["low_mel"][0, 0, :, 20:100].mean(-1)
    assert len(levels) == 128
    assert levels[72:].mean() == pytest.approx(levels[:64].mean().item(), abs=0.3)
    assert levels.min() > levels.mean() - 1.5


def test_the_vocoder_sees_the_log_mel_of_the_input_below_the_cutoff(noise):
    model = tiny_model()
    heard, seen = [], {}
    model.parts["vocoder"].register_forward_pre_hook(lambda _, inputs: heard.append(inputs[0]))

    Restorer(model, settings=STEPS).restore(noise(0.7), 48000, watch=seen.__setitem__)

    (mel,), low = heard, seen["low_mel"]
    bands = 120  # the bands up to 120 are centred below 3 kHz, those from 150 on above 4 kHz
    assert torch.equal(mel[..., :bands], low[..., :bands])
    assert (mel - low)[..., 150:].abs().mean() > 0.5


def test_progress_ends_at_the_whole(restorer, noise):
    parts = []

    restorer.restore(noise(0.3), 48000, steps=4, on_step=parts.append)

    assert parts == [0.25, 0.5, 0.75, 1.0]


@pytest.mark.parametrize(
    ("usual", "asked", "told"),
    [(None, None, 24000), (20000.0, None, 20000), (20000.0, 22050.0, 22050), (None, 9000.0, 9000)],
)
def test_a_model_is_told_how_far_it_fills_by_itself_or_is_asked_to(usual, asked, told, noise):
    model, seen = reaching_model(usual), {}
    restorer = Restorer(model, settings=STEPS)

    restorer.restore(noise(0.5, rate=8000), 8000, output_bandwidth_hz=asked, watch=seen.__setitem__)

    bands = (seen["condition"][0, 16, 0] + 1) / 2
    assert torch.equal(bands, model.share_below(torch.tensor([float(told)]))[0])


def test_what_reaches_as_far_as_the_model_fills_is_left_as_it_is(noise):
    wave = soxr.resample(noise(1.0, rate=41000)[0], 41000, 48000, quality="VHQ")[None]

    found = replace(STEPS, cutoff_hz=None)
    short, full = (Restorer(reaching_model(hz), settings=found) for hz in (20000.0, None))

    np.testing.assert_array_equal(short.restore(wave, 48000), wave)
    assert np.abs(full.restore(wave, 48000) - wave).max() > 1e-4
    assert np.abs(short.restore(wave, 48000, output_bandwidth_hz=24000.0) - wave).max() > 1e-4


class Unasked(nn.Module):
    """A denoiser or an autoencoder that nobody may use."""

    def forward(self, *_: object) -> torch.Tensor:
        raise AssertionError("asked")

    encode = decode = forward


def test_no_step_takes_the_envelope_and_asks_no_denoiser(noise):
    model = tiny_model()
    envelope = EnvelopePrior(bands=32, side=1)
    clips = torch.from_numpy(noise(1.0, channels=4))[:, None]
    envelope.fit(envelope.grouped(model.log_mel(clips)))
    model = replace(model, envelope=envelope, denoiser=Unasked(), autoencoder=Unasked())
    seen = {}

    restored = Restorer(model).restore(
        noise(0.5), 48000, cutoff_hz=4000.0, steps=0, watch=seen.__setitem__
    )

    completed = model.complete(seen["low_mel"], torch.tensor([4000.0]))
    assert torch.equal(seen["mel"], completed)
    assert band(restored[0], 9000, 20000) > 0


def test_no_step_without_an_envelope_is_said_before_there_is_a_recording():
    with pytest.raises(UsageError, match="steps=0 takes the envelope alone"):
        Restorer(tiny_model(), settings=load_profile(steps=0))
