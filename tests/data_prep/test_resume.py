"""Does a run that was killed go on to the very same bytes?"""

import json
import multiprocessing
import signal
import subprocess
import sys
import time
from pathlib import Path

import psutil
import pytest
import soundfile

from audiosr.errors import DataError, UsageError
from data_prep.staging import link, staging
from tests.data_prep.conftest import contents

OPTIONS = {"clip_seconds": 1, "min_seconds": 0.5, "shard_mb": 0.25}


@pytest.fixture
def corpus(tmp_path, noise):
    """Nine files of 3 s in two domains and two splits, and two that hold what others hold."""
    root = tmp_path / "corpus"
    for number in range(9):
        split, domain = ("train", "valid")[number == 8], ("music", "speech")[number % 2]
        path = root / split / domain / f"{number}.wav"
        path.parent.mkdir(parents=True, exist_ok=True)
        soundfile.write(path, noise(3, seed=number).T, 48000, subtype="PCM_16")
    for number in (0, 8):
        (copied,) = root.rglob(f"{number}.wav")
        (root / f"train/speech/copy{number}.wav").write_bytes(copied.read_bytes())
    return root


def kill_after(shards: int, out: Path, run) -> None:
    """Start `run` in a process of its own and kill it when so many shards are in the journal."""
    process = multiprocessing.get_context("fork").Process(target=run)
    process.start()
    journal = out / ".building" / "journal.jsonl"
    while process.is_alive():
        if journal.exists() and journal.read_bytes().count(b"\n") > shards:
            process.kill()
            break
        time.sleep(0.001)
    process.join()
    assert process.exitcode == -signal.SIGKILL, "it was done before it could be killed"


def resumed_shards(root: Path) -> int:
    return json.loads((root / "report.json").read_text())["runs"][-1]["resumed_shards"]


@pytest.mark.parametrize("kills", [[0], [1], [3], [2, 5, 8]])
def test_killed_run_goes_on_to_the_same_bytes(corpus, prepared, tmp_path, capsys, kills):
    whole = contents(prepared(corpus, "whole", **OPTIONS).root)
    for shards in kills:
        kill_after(shards, tmp_path / "killed", lambda: prepared(corpus, "killed", **OPTIONS))
    assert not (tmp_path / "killed" / "index.json").exists()

    index = prepared(corpus, "killed", **OPTIONS)

    assert contents(index.root) == whole
    assert resumed_shards(index.root) >= kills[-1]
    assert ("going on after" in capsys.readouterr().err) == (resumed_shards(index.root) > 0)


def test_torn_journal_and_damaged_shard_are_made_again(corpus, prepared, tmp_path):
    whole = contents(prepared(corpus, "whole", **OPTIONS).root)
    kill_after(5, tmp_path / "killed", lambda: prepared(corpus, "killed", **OPTIONS))
    building = tmp_path / "killed" / ".building"
    journal = building / "journal.jsonl"
    entries = [json.loads(line) for line in journal.read_text().splitlines()[1:]]
    shard = building / entries[3]["shard"]["name"]
    shard.write_bytes(shard.read_bytes()[:-512])
    journal.write_bytes(journal.read_bytes()[:-40])

    index = prepared(corpus, "killed", **OPTIONS)

    assert contents(index.root) == whole
    assert resumed_shards(index.root) == 3


@pytest.mark.parametrize("changed", ["settings", "file"])
def test_other_work_is_not_resumed(corpus, prepared, tmp_path, capsys, noise, changed):
    kill_after(4, tmp_path / "killed", lambda: prepared(corpus, "killed", **OPTIONS))
    options = OPTIONS | ({"shard_mb": 0.5} if changed == "settings" else {})
    if changed == "file":
        soundfile.write(corpus / "train/music/0.wav", noise(3, seed=99).T, 48000, subtype="PCM_16")

    index = prepared(corpus, "killed", **options)

    assert "had other files or settings; starting afresh" in capsys.readouterr().err
    assert contents(index.root) == contents(prepared(corpus, "whole", **options).root)


def test_run_killed_while_it_replaces_shards_is_done_again(corpus, prepared, tmp_path):
    whole = contents(prepared(corpus, "whole", **OPTIONS).root)
    out = prepared(corpus, "out", shard_mb=0.1, clip_seconds=1).root
    kill_after(3, out, lambda: prepared(corpus, "out", overwrite=True, **OPTIONS))
    # As if it had been killed in the middle of taking their place.
    replaced = out / ".building" / "replaced"
    replaced.mkdir()
    (out / "index.json").replace(replaced / "index.json")

    index = prepared(corpus, "out", **OPTIONS)

    assert contents(index.root) == whole


def test_shard_that_is_in_place_already_is_linked_again(tmp_path):
    (tmp_path / "a").write_text("shard")
    link(tmp_path / "a", tmp_path / "b")

    link(tmp_path / "a", tmp_path / "b")

    assert sorted(path.name for path in tmp_path.iterdir()) == ["a", "b"]


def test_folder_that_cannot_be_written_is_said(corpus, prepared, tmp_path):
    (tmp_path / "out/.building").mkdir(parents=True)
    (tmp_path / "out/.building/train").touch()

    with pytest.raises(DataError, match=r"cannot be written .* same command again"):
        prepared(corpus, "out", **OPTIONS)


def test_two_runs_do_not_write_to_one_folder(corpus, prepared, tmp_path):
    with (
        staging(tmp_path / "shards"),
        pytest.raises(UsageError, match="another run is writing"),
    ):
        prepared(corpus)


@pytest.mark.slow
def test_command_killed_with_its_workers_leaves_no_process_and_goes_on(corpus, prepared, tmp_path):
    out = tmp_path / "killed"
    command = [sys.executable, "-m", "data_prep", "folder", "--source", str(corpus)]
    command += ["--out", str(out), "--workers", "2"]
    command += ["--clip-seconds", "1", "--min-seconds", "0.5", "--shard-mb", "0.25"]
    with subprocess.Popen(command) as process:
        journal = out / ".building" / "journal.jsonl"
        while not (journal.exists() and journal.read_bytes().count(b"\n") > 2):
            assert process.poll() is None
            time.sleep(0.002)
        workers = psutil.Process(process.pid).children(recursive=True)
        process.kill()
    _, left = psutil.wait_procs(workers, timeout=10)
    assert workers
    assert left == []

    index = prepared(corpus, "killed", **OPTIONS)

    assert contents(index.root) == contents(prepared(corpus, "whole", **OPTIONS).root)
    assert resumed_shards(index.root) >= 2
