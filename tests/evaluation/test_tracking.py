"""An evaluation as an offline run of Weights & Biases."""

import json
import struct
import time
from pathlib import Path

import pytest
from wandb.proto.wandb_internal_pb2 import Record  # pyright: ignore[reportAttributeAccessIssue]

from audiosr.cli import main
from audiosr.evaluation.results import ALL, Results
from tests.evaluation.conftest import tone_burst

QUICK = ("system=unprocessed", "metrics=quick", "cutoffs=[4000,8000]", "report.clips=0")


def records(path: Path) -> list[Record]:
    """What the file of an offline run holds, once W&B's own process has written all of it."""
    for _ in range(200):
        found = _read(path)
        if any(record.WhichOneof("record_type") == "exit" for record in found):
            return found
        time.sleep(0.1)
    raise AssertionError(f"{path} has no end")


def _read(path: Path) -> list[Record]:
    """LevelDB's log format behind a head of 7 bytes."""
    content, at, found, parts = path.read_bytes(), 7, [], b""
    while at + 7 <= len(content):
        if (left := 32_768 - at % 32_768) < 7:
            at += left
            continue
        length, kind = struct.unpack_from("<HB", content, at + 4)
        parts += content[at + 7 : at + 7 + length]
        at += 7 + length
        if kind in (1, 4):  # whole, or the last part of one
            found.append(Record.FromString(parts))
            parts = b""
    return found


@pytest.fixture
def arguments(tmp_path, audio_file):
    rain, wave = tmp_path / "clips", tone_burst(0.6, 20_000)
    for name in ("a", "b"):
        audio_file(f"clips/rain/{name}.wav", wave[None])
    return ["evaluate", "benchmark=folder", f"benchmark.root={rain}", f"out={tmp_path}/out", *QUICK]


def test_wandb_gets_means_and_files_as_tables_and_the_headline_as_summary(arguments, tmp_path):
    assert main([*arguments, "logger=wandb"]) == 0
    results = Results.read(tmp_path / "out" / "results.json")
    (run,) = (tmp_path / "out" / "wandb").glob("offline-run-*")
    tables = {
        path.name.split("_")[0]: json.loads(path.read_text())
        for path in (run / "files" / "media" / "table").rglob("*.table.json")
    }
    means = tables["means"]
    assert means["columns"][:2] == ["system", "domain"]
    assert [row[:6] for row in means["data"]] == [
        [a.system, a.domain, a.cutoff_hz, a.metric, a.mean, a.low] for a in results.aggregates
    ]
    files = tables["files"]
    assert files["columns"][:4] == ["key", "domain", "cutoff_hz", "system"]
    assert [row[4:] for row in files["data"]] == [
        list(file.metrics.values()) for file in results.files
    ]
    (stored,) = run.glob("*.wandb")
    written = records(stored)
    (name,) = {record.run.display_name for record in written if record.run.display_name}
    assert name == "folder"
    summary = {
        "/".join(item.nested_key) or item.key: json.loads(item.value_json)
        for record in written
        for item in record.summary.update
    }
    headline = results.protocol.headline
    expected = {
        f"unprocessed/{a.cutoff_hz / 1000:g}_kHz/{headline}": a.mean
        for a in results.aggregates
        if (a.metric, a.domain) == (headline, ALL)
    }
    assert len(expected) == 2
    assert {key: summary.get(key) for key in expected} == expected


def test_a_logger_without_tables_is_refused_before_any_work(arguments, tmp_path, capsys):
    chosen = "++logger={csv: {_target_: lightning.pytorch.loggers.CSVLogger}}"
    assert main([*arguments, chosen]) == 2
    assert "logger=wandb" in capsys.readouterr().err
    assert not (tmp_path / "out").exists()
