"""Is a recording the same wherever it is read, and is what is known of it that of its whole?"""

import itertools

import numpy as np
import pytest
import soxr
import torch

from audiosr.audio import io
from audiosr.restore import recording as recordings
from audiosr.restore.noise_field import FieldNoise, NoisePlace, latent_noise, white_noise
from audiosr.restore.recording import (
    ArrayRecording,
    MidSide,
    ResampledSource,
    SpooledRecording,
    excerpt,
)
from audiosr.restore.samples import polarity_of
from audiosr.restore.stretches import Fader
from audiosr.restore.survey import survey


@pytest.mark.parametrize("limit", [0, 1 << 20])
def test_a_decoded_recording_is_read_anywhere(tmp_path, monkeypatch, noise, limit):
    monkeypatch.setattr(recordings, "HELD_BYTES", limit)
    wave = noise(1.0, channels=3)

    with SpooledRecording(48000, 3, tmp_path / "out") as spooled:
        for start in range(0, 48000, 7000):
            spooled.append(wave[:, start : start + 7000])

        assert spooled.samples == 48000
        np.testing.assert_array_equal(spooled.read(0, 48000), wave)
        np.testing.assert_array_equal(spooled.read(6990, 30001), wave[:, 6990:30001])
    assert not list(tmp_path.rglob("*.*"))


@pytest.mark.parametrize("rate", [4000, 8000, 11025, 22050, 44100, 44101, 96000, 176400, 192000])
def test_parts_are_resampled_as_the_whole_is(noise, rate):
    wave = 0.3 + noise(1.3, rate=rate, channels=2)
    constant = wave.mean(1, keepdims=True)
    samples = round(wave.shape[1] * 48000 / rate)

    source = ResampledSource(ArrayRecording(wave, rate), 48000, constant, io.resample)
    cuts = [0, 1, 4800, 17777, 31000, samples]
    parts = [source.read(a, b) for a, b in itertools.pairwise(cuts)]

    whole = soxr.resample((wave - constant).T, rate, 48000, quality="VHQ").T + constant
    joined = np.concatenate(parts, axis=1)
    assert source.samples == joined.shape[1] == samples
    shared = min(samples, whole.shape[1])
    np.testing.assert_allclose(joined[:, :shared], whole[:, :shared], atol=3e-6)


def test_middle_and_side_are_undone(noise):
    wave = noise(0.1, channels=2)

    middle_side = MidSide(ArrayRecording(wave, 48000)).read(0, 4800)

    np.testing.assert_allclose(MidSide.undo(middle_side), wave, atol=1e-7)


def test_a_survey_tells_what_the_whole_array_does(noise):
    wave = 0.2 + noise(2.5, channels=4)
    wave[1] = 0.4 - wave[0]
    wave[3] = 0.25

    found = survey(ArrayRecording(wave, 48000))

    mean = wave.mean(1, dtype=np.float64)
    np.testing.assert_allclose(found.mean[:, 0], mean, atol=1e-7)
    np.testing.assert_allclose(found.peak[:, 0], np.abs(wave - mean[:, None]).max(1), atol=1e-6)
    assert found.sounding.tolist() == [True, True, True, False]
    assert found.polarity([0, 1, 2])[:, 0].tolist() == [1, -1, 1]


def test_the_quiet_second_is_one_of_the_quiet_ones_and_not_silence(noise):
    wave = noise(20.0, rate=8000)
    wave[:, : 8000 * 5] = 0
    wave[:, 8000 * 12 : 8000 * 14] *= 0.01

    found = survey(ArrayRecording(wave, 8000))

    assert found.quiet_second([0], 0, 20) in (12.5, 13.5)


def test_an_excerpt_is_the_whole_of_what_is_short_and_spread_over_what_is_long(noise, monkeypatch):
    wave = noise(100.0, rate=4000, channels=2)
    recording = ArrayRecording(wave, 4000)
    assert excerpt(recording) is not None
    np.testing.assert_array_equal(excerpt(recording, 4000, 8000), wave[:, 4000:8000])

    monkeypatch.setattr(recordings, "EXCERPT_VALUES", 2 * 4000 * 30)
    part = excerpt(recording)

    assert part.shape == (2, 120_000)
    np.testing.assert_array_equal(part[:, 100:39_000], wave[:, 100:39_000])
    np.testing.assert_array_equal(part[:, -39_000:-100], wave[:, -39_000:-100])


def test_noise_belongs_to_a_place_and_not_to_a_window():
    whole = latent_noise(3, 0, NoisePlace(0), 200, 16, 32)

    np.testing.assert_array_equal(latent_noise(3, 0, NoisePlace(37), 100, 16, 32), whole[:, 37:137])
    np.testing.assert_array_equal(
        white_noise(3, 47_000, 99_000), white_noise(3, 0, 99_000)[..., 47_000:]
    )
    others = [
        latent_noise(4, 0, NoisePlace(0), 200, 16, 32),
        latent_noise(3, 1, NoisePlace(0), 200, 16, 32),
    ]
    others.append(latent_noise(3, 0, NoisePlace(0, 1), 200, 16, 32))
    for other in others:
        assert abs(np.corrcoef(whole.ravel(), other.ravel())[0, 1]) < 0.02
    assert whole.std() == pytest.approx(1, abs=0.01)


def test_rows_at_one_place_share_their_noise():
    draw = FieldNoise(1, [NoisePlace(0), NoisePlace(0), NoisePlace(8), NoisePlace(0, 1)])

    first, second = draw(torch.zeros(4, 2, 16, 3)), draw(torch.zeros(4, 2, 16, 3))

    assert torch.equal(first[0], first[1])
    assert torch.equal(first[0][:, 8:], first[2][:, :8])
    assert not torch.equal(first[0], first[3])
    assert not torch.equal(first, second)


@pytest.mark.parametrize("changes", [[], [3.0], [1.0, 1.02, 4.0]])
def test_parts_that_agree_are_joined_without_a_trace(noise, changes):
    wave = noise(5.0, rate=8000, channels=2)
    parts: list[np.ndarray] = []
    fader = Fader(changes, 40_000, 8000, parts.append)

    for index in range(len(changes) + 1):
        take = fader.taker(index)
        start, stop = fader.span(index)
        for place in range(start, stop, 3000):
            take(wave[:, place : min(stop, place + 3000)])

    np.testing.assert_allclose(np.concatenate(parts, axis=1), wave, atol=1e-6)


def test_polarity_is_that_of_the_channels_themselves(noise):
    wave = noise(1.0, channels=3)
    wave[2] = -0.7 * wave[0] + 0.1 * wave[1]

    found = survey(ArrayRecording(wave, 48000)).polarity([0, 1, 2])

    np.testing.assert_array_equal(found, polarity_of(torch.from_numpy(wave)).numpy())
