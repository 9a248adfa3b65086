"""The command `audiosr`: the released flags, joining parts, handing on to train and evaluate."""

import sys

import pytest
import soundfile

from audiosr import cli
from audiosr.model import Model
from tests.tiny import save_tiny_model


@pytest.fixture(scope="module")
def model(tmp_path_factory):
    return str(save_tiny_model(tmp_path_factory.mktemp("models") / "model"))


def test_restore_writes_beside_others_with_the_suffix(model, audio_file, noise, tmp_path):
    source = audio_file("a.wav", noise(0.1, channels=2))

    code = cli.main(
        ["restore", str(source), "-o", str(tmp_path / "out"), "--model", model, "--steps", "1"]
    )

    assert code == 0
    assert soundfile.info(tmp_path / "out/a_AudioSR_Processed_48K.wav").channels == 2


def test_the_flags_of_the_released_package_work_without_a_subcommand(
    model, audio_file, noise, tmp_path
):
    audio_file("a.wav", noise(0.1))
    audio_file("b.flac", noise(0.1))
    listed = tmp_path / "list.txt"
    listed.write_text(f"{tmp_path}/a.wav\n\n{tmp_path}/b.flac\n")
    flags = ["--ddim_steps", "1", "-gs", "2.0", "--seed", "3", "-d", "cpu", "--suffix", "_x"]

    code = cli.main(["-il", str(listed), "-s", str(tmp_path / "out"), *flags, "--model", model])

    assert code == 0
    assert {path.name for path in (tmp_path / "out").iterdir()} == {"a_x.wav", "b_x.wav"}


def test_the_chunks_of_the_released_package_are_windows(model, audio_file, noise, tmp_path):
    source, out = str(audio_file("a.wav", noise(5.0, rate=8000), 8000)), str(tmp_path / "out.wav")
    chunks = ["--chunking", "--chunk_duration", "2.56", "--overlap_duration", "1.0"]

    code = cli.main(["-i", source, "-s", out, "--ddim_steps", "1", "--model", model, *chunks])

    assert code == 0
    assert soundfile.info(out).frames == 5 * 48000


@pytest.mark.parametrize("name", ["basic", "speech"])
def test_a_released_model_is_named_as_there(name, audio_file, noise, tmp_path, monkeypatch, capsys):
    source = str(audio_file("a.wav", noise(0.1)))
    monkeypatch.setenv("AUDIOSR_CACHE", str(tmp_path))
    (tmp_path / f"audiosr_{name}.bin").write_text("no checkpoint")

    assert cli.main(["-i", source, "-s", str(tmp_path / "out"), "--model_name", name]) == 1

    assert f"audiosr_{name}.bin" in capsys.readouterr().err


def test_the_same_seed_and_settings_give_the_same_file(model, audio_file, noise, tmp_path):
    source = str(audio_file("a.wav", noise(0.1)))

    def restored(*flags):
        out = tmp_path / "out.wav"
        run = ["-i", source, "-o", str(out), "--overwrite", "--model", model]
        assert cli.main([*run, "--cutoff", "4000", "--steps", "2", *flags]) == 0
        return soundfile.read(out)[0].tobytes()  # the header holds the time of writing

    assert restored() == restored("--sampler", "dpm_solver_pp_2m")
    assert restored() != restored("--seed", "5")
    assert restored() != restored("--sampler", "ddim", "--eta", "1")
    assert restored() != restored("--profile", "released")


@pytest.mark.parametrize(
    ("flags", "code", "words"),
    [
        (["restore"], 2, "nothing to restore"),
        (["-i", "gone.wav"], 1, "gone.wav does not exist"),
        (["-il", "gone.txt"], 1, "gone.txt cannot be read"),
        (["-i", "a.wav", "--steps", "1001"], 2, "steps=1001"),
        (["-i", "a.wav", "--cutoff", "4000", "--follow-edge"], 2, "follow_edge=true measures"),
        (["-i", "a.wav", "--model", "nowhere"], 1, "or `compact`"),
    ],
)
def test_a_mistake_is_one_line(
    flags, code, words, audio_file, noise, tmp_path, monkeypatch, capsys
):
    audio_file("a.wav", noise(0.05))
    monkeypatch.chdir(tmp_path)

    assert cli.main(flags) == code

    error = capsys.readouterr().err
    assert error.startswith("error: ")
    assert error.count("\n") == 1
    assert words in error


def test_assemble_joins_parts(tmp_path, capsys):
    parts = [
        str(save_tiny_model(tmp_path / name, *networks))
        for name, networks in (("vae", ["autoencoder"]), ("rest", ["denoiser", "vocoder"]))
    ]
    out = tmp_path / "whole"

    assert cli.main(["assemble", str(out), *parts]) == 0

    assert set(Model.load(out).parts) == {"autoencoder", "denoiser", "vocoder"}
    assert "autoencoder, denoiser, vocoder" in capsys.readouterr().out


def test_assemble_overwrites_only_when_told(tmp_path, capsys):
    part = str(save_tiny_model(tmp_path / "part", "vocoder"))
    out = save_tiny_model(tmp_path / "out", "autoencoder")

    assert cli.main(["assemble", str(out), part]) == 1
    assert "exists" in capsys.readouterr().err
    assert set(Model.load(out).parts) == {"autoencoder"}

    assert cli.main(["assemble", str(out), part, "--overwrite"]) == 0
    assert set(Model.load(out).parts) == {"vocoder"}


@pytest.mark.parametrize("command", ["train", "evaluate", "infer"])
def test_commands_of_the_scripts_take_overrides(command, monkeypatch, capsys):
    monkeypatch.setattr(sys, "argv", ["audiosr", command, "no_such_key=1"])

    assert cli.main() == 2

    error = capsys.readouterr().err
    assert error.startswith("error: ")
    assert error.count("\n") == 1


def test_version_and_help_are_told(capsys):
    for flag in ("--version", "--help"):
        with pytest.raises(SystemExit) as stop:
            cli.main([flag])
        assert stop.value.code == 0
    out = capsys.readouterr().out
    assert "0.1.0" in out
    assert "assemble" in out
