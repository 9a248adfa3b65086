import base64
import re
from dataclasses import replace
from html.parser import HTMLParser
from io import BytesIO
from pathlib import Path

import numpy as np
import pytest
import soundfile

from audiosr.audio.io import RATE
from audiosr.evaluation import report
from audiosr.evaluation.results import Example, Failure, LeftOut
from tests.evaluation.conftest import made_examples, made_results

VOID = {"meta", "img", "hr", "link", "br", "input"}


class Page(HTMLParser):
    """Tags, attributes and nesting of a page."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.open: list[str] = []
        self.tags: list[tuple[str, dict]] = []
        self.feed(text)

    def handle_starttag(self, tag, attrs):
        self.tags.append((tag, dict(attrs)))
        if tag not in VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag, attrs):
        self.tags.append((tag, dict(attrs)))

    def handle_endtag(self, tag):
        assert self.open.pop() == tag

    def all(self, tag: str) -> list[dict]:
        return [attributes for name, attributes in self.tags if name == tag]


def made_runs(folder: Path) -> list[Path]:
    folders = []
    for stage in ("vae", "ldm"):
        run = folder / stage / "2026-01-02_03-04-05"
        run.mkdir(parents=True)
        rows = [f"{s},{2 / (s + 1)},{1 / (s + 1) + 1 if s % 50 == 0 else ''}" for s in range(200)]
        (run / "metrics.csv").write_text("\n".join(["step,train/loss,valid/lsd", *rows]))
        folders.append(run)
    return folders


@pytest.fixture(scope="module")
def path(tmp_path_factory) -> Path:
    """A report with three clips and two runs; read only."""
    folder = tmp_path_factory.mktemp("evaluation")
    runs = made_runs(tmp_path_factory.mktemp("outputs"))
    return report.write_report(folder, made_results(), made_examples(), runs=runs, seconds=0.5)


def test_report_needs_nothing_but_itself(path):
    text = path.read_text()
    page = Page(text)
    assert page.open == []
    assert page.all("script") == [{}]
    assert not page.all("link")
    sources = [tag["src"] for name in ("img", "audio") for tag in page.all(name)]
    assert all(source.startswith("data:") for source in sources)
    assert not re.findall(r"""(?:src|href)=["']?(?:https?:)?//""", text)
    assert not re.findall(r"url\((?!#)", text)


def test_report_shows_table_pictures_sounds_curves_and_protocol(path):
    text = path.read_text()
    page = Page(text)
    assert len(page.all("img")) == 3 * 3 * 3  # input, model and reference
    assert len(page.all("audio")) == len(page.all("button")) == 3 * 3 * 4  # and gt_mel
    assert len(page.all("svg")) == 2 * 2 + 2
    assert "vae/2026-01-02_03-04-05" in text
    assert "4 kHz cutoff" in text
    assert "cheby1" in text
    assert "run 1" in text


def test_sounds_in_the_page_are_those_in_the_folder(path):
    page = Page(path.read_text())
    files = {f.read_bytes() for f in (path.parent / "audio").iterdir()}
    played = {base64.b64decode(tag["src"].split(",")[1]) for tag in page.all("audio")}
    assert played == files
    wave, rate = soundfile.read(BytesIO(next(iter(files))))
    assert (rate, wave.shape) == (RATE, (RATE // 2,))


def test_sounds_share_one_gain_so_that_levels_compare():
    one = np.ones(100, np.float32)
    loud, quiet = np.float32(2) * one, np.float32(0.5) * one
    example = Example("a", "music", RATE, one, {4000: quiet}, {"model": {4000: loud}})
    sounds = report.sounds_of(example, 1.0)
    peaks = {name: wave.max() for name, wave in sounds.items()}
    assert peaks["4000-model"] == pytest.approx(0.999)
    assert peaks["reference"] == pytest.approx(0.999 / 2)
    assert peaks["4000-input"] == pytest.approx(0.999 / 4)


def test_report_without_a_restoring_system_shows_input_and_reference(results, tmp_path):
    whole = made_examples()[0]
    bare = replace(whole, outputs={"unprocessed": whole.inputs})
    card = replace(results.protocol, systems={"unprocessed": {"kind": "input"}})
    results = replace(results, protocol=card)
    page = Page(report.write_report(tmp_path, results, [bare]).read_text())
    assert len(page.all("audio")) == 3 * 2


def test_report_without_results_names_the_failures(results, tmp_path):
    results = replace(results, files=(), aggregates=(), failures=(Failure("a", "<broken>"),))
    text = report.write_report(tmp_path, results, []).read_text()
    assert "a: &lt;broken&gt;" in text


def test_names_from_files_cannot_inject_markup(results, tmp_path):
    benchmark = replace(results.protocol.benchmark, name="<script>alert(1)</script>")
    results = replace(results, protocol=replace(results.protocol, benchmark=benchmark))
    text = report.write_report(tmp_path, results, []).read_text()
    assert Page(text).all("script") == [{}]
    assert "<script>alert" not in text


def test_report_of_three_clips_stays_small_even_on_noise(results, tmp_path):
    noise = np.random.default_rng(0).normal(0, 0.2, 5 * RATE).astype(np.float32)
    waves = {4000.0: noise}
    hard = Example(
        "noise", "music", RATE, noise, waves, {"model": waves}
    )  # FLAC saves little on it
    size = report.write_report(tmp_path, results, [hard]).stat().st_size
    assert 3 * 3 * size < 16e6


def test_references_that_were_left_out_are_named(results, tmp_path):
    results = replace(results, left_out=(LeftOut("quiet.wav", None, "silence"),))
    text = report.write_report(tmp_path, results, []).read_text()
    assert "quiet.wav: silence" in text
