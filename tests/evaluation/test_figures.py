import io
from xml.etree import ElementTree

import numpy as np
import pytest
from PIL import Image

from audiosr.audio.io import RATE
from audiosr.errors import UsageError
from audiosr.evaluation.figures import draw_curves, draw_spectrogram, read_metrics, spectrogram


def test_sine_of_amplitude_1_stands_at_0_db_in_its_bin():
    time = np.arange(RATE) / RATE
    level = spectrogram(np.sin(2 * np.pi * 6000 * time).astype(np.float32))
    bin_ = round(6000 * 2048 / RATE)
    assert level.shape[0] == 1025
    np.testing.assert_allclose(level[bin_], 0, atol=0.1)
    assert level[bin_ + 10].max() < -60


def test_spectrogram_of_silence_and_of_a_single_sample_is_finite():
    assert np.isfinite(spectrogram(np.zeros(5000, np.float32))).all()
    assert spectrogram(np.ones(1, np.float32)).shape == (1025, 1)


def test_cutoff_line_is_drawn_at_its_frequency():
    silence = np.full((1025, 90), -240, np.float32)
    pictures = [
        draw_spectrogram(silence, RATE, top_db=0, cutoff_hz=cutoff, title="input")
        for cutoff in (4000, 12_000, 20_000)
    ]
    rows = []
    for picture in pictures:
        pixels = np.asarray(Image.open(io.BytesIO(picture)).convert("RGB")).astype(int)
        green = pixels[..., 1] - pixels[..., 0]
        rows.append(green.sum(axis=1).argmax())
    assert rows[0] > rows[1] > rows[2]
    assert rows[0] - rows[1] == pytest.approx(rows[1] - rows[2], abs=2)


def test_metrics_are_read_with_gaps_and_by_step(tmp_path):
    (tmp_path / "metrics.csv").write_text(
        "epoch,step,train/loss,valid/lsd\n0,0,2.0,\n0,10,1.0,\n0,10,,1.5\n1,20,nan,1.2\n"
    )
    series = read_metrics(tmp_path)
    assert set(series) == {"train/loss", "valid/lsd"}
    np.testing.assert_array_equal(series["train/loss"], [[0, 10], [2.0, 1.0]])
    np.testing.assert_array_equal(series["valid/lsd"], [[10, 20], [1.5, 1.2]])


def test_folder_without_metrics_is_named(tmp_path):
    with pytest.raises(UsageError, match=r"no metrics\.csv"):
        read_metrics(tmp_path)
    (tmp_path / "metrics.csv").write_text("a,b\n1,2\n")
    with pytest.raises(UsageError, match="no column step"):
        read_metrics(tmp_path)


def test_curves_are_svg_in_the_colour_of_the_page():
    steps = np.arange(1000.0)
    series = {
        "train/loss": (steps, np.exp(-steps / 100) + 0.01),
        "train/loss_mel": (steps, steps + 1),
    }
    svg = draw_curves(series, "training loss", prefix="a")
    root = ElementTree.fromstring(svg)
    assert root.tag.endswith("svg")
    assert "viewBox" in root.attrib
    assert "width" not in root.attrib
    assert "currentColor" in svg
    assert "#000000" not in svg
    assert "loss_mel" in svg
    assert len(svg) < 100_000


def test_names_inside_two_pictures_of_a_page_do_not_meet():
    series = {"train/loss": (np.arange(9.0), np.arange(9.0))}
    names = []
    for prefix in ("a", "b"):
        root = ElementTree.fromstring(draw_curves(series, "loss", prefix=prefix))
        names.append({node.attrib["id"] for node in root.iter() if "id" in node.attrib})
    assert names[0]
    assert not names[0] & names[1]
