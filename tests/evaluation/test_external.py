"""Other people's tools: what is written for them, and what becomes of what they return."""

import time
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from audiosr.audio import io
from audiosr.audio.io import RATE
from audiosr.cli import main
from audiosr.entry import compose_config
from audiosr.errors import AudioFileError, AudioSRError, UsageError
from audiosr.evaluation.external import Command, OutputFolder, fit_output, input_stem
from audiosr.evaluation.protocol import Protocol
from audiosr.evaluation.run import evaluate, prepare_inputs
from audiosr.evaluation.systems import Trial
from tests.evaluation.conftest import tone_burst

WAVE = tone_burst(0.8, 20_000)


def trial(name: str = "music/a.wav", cutoffs: tuple[float, ...] = (4000,)) -> Trial:
    reference = torch.from_numpy(WAVE)[None, None]
    low, cutoff_hz = Protocol(cutoffs_hz=cutoffs).degrade(reference)
    return Trial(name, reference, low, cutoff_hz, True, None, tuple(range(len(cutoffs))))


def answer(folder: Path, one: Trial, wave: np.ndarray, rate: int = RATE) -> Path:
    path = folder / f"{input_stem(one.name, 4000)}.wav"
    io.write_audio(path, np.atleast_2d(wave).astype(np.float32), rate, "FLOAT")
    return path


def test_names_of_inputs_are_safe_and_their_own():
    assert input_stem("music/a.wav", 4000) == "music__a.wav@4000"
    hostile = ["../../etc/passwd", "$(rm -rf x);`id`", "a b", "a_b", "a\nb", "ä", "a__b", "a/b"]
    stems = {input_stem(name, 4000) for name in hostile}
    assert len(stems) == len(hostile)
    for stem in stems:
        assert set(stem) <= set(
            "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789._-@"
        )
        assert stem[0] not in ".-"


def test_inputs_are_written_and_outputs_of_a_tool_are_a_row(tmp_path, audio_file, capsys):
    audio_file("refs/music/a.wav", WAVE[None])
    audio_file("refs/speech/b c.wav", WAVE[None] * 0.5)
    common = ["benchmark=folder", f"benchmark.root={tmp_path}/refs", "cutoffs=[4000,8000]"]
    assert main(["evaluate", *common, f"inputs={tmp_path}/inputs"]) == 0
    assert "outputs={NAME: FOLDER}" in capsys.readouterr().out
    written = sorted((tmp_path / "inputs").iterdir())
    assert len(written) == 4
    for path in written:
        wave, rate = io.read_audio(path)
        assert (wave.shape, rate) == ((1, len(WAVE)), RATE)
        answer_path = tmp_path / "theirs" / path.name
        io.write_audio(answer_path, wave, rate, "FLOAT")
    results = evaluate(
        compose_config(
            "evaluate",
            [
                *(*common, f"out={tmp_path}/out", f"outputs={{theirs: {tmp_path}/theirs}}"),
                *("system=unprocessed", "metrics=quick", "report.clips=0", "device=cpu"),
            ],
        )
    )
    figures = {(f.system, f.key, f.cutoff_hz): f.metrics["lsd_nuwave2"] for f in results.files}
    for (system, key, hz), value in figures.items():
        if system == "theirs":
            assert value == pytest.approx(figures["unprocessed", key, hz], abs=1e-3)
    assert not results.failures
    assert results.protocol.systems["theirs"]["extra"] == []


def test_a_folder_with_something_in_it_is_not_written_into(tmp_path):
    (tmp_path / "inputs").mkdir()
    (tmp_path / "inputs/mine.txt").write_text("mine")
    cfg = compose_config("evaluate", ["benchmark=folder", f"inputs={tmp_path}/inputs"])
    with pytest.raises(UsageError, match="overwrite=true"):
        prepare_inputs(cfg)


@pytest.mark.parametrize("shift", [-700, -1, 1, 480, 5000])
def test_a_shifted_file_is_moved_back_and_named(tmp_path, shift):
    one = trial(cutoffs=(4000,))
    moved = np.pad(WAVE, (shift, 0)) if shift > 0 else WAVE[-shift:]
    answered = moved[: len(WAVE)] if shift < 2000 else moved
    answer(tmp_path, one, answered)
    found = OutputFolder(str(tmp_path))(one)
    middle = slice(1000, -1000)
    np.testing.assert_allclose(found.waves[0, 0].numpy()[middle], WAVE[middle], atol=1e-6)
    assert f"moved by {-shift} samples" in found.changes[0]
    assert found.excess == (len(answered) - len(WAVE),)


def test_a_file_in_time_is_not_touched(tmp_path):
    one = trial()
    answer(tmp_path, one, WAVE)
    found = OutputFolder(str(tmp_path))(one)
    np.testing.assert_array_equal(found.waves[0, 0].numpy(), WAVE)
    assert (found.changes, found.excess) == (("",), (0,))


def test_a_periodic_sound_is_not_moved_by_a_period(tmp_path):
    tone = np.sin(2 * np.pi * 480 * np.arange(RATE) / RATE).astype(np.float32)
    path = tmp_path / "tone.wav"
    io.write_audio(path, tone[None], RATE, "FLOAT")
    np.testing.assert_array_equal(fit_output(path, tone)[0], tone)


def test_a_resampled_file_with_two_channels_is_brought_back(tmp_path):
    one = trial()
    at_44 = io.resample(WAVE[None], RATE, 44_100)
    answer(tmp_path, one, np.concatenate([at_44, at_44]), 44_100)
    found = OutputFolder(str(tmp_path))(one)
    output = found.waves[0, 0].numpy()
    np.testing.assert_allclose(output[500:-500], WAVE[500:-500], atol=1e-2)
    assert found.changes[0].startswith("resampled from 44100 Hz, mean of 2 chan")


@pytest.mark.parametrize(
    ("samples", "said"), [(-300, "300 samples shorter"), (300, "300 samples longer")]
)
def test_a_slightly_shorter_or_longer_file_is_filled_or_cut(tmp_path, samples, said):
    one = trial()
    answer(tmp_path, one, WAVE[:samples] if samples < 0 else np.pad(WAVE, (0, samples)))
    found = OutputFolder(str(tmp_path))(one)
    assert found.waves.shape == one.low.shape
    assert (found.changes, found.excess) == ((said,), (samples,))


def test_a_much_shorter_file_is_a_failure(tmp_path):
    one = trial()
    answer(tmp_path, one, WAVE[: len(WAVE) // 2])
    with pytest.raises(AudioSRError, match=r"lasts 0.40 s, its input 0.80 s"):
        OutputFolder(str(tmp_path))(one)


def test_missing_nan_and_doubled_files_are_named(tmp_path):
    one = trial()
    path = answer(tmp_path, one, np.full_like(WAVE, np.nan))
    with pytest.raises(AudioFileError, match="NaN"):
        OutputFolder(str(tmp_path))(one)
    with pytest.raises(AudioFileError, match=r"has no music__b\.wav@4000\.wav"):
        OutputFolder(str(tmp_path))(replace(one, name="music/b.wav"))
    io.write_audio(path.with_suffix(".flac"), WAVE[None], RATE)
    with pytest.raises(AudioFileError, match="has both"):
        OutputFolder(str(tmp_path))(one)


def test_files_of_no_clip_are_extra(tmp_path):
    one = trial()
    answer(tmp_path, one, WAVE)
    io.write_audio(tmp_path / "notes@4000.wav", WAVE[None], RATE)
    system = OutputFolder(str(tmp_path))
    assert system.extra([input_stem(one.name, 4000)]) == ["notes@4000.wav"]


def test_a_command_is_run_for_each_input():
    one = trial(cutoffs=(4000, 8000))
    output = Command("cp {input} {output}")(one)
    torch.testing.assert_close(output.waves, one.low)


def test_a_command_sees_cutoff_and_seed_and_no_name_of_a_clip(tmp_path):
    run = f"echo {{cutoff}} {{seed}} $PWD >> {tmp_path}/log; cp {{input}} {{output}}"
    hostile = f"$(touch {tmp_path}/pwned)/; touch {tmp_path}/pwned #"
    Command(run)(replace(trial(cutoffs=(4000, 8000)), name=hostile))
    lines = (tmp_path / "log").read_text().split()
    assert lines[0::3] == ["4000", "8000"]
    assert lines[1::3] == ["0", "1"]
    assert len(set(lines[2::3])) == 2
    assert not any(Path(folder).exists() for folder in lines[2::3])
    assert not (tmp_path / "pwned").exists()


def test_a_command_that_hangs_is_stopped_with_what_it_started(tmp_path):
    system = Command(
        f"(sleep 3; touch {tmp_path}/late) & cat {{input}} {{output}}; sleep 60", timeout_s=0.5
    )
    start = time.monotonic()
    with pytest.raises(AudioSRError, match=r"took more than 0.5 s"):
        system(trial())
    assert time.monotonic() - start < 10
    time.sleep(3.5)
    assert not (tmp_path / "late").exists()


@pytest.mark.parametrize(
    ("run", "sentence"),
    [
        ("echo no such model >&2; exit 3; {input} {output}", "ended with 3: no such model"),
        ("true {input} {output}", "wrote no {output}"),
        ("echo text > {output}; true {input}", "not audio"),
    ],
)
def test_commands_that_fail_say_why(run, sentence):
    with pytest.raises(AudioSRError) as told:
        Command(run)(trial())
    assert sentence in str(told.value)


def test_systems_without_a_folder_or_a_command_are_told_how_to_give_it():
    with pytest.raises(UsageError, match=r"system\.folder\.root=DIR"):
        OutputFolder(None)
    with pytest.raises(UsageError, match=r"system\.command\.run="):
        Command(None)


def test_commands_without_files_or_with_a_secret_cutoff_are_refused():
    with pytest.raises(UsageError, match=r"names no \{output\}"):
        Command("cat {input}")
    with pytest.raises(UsageError, match="tells no system"):
        Command("x {input} {output} {cutoff}")(replace(trial(), cutoff_given=False))
