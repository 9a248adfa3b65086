"""Does the noise of a recording go on above its edge as loud as it is, and nothing but noise?"""

import numpy as np
import pytest
import torch

from audiosr.audio.lowpass import Lowpass, apply_lowpass
from audiosr.audio.mel import LogMel
from audiosr.audio.released import PEAK
from audiosr.restore.floor import add_floor
from tests.restore.conftest import band

EDGE = 4000.0
SAMPLES = 480 * 320
LOG_MEL = LogMel()


def white(seed: int, channels: int = 1) -> torch.Tensor:
    return torch.randn(channels, 1, SAMPLES, generator=torch.Generator().manual_seed(seed))


def limited(wave: torch.Tensor) -> torch.Tensor:
    return apply_lowpass(wave, [Lowpass("cheby1", EDGE, 8)] * len(wave), 48000)


def bursts() -> torch.Tensor:
    """Half a second of a loud band up to the edge, half a second of nothing, and so on."""
    loud = (torch.arange(SAMPLES) // 24000 % 2).float()
    return limited(white(1)) * loud


def pink(seed: int) -> torch.Tensor:
    spectrum = torch.fft.rfft(white(seed))
    spectrum /= torch.linspace(1 / spectrum.shape[-1], 1, spectrum.shape[-1]).sqrt()
    return torch.fft.irfft(spectrum, SAMPLES)


def added(recording: torch.Tensor, generated: torch.Tensor | None = None) -> np.ndarray:
    """What comes to a generated wave, by default a silent one, (T,)."""
    generated = torch.zeros(1, 1, SAMPLES) if generated is None else generated
    gain = PEAK / recording.abs().max()
    out = add_floor(gain * generated, gain * recording, EDGE, LOG_MEL, white(9)) / gain
    return (out - generated)[0, 0].numpy()


def difference_db(wave: np.ndarray, other: np.ndarray, low: float, high: float) -> float:
    return float(20 * np.log10(band(wave, low, high) / band(other, low, high)))


BANDS = [(4300, 6000), (6000, 8000), (8000, 16000), (16000, 23000)]


@pytest.mark.parametrize(("low", "high"), BANDS)
@pytest.mark.parametrize("level", [0.1, 0.01, 0.001])
def test_noise_that_ends_at_the_edge_goes_on_as_loud_as_below_it(
    level: float, low: float, high: float
):
    noise = level * white(2)

    more = added(bursts() + limited(noise))

    assert difference_db(more, noise[0, 0].numpy(), low, high) == pytest.approx(0, abs=2)


@pytest.mark.parametrize(("low", "high"), BANDS)
def test_hiss_that_the_recording_has_above_its_edge_keeps_its_own_spectrum(low: float, high: float):
    hiss = 0.01 * pink(3)

    more = added(bursts() + hiss)

    assert difference_db(more, hiss[0, 0].numpy(), low, high) == pytest.approx(0, abs=2)


def test_below_the_edge_nothing_is_added():
    noise = 0.1 * white(2)

    more = added(bursts() + noise)

    assert difference_db(more, noise[0, 0].numpy(), 100, 3800) < -30


def test_of_what_is_generated_only_the_rest_is_filled_up():
    noise = 0.1 * white(2)

    whole = added(bursts() + noise)
    rest = added(bursts() + noise, 0.9 * noise)

    assert difference_db(rest, whole, 5000, 23000) < -4


def test_what_is_generated_in_some_of_the_pauses_fills_none_of_the_others():
    noise = 0.1 * white(2)
    some = (torch.arange(SAMPLES) // 4800 % 2 == 0) * noise  # half of the time

    whole = added(bursts() + noise)
    rest = added(bursts() + noise, 2 * some)

    assert difference_db(rest, whole, 5000, 23000) == pytest.approx(0, abs=1)


def test_pauses_without_noise_stay_without(chord):
    music = limited(torch.from_numpy(chord(SAMPLES / 48000))[None])

    for recording in (bursts(), music, music.clamp(-0.1, 0.1)):
        assert np.abs(added(recording)).max() < 3e-4


def test_a_pilot_tone_is_no_noise():
    tone = 0.01 * torch.sin(2 * torch.pi * 15625 / 48000 * torch.arange(SAMPLES))[None, None]

    assert np.abs(added(bursts() + tone)).max() < 3e-4


def test_noise_that_is_the_recording_says_nothing_of_what_is_above() -> None:
    rain = limited(white(2))

    assert np.abs(added(rain)).max() < 1e-5
    # The same noise under something that is louder goes on.
    under = added(rain + 20 * bursts())
    assert difference_db(under, white(2)[0, 0].numpy(), 5000, 16000) == pytest.approx(0, abs=2)


def test_a_recording_without_pauses_is_not_taken_for_noise():
    time = torch.arange(SAMPLES) / 48000
    partials = [torch.sin(6.283 * 110 * k * time + k * k) / k for k in range(1, 37)]
    swelling = torch.stack(partials).sum(0) * (1.5 + torch.sin(6.283 * 3 * time))

    assert np.abs(added(swelling[None, None])).max() < 3e-4


@pytest.mark.parametrize("power", [1.7, 3], ids=["10 dB per octave", "18 dB per octave"])
def test_dense_music_that_falls_towards_the_edge_is_not_taken_for_noise(power: float):
    noise, more = (torch.cat([white(seed + n) for n in range(4)], -1) for seed in (4, 9))
    spectrum = torch.fft.rfft(noise)
    hz = torch.linspace(0, 24000, spectrum.shape[-1])
    spectrum *= (hz > 500) / hz.clamp_min(500) ** power
    dense = torch.fft.irfft(spectrum, noise.shape[-1])

    recording = limited(0.5 * dense / dense.abs().max())
    out = add_floor(torch.zeros_like(recording), recording, EDGE, LOG_MEL, more)

    assert out.abs().max() < 1e-5


def test_restoring_continues_the_noise_unless_told_otherwise(restorer):
    hissing = (0.3 * bursts() + 0.05 * white(2))[0].numpy()
    quiet = slice(6000, 20000)

    options = {"mel_replacement": "none", "cutoff_hz": EDGE}
    kept = restorer.restore(hissing, 48000, **options)
    ended = restorer.restore(hissing, 48000, noise_floor="none", **options)

    high = [band(wave[0, quiet], 8000, 20000) for wave in (kept, ended, hissing)]
    assert high[0] > 0.8 * high[2]
    assert band((kept - ended)[0], 100, 3900) < 0.01 * band(kept[0], 100, 3900)
    assert high[0] > high[1]
