"""The protocols of conf/protocol: each is what the field's own code does."""

import json
from typing import Any

import numpy as np
import pytest
import scipy.signal
import torch
import torchaudio

from audiosr.audio.io import RATE
from audiosr.entry import compose_config
from audiosr.errors import UsageError
from audiosr.evaluation.bandlimit import Coded, Noisy, Resampled, ZeroPhase, codec_edges
from audiosr.evaluation.protocol import Protocol
from audiosr.evaluation.run import evaluate, instantiate_plainly
from audiosr.files import config_folder
from tests.evaluation.conftest import tone_burst

WAVE = tone_burst(0.5, 22_000).astype(np.float64)
NAMES = sorted(path.stem for path in (config_folder() / "protocol").glob("*.yaml"))


def protocol(*overrides: str) -> Protocol:
    return instantiate_plainly(compose_config("evaluate", overrides).protocol)


def test_these_are_the_protocols():
    assert [
        *("apbwe", "blind", "codec", "noisy", "nuwave2", "paper", "ssr_eval", "universr"),
    ] == NAMES


@pytest.mark.parametrize("name", NAMES)
def test_each_has_its_name_on_its_card(name):
    card = json.loads(json.dumps(protocol(f"protocol={name}").card()))
    assert card["name"] == name
    assert card["lowpass"]


def test_blind_is_paper_but_for_the_cutoff_that_is_not_given():
    given, blind = (protocol(f"protocol={name}").card() for name in ("paper", "blind"))
    changed = {key: value for key, value in blind.items() if value != given[key]}
    assert changed == {"name": "blind", "cutoff_given": False}


@pytest.mark.parametrize("name", NAMES)
def test_inputs_of_each_hold_the_band_below_the_cutoff(name):
    one = protocol(f"protocol={name}")
    reference = torch.from_numpy(one.mono(WAVE[None].astype(np.float32)))[None, None]
    low, cutoff_hz = one.degrade(reference, one.cutoffs_hz[:1])
    assert low.shape == reference.shape
    spectra = [np.abs(np.fft.rfft(wave.numpy().ravel())) ** 2 for wave in (low, reference)]
    hz = np.fft.rfftfreq(len(WAVE), 1 / RATE)
    share = {
        "below": (hz > 200) & (hz < 0.7 * float(cutoff_hz[0])),
        "above": hz > 1.5 * float(cutoff_hz[0]),
    }
    kept = {k: spectra[0][mask].sum() / spectra[1][mask].sum() for k, mask in share.items()}
    assert 10 * np.log10(kept["below"]) == pytest.approx(0, abs=1)
    assert kept["above"] < 0.2


def test_ssr_eval_has_its_filter_its_cutoffs_and_its_distance():
    one = protocol("protocol=ssr_eval")
    assert one.cutoffs_hz == (1000, 2000, 4000, 6000, 8000, 12_000, 16_000)
    assert one.lowpass.card()["kind"] == "stft_hard"
    assert (one.headline, one.source_limit) == ("lsd_ssr_eval", False)


def test_nuwave2_filters_then_resamples_full_scale_references():
    one = protocol("protocol=nuwave2")
    sections = scipy.signal.cheby1(8, 0.05, 4000, fs=RATE, output="sos")
    low = scipy.signal.sosfiltfilt(sections, WAVE)
    low = scipy.signal.resample_poly(low, 8000, RATE)
    expected = scipy.signal.resample_poly(low, RATE, 8000)[: len(WAVE)]
    np.testing.assert_allclose(
        one.lowpass(WAVE, 4000, RATE)[4096:-4096], expected[4096:-4096], atol=1e-6
    )
    assert np.abs(one.mono(0.1 * WAVE[None].astype(np.float32))).max() == pytest.approx(1)
    assert one.card()["level"] == "peak brought to 1"


@pytest.mark.parametrize("name", ["apbwe", "universr"])
def test_inputs_of_apbwe_and_universr_are_torchaudios(name):
    wave = torch.from_numpy(WAVE)
    down = torchaudio.functional.resample(wave, RATE, 16_000)
    expected = torchaudio.functional.resample(down, 16_000, RATE)[: len(wave)]
    low = protocol(f"protocol={name}").lowpass(WAVE, 8000, RATE)
    np.testing.assert_array_equal(low, expected.numpy())


def test_universr_is_judged_above_the_cutoff():
    assert protocol("protocol=universr").headline == "lsd_hf_universr"


def test_cutoffs_can_be_chosen_within_a_protocol():
    assert protocol("protocol=ssr_eval", "cutoffs=[5000]").cutoffs_hz == (5000,)


def test_codecs_stand_at_the_edges_of_what_they_keep():
    edges = codec_edges(("mp3 32", "opus 16", "opus 24"))
    assert 7000 < edges[0] < 9000
    assert edges[2] == edges[1] + 1  # of one edge, and still two rows
    coded = Coded(("mp3 32", "opus 16", "opus 24"))
    assert list(coded.card()["codecs"].values()) == [
        "mp3 32 kbit/s",
        "opus 16 kbit/s",
        "opus 24 kbit/s",
    ]
    out = coded(WAVE, edges[0], RATE)
    assert out.shape == WAVE.shape
    assert np.corrcoef(out, WAVE)[0, 1] > 0.9
    with pytest.raises(UsageError, match="no codec at 4000 Hz"):
        coded(WAVE, 4000, RATE)


@pytest.mark.parametrize("text", ["aac 64", "mp3", "mp3 loud", "mp3 9"])
def test_codecs_that_are_not_there_are_named(text):
    with pytest.raises(UsageError, match=text.split()[0]):
        Coded((text,))


def test_noise_belongs_to_the_clip_and_has_the_level():
    noisy = Noisy(ZeroPhase("boxcar"), snr_db=20)
    first, again = noisy(WAVE, 8000, RATE), noisy(WAVE, 8000, RATE)
    np.testing.assert_array_equal(first, again)
    noise = first - ZeroPhase("boxcar")(WAVE, 8000, RATE)
    expected = np.mean(WAVE**2) * 10**-2 * 8000 / (RATE / 2)
    assert np.mean(noise**2) == pytest.approx(expected, rel=0.1)


def test_unknown_kernels_are_named():
    kernel: Any = "cubic"
    with pytest.raises(UsageError, match="choose sinc or polyphase"):
        Resampled(kernel)


@pytest.mark.parametrize("name", ["codec", "noisy"])
def test_damage_is_evaluated_end_to_end(name, tmp_path, audio_file):
    audio_file("a/one.wav", tone_burst(0.5, 22_000)[None])
    results = evaluate(
        compose_config(
            "evaluate",
            [
                *("benchmark=folder", f"benchmark.root={tmp_path}/a", f"protocol={name}"),
                *(f"out={tmp_path}/out", "device=cpu", "system=unprocessed", "metrics=quick"),
                "report.clips=0",
            ],
        )
    )
    assert {file.cutoff_hz for file in results.files} == set(results.protocol.cutoffs_hz)
    assert results.protocol.name == name
