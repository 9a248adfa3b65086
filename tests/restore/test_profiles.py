"""Two profiles: what the release did, sample by sample, and a setting to mend each fault of it."""

from dataclasses import asdict, replace

import numpy as np
import pytest
import torch
import yaml
from einops import rearrange

from audiosr.entry import compose_config
from audiosr.errors import UsageError
from audiosr.files import config_folder
from audiosr.model import FillSettings, LatentSettings, Model
from audiosr.networks.autoencoder import Autoencoder
from audiosr.networks.hifigan import HiFiGAN
from audiosr.networks.unet import UNet
from audiosr.restore import samples, steps
from audiosr.restore.restorer import Restorer
from audiosr.restore.settings import CHOICES, RestoreSettings, load_profile
from tests.audio import released
from tests.golden import recipe
from tests.tiny import tiny_model

OF_A_RECORDING = {"cutoff_hz": None, "follow_edge": False, "output_bandwidth_hz": None}
PAPER, RELEASED = asdict(load_profile()), asdict(load_profile("released"))
QUICK = {"steps": 2}


@pytest.fixture(scope="module")
def restorer():
    model = tiny_model()
    return Restorer(replace(model, fill=FillSettings(steps=2, expansion=1.5, temperature=0.5)))


def released_model() -> Model:
    """The released topology at the golden numbers' small widths."""
    load = recipe.load_weights
    widths = {"channels": 32, "multipliers": (1, 1, 2, 3)}
    return Model(
        autoencoder=load(Autoencoder(**widths), "first_stage_model."),
        denoiser=load(UNet(**widths, head_channels=16), "model.diffusion_model."),
        vocoder=load(HiFiGAN(channels=64), "first_stage_model.vocoder."),
        latent=LatentSettings(recipe.SCALE_FACTOR, recipe.NULL_CONDITION),
    ).eval()


def test_the_released_profile_repeats_the_release_from_file_to_waveform():
    case, seen = released.cases("e2e"), {}

    final = Restorer(released_model()).restore(
        recipe.signal(case["signal"]),
        48000,
        profile="released",
        steps=case["ddim_steps"],
        seed=case["seed"],
        watch=lambda name, value: seen.setdefault(name, []).append(value.flatten()),
    )

    assert final.shape == (245_776,)
    x = torch.stack(seen["x"])
    latents = {"condition_latent": seen["condition"][0][::17] / recipe.SCALE_FACTOR}
    latents["ddim_x"] = x[:, ::31]
    waves = {
        "waveform_lowpass": seen["low"][0][:120_480:41],
        "lowpass_mel": seen["low_mel"][0][::43],
        "decoded_mel": seen["mel"][0][::43],
        "vocoder_wave_first65536": seen["generated"][0][:65_536:23],
        "final_wave_first120000": torch.from_numpy(final)[:120_000:41],
        "final_wave_last8192": torch.from_numpy(final)[-8192::8],
    }
    assert {key: released.error(value, key) for key, value in latents.items()} == pytest.approx(
        dict.fromkeys(latents, 0), abs=1e-3
    )
    assert {key: released.error(value, key) for key, value in waves.items()} == pytest.approx(
        dict.fromkeys(waves, 0), abs=1e-4
    )


def test_a_seed_means_the_draws_of_the_release(restorer, noise):
    drawn, seed = [], released.cases("e2e")["seed"]
    generator = torch.Generator().manual_seed(seed)

    def draw(x):
        drawn.append(torch.randn(x.shape, generator=generator))
        return drawn[-1]

    wave = noise(0.5, rate=8000)
    given = restorer.restore(wave, 8000, profile="released", steps=5, noise=draw)
    seeded = restorer.restore(wave, 8000, profile="released", steps=5, seed=seed)

    # a latent of which the length is used, the condition, the start, and one for each step
    assert len(drawn) == 8
    np.testing.assert_array_equal(given, seeded)
    start = torch.randn(3, 1, 16, 64, 32, generator=torch.Generator().manual_seed(seed))[2]
    np.testing.assert_allclose(start.flatten()[::17], released.numbers("draw_xT"), atol=1e-6)


@pytest.mark.parametrize("profile", ["paper", "released"])
def test_a_profile_is_its_configuration_file(profile):
    values = yaml.safe_load((config_folder() / f"profile/{profile}.yaml").read_text())

    assert asdict(load_profile(profile)) == values | OF_A_RECORDING
    assert load_profile(profile, seed=7).seed == 7


def test_infer_takes_a_profile_and_overrides_of_it():
    cfg = compose_config("infer", ["input=a", "output=b", "profile=released", "steps=7"])

    settings = RestoreSettings(**{name: cfg[name] for name in RestoreSettings.names()})
    assert asdict(settings) == RELEASED | {"steps": 7}


def test_every_difference_is_in_the_documents():
    page = (config_folder().parent / "docs/inference.md").read_text()
    table = page.split("## Two profiles")[1].split("\n## ")[0]

    for name in PAPER:
        if RELEASED[name] != PAPER[name]:
            row = next(line for line in table.splitlines() if f"`{name}`" in line)
            assert str(RELEASED[name]) in row
            assert str(PAPER[name]) in row


def test_the_released_profile_does_not_ask_the_model_how_to_fill(restorer, noise):
    wave = noise(0.3, rate=22050)
    silent_about_it = Restorer(replace(restorer.model, fill=FillSettings()))

    np.testing.assert_array_equal(
        restorer.restore(wave, 22050, profile="released", steps=2),
        silent_about_it.restore(wave, 22050, profile="released", steps=2),
    )


@pytest.mark.parametrize("name", [n for n in RELEASED if RELEASED[n] != PAPER[n]])
def test_each_setting_of_the_release_can_be_chosen_alone(restorer, noise, name):
    needs = {"eta": "ddim", "last_step": "ddim", "sampler": "ddim"}
    base = QUICK | {"sampler": needs.get(name, "dpm_solver_pp_2m"), "prefilter": "cheby1"}
    wave = noise(0.3, rate=22050, channels=2)
    wave[:, 1000:] *= 0.02  # a floor, under a burst

    paper = restorer.restore(wave, 22050, **base)
    other = restorer.restore(wave, 22050, **base | {name: RELEASED[name]})

    assert np.isfinite(other).all()
    if name not in ("sampler", "full_band", "steps"):
        assert other.shape != paper.shape or np.abs(other - paper).max() > 1e-6


@pytest.mark.parametrize(
    ("name", "value"), [(n, v) for n, known in CHOICES.items() for v in known if n != "sampler"]
)
def test_every_choice_works_in_the_released_profile(restorer, noise, name, value):
    if (name, value) == ("prefilter", "boxcar"):
        pytest.skip("boxcar is no digital filter")

    out = restorer.restore(
        noise(0.1, rate=16000), 16000, profile="released", **QUICK | {name: value}
    )

    assert np.isfinite(out).all()
    lengths = {"exact": 4800, "aligned": 245_760, "mirror": 30_736}
    assert out.shape == (1, lengths.get(value, 245_776))


def test_the_release_keeps_one_channel_its_own_level_and_the_padding(restorer, noise):
    out = restorer.restore(0.01 * noise(0.2, channels=2), 48000, profile="released", **QUICK)

    assert out.shape == (1, 245_776)
    assert np.abs(out).max() == pytest.approx(0.5, abs=0.02)
    assert out.mean() == pytest.approx(0, abs=1e-6)


@pytest.mark.parametrize("samples", [811, 3192])
def test_lengths_that_the_release_rounds_away_are_restored(restorer, noise, samples):
    out = restorer.restore(noise(1.0)[:, :samples], 48000, profile="released", **QUICK)

    assert out.shape == (1, 245_776)


def test_a_tone_on_which_the_release_crashes_is_restored(restorer):
    tone = 0.4 * np.sin(2 * np.pi * 440 * np.arange(48000) / 48000).astype(np.float32)

    out = restorer.restore(tone, 48000, profile="released", **QUICK)

    assert np.isfinite(out).all()
    assert restorer.cutoff_hz(tone[None], 48000, load_profile("released")) == 24_000


def test_step_counts_are_those_that_the_release_runs(restorer, noise):
    parts = []

    restorer.restore(
        noise(0.1, rate=8000), 8000, profile="released", steps=30, on_step=parts.append
    )

    assert len(parts) == 31
    assert parts[-1] == 1


def test_the_released_timing_is_late_by_16_samples():
    vocoder = recipe.load_weights(HiFiGAN(channels=32), "first_stage_model.vocoder.")
    mel = torch.from_numpy(recipe.meanlike_mel(3, 40))[None, None]

    with torch.no_grad():
        aligned = steps.vocode(vocoder, mel, "aligned")
        late = steps.vocode(vocoder, mel, "released")
        own = HiFiGAN(channels=32, timing="released")
        own.load_state_dict(vocoder.state_dict())

        assert torch.equal(own(mel), late)
    assert late.shape[-1] == aligned.shape[-1] + 16 == 40 * 480 + 16
    # Apart from the ends, where the convolutions see other neighbours.
    torch.testing.assert_close(late[..., 4016:-4000], aligned[..., 4000:-4000])


def test_the_rolloff_of_the_paper_can_be_the_cutoff(restorer, noise):
    wave = noise(0.5, rate=16000)

    found = restorer.cutoff_hz(wave, 16000, load_profile(cutoff="rolloff"))

    assert found == pytest.approx(0.99 * 8000, rel=0.02)


def test_zeros_go_on_from_the_signal_and_a_mirror_image_does_not_stop():
    wave = rearrange(torch.arange(1.0, 48_001), "t -> 1 1 t")

    zeros, mirrored = samples.pad_zeros(wave, 30_720), samples.pad_mirror(wave, 30_720)

    assert zeros.shape[-1] == 245_760
    assert (zeros[..., 48_000:] == 0).all()
    assert mirrored.shape[-1] == 61_440
    assert mirrored[..., 48_000] == 47_999


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"profile": "relaesed"}, "profile=relaesed: choose one of paper, released"),
        ({"profile": "paper", "settings": load_profile()}, "give one of them"),
        ({"cutoff": 4000}, "cutoff=4000: choose one of edge, rolloff, released"),
        ({"last_step": "noisy"}, "needs sampler=ddim"),
        ({"prefilter": "boxcar", "prefilter_passes": "twice"}, "prefilter=boxcar"),
        ({"temperature": -1}, "temperature=-1: give 0 or more"),
        ({"channels": 2}, "channels=2: choose one of all, mid_side, first"),
    ],
)
def test_what_cannot_be_combined_is_said(restorer, noise, options, words):
    with pytest.raises(UsageError, match=words):
        restorer.restore(noise(0.1), 48000, **options)
