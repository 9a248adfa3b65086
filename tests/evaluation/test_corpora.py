"""Published test sets in miniature: what is listed, what is missing, and one evaluation of each."""

import json
import zipfile
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from audiosr.audio import io
from audiosr.cli import main
from audiosr.entry import compose_config
from audiosr.errors import DataError, UsageError
from audiosr.evaluation import corpora
from audiosr.evaluation.clips import ReferenceClip, list_hash
from audiosr.evaluation.corpora import PUBLISHED, open_corpus
from audiosr.evaluation.run import evaluate
from data_prep.__main__ import main as data_prep
from tests.evaluation.conftest import tone_burst

TRACKS = """,set,set,artist,track
,split,subset,id,license
track_id,,,,
2,training,small,1,CC
5,test,small,2,CC
140,test,medium,3,CC
1040,test,small,4,CC
"""
QUICK = ("system=unprocessed", "metrics=quick", "cutoffs=[4000]", "report.clips=0", "device=cpu")
ESC = "filename,fold,target,category,esc10,src_file,take\n"


def put(root: Path, *names: str, rate: int = 48_000) -> None:
    for seed, name in enumerate(names):
        wave = io.resample(tone_burst(0.3, 20_000, seed)[None], 48_000, rate)
        io.write_audio(root / name, wave, rate)


def vctk(root: Path) -> None:
    names = [
        f"wav48_silence_trimmed/{speaker}/{speaker}_{number:03d}_mic{mic}.flac"
        for speaker in ("p360", "s5", "p225")
        for number in (1, 2, 5)
        for mic in (1, 2)
    ]
    put(root / "VCTK-Corpus-0.92", *names)


def fma(root: Path) -> None:
    (root / "fma_metadata").mkdir(parents=True)
    (root / "fma_metadata/tracks.csv").write_text(TRACKS)
    put(root, *(f"fma_small/{n // 1000:03d}/{n:06d}.mp3" for n in (2, 5, 1040)), rate=44_100)


def esc50(root: Path) -> None:
    rows = [
        f"{fold}-{number}-A-0.wav,{fold},0,dog,True,{number},A"
        for fold in (1, 5)
        for number in (7, 8)
    ]
    (root / "meta").mkdir(parents=True)
    (root / "meta/esc50.csv").write_text(ESC + "\n".join(rows) + "\n")
    put(root, *(f"audio/{row.split(',')[0]}" for row in rows), rate=44_100)


def song_describer(root: Path) -> None:
    put(root, "01/1001.2min.mp3", "17/2002.2min.mp3", rate=44_100)


def musdb18hq(root: Path) -> None:
    put(
        root,
        "test/A - B/mixture.wav",
        "test/A - B/vocals.wav",
        "train/C - D/mixture.wav",
        rate=44_100,
    )


LISTED: dict[str, tuple[Callable[[Path], None], list[str]]] = {
    "vctk": (
        vctk,
        [
            f"wav48_silence_trimmed/{speaker}/{speaker}_{number:03d}_mic1.flac"
            for speaker in ("p360", "s5")
            for number in (1, 2, 5)
        ],
    ),
    "fma_small": (fma, ["fma_small/000/000005.mp3", "fma_small/001/001040.mp3"]),
    "esc50": (esc50, ["audio/5-7-A-0.wav", "audio/5-8-A-0.wav"]),
    "song_describer": (song_describer, ["01/1001.2min.mp3", "17/2002.2min.mp3"]),
    "musdb18hq": (musdb18hq, ["test/A - B/mixture.wav"]),
}


@pytest.mark.parametrize("corpus", LISTED)
def test_the_published_clips_are_listed_and_read(tmp_path, corpus):
    make, names = LISTED[corpus]
    make(tmp_path)
    benchmark = open_corpus(corpus, str(tmp_path), name="mine", partial=True)
    clips = [clip for clip in benchmark if isinstance(clip, ReferenceClip)]
    assert [clip.key for clip in clips] == names
    assert all(clip.domain in PUBLISHED[corpus].counts for clip in clips)
    card = json.loads(json.dumps(benchmark.card()))
    assert card["published"] == f"{len(names)} of {PUBLISHED[corpus].total} clips"
    known = "that of the published set" if PUBLISHED[corpus].list_sha256 else "against a published"
    assert card["list"].startswith("not ")
    assert known in card["list"]


def test_vctk_has_the_published_numbers():
    assert list(PUBLISHED["vctk"].counts.values()) == [424, 424, 123, 419, 301, 424, 424, 398]
    assert PUBLISHED["vctk"].total == 2937


def test_music_says_that_the_papers_is_private(tmp_path):
    fma(tmp_path)
    card = open_corpus("fma_small", str(tmp_path), name="music", partial=True).card()
    assert "private" in card["note"]


def test_another_list_than_the_published_one_is_refused(tmp_path, monkeypatch):
    esc50(tmp_path)
    with pytest.raises(
        DataError, match=r"2 of 400 clips of effects; fetch .* partial=true"
    ) as told:
        open_corpus("esc50", str(tmp_path), name="sfx")
    assert "\n" not in str(told.value)
    counted = replace(PUBLISHED["esc50"], counts={"effects": 2})
    monkeypatch.setitem(corpora.PUBLISHED, "esc50", counted)
    with pytest.raises(DataError, match="its 2 clips have other names"):
        open_corpus("esc50", str(tmp_path), name="sfx")
    names = (f"effects/audio/5-{number}-A-0.wav" for number in (7, 8))
    whole = replace(counted, list_sha256=list_hash(names))
    monkeypatch.setitem(corpora.PUBLISHED, "esc50", whole)
    card = open_corpus("esc50", str(tmp_path), name="sfx").card()
    assert (card["published"], card["list"]) == ("all clips", "that of the published set")
    assert card["list_sha256"] == whole.list_sha256
    (tmp_path / "audio/5-8-A-0.wav").unlink()
    with pytest.raises(DataError, match=r"first that is missing: audio/5-8-A-0.wav"):
        open_corpus("esc50", str(tmp_path), name="sfx")


def test_a_clip_too_many_is_another_list(tmp_path, monkeypatch):
    vctk(tmp_path)
    few = replace(PUBLISHED["vctk"], counts={"p360": 3, "s5": 2})
    monkeypatch.setitem(corpora.PUBLISHED, "vctk", few)
    with pytest.raises(DataError, match="3 of 2 clips of s5"):
        open_corpus("vctk", str(tmp_path), name="vctk")


def test_missing_corpus_is_told_what_to_fetch_and_where_to_put_it(tmp_path):
    for root in (tmp_path, tmp_path / "nowhere"):
        with pytest.raises(DataError) as told:
            open_corpus("vctk", str(root), name="vctk")
        assert "VCTK-Corpus-0.92.zip from https://datashare.ed.ac.uk" in str(told.value)
        assert f"unpack it into {root}" in str(told.value)
        assert "\n" not in str(told.value)


def test_archives_are_named_half_downloaded_or_still_packed(tmp_path):
    archive = tmp_path / "VCTK-Corpus-0.92.zip"
    archive.write_bytes(b"PK\x03\x04 and nothing more")
    with pytest.raises(DataError, match=r"0.92.zip is downloaded in part: fetch it again"):
        open_corpus("vctk", str(tmp_path), name="vctk")
    with zipfile.ZipFile(archive, "w") as packed:
        packed.writestr("readme", "all of it")
    with pytest.raises(DataError, match=r"0.92.zip is not unpacked"):
        open_corpus("vctk", str(tmp_path), name="vctk")


def test_a_table_without_its_columns_is_named(tmp_path):
    esc50(tmp_path)
    (tmp_path / "meta/esc50.csv").write_text("name,part\na,5\n")
    with pytest.raises(DataError, match=r"esc50.csv has no column 'filename'"):
        open_corpus("esc50", str(tmp_path), name="sfx")


def test_shards_of_a_published_corpus_are_taken_too(tmp_path):
    put(tmp_path / "in/test/speech", "a.wav")
    argv = ["folder", "--source", f"{tmp_path}/in", "--out", f"{tmp_path}/out", "--workers", "1"]
    data_prep([*argv, "--min-seconds", "0.1"])
    benchmark = open_corpus("vctk", str(tmp_path / "out"), name="vctk")
    assert [type(clip) for clip in benchmark] == [ReferenceClip]
    assert benchmark.card()["published"] == "1 clips made of 2937 files"
    assert benchmark.card()["index_sha256"]


def test_unknown_corpus_is_named():
    with pytest.raises(UsageError, match="choose from vctk, esc50"):
        open_corpus("audiostock", "x", name="music")


@pytest.mark.parametrize(
    ("make", "overrides", "domains"),
    [
        (vctk, ["benchmark=vctk", "benchmark.parts.vctk.partial=true"], {"p360", "s5"}),
        (
            fma,
            [
                "benchmark=music",
                "benchmark.parts.music.corpus=fma_small",
                "benchmark.parts.music.partial=true",
            ],
            {"music"},
        ),
        (esc50, ["benchmark=sfx", "benchmark.parts.sfx.partial=true"], {"effects"}),
    ],
)
def test_miniatures_are_evaluated_end_to_end(tmp_path, make, overrides, domains):
    make(tmp_path / "corpus")
    results = evaluate(
        compose_config(
            "evaluate",
            [*overrides, f"benchmark.root={tmp_path}/corpus", f"out={tmp_path}/out", *QUICK],
        )
    )
    assert {file.domain for file in results.files} == domains
    assert results.protocol.benchmark.about["clips"] == len(results.files)


def test_several_benchmarks_make_one_table(tmp_path):
    vctk(tmp_path / "vctk")
    for path in (tmp_path / "vctk").rglob("s5_00[25]_mic1.flac"):
        path.unlink()
    esc50(tmp_path / "esc50")
    parts = (("vctk", "vctk"), ("sfx", "esc50"))
    results = evaluate(
        compose_config(
            "evaluate",
            [
                *("benchmark=[vctk,sfx]", "benchmark.limit=2", f"out={tmp_path}/out", *QUICK),
                *(f"benchmark.parts.{name}.root={tmp_path}/{corpus}" for name, corpus in parts),
                *(f"benchmark.parts.{name}.partial=true" for name, _ in parts),
            ],
        )
    )
    card = results.protocol.benchmark
    assert card.name == "vctk+sfx"
    assert {(file.domain, file.key) for file in results.files} == {
        ("vctk", f"{speaker}/wav48_silence_trimmed/{speaker}/{speaker}_{number}_mic1.flac")
        for speaker, number in (("p360", "001"), ("p360", "002"), ("s5", "001"))
    } | {("sfx", f"effects/audio/5-{number}-A-0.wav") for number in (7, 8)}
    assert card.about["parts"]["sfx"]["source"] == "ESC-50, fold 5"
    values = {f.key.partition("/")[0]: [] for f in results.files if f.domain == "vctk"}
    for file in results.files:
        if file.domain == "vctk":
            values[file.key.partition("/")[0]].append(file.metrics["lsd_nuwave2"])
    (mean,) = (
        a.mean for a in results.aggregates if (a.domain, a.metric) == ("vctk", "lsd_nuwave2")
    )
    assert mean == pytest.approx(np.mean([np.mean(of_speaker) for of_speaker in values.values()]))
    assert len(values["p360"]) != len(values["s5"])


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        (["benchmark=vctk"], "fetch VCTK-Corpus-0.92.zip"),
        (["benchmark=music"], "unpack it into data/song_describer"),
        (["benchmark=[vctk,sfx]", "benchmark.root=x"], "benchmark.parts.vctk.root=..."),
        (["benchmark=vctk"], "with benchmark.root=DIR"),
        (["benchmark=[vctk,sfx]"], "with benchmark.parts.vctk.root=DIR"),
        (["benchmark=[folder,sfx]"], "give benchmark.parts.folder.root=DIR"),
    ],
)
def test_absent_corpora_get_one_line(arguments, sentence, capsys, tmp_path):
    assert main(["evaluate", *arguments, "system=unprocessed", f"out={tmp_path}/o"])
    error = capsys.readouterr().err
    assert sentence in error
    assert error.count("\n") == 1
