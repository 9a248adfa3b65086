"""Several processes on one evaluation, and processes that are killed."""

import os
import signal
import subprocess
import sys
import time
from collections import Counter
from pathlib import Path

import pytest

from audiosr.evaluation.external import input_stem
from audiosr.evaluation.processes import Processes, joined_processes
from audiosr.evaluation.results import Results
from tests.evaluation.conftest import tone_burst

ROOT = Path(__file__).parents[2]
SLOW = """
import os
import time

from audiosr.evaluation.systems import Unprocessed


with open("processes", "a") as processes:
    print(os.getpid(), file=processes)


class Slow(Unprocessed):
    def __call__(self, trial):
        with open("calls", "a") as file:
            print(*trial.seeds, file=file)
        if os.path.exists("hold") and len(open("calls").readlines()) > 2:
            time.sleep(1000)
        return 0.5 * trial.low
"""
"""A system that notes its calls, by what belongs to one clip; where `hold` is, the third hangs."""


@pytest.fixture
def clips(audio_file, tmp_path) -> Path:
    for number in range(5):
        audio_file(f"clips/{'ab'[number % 2]}/{number}.wav", tone_burst(0.2, 20_000, number)[None])
        stem = input_stem(f"{'ab'[number % 2]}/{number}.wav", 4000)
        audio_file(f"theirs/{stem}.wav", tone_burst(0.2, 20_000, number)[None, :-9])
    audio_file("theirs/stray.wav", tone_burst(0.2, 20_000)[None])
    (tmp_path / "clips" / "a" / "broken.wav").write_text("no audio")
    (tmp_path / "slow.py").write_text(SLOW)
    return tmp_path


def start(folder: Path, processes: int, *overrides: str) -> subprocess.Popen:
    launcher = ["-m", "torch.distributed.run", "--standalone", f"--nproc-per-node={processes}"]
    return subprocess.Popen(
        [
            sys.executable,
            *(launcher if processes > 1 else []),
            str(ROOT / "evaluate.py"),
            *("benchmark=folder", "benchmark.root=clips", "system=unprocessed"),
            *("metrics=standard", "outputs={theirs: theirs}"),
            *("+system.slow._target_=slow.Slow", "cutoffs=[4000]", "device=cpu", "report.clips=0"),
            *overrides,
        ],
        cwd=folder,
        env=os.environ | {"PYTHONPATH": f"{ROOT}:{folder}"},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
    )


def finished(process: subprocess.Popen) -> tuple[int, str]:
    said, error = process.communicate(timeout=120)
    return process.returncode, said + error


def calls(folder: Path) -> list[str]:
    path = folder / "calls"
    return path.read_text().splitlines() if path.exists() else []


@pytest.mark.slow
def test_one_two_and_three_processes_write_the_same_results(clips):
    for processes in (1, 2, 3):
        code, said = finished(start(clips, processes, f"out=out{processes}"))
        assert code == 1, said
        assert "a/broken.wav" in said
    results = [(clips / f"out{n}" / "results.json").read_text() for n in (1, 2, 3)]
    assert results[0] == results[1] == results[2]
    assert Counter(Counter(calls(clips)).values()) == {3: 5}  # each clip once, with the same seed
    assert not list(clips.glob("*.unfinished"))


@pytest.mark.slow
@pytest.mark.parametrize("processes", [1, 2])
def test_killed_and_started_again_it_goes_on_where_it_was(clips, processes):
    (clips / "hold").touch()
    process = start(clips, processes, "out=out")
    deadline = time.monotonic() + 100
    while len(calls(clips)) < 3 and time.monotonic() < deadline:
        time.sleep(0.05)
    # torchrun's processes have sessions of their own.
    for pid in {process.pid, *map(int, (clips / "processes").read_text().split())}:
        os.kill(pid, signal.SIGKILL)
    process.communicate()
    (clips / "hold").unlink()
    assert 3 <= len(calls(clips)) < 5

    code, said = finished(start(clips, 1, "out=out"))

    assert "of 6 clips are finished already" in said
    assert code == 1
    # What was under way when it was killed is begun again, and nothing else.
    assert 5 < len(calls(clips)) <= 5 + processes
    assert len(set(calls(clips))) == 5
    code, said = finished(start(clips, 1, "out=whole"))
    whole, resumed = (clips / name / "results.json" for name in ("whole", "out"))
    assert resumed.read_text() == whole.read_text()
    results = Results.read(resumed)
    theirs = results.protocol.systems["theirs"]
    assert set(theirs["changed"].values()) == {"9 samples shorter"}
    assert (len(theirs["changed"]), theirs["extra"]) == (5, ["stray.wav"])
    assert "frechet_mel_statistics" in {a.metric for a in results.aggregates}


@pytest.mark.slow
def test_one_process_that_dies_ends_the_others_with_a_sentence(clips):
    meeting = {"MASTER_ADDR": "127.0.0.1", "MASTER_PORT": "29517", "WORLD_SIZE": "2"}
    code = (
        "import os; from audiosr.errors import report\n"
        "from audiosr.evaluation.processes import joined_processes\n"
        "def main():\n"
        "    with joined_processes() as processes:\n"
        "        processes.wait()\n"
        "        if processes.rank: os.kill(os.getpid(), 9)\n"
        "        processes.wait()\n"
        "raise SystemExit(report(main))"
    )
    pair = [
        subprocess.Popen(
            [sys.executable, "-c", code],
            env=os.environ | meeting | {"RANK": str(rank), "PYTHONPATH": str(ROOT)},
            stderr=subprocess.PIPE,
            text=True,
        )
        for rank in (0, 1)
    ]
    error = pair[0].communicate(timeout=60)[1]
    pair[1].communicate()
    assert pair[0].returncode == 1
    assert "another process of this evaluation has ended" in error


def test_a_process_alone_has_every_clip_and_waits_for_nobody(monkeypatch):
    for name in ("WORLD_SIZE", "SLURM_NTASKS"):
        monkeypatch.delenv(name, raising=False)
    with joined_processes() as processes:
        processes.wait()
        assert all(processes.mine(index) for index in range(9))


def test_every_clip_is_of_one_process():
    shares = [Processes(rank, 3) for rank in range(3)]
    assert all(sum(share.mine(index) for share in shares) == 1 for index in range(10))
