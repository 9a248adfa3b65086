"""Are clips degraded as in the wild, from the generator alone and with the draws told?"""

import re
from collections import Counter
from typing import Any

import numpy as np
import pytest
import torch

from audiosr.audio.lowpass import Lowpass
from audiosr.degrade import codecs
from audiosr.degrade.codecs import Codec
from audiosr.degrade.robust import (
    FIR_WINDOWS,
    RESAMPLERS,
    DegradationChain,
    Fir,
    Resample,
    RobustDegradation,
)
from audiosr.degrade.telephone import Telephone
from audiosr.degrade.twins import degrade_batch
from audiosr.errors import UsageError
from tests.degrade.conftest import generator, noise

QUIET: dict[str, Any] = {"noise_probability": 0.0, "clip_probability": 0.0}


def draws(count: int, **options: Any) -> list[DegradationChain]:
    numbers = generator()
    return [RobustDegradation(**options).draw_chain(numbers) for _ in range(count)]


def only(kind: str, **options: Any) -> RobustDegradation:
    settings: dict[str, Any] = {"kinds": {kind: 1.0}, **QUIET, **options}
    return RobustDegradation(**settings)


@pytest.mark.parametrize("seed", range(6))
def test_the_same_generator_state_gives_the_same_twin(seed: int):
    first, second, other = (RobustDegradation()(noise(), generator(s)) for s in (seed, seed, 99))

    assert np.array_equal(first.wave, second.wave)
    assert first[1:] == second[1:]
    assert first.chain != other.chain


def test_the_global_random_state_is_left_alone():
    state = torch.get_rng_state()

    RobustDegradation(noise_probability=1)(noise(), generator())

    assert torch.equal(torch.get_rng_state(), state)


def test_a_setting_changes_no_draw_that_it_does_not_rule():
    quiet = draws(50, noise_probability=0, clip_probability=0)
    loud = draws(50, noise_probability=1, clip_probability=1)

    assert [chain.band for chain in quiet] == [chain.band for chain in loud]


def test_kinds_are_drawn_by_weight():
    kinds = {"iir": 2.0, "fir": 1.0, "mp3": 1.0, "opus": 0.0}

    chains = draws(4000, kinds=kinds)

    counts = Counter(type(c.band) for c in chains)
    assert counts[Lowpass] == pytest.approx(2000, abs=150)
    assert counts[Fir] == pytest.approx(1000, abs=120)
    assert counts[Codec] == pytest.approx(1000, abs=120)
    assert {c.band.name for c in chains if isinstance(c.band, Codec)} == {"mp3"}


def test_every_setting_is_drawn():
    chains = draws(3000)

    assert {c.band.quality for c in chains if isinstance(c.band, Resample)} == set(RESAMPLERS)
    codecs = [c.band for c in chains if isinstance(c.band, Codec)]
    assert {c.setting for c in codecs if c.name == "mp3"} == set(RobustDegradation().mp3_kbps)
    calls = [c.band for c in chains if isinstance(c.band, Telephone)]
    assert {call.coding for call in calls} == {"ULAW", "ALAW", "GSM610"}
    for edges, ends in (
        ([call.low_hz for call in calls], (200, 400)),
        ([call.cutoff_hz for call in calls], (3_000, 3_700)),
    ):
        assert ends[0] <= min(edges) < ends[0] + 0.1 * (ends[1] - ends[0])
        assert ends[1] - 0.1 * (ends[1] - ends[0]) < max(edges) <= ends[1]
    noisy = [c.snr_db for c in chains if c.snr_db is not None]
    assert len(noisy) == pytest.approx(600, abs=80)
    assert min(noisy) >= 10
    assert max(noisy) <= 50


@pytest.mark.parametrize("kind", ["iir", "fir", "resample", "mp3", "vorbis", "opus", "telephone"])
@pytest.mark.parametrize("seed", range(6))
def test_clips_stay_in_time_and_lose_what_lies_above_the_cutoff(kind: str, seed: int):
    options = {"resamplers": ["best", "polyphase"], "fir_lobes": (32, 64), "orders": (8, 10)}
    wave = noise(24000)

    degraded, cutoff_hz, chain, _ = only(kind, **options)(wave, generator(seed))

    assert degraded.shape == wave.shape
    assert degraded.dtype == np.float32
    assert np.isfinite(degraded).all()
    assert chain.split()[0] in (kind, *RobustDegradation().families)
    power = np.abs(np.fft.rfft(degraded[2000:-2000])) ** 2
    hz = np.linspace(0, 24000, len(power))
    above, below = power[hz > min(1.5 * cutoff_hz, 23000)], power[hz < 0.5 * cutoff_hz]
    assert above.mean() < 0.05 * below.mean()
    cross = np.fft.irfft(np.fft.rfft(degraded) * np.fft.rfft(wave).conj())
    assert int(cross.argmax()) in (0, 1, 2, 3, len(cross) - 1)


@pytest.mark.parametrize("window", FIR_WINDOWS)
def test_a_fir_low_pass_halves_its_cutoff_and_is_steeper_with_more_lobes(window: str):
    few, many = (Fir(window, lobes, 6000.0).gains(48000, 48000)[0] for lobes in (4, 64))

    for gains in (few, many):
        assert gains.shape == (24001,)
        assert float(gains[6000]) == pytest.approx(0.5, abs=0.01)
        assert float(gains[0]) == pytest.approx(1, abs=1e-4)
    assert float(many[6600].abs()) < 0.01 < float(few[6600])


def test_the_cutoff_of_a_codec_is_where_it_cuts():
    degraded = only("mp3", mp3_kbps=[32])(noise(), generator())

    assert degraded.chain == "mp3 32 kbit/s"
    assert degraded.cutoff_hz == codecs.edge_hz(Codec("mp3", 32))


def test_a_call_is_in_the_input_alone_and_ends_at_its_upper_edge():
    wave = noise(48000)
    batch = torch.from_numpy(wave)[None, None]

    twin = degrade_batch(batch, only("telephone"), [[3]])

    told = re.fullmatch(r"telephone (\S+) (\d+) to (\d+) Hz", twin["chain"][0])
    assert told
    assert round(float(twin["cutoff_hz"][0])) == int(told[3])
    assert "waveform" not in twin  # the clip itself stays the target


def test_noise_has_the_power_that_was_drawn():
    wave = noise(48000)
    degrade = RobustDegradation(
        kinds={"iir": 1}, families=["boxcar"], cutoff_hz=(23999, 23999), clip_probability=0,
        noise_probability=1, snr_db=(20, 20),
    )  # fmt: skip

    added = degrade(wave, generator()).wave - wave

    ratio = 10 * np.log10(np.square(wave).mean() / np.square(added).mean())
    assert ratio == pytest.approx(20, abs=0.2)


@pytest.mark.parametrize("clips", [0, 1])
def test_noise_can_belong_to_what_a_model_learns(clips: int):
    wave = np.stack([noise(48000), noise(48000)[::-1].copy()])
    options = {"kinds": {"iir": 1}, "noise_probability": 1, "clip_probability": clips}
    batch = torch.from_numpy(wave)[:, None]

    clean = degrade_batch(batch, RobustDegradation(**options), [[1], [2]])
    noisy = degrade_batch(batch, RobustDegradation(**options, noise_in_target=True), [[1], [2]])

    assert "waveform" not in clean
    assert torch.equal(noisy["degraded"], clean["degraded"])
    added = (noisy["waveform"] - batch)[:, 0].numpy()
    for one, clip, chain in zip(added, wave, noisy["chain"], strict=True):
        told = re.search(r"noise (\S+) dB", chain)
        assert told
        snr = float(told[1])
        ratio = 10 * np.log10(np.square(clip).mean() / np.square(one).mean())
        assert ratio == pytest.approx(snr, abs=0.2 if not clips else 6)
        white = np.abs(np.fft.rfft(one))
        assert white[-4000:].mean() == pytest.approx(white[:4000].mean(), rel=0.1)


def test_clipping_holds_samples_at_the_level_that_was_drawn():
    wave = noise()
    degrade = RobustDegradation(
        kinds={"iir": 1}, families=["boxcar"], cutoff_hz=(24000, 24000), noise_probability=0,
        clip_probability=1, clip_db=(-6, -6),
    )  # fmt: skip

    clipped, _, chain, _ = degrade(wave, generator())

    limit = np.abs(wave).max() * 10 ** (-6 / 20)
    assert np.allclose(clipped, wave.clip(-limit, limit), atol=1e-5)
    assert chain == "clipped at -6.0 dB, boxcar 24000 Hz"


@pytest.mark.parametrize(
    ("wrong", "words"),
    [
        ({"kinds": {"aac": 1}}, "aac"),
        ({"kinds": {"iir": 0}}, "not all 0"),
        ({"resamplers": ["cubic"]}, "resamplers"),
        ({"mp3_kbps": [8]}, "mp3 at 8"),
        ({"opus_kbps": []}, "opus"),
        ({"rate": 44100}, "48000"),
        ({"telephone_codings": []}, "telephone_codings"),
        ({"telephone_codings": ["AAC"]}, "'AAC'"),
        ({"telephone_low_hz": (400, 200)}, "telephone_low_hz"),
        ({"telephone_high_hz": (3_000, 4_100)}, "4100 Hz"),
        ({"noise_probability": 2}, "noise_probability"),
        ({"snr_db": (40, 10)}, "snr_db"),
        ({"clip_db": (-6, 3)}, "clip_db"),
    ],
    ids=str,
)
def test_settings_that_cannot_be_met_are_refused(wrong: dict, words: str):
    with pytest.raises(UsageError, match=words):
        RobustDegradation(**wrong)
