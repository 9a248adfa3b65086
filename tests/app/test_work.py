"""What the page shows of a restoration, without a browser."""

import base64
import re
from io import BytesIO

import numpy as np
import pytest
import soundfile
from PIL import Image

from audiosr.app.work import number_of, restore_on_page
from audiosr.errors import AudioSRError
from audiosr.restore.restorer import Restorer
from audiosr.restore.settings import load_profile
from tests.tiny import tiny_model

SETTINGS = load_profile(steps=1)


@pytest.fixture(scope="module")
def restorer():
    return Restorer(tiny_model())


def restored(restorer, source, folder, form="FLAC, 24 bit", told=None, settings=SETTINGS):
    folder.mkdir()
    told = [] if told is None else told
    return restore_on_page(
        restorer, source, folder, settings, form, lambda share, label: told.append((share, label))
    )


@pytest.mark.parametrize(
    ("form", "subtype"),
    [("FLAC, 24 bit", "PCM_24"), ("WAV, 24 bit", "PCM_24"), ("WAV, float", "FLOAT")],
)
def test_the_result_is_stereo_of_the_same_length_in_the_chosen_format(
    form, subtype, restorer, audio_file, chord, tmp_path
):
    source = audio_file("tape.wav", chord(1.5, rate=8000, channels=2), 8000)

    result = restored(restorer, source, tmp_path / "out", form)

    after = soundfile.info(result.after)
    assert (after.frames, after.samplerate, after.channels) == (72_000, 48_000, 2)
    assert after.subtype == subtype
    assert result.after.name == f"tape-restored.{form[:4].lower().rstrip(',')}"
    heard, rate = soundfile.read(result.before)
    assert rate == 8000
    np.testing.assert_allclose(heard, soundfile.read(source)[0], atol=2**-15)


def test_the_account_says_what_infer_says_of_the_edge(
    restorer, audio_file, chord, tmp_path, capsys
):
    source = audio_file("tape.wav", chord(1.5, rate=8000), 8000)

    result = restored(restorer, source, tmp_path / "out")

    said = re.fullmatch(
        r"1\.50 s, 1 channel, kept below \d+ Hz.*\(\d+% sure\).*, took \d+\.\d s.*", result.account
    )
    assert said
    assert result.warning == ""
    assert capsys.readouterr().out == ""


def test_progress_goes_from_nothing_to_all(restorer, audio_file, chord, tmp_path):
    source, told = audio_file("tape.wav", chord(1.5, rate=8000), 8000), []

    restored(restorer, source, tmp_path / "out", told=told, settings=load_profile(steps=4))

    shares = [share for share, _ in told]
    assert shares == sorted(shares)
    assert (shares[0], shares[-1]) == (0.0, 1.0)
    assert len(set(shares)) > 2
    assert told[0][1] == "restoring 1.5 s"


def test_both_pictures_show_the_band_of_the_result(restorer, audio_file, noise, tmp_path):
    source = audio_file("tape.wav", noise(1.5, rate=8000, channels=2), 8000)

    result = restored(restorer, source, tmp_path / "out")

    def brightness(name):
        picture = Image.open(BytesIO(base64.b64decode(result.pictures[name].split(",")[1])))
        inner = np.asarray(picture.convert("L"), float)[60:400, 160:690]  # within the axes
        return inner[:200].mean(), inner[300:].mean()  # above 10 kHz and below 4 kHz

    above, below = brightness("recording")
    assert above < 5 < 60 < below
    above, below = brightness("result")
    assert above > 20


def test_player_and_pictures_are_those_of_the_report(restorer, audio_file, noise, tmp_path):
    source = audio_file("tape & reel.wav", noise(1.0, rate=8000), 8000)

    page = restored(restorer, source, tmp_path / "out").html(lambda path: f"files/{path.name}")

    assert re.findall(r'<audio [^>]*src="([^"]*)"', page) == [
        "files/before.flac",
        "files/tape &amp; reel-restored.flac",
    ]
    assert len(re.findall(r'<img src="data:image/webp', page)) == 2
    assert re.findall(r'aria-pressed="(\w+)">(\w+)<', page) == [
        ("true", "recording"),
        ("false", "result"),
    ]


def test_a_damaged_recording_is_restored_and_named(restorer, audio_file, noise, tmp_path):
    source = audio_file("tape.flac", noise(1.0, rate=8000), 8000)
    source.write_bytes(source.read_bytes()[:-3000])

    result = restored(restorer, source, tmp_path / "out")

    assert result.warning.startswith("tape.flac is damaged: ")
    assert str(tmp_path) not in result.warning
    assert soundfile.info(result.after).frames > 0


def test_a_mistake_is_a_sentence_that_names_no_folder(restorer, tmp_path):
    source = tmp_path / "letter.wav"
    source.write_text("Dear all")

    with pytest.raises(AudioSRError) as error:
        restored(restorer, source, tmp_path / "out")

    assert str(error.value).startswith("letter.wav is not audio")


@pytest.mark.parametrize(
    ("text", "number"), [("", None), (" ", None), ("8", 8), ("3.5e3", 3500.0), ("few", "few")]
)
def test_a_field_holds_a_number_or_nothing_or_is_refused_later(text, number):
    assert number_of(text) == number
