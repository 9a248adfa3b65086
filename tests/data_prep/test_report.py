import json
import re

import numpy as np
import pytest
import soundfile

from data_prep.report import bars


@pytest.fixture
def report(mixed_corpus, prepared):
    """Content of both files."""
    root = prepared(mixed_corpus).root
    return json.loads((root / "report.json").read_text()), (root / "report.html").read_text()


def test_report_counts_hours_and_drops(report):
    content, _ = report

    hours = {(row["split"], row["domain"]): row["hours"] * 3600 for row in content["contents"]}
    assert hours == pytest.approx(
        {("test", "speech"): 2, ("train", "music"): 25, ("train", "speech"): 4}
        | {("valid", "speech"): 2},
        abs=0.1,
    )
    drops = {drop["reason"]: drop for drop in content["drops"]}
    assert drops["low bandwidth"]["count"] == 2
    assert drops["too short"]["examples"] == [
        {"name": "train/speech/short.wav", "detail": "0.200 s"}
    ]
    for histogram in ("bandwidth_hz", "loudness_lufs"):
        found = {name: 3600 * sum(h) for name, h in content[histogram]["hours"].items()}
        assert found == pytest.approx({"music": 25, "speech": 8}, abs=0.1)
    assert content["runs"][0]["clips"] == 7


def test_bandwidth_histogram_shows_where_content_ends(report):
    content, _ = report
    histogram = content["bandwidth_hz"]

    (music,) = np.flatnonzero(histogram["hours"]["music"])

    assert histogram["edges"][music] in (20000, 21000, 22000)


def test_page_needs_nothing_from_elsewhere(report):
    _, page = report

    assert re.findall(r"(?:src|href)=|https?://|@import|<script", page) == []
    assert page.count("<svg") == 2


def test_names_of_files_cannot_become_markup(prepared, tmp_path, noise):
    folder = tmp_path / "corpus"
    folder.mkdir()
    soundfile.write(folder / "good.wav", noise(2).T, 48000)
    (folder / "<script>alert(1)<").mkdir()
    (folder / "<script>alert(1)<" / "bad.wav").touch()

    page = (prepared(folder).root / "report.html").read_text()

    assert "<script" not in page
    assert "&lt;script&gt;alert" in page


def test_source_in_two_splits_is_pointed_at(prepared, audio_file, noise):
    for number, split in enumerate(("train", "test")):
        audio_file(f"leak/{split}/speech/ann__{number}.wav", noise(2, seed=number))
    path = audio_file("leak/train/speech/bob__a.wav", noise(2, seed=7))

    root = prepared(path.parents[2]).root

    assert json.loads((root / "report.json").read_text())["sources_in_several_splits"] == ["ann"]
    assert "1 sources are in more than one split" in (root / "report.html").read_text()


def test_bars_of_a_histogram_are_stacked():
    histogram = {"edges": [0, 1, 2], "hours": {"a": [1.0, 0.0], "b": [3.0, 2.0]}}

    assert bars(histogram) == {
        "most": 4.0,
        "rectangles": [
            (0, 0.0, 0.75, 0.5, 0.25, 1.0),
            (1, 0.0, 0.0, 0.5, 0.75, 3.0),
            (1, 0.5, 0.5, 0.5, 0.5, 2.0),
        ],
    }
