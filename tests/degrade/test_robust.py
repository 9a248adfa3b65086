"""Are clips degraded as in the wild, from the generator alone and with the draws told?"""

from collections import Counter
from typing import Any

import pytest
import torch

from audiosr.audio.lowpass import Lowpass
from audiosr.degrade import codecs
from audiosr.degrade.codecs import Codec
from audiosr.degrade.robust import RESAMPLERS, Fir, Resample, Robust
from audiosr.errors import UsageError

QUIET: dict[str, Any] = {"noise_probability": 0.0, "clip_probability": 0.0}


def generator(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def noise(count: int, samples: int = 12000) -> torch.Tensor:
    return 0.1 * torch.randn(count, 1, samples, generator=generator(9))


def only(kind: str, **options: Any) -> Robust:
    settings: dict[str, Any] = {"kinds": {kind: 1.0}, **QUIET, **options}
    return Robust(**settings)


def test_the_same_generator_state_gives_the_same_batch():
    first, second, other = (Robust()(noise(8), generator(seed)) for seed in (1, 1, 2))

    assert torch.equal(first.waveform, second.waveform)
    assert torch.equal(first.cutoff_hz, second.cutoff_hz)
    assert first.chain == second.chain != other.chain


def test_a_clip_is_degraded_alike_whatever_else_is_in_the_batch():
    wave = noise(6)
    changed = wave.clone()
    changed[1:] *= 0.5

    one, two = (Robust()(batch, generator(4)) for batch in (wave, changed))

    assert torch.allclose(one.waveform[0], two.waveform[0], atol=1e-6)


def test_the_global_random_state_is_left_alone():
    state = torch.get_rng_state()

    Robust(noise_probability=1)(noise(4), generator())

    assert torch.equal(torch.get_rng_state(), state)


def test_kinds_are_drawn_by_weight():
    kinds = {"iir": 2.0, "fir": 1.0, "mp3": 1.0, "opus": 0.0}

    chains = Robust(kinds=kinds).draw_chains(4000, generator())

    counts = Counter(type(c.band) for c in chains)
    assert counts[Lowpass] == pytest.approx(2000, abs=150)
    assert counts[Fir] == pytest.approx(1000, abs=120)
    assert counts[Codec] == pytest.approx(1000, abs=120)
    assert {c.band.name for c in chains if isinstance(c.band, Codec)} == {"mp3"}


def test_every_setting_is_drawn():
    chains = Robust().draw_chains(3000, generator())

    assert {c.band.quality for c in chains if isinstance(c.band, Resample)} == set(RESAMPLERS)
    codecs = [c.band for c in chains if isinstance(c.band, Codec)]
    assert {c.setting for c in codecs if c.name == "mp3"} == set(Robust().mp3_kbps)
    noisy = [c.snr_db for c in chains if c.snr_db is not None]
    assert len(noisy) == pytest.approx(600, abs=80)
    assert min(noisy) >= 10
    assert max(noisy) <= 50


@pytest.mark.parametrize("kind", ["iir", "fir", "resample", "mp3", "vorbis", "opus"])
def test_clips_stay_in_time_and_lose_what_lies_above_the_cutoff(kind: str):
    options = {"resamplers": ["best", "polyphase"], "fir_lobes": (32, 64), "orders": (8, 10)}
    wave = noise(6, 24000)

    degraded, cutoff_hz, chain = only(kind, **options)(wave, generator(2))

    assert degraded.shape == wave.shape
    assert degraded.isfinite().all()
    spectrum = torch.fft.rfft(degraded[:, 0, 2000:-2000]).abs()
    hz = torch.linspace(0, 24000, spectrum.shape[-1])
    for index, cutoff in enumerate(cutoff_hz.tolist()):
        assert chain[index].split()[0] in (kind, *Robust().families)
        above = spectrum[index, hz > min(1.5 * cutoff, 23000)].square().mean()
        below = spectrum[index, hz < 0.5 * cutoff].square().mean()
        assert above < 0.05 * below, chain[index]
        cross = torch.fft.irfft(
            torch.fft.rfft(degraded[index, 0]) * torch.fft.rfft(wave[index, 0]).conj()
        )
        assert int(cross.argmax()) in (0, 1, 2, 3, len(cross) - 1), chain[index]


def test_the_cutoff_of_a_codec_is_where_it_cuts():
    degraded = only("mp3", mp3_kbps=[32])(noise(1), generator())

    assert degraded.chain == ["mp3 32 kbit/s"]
    assert degraded.cutoff_hz.item() == pytest.approx(codecs.edge_hz(Codec("mp3", 32)))


def test_noise_has_the_power_that_was_drawn():
    wave = noise(1, 48000)
    degrade = Robust(
        kinds={"iir": 1}, families=["boxcar"], cutoff_hz=(23999, 23999), clip_probability=0,
        noise_probability=1, snr_db=(20, 20),
    )  # fmt: skip

    added = degrade(wave, generator()).waveform - wave

    ratio = 10 * torch.log10(wave.square().mean() / added.square().mean())
    assert ratio.item() == pytest.approx(20, abs=0.2)


def test_clipping_holds_samples_at_the_level_that_was_drawn():
    wave = noise(1)
    degrade = Robust(
        kinds={"iir": 1}, families=["boxcar"], cutoff_hz=(24000, 24000), noise_probability=0,
        clip_probability=1, clip_db=(-6, -6),
    )  # fmt: skip

    clipped, _, chain = degrade(wave, generator())

    limit = wave.abs().max() * 10 ** (-6 / 20)
    assert torch.allclose(clipped, wave.clamp(-limit, limit), atol=1e-5)
    assert chain == ["clipped at -6.0 dB, boxcar 24000 Hz"]


@pytest.mark.parametrize(
    ("wrong", "words"),
    [
        ({"kinds": {"aac": 1}}, "aac"),
        ({"kinds": {"iir": 0}}, "not all 0"),
        ({"resamplers": ["cubic"]}, "resamplers"),
        ({"mp3_kbps": [8]}, "mp3 at 8"),
        ({"opus_kbps": []}, "opus"),
        ({"rate": 44100}, "48000"),
        ({"noise_probability": 2}, "noise_probability"),
        ({"snr_db": (40, 10)}, "snr_db"),
        ({"clip_db": (-6, 3)}, "clip_db"),
    ],
    ids=str,
)
def test_settings_that_cannot_be_met_are_refused(wrong: dict, words: str):
    with pytest.raises(UsageError, match=words):
        Robust(**wrong)
