"""`python infer.py input=... output=...`: what goes in, what comes out, what is said."""

import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import soundfile

from audiosr import cli
from tests.tiny import save_tiny_model


@pytest.fixture(scope="module")
def model(tmp_path_factory):
    return save_tiny_model(tmp_path_factory.mktemp("models") / "model")


@pytest.fixture
def run(model, capsys):
    """Call the command with overrides; returns exit code, stdout and stderr."""

    def call(*overrides: str):
        if not any(o.startswith("model=") for o in overrides):
            overrides = (*overrides, f"model={model}")
        code = cli.main(["infer", "steps=1", *overrides])
        return code, *capsys.readouterr()

    return call


@pytest.mark.parametrize(
    ("name", "rate", "channels", "seconds"),
    [
        ("phone.wav", 8000, 1, 1.0),
        ("album.flac", 44100, 2, 1.0),
        ("song.mp3", 44100, 2, 1.0),
        ("clip.ogg", 48000, 1, 0.5),
        ("click.wav", 48000, 1, 0.01),
    ],
)
def test_every_kind_of_file_keeps_length_and_channels(
    run, audio_file, chord, tmp_path, name, rate, channels, seconds
):
    source = audio_file(name, chord(seconds, rate=rate, channels=channels), rate)
    samples = soundfile.info(source).frames

    code, out, err = run(f"input={source}", f"output={tmp_path / 'out.wav'}")

    assert (code, err) == (0, "")
    assert "out.wav" in out
    wave, out_rate = soundfile.read(tmp_path / "out.wav", always_2d=True)
    assert out_rate == 48000
    assert wave.shape == (round(samples * 48000 / rate), channels)


def test_silence_stays_silence(run, audio_file, tmp_path):
    source = audio_file("silence.wav", np.zeros((1, 4410)), 44100)

    code, out, _ = run(f"input={source}", f"output={tmp_path / 'out.wav'}")

    assert code == 0
    assert "silent, unchanged" in out
    wave, _ = soundfile.read(tmp_path / "out.wav")
    assert len(wave) == 4800
    assert not wave.any()


def test_a_bass_tone_keeps_its_loudness(run, audio_file, tmp_path):
    tone = 0.4 * np.sin(2 * np.pi * 80 * np.arange(48000) / 48000)[None]
    source = audio_file("bass.wav", tone, 48000, "FLOAT")

    assert run(f"input={source}", f"output={tmp_path / 'out.wav'}")[0] == 0

    wave, _ = soundfile.read(tmp_path / "out.wav")
    spectrum = np.abs(np.fft.rfft(wave * np.hanning(48000)))
    assert spectrum[80] / 48000 * 4 == pytest.approx(0.4, rel=0.01)


def test_a_folder_is_restored_and_its_bad_file_named(run, audio_file, noise, tmp_path):
    audio_file("in/good.wav", noise(0.1))
    audio_file("in/deep/also.flac", noise(0.1))
    (tmp_path / "in/text.wav").write_text("this is no audio")

    code, _, err = run(f"input={tmp_path / 'in'}", f"output={tmp_path / 'out'}")

    assert code == 1
    assert err.startswith("error: 1 of 3 inputs failed:\n")
    assert "text.wav is not audio" in err
    assert (tmp_path / "out/good.wav").is_file()
    assert (tmp_path / "out/deep/also.wav").is_file()
    assert not (tmp_path / "out/text.wav").exists()


def test_names_with_any_character_are_taken_literally(run, audio_file, noise, tmp_path):
    source = audio_file("it's [live], take=2 {x} (1).wav", noise(0.05))

    code, _, err = run(f"input={source}", f"output={tmp_path / 'a, b.wav'}")

    assert (code, err) == (0, "")
    assert (tmp_path / "a, b.wav").is_file()


def test_the_released_profile_restores_as_the_release_did(run, audio_file, noise, tmp_path):
    source = audio_file("in.wav", noise(0.3, rate=16000, channels=2), 16000)

    code, out, err = run(f"input={source}", f"output={tmp_path / 'out.wav'}", "profile=released")

    assert (code, err) == (0, "")
    assert "1 channel," in out
    wave, _ = soundfile.read(tmp_path / "out.wav", always_2d=True)
    assert wave.shape == (245_776, 1)


@pytest.mark.parametrize(
    ("overrides", "code", "words"),
    [
        (["input=gone.wav", "output=out.wav"], 1, "gone.wav does not exist"),
        (["input=text.wav", "output=out.wav"], 1, "text.wav is not audio"),
        (["input=empty.wav", "output=out.wav"], 1, "empty.wav is empty"),
        (
            ["input=long.wav", "output=out.wav", "profile=released"],
            1,
            "61.0 s long: with window_seconds=null up to 60 s",
        ),
        (["input=good.wav", "output=good.wav", "overwrite=true"], 1, "the input itself"),
        (["input=good.wav", "output=text.wav"], 1, "text.wav exists"),
        (["input=good.wav", "output=out.wav", "model=nowhere"], 1, "or `compact`"),
        (["output=out.wav"], 2, "no value for input"),
        (["input=good.wav"], 2, "no value for output"),
        (["input=good.wav", "output=out.wav", "stesp=3"], 2, "did you mean steps"),
        (["input=good.wav", "output=out.wav", "steps=0"], 2, "steps=0"),
        (["input=good.wav", "output=out.wav", "sampler=x"], 2, "choose one of"),
        (["input=good.wav", "output=out.wav", "steps=many"], 2, "steps"),
        (["input=good.wav", "output=out.wav", "device=tpu"], 2, "device=tpu"),
        (["input=good.wav", "output=out.wav", "steps=2.5"], 2, "steps=2.5"),
        (["input=good.wav", "output=out.wav", "guidance=x"], 2, "guidance=x: give a number"),
        (["input=good.wav", "output=out.wav", "overwrite=maybe"], 2, "give true or false"),
        (["input=good.wav", "output=out.wav", "subtype=PCM_99"], 1, "does not hold PCM_99"),
        (["input=", "output=out.wav"], 2, "input is empty"),
        (["input=good.wav", "output=out.wav", "profile=relaesed"], 2, "did you mean released"),
        (["input=good.wav", "output=out.wav", "cutoff=4000"], 2, "cutoff=4000: choose one of"),
        (["input=good.wav", "output=out.docx"], 2, "out.docx is no audio file"),
    ],
)
def test_a_mistake_is_one_line(
    run, audio_file, noise, tmp_path, monkeypatch, overrides, code, words
):
    monkeypatch.chdir(tmp_path)
    audio_file("good.wav", noise(0.05))
    audio_file("long.wav", np.zeros((1, 61 * 8000)), 8000)
    (tmp_path / "text.wav").write_text("this is no audio")
    (tmp_path / "empty.wav").touch()
    before = set(tmp_path.rglob("*"))

    result = run(*overrides)

    assert result[0] == code
    assert result[2].startswith("error: ")
    assert result[2].count("\n") == 1
    assert words in result[2]
    assert set(tmp_path.rglob("*")) == before


def test_the_script_writes_its_result_and_nothing_else(model, audio_file, noise, tmp_path):
    audio_file("in.wav", noise(0.05))
    script = Path(__file__).resolve().parent.parent / "infer.py"

    done = subprocess.run(
        [sys.executable, str(script), "input=in.wav", "output=out.flac", f"model={model}"],
        cwd=tmp_path,
        capture_output=True,
        text=True,
    )

    assert done.returncode == 0, done.stderr
    assert {path.name for path in tmp_path.iterdir()} == {"in.wav", "out.flac"}
    assert soundfile.info(tmp_path / "out.flac").subtype == "PCM_24"
