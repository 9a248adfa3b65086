"""Is a recording that is longer than a window restored as if there were no windows?"""

import itertools

import numpy as np
import pytest
import soundfile
import torch

from audiosr.audio.lowpass import Lowpass, apply_lowpass
from audiosr.errors import AudioSRError, UsageError
from audiosr.metrics.snr import snr_below_cutoff_db
from audiosr.restore.files import restore_files
from audiosr.restore.plan import plan_restore
from audiosr.restore.restorer import Restorer
from audiosr.restore.settings import load_profile
from audiosr.restore.windows import AROUND_FRAMES, Windows
from tests.tiny import tiny_model

RATE = 48000
SHORT = load_profile(steps=2, cutoff_hz=4000.0, window_seconds=2.56, context_seconds=0.64)
JOINTS = [1.92, 3.2, 4.48, 5.76, 7.04]
"""Seconds at which windows of 2.56 s with a context of 0.64 s meet."""


@pytest.fixture(scope="module")
def windowed():
    return Restorer(tiny_model(), settings=SHORT)


def low(wave: np.ndarray) -> np.ndarray:
    limited = apply_lowpass(
        torch.from_numpy(wave)[:, None], [Lowpass("cheby1", 4000.0, 8)] * len(wave), RATE
    )
    return limited[:, 0].numpy()


def difference_db(one: np.ndarray, other: np.ndarray) -> float:
    return float(10 * np.log10(1e-20 + np.square(one - other).mean() / np.square(other).mean()))


def test_windows_meet_in_the_middle_of_what_they_share():
    over = Windows.over(0, 8 * RATE, seconds=2.56, context_seconds=0.64, rate=RATE, hop=480)

    assert [over.joint(index) / RATE for index in range(over.count - 1)] == JOINTS
    assert over.joint(over.count - 1) == over.span(over.count - 1)[1] == 8 * RATE
    for (_, stop), (start, _) in itertools.pairwise(map(over.span, range(over.count))):
        assert stop - start == 2 * over.context
    step = over.span(1)[0] - over.span(0)[0]
    assert step > AROUND_FRAMES * 480


@pytest.mark.parametrize("stop", [1, 122_879, 122_880, 122_881, 184_319, 184_321, 1_000_000])
def test_no_window_is_shorter_than_what_it_shares(stop):
    over = Windows.over(0, stop, seconds=2.56, context_seconds=0.64, rate=RATE, hop=480)

    start, end = over.span(over.count - 1)
    assert end == stop
    assert over.count == 1 or end - start > 2 * over.context


@pytest.mark.parametrize("kind", ["noise", "chord"])
def test_neither_windows_nor_batches_change_the_result(windowed, request, kind):
    wave = low(np.tile(request.getfixturevalue(kind)(2.0), 4))

    pieces = windowed.restore(wave, RATE)
    one_by_one = Restorer(windowed.model, settings=SHORT, batch_seconds=1).restore(wave, RATE)
    longer = windowed.restore(wave, RATE, window_seconds=5.12)
    whole = windowed.restore(wave, RATE, window_seconds=10.24)

    assert difference_db(one_by_one - wave, pieces - wave) < -60
    assert difference_db(longer - wave, pieces - wave) < -20
    assert difference_db(whole - wave, pieces - wave) < -20


def test_the_level_moves_as_if_there_were_no_windows(windowed, noise):
    wave = low(noise(8.0)) * np.repeat([1.0, 0.2, 0.6, 0.1], 2 * RATE).astype(np.float32)
    given = {"expansion": 1.5, "noise_floor": "none"}

    pieces = windowed.restore(wave, RATE, **given)

    moved = pieces - windowed.restore(wave, RATE, **given | {"expansion": 1.0})
    for seconds in (5.12, 10.24):
        other = windowed.restore(wave, RATE, window_seconds=seconds, **given)
        other -= windowed.restore(wave, RATE, window_seconds=seconds, **given | {"expansion": 1.0})
        assert difference_db(other, moved) < -20


def test_length_channels_and_low_band_are_kept_over_windows(windowed, chord):
    wave = np.tile(chord(1.0, rate=44100, channels=2), 5)[:, :-441]

    restored = windowed.restore(wave, 44100)

    assert restored.shape == (2, round(wave.shape[1] * RATE / 44100))
    expected = Restorer(windowed.model, settings=SHORT).restore(
        wave, 44100, output_bandwidth_hz=4000.0
    )
    pair = torch.from_numpy(restored), torch.from_numpy(expected)
    assert (snr_below_cutoff_db(*pair, 3900.0, RATE) > 55).all()
    for second in range(4):
        part = slice(second * RATE, (second + 1) * RATE)
        assert abs(restored[:, part].mean() - expected[:, part].mean()) < 1e-4


def test_equal_and_opposite_channels_stay_so_over_windows(windowed, noise):
    mono = low(noise(5.0))
    wave = np.concatenate([mono, mono, -mono, 0 * mono, 0.5 * mono])

    restored = windowed.restore(wave, RATE)

    np.testing.assert_array_equal(restored[1], restored[0])
    np.testing.assert_allclose(restored[2], -restored[0], atol=1e-6)
    np.testing.assert_allclose(restored[4], 0.5 * restored[0], atol=1e-6)
    assert (restored[3] == 0).all()


def test_equal_channels_stay_equal_as_middle_and_side(windowed, noise):
    mono = low(noise(1.0))

    equal = windowed.restore(np.concatenate([mono, mono]), RATE, channels="mid_side")
    opposite = windowed.restore(np.concatenate([mono, -mono]), RATE, channels="mid_side")

    np.testing.assert_array_equal(equal[1], equal[0])
    np.testing.assert_array_equal(opposite[1], -opposite[0])


@pytest.mark.parametrize("kind", ["noise", "chord"])
def test_level_and_flux_at_the_joints_are_those_of_other_places(windowed, request, kind):
    wave = low(np.tile(request.getfixturevalue(kind)(2.0), 4))

    restored = windowed.restore(wave, RATE)[0]

    spectrum = np.abs(np.fft.rfft(np.lib.stride_tricks.sliding_window_view(restored, 1024)[::240]))
    high = np.log(spectrum[:, 100:480] + 1e-4)
    level, flux = high.mean(1)[1:], np.abs(np.diff(high, axis=0)).mean(1)
    times = (np.arange(1, len(high)) * 240 + 512) / RATE
    near = np.abs(times[:, None] - np.array(JOINTS)).min(1) < 0.2
    for figure in (level, flux):
        error = figure.std() / np.sqrt(near.sum() / 5)  # frames overlap about fivefold
        assert abs(figure[near].mean() - figure[~near].mean()) < 3 * error
        assert figure[near].max() < figure[~near].max() + 2 * figure.std()


def test_the_beginning_does_not_depend_on_the_length(windowed, noise):
    wave = low(noise(8.0))
    wave[:, 100] = 0.9  # one peak for both

    part = windowed.restore(wave[:, : 5 * RATE], RATE)

    whole = windowed.restore(wave, RATE)
    assert (
        difference_db(part[:, : 3 * RATE] - wave[:, : 3 * RATE], (whole - wave)[:, : 3 * RATE])
        < -40
    )


def test_the_networks_never_see_more_than_a_batch(noise):
    model, seen = tiny_model(), []
    for name in ("denoiser", "vocoder"):
        model.parts[name].register_forward_pre_hook(
            lambda _, inputs: seen.append(inputs[0].shape[0] * inputs[0].shape[2])
        )
    restorer = Restorer(model, settings=SHORT, batch_seconds=6.0)

    restorer.restore(noise(8.0, channels=2), RATE)

    assert len(seen) > 10
    assert max(seen) <= 600


def test_settings_that_need_the_whole_are_told_for_what_is_too_long(windowed, noise):
    wave = np.zeros((1, 61 * 8000), np.float32)

    with pytest.raises(AudioSRError, match="with splice=stft up to 60 s"):
        windowed.restore(wave, 8000, splice="stft")
    assert windowed.restore(wave, 8000).shape == (1, 61 * RATE)
    with pytest.raises(UsageError, match="follow_edge=true restores in windows"):
        load_profile(follow_edge=True, window_seconds=None)


def test_progress_grows_over_windows_up_to_the_whole(windowed, noise):
    parts = []

    windowed.restore(noise(5.0, channels=2), RATE, on_step=parts.append)

    assert parts == sorted(parts)
    assert parts[-1] == 1


@pytest.fixture
def folder(tmp_path, noise):
    for index, seconds in enumerate((0.5, 0.3, 0.5, 3.0)):
        path = tmp_path / f"in/{index}.wav"
        path.parent.mkdir(exist_ok=True)
        soundfile.write(path, noise(seconds, rate=8000, seed=index).T, 8000)
    return tmp_path


def test_files_share_batches_and_come_out_as_alone(windowed, folder):
    plan = plan_restore([str(folder / "in")], str(folder / "out"))
    rows = []
    hook = windowed.model.parts["denoiser"].register_forward_pre_hook(
        lambda _, inputs: rows.append(len(inputs[0]))
    )

    written = restore_files(windowed, plan, SHORT)

    hook.remove()
    assert written == [job.target for job in plan.jobs]
    assert max(rows) == 3
    for job in plan.jobs:
        wave, rate = soundfile.read(job.source, dtype="float32")
        alone = windowed.restore(wave, rate)
        np.testing.assert_allclose(soundfile.read(job.target)[0], alone, atol=1e-5)


def test_a_run_goes_on_where_it_was_stopped(windowed, folder, capsys):
    plan = plan_restore([str(folder / "in")], str(folder / "out"))
    (folder / "out").mkdir()
    (folder / "out/1.wav").write_text("done")

    written = restore_files(windowed, plan, SHORT, resume=True)

    assert [path.name for path in written] == ["0.wav", "2.wav", "3.wav"]
    assert (folder / "out/1.wav").read_text() == "done"
    assert "1 of 4 were done before" in capsys.readouterr().out


def test_an_interruption_leaves_nothing_half_written(folder):
    model, calls = tiny_model(), []

    def stop(*_):
        calls.append(1)
        if len(calls) == 3:
            raise KeyboardInterrupt

    model.parts["vocoder"].register_forward_hook(stop)
    restorer = Restorer(model, settings=SHORT, batch_seconds=2.56)

    with pytest.raises(KeyboardInterrupt):
        restore_files(restorer, plan_restore([str(folder / "in")], str(folder / "out")), SHORT)

    left = [path for path in (folder / "out").rglob("*") if path.is_file()]
    assert 0 < len(left) < 4
    assert all(soundfile.info(path).frames in (14_400, 24_000) for path in left)
