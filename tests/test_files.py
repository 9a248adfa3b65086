"""Is a file or folder on the disk whole, or as it was before?"""

import errno
import os
import subprocess
import sys
from contextlib import AbstractContextManager, suppress
from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file

from audiosr.files import atomic_path, cache_folder, file_hash, locked, replaced_folder

pytestmark = pytest.mark.smoke


def test_replaced_folder_is_whole_or_untouched(tmp_path):
    folder = tmp_path / "a" / "evaluation"
    with replaced_folder(folder) as building:
        (building / "first").write_text("1")
    with suppress(RuntimeError), replaced_folder(folder) as building:
        (building / "second").write_text("2")
        raise RuntimeError("power cut")
    assert [f.name for f in folder.iterdir()] == ["first"]
    with replaced_folder(folder) as building:
        (building / "third").write_text("3")
    assert [f.name for f in folder.iterdir()] == ["third"]
    assert [f.name for f in folder.parent.iterdir()] == ["evaluation"]


def test_file_is_whole_or_as_before(tmp_path):
    path = tmp_path / "new" / "file"
    with atomic_path(path) as partial:
        partial.write_text("first")
    with suppress(RuntimeError), atomic_path(path) as partial:
        partial.write_text("half")
        raise RuntimeError("power cut")

    assert path.read_text() == "first"
    assert list(path.parent.iterdir()) == [path]


def test_name_may_be_as_long_as_the_file_system_allows(tmp_path):
    path = tmp_path / ("n" * 255)
    with atomic_path(path) as partial:
        partial.write_text("content")

    assert path.read_text() == "content"


@pytest.mark.parametrize("mask", [0o022, 0o002])
def test_permissions_follow_the_umask(tmp_path, mask):
    before = os.umask(mask)
    try:
        with replaced_folder(tmp_path / "folder") as building:
            (building / "file").write_text("1")
        with atomic_path(tmp_path / "weights") as partial:
            save_file({"weight": torch.zeros(1)}, partial)  # for its owner alone
    finally:
        os.umask(before)

    assert (tmp_path / "folder").stat().st_mode & 0o777 == 0o777 & ~mask
    assert (tmp_path / "weights").stat().st_mode & 0o777 == 0o666 & ~mask


def test_error_of_the_block_is_not_hidden_by_the_clean_up(tmp_path):
    folder = tmp_path / "gone"

    def fail() -> None:
        with atomic_path(folder / "file"):
            folder.rmdir()
            folder.write_text("a file where the folder was: the clean-up fails too")
            raise RuntimeError("the cause")

    with pytest.raises(RuntimeError, match="the cause"):
        fail()


def test_hash_is_that_of_the_content(tmp_path):
    (tmp_path / "file").write_bytes(b"abc")
    seen = []

    assert file_hash(tmp_path / "file", "md5", seen.append) == "900150983cd24fb0d6963f7d28e17f72"
    assert sum(seen) == 3


def test_lock_is_one_process_s_at_a_time(tmp_path):
    take = f"from audiosr.files import locked\nwith locked({str(tmp_path / 'lock')!r}, wait=False):"
    other = [sys.executable, "-c", f"{take}\n    pass"]
    with locked(tmp_path / "lock"):
        held = subprocess.run(other, capture_output=True, text=True)

    assert "BlockingIOError" in held.stderr
    assert subprocess.run(other).returncode == 0


def test_cache_folder_is_the_users_choice(monkeypatch, tmp_path):
    monkeypatch.setenv("AUDIOSR_CACHE", str(tmp_path))
    assert cache_folder() == tmp_path
    monkeypatch.delenv("AUDIOSR_CACHE")
    assert cache_folder().parts[-2:] == (".cache", "audiosr")


def test_what_the_disk_refuses_names_the_file_or_folder(tmp_path):
    for making in (atomic_path, replaced_folder):
        with pytest.raises(OSError, match=f"{tmp_path / 'out'}"), making(tmp_path / "out"):
            raise OSError(errno.ENOSPC, "No space left on device")


@pytest.mark.parametrize("write", ["torch", "safetensors"])
def test_a_full_disk_is_known_behind_the_words_of_a_library(tmp_path, full_disk, write):
    def fill(place: Path) -> None:
        zeros = {"a": torch.zeros(10_000)}
        if write == "safetensors":
            save_file(zeros, place)
        else:
            with place.open("wb") as file:
                torch.save(zeros, file)

    def refused(writing: AbstractContextManager[Path], member: str) -> OSError:
        with pytest.raises(OSError, match="File too large") as refusal, writing as partial:
            fill(partial / member)
        return refusal.value

    with full_disk(4096):
        file_error = refused(atomic_path(tmp_path / "a"), "")
        folder_error = refused(replaced_folder(tmp_path / "b"), "c")

    assert file_error.filename == str(tmp_path / "a")
    assert folder_error.filename == str(tmp_path / "b")
    assert list(tmp_path.iterdir()) == []
