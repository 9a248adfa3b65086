import os
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path

from audiosr.evaluation.journal import ClipJournal, measure_rest, stamp_configuration
from audiosr.evaluation.processes import Processes
from audiosr.evaluation.results import ClipFacts, Failure, FileFigures, LeftOut, Measured

RECORD = Measured(
    3,
    files=(FileFigures("a", "music", 4000.0, "model", {"lsd": 0.1 + 0.2, "visqol": None}),),
    clips=(ClipFacts("a", "music", 1.0, 44_100),),
    left_out=(LeftOut("a", 8000.0, "empty"),),
)


def test_a_record_comes_back_to_the_last_digit(tmp_path):
    journal = ClipJournal(tmp_path / "out", "x")
    with journal.writer() as write:
        write(RECORD)
        assert journal.read() == {3: RECORD}  # at once, not when the file is closed


def test_a_line_that_was_cut_short_does_not_count(tmp_path):
    journal = ClipJournal(tmp_path / "out", "x")
    with journal.writer() as write:
        write(RECORD)
    (file,) = journal.folder.iterdir()
    file.write_text(file.read_text() + '{"index": 4, "files": [{"key"')
    assert journal.read() == {3: RECORD}


def test_a_clip_that_succeeded_later_is_no_failure(tmp_path):
    journal = ClipJournal(tmp_path / "out", "x")
    failed = Measured(3, failures=(Failure("a", "no such file"),))
    for record in (failed, RECORD, failed):
        with journal.writer() as write:
            write(record)
    assert journal.read() == {3: RECORD}


def test_finished_clips_are_not_measured_again_and_failed_ones_are(tmp_path, capsys):
    journal = ClipJournal(tmp_path / "out", "x")
    with journal.writer() as write:
        write(replace(RECORD, index=2))
        write(Measured(0, failures=(Failure("b", "no such file"),)))
    asked = []

    def measured(left: Sequence[int]) -> Iterator[Measured]:
        asked.extend(left)
        yield from (replace(RECORD, index=index) for index in left)

    found = measure_rest(Processes(), journal, 3, measured)

    assert asked == [0, 1]
    assert found == [replace(RECORD, index=index) for index in range(3)]
    assert "1 of 3 clips are finished already" in capsys.readouterr().out


def test_another_configuration_finds_nothing(tmp_path):
    with ClipJournal(tmp_path / "out", "x").writer() as write:
        write(RECORD)
    other = ClipJournal(tmp_path / "out", "y")
    assert other.read() == {}
    other.remove()
    assert list(tmp_path.iterdir()) == []


def test_fingerprint_sees_values_and_the_files_that_they_name(tmp_path):
    weights = tmp_path / "model" / "denoiser.safetensors"
    weights.parent.mkdir()
    weights.write_bytes(b"old")
    system = {"model": {"model": str(weights.parent), "names": ["x" * 5000]}}
    first = stamp_configuration({"seed": 0}, system)
    assert stamp_configuration({"seed": 0}, system) == first
    assert stamp_configuration({"seed": 1}, system) != first
    touch(weights)
    assert stamp_configuration({"seed": 0}, system) != first


def test_fingerprint_sees_the_model_that_the_package_carries(tmp_path, monkeypatch):
    carried = tmp_path / "carried"
    carried.mkdir()
    (carried / "model.yaml").write_text("old")
    monkeypatch.setattr("audiosr.evaluation.journal.shipped_model", {"compact": carried}.get)
    first = stamp_configuration({}, {"model": "compact"})

    (carried / "model.yaml").write_text("newer")

    assert stamp_configuration({}, {"model": "compact"}) != first


def touch(path: Path) -> None:
    state = path.stat()
    os.utime(path, ns=(state.st_atime_ns, state.st_mtime_ns + 1))
