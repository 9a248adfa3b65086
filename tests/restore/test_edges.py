"""Is a recording kept up to its edge, channel by channel, and is that told?"""

import math

import numpy as np
import pytest
import soxr
import torch

from audiosr.audio.edge import Edge
from audiosr.metrics.snr import snr_below_cutoff_db
from audiosr.restore.edges import channel_edges, tell_edges
from audiosr.restore.follow import Stretch, tell_stretches
from audiosr.restore.recording import ArrayRecording
from audiosr.restore.settings import load_profile
from tests.restore.conftest import band


def test_every_channel_is_filled_above_its_own_edge(restorer, noise):
    full = noise(1.0)[0]
    low = soxr.resample(soxr.resample(full, 48000, 8000), 8000, 48000)
    middle = soxr.resample(soxr.resample(full, 48000, 16000), 16000, 48000)
    wave = np.stack([full, low, middle])

    restored = restorer.restore(wave, 48000, cutoff_hz=None)
    edges = restorer.edges(wave, 48000, load_profile())

    assert [edge.hz for edge in edges] == pytest.approx([24000, 4000, 8000], rel=0.1)
    np.testing.assert_array_equal(restored[0], full)
    pair = torch.from_numpy(restored[2:]), torch.from_numpy(wave[2:])
    assert snr_below_cutoff_db(*pair, 7000.0, 48000).item() > 40
    assert band(restored[1], 4500, 7000) > 10 * band(wave[1], 4500, 7000)


@pytest.mark.parametrize(
    ("edges", "told"),
    [
        ([Edge(4000.0, 0.97)], "kept below 4000 Hz (97% sure)"),
        ([Edge(4000.0, math.nan)], "kept below 4000 Hz"),
        ([Edge(24000.0, 0.99)] * 2, "full band already (99% sure), unchanged"),
        ([Edge(23900.0, math.nan)], "full band already, unchanged"),
        ([Edge(23100.0, 0.6)], "nothing to fill above 23100 Hz (60% sure), unchanged"),
        (
            [Edge(4000.0, 0.9), Edge(8000.0, 0.3)],
            "kept below 4000 Hz (90% sure) and "
            "kept below 8000 Hz, a guess (30% sure): give the cutoff if you know it",
        ),
    ],
)
def test_edges_are_told_in_plain_words(edges, told):
    assert tell_edges(edges, 22800.0) == told


def test_a_full_band_recording_comes_back_untouched(restorer, noise):
    wave = noise(1.0, channels=2)

    np.testing.assert_array_equal(restorer.restore(wave, 48000, cutoff_hz=None), wave)
    np.testing.assert_array_equal(restorer.restore(wave, 48000, cutoff_hz=23900.0), wave)


def test_a_bass_tone_is_kept(restorer):
    time = np.arange(48000) / 48000
    wave = (0.5 * np.sin(2 * np.pi * 60 * time)).astype(np.float32)[None]

    restored = restorer.restore(wave, 48000, cutoff_hz=None)

    tones = torch.from_numpy(restored), torch.from_numpy(wave)
    assert snr_below_cutoff_db(*tones, 800.0, 48000).item() > 50


def jumping(noise, *, channels: int = 1):
    """Ten seconds whose edge jumps from 4 to 12 kHz half way, and noise over all of the band."""
    full = noise(10.0, channels=channels)
    low, high = (
        soxr.resample(soxr.resample(full.T, 48000, rate), rate, 48000).T for rate in (8000, 24000)
    )
    return np.concatenate([low[:, :240_000], high[:, 240_000:]], axis=1)


def test_an_edge_that_moves_is_followed_where_that_is_asked_for(restorer, noise):
    wave = jumping(noise, channels=2)
    settings = load_profile(steps=2, follow_edge=True)

    restored = restorer.restore(wave, 48000, settings=settings)

    stretches = restorer.stretches(ArrayRecording(wave, 48000), settings)
    assert [each.edges[0].hz for each in stretches] == pytest.approx([4000, 12000], rel=0.1)
    assert stretches[1].start == pytest.approx(5.0, abs=0.1)
    assert restored.shape == wave.shape
    for part, edge in ((slice(0, 230_000), 3500), (slice(250_000, None), 10800)):
        pair = torch.from_numpy(restored[:, part]), torch.from_numpy(wave[:, part])
        assert (snr_below_cutoff_db(*pair, float(edge), 48000) > 40).all()
        above = slice(edge + 1500, edge + 8000)
        more = band(restored[:, part], above.start, above.stop)
        assert more > 10 * band(wave[:, part], above.start, above.stop)


def test_an_edge_that_stays_is_no_reason_to_cut_a_recording(restorer, noise):
    wave = soxr.resample(noise(8.0, rate=8000)[0], 8000, 48000)[None]
    wave[:, 150_000:200_000] = 0

    followed = restorer.restore(wave, 48000, cutoff_hz=None, follow_edge=True)

    np.testing.assert_array_equal(followed, restorer.restore(wave, 48000, cutoff_hz=None))


def test_edges_along_time_are_told_with_their_times():
    stretches = [Stretch(0.0, 5.0, [Edge(4000.0, 0.9)]), Stretch(5.0, 9.0, [Edge(24000.0, 0.9)])]

    assert tell_stretches(stretches, 22800.0) == (
        "from 0.00 s kept below 4000 Hz (90% sure); "
        "from 5.00 s full band already (90% sure), unchanged"
    )


@pytest.mark.parametrize("value", [0.0, 0.3])
def test_silence_is_called_silent(noise, value):
    sound = soxr.resample(soxr.resample(noise(1.0)[0], 48000, 8000), 8000, 48000)[None]
    silent = np.full_like(sound, value)

    assert tell_edges(channel_edges(silent, 48000), 22800.0) == "silent, unchanged"
    both = tell_edges(channel_edges(np.concatenate([sound, silent]), 48000), 22800.0)
    assert both.startswith("kept below ")
    assert both.endswith(" and silent, unchanged")
