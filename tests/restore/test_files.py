"""Inputs find their outputs; good files are done, bad ones are named.

In one piece, as all are runs of one function over files.
"""

import os
import resource
import signal
import sys
from io import BytesIO, TextIOWrapper
from pathlib import Path

import numpy as np
import pytest
import soundfile

from audiosr.errors import AudioSRError, UsageError
from audiosr.restore.files import restore_files
from audiosr.restore.plan import plan_restore
from audiosr.restore.restorer import Restorer
from audiosr.restore.settings import load_profile
from tests.audio.containers import encode
from tests.tiny import tiny_model

SETTINGS = load_profile(steps=1)


@pytest.fixture(scope="module")
def restorer():
    return Restorer(tiny_model())


@pytest.fixture
def tree(tmp_path):
    """A folder with audio at two depths, and a text file."""
    for name in ("in/a.flac", "in/deep/b.wav", "in/notes.txt"):
        path = tmp_path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        if path.suffix == ".txt":
            path.write_text("no audio")
        else:
            noise = 0.1 * np.random.default_rng(0).standard_normal(800)
            soundfile.write(path, noise, 8000)
    return tmp_path


def targets(plan_, root):
    return {
        str(job.source.relative_to(root)): str(job.target.relative_to(root)) for job in plan_.jobs
    }


def test_one_file_goes_where_it_is_told(tree):
    made = plan_restore([str(tree / "in/a.flac")], str(tree / "x/out.ogg"))

    assert targets(made, tree) == {"in/a.flac": "x/out.ogg"}


def test_one_file_goes_into_a_folder_under_its_name(tree):
    for output in ("out", "out/", "out.d/"):
        made = plan_restore([str(tree / "in/a.flac")], f"{tree}/{output}")
        assert targets(made, tree) == {"in/a.flac": f"{output.strip('/')}/a.wav"}


def test_a_folder_keeps_its_shape(tree):
    expected = {"in/a.flac": "out/a.wav", "in/deep/b.wav": "out/deep/b.wav"}

    assert targets(plan_restore([str(tree / "in")], str(tree / "out")), tree) == expected
    assert targets(plan_restore([str(tree / "in/**/*")], str(tree / "out")), tree) == expected


def test_names_take_a_suffix(tree):
    made = plan_restore([str(tree / "in/a.flac")], str(tree / "out"), suffix="_48k")

    assert targets(made, tree) == {"in/a.flac": "out/a_48k.wav"}


def test_sources_that_would_meet_keep_their_suffix(tree):
    (tree / "in/a.wav").write_bytes((tree / "in/deep/b.wav").read_bytes())

    made = targets(plan_restore([str(tree / "in")], str(tree / "out")), tree)

    assert made["in/a.flac"] == "out/a.flac.wav"
    assert made["in/a.wav"] == "out/a.wav.wav"


def test_results_of_an_earlier_run_are_no_input(tree):
    (tree / "in/out").mkdir()
    (tree / "in/out/a.wav").write_bytes((tree / "in/deep/b.wav").read_bytes())

    made = targets(plan_restore([str(tree / "in")], str(tree / "in/out")), tree)

    assert set(made) == {"in/a.flac", "in/deep/b.wav"}


@pytest.mark.parametrize(
    ("source", "output", "words"),
    [("in", "out.wav", "give a folder"), ("in/a.flac", "out.xyz", "no audio file")],
)
def test_an_output_that_does_not_fit_is_refused(tree, source, output, words):
    with pytest.raises(UsageError, match=words):
        plan_restore([str(tree / source)], str(tree / output))


def test_a_missing_input_is_named(tree):
    with pytest.raises(AudioSRError, match=r"gone\.wav does not exist"):
        plan_restore([str(tree / "gone.wav")], str(tree / "out"))


def test_good_files_are_written_and_bad_ones_named_at_the_end(tree, restorer, capsys):
    (tree / "in/broken.wav").write_text("not audio at all")
    inputs = [str(tree / "in"), str(tree / "gone.wav")]

    with pytest.raises(AudioSRError) as error:
        restore_files(restorer, plan_restore(inputs, str(tree / "out")), SETTINGS)

    message = str(error.value)
    assert message.startswith("2 of 4 inputs failed:\n")
    assert "broken.wav is not audio" in message
    assert "gone.wav does not exist" in message
    assert "Traceback" not in message
    written = sorted(p.relative_to(tree / "out") for p in (tree / "out").rglob("*") if p.is_file())
    assert written == [Path("a.wav"), Path("deep/b.wav")]
    assert "out/a.wav: 0.10 s, 1 channel, kept below" in capsys.readouterr().out


def test_of_a_damaged_file_what_is_there_is_restored_and_the_rest_named(tree, restorer):
    soundfile.write(tree / "in/c.flac", np.random.default_rng(0).uniform(-0.5, 0.5, 16000), 8000)
    whole = (tree / "in/c.flac").read_bytes()
    (tree / "in/c.flac").write_bytes(whole[: len(whole) * 3 // 4])

    with pytest.raises(AudioSRError) as error:
        restore_files(restorer, plan_restore([str(tree / "in")], str(tree / "out")), SETTINGS)

    assert "1 of 3 inputs are damaged:" in str(error.value)
    assert "c.flac is damaged: at 1." in str(error.value)
    assert "ends, though 2.00 s are promised" in str(error.value)
    assert 48000 < soundfile.info(tree / "out/c.wav").frames < 96000
    assert soundfile.info(tree / "out/a.wav").frames == 4800


@pytest.mark.parametrize(
    "name",
    [b"caf\xe9.wav", b"x" * 246 + b".wav", b" [a], 'b' \"c\".wav", "\u9577 \u540d.wav".encode()],
)
def test_a_name_of_any_kind_is_restored_under_its_name(tree, restorer, name):
    name = os.fsdecode(name)
    (tree / "odd").mkdir()
    (tree / "odd" / name).write_bytes((tree / "in/deep/b.wav").read_bytes())

    restore_files(restorer, plan_restore([str(tree / "odd")], str(tree / "out")), SETTINGS)

    with (tree / "out" / name).open("rb") as file:
        assert soundfile.info(file).frames == 4800


def test_names_are_told_in_the_encoding_of_the_terminal(tree, restorer, monkeypatch):
    terminal = TextIOWrapper(BytesIO(), encoding="ascii")
    (tree / "in/caf\udce9.wav").write_bytes((tree / "in/deep/b.wav").read_bytes())
    monkeypatch.setattr(sys, "stdout", terminal)

    restore_files(restorer, plan_restore([str(tree / "in")], str(tree / "out")), SETTINGS)

    terminal.flush()
    assert b"caf\\udce9.wav: 0.10 s" in terminal.buffer.getvalue()


@pytest.mark.parametrize("kind", ["one sample", "dangling link", "pipe", "text", "empty"])
def test_an_odd_input_is_named_and_its_neighbours_are_done(tree, restorer, kind):
    path = tree / "in/b.wav"
    if kind == "one sample":
        soundfile.write(path, np.array([0.3]), 192000)
    elif kind == "dangling link":
        path.symlink_to("nowhere.wav")
    elif kind == "pipe":
        os.mkfifo(path)
    else:
        path.write_text("no audio" if kind == "text" else "")

    with pytest.raises(AudioSRError, match=r"1 of 3 inputs failed:\n  \S+/in/b\.wav .*[^\n]$"):
        restore_files(restorer, plan_restore([str(tree / "in")], str(tree / "out")), SETTINGS)

    assert soundfile.info(tree / "out/a.wav").frames == 4800
    assert soundfile.info(tree / "out/deep/b.wav").frames == 4800


def test_an_output_below_a_file_is_named(tree, restorer):
    made = plan_restore([str(tree / "in")], str(tree / "in/notes.txt") + "/out/")

    with pytest.raises(AudioSRError, match=r"a\.wav cannot be written: \S+notes\.txt is no folder"):
        restore_files(restorer, made, SETTINGS)


def test_a_disk_that_is_full_is_named(tree, restorer):
    made = plan_restore([str(tree / "in")], str(tree / "out"))
    was = resource.getrlimit(resource.RLIMIT_FSIZE)
    on_signal = signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    resource.setrlimit(resource.RLIMIT_FSIZE, (4096, was[1]))
    try:
        with pytest.raises(AudioSRError, match=r"2 of 2 [^\0]*cannot be written: File too large"):
            restore_files(restorer, made, SETTINGS)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, was)
        signal.signal(signal.SIGXFSZ, on_signal)

    assert not [path for path in (tree / "out").rglob("*") if path.is_file()]


def test_the_input_behind_a_link_is_never_the_output(tree, restorer):
    (tree / "out").mkdir()
    (tree / "out/a.flac").symlink_to(tree / "in/a.flac")
    made = plan_restore([str(tree / "in/a.flac")], str(tree / "out/a.flac"))

    with pytest.raises(AudioSRError, match="the input itself"):
        restore_files(restorer, made, SETTINGS, overwrite=True)


def test_the_audio_track_can_be_chosen(tree, restorer):
    wave = 0.8 * np.sin(0.1 * np.arange(4800))[None]
    (tree / "film.mkv").write_bytes(encode(wave, 8000, "matroska", "flac", tracks=2))
    made = plan_restore([str(tree / "film.mkv")], str(tree / "out"))

    restore_files(restorer, made, SETTINGS, track=2)

    restored, _ = soundfile.read(tree / "out/film.wav")
    assert 0.3 < np.abs(restored).max() < 0.6
    with pytest.raises(AudioSRError, match="track=3"):
        restore_files(restorer, made, SETTINGS, track=3, overwrite=True)


def test_the_result_is_float_at_48_khz(tree, restorer):
    made = plan_restore([str(tree / "in/a.flac")], str(tree / "out.wav"))

    assert restore_files(restorer, made, SETTINGS) == [tree / "out.wav"]

    info = soundfile.info(tree / "out.wav")
    assert (info.samplerate, info.frames, info.subtype) == (48000, 4800, "FLOAT")


def test_nothing_is_overwritten_unless_told(tree, restorer):
    made = plan_restore([str(tree / "in/a.flac")], str(tree / "out.wav"))
    (tree / "out.wav").write_text("precious")

    with pytest.raises(AudioSRError, match="exists"):
        restore_files(restorer, made, SETTINGS)
    assert (tree / "out.wav").read_text() == "precious"

    restore_files(restorer, made, SETTINGS, overwrite=True)
    assert soundfile.info(tree / "out.wav").frames == 4800


def test_the_input_is_never_the_output(tree, restorer):
    made = plan_restore([str(tree / "in/a.flac")], str(tree / "in/a.flac"))

    with pytest.raises(AudioSRError, match="the input itself"):
        restore_files(restorer, made, SETTINGS, overwrite=True)
    assert soundfile.info(tree / "in/a.flac").samplerate == 8000


def test_clipping_of_an_integer_format_is_told(tree, restorer, capsys):
    loud = np.random.default_rng(0).uniform(-1, 1, 4000) * 1.5
    soundfile.write(tree / "loud.wav", loud, 8000, "FLOAT")

    for output, told in (("x.flac", True), ("x.wav", False)):
        restore_files(
            restorer, plan_restore([str(tree / "loud.wav")], str(tree / output)), SETTINGS
        )
        assert ("were clipped" in capsys.readouterr().out) is told


def test_nothing_half_written_is_left_behind(tree, restorer):
    made = plan_restore([str(tree / "in/a.flac")], str(tree / "out/a.flac"))

    with pytest.raises(AudioSRError, match="FLOAT"):
        restore_files(restorer, made, SETTINGS, subtype="FLOAT")
    assert not list((tree / "out").glob("*")) if (tree / "out").exists() else True


def test_of_a_folder_of_rubbish_every_file_is_named_and_the_good_ones_are_done(
    tree, restorer, capsys
):
    random, good = np.random.default_rng(0), (tree / "in/deep/b.wav").read_bytes()
    loud = BytesIO()
    soundfile.write(loud, random.uniform(-1, 1, (3000, 6)), 44100, format="FLAC")
    holes = BytesIO()
    soundfile.write(holes, np.full(900, np.nan, np.float32), 8000, "FLOAT", format="WAV")
    for index in range(12):
        for name, whole in (("wav", good), ("flac", loud.getvalue())):
            content = np.frombuffer(whole, np.uint8).copy()
            content[random.integers(0, 60, 8)] = random.integers(0, 256, 8)
            cut = random.integers(1, len(content)) if index % 2 else len(content)
            (tree / f"in/{index}.{name}").write_bytes(content[:cut].tobytes())
    (tree / "in/holes.wav").write_bytes(holes.getvalue())
    (tree / "in/zeros.mp3").write_bytes(bytes(5000))
    plan = plan_restore([str(tree / "in")], str(tree / "out"))

    with pytest.raises(AudioSRError) as error:
        restore_files(restorer, plan, SETTINGS)

    told, err = str(error.value), capsys.readouterr().err
    assert "Traceback" not in err
    for job in plan.jobs:
        assert job.target.exists() or str(job.source) in told, job.source
    assert "holes.wav holds NaN" in told
    assert soundfile.info(tree / "out/deep/b.wav").frames == 4800
