import io
import tarfile

import pytest

from audiosr.shards.members import Contents, contents, streamed
from tests.shards.conftest import add_member

pytestmark = pytest.mark.smoke


def test_only_audio_with_json_counts_as_a_clip(tmp_path):
    path = tmp_path / "mixed.tar"
    with tarfile.open(path, "w") as tar:
        for name in ("a.flac", "a.json", "b.pkl", "b.json", "c.flac", "d.npy", "e.pth", "f.WAV"):
            add_member(tar, name, b"x" * 10)
        for number, kind in enumerate([tarfile.SYMTYPE, tarfile.LNKTYPE, tarfile.FIFOTYPE]):
            link = tarfile.TarInfo(f"g{number}.flac")
            link.type, link.linkname = kind, "/etc/passwd"
            tar.addfile(link)
        add_member(tar, "../../h.ogg", b"y" * 10)
        add_member(tar, "../../h.json", b"{}")
        add_member(tar, "/i.ogg", b"y" * 10)
        add_member(tar, "a.flac", b"z" * 10)

    found = contents(path)

    assert [member.key for member in found.clips] == ["a"]
    offset, size = found.clips[0].audio
    assert path.read_bytes()[offset : offset + size] == b"x" * 10
    assert found.unusable == {
        "../../h": "name points outside",
        "/i": "name points outside",
        "b": "no audio beside the JSON",
        "c": "no JSON beside the audio",
        "g0": "link, device or sparse file",
        "g1": "link, device or sparse file",
        "g2": "link, device or sparse file",
    }
    assert found.foreign == {
        ".WAV ending": 1,
        ".npy ending": 1,
        ".pkl ending": 1,
        ".pth ending": 1,
        "repeated name": 1,
    }


@pytest.mark.parametrize("size", [1 << 40, 1 << 62, -512, -1536])
def test_member_whose_size_is_a_lie_ends_the_shard(tmp_path, size):
    path = tmp_path / "lie.tar"
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w", format=tarfile.GNU_FORMAT) as tar:
        add_member(tar, "a.flac", b"x")
        add_member(tar, "a.json", b"{}")
        liar = tarfile.TarInfo("b.flac")
        liar.size = size
        tar.fileobj.write(liar.tobuf(tarfile.GNU_FORMAT))  # pyright: ignore
        tar.fileobj.write(bytes(1024))  # pyright: ignore
    path.write_bytes(buffer.getvalue())

    assert [member.key for member in contents(path).clips] == ["a"]
    with path.open("rb") as file:
        assert [key for key, *_ in streamed(file, Contents(), needs_json=True)] == ["a"]


@pytest.mark.parametrize(("suffix", "size"), [("flac", 1 << 29), ("json", 1 << 20)])
def test_member_that_is_too_large_is_passed_over_unread(tmp_path, suffix, size):
    path = tmp_path / "large.tar"
    with tarfile.open(path, "w", format=tarfile.USTAR_FORMAT) as tar:
        large = tarfile.TarInfo(f"a.{suffix}")
        large.size = size + 1
        tar.addfile(large)
        tar.fileobj.seek(-(-large.size // 512) * 512, 1)  # pyright: ignore  # a hole in the file
        tar.offset += -(-large.size // 512) * 512  # pyright: ignore
        add_member(tar, "b.flac", b"x")
        add_member(tar, "b.json", b"{}")

    noted = Contents()
    with path.open("rb") as file:
        found = [key for key, *_ in streamed(file, noted, needs_json=True)]

    assert found == [member.key for member in contents(path).clips] == ["b"]
    assert noted.unusable == contents(path).unusable == {"a": "member is too large"}


def test_shard_cut_short_gives_the_clips_before_the_cut(shards):
    path = shards / "train" / "speech-000000.tar"
    whole = contents(path).clips
    content = path.read_bytes()
    path.write_bytes(content[: whole[1].audio[0] + 100])

    assert contents(path).clips == whole[:1]


def test_file_that_is_no_tar_holds_no_clip(tmp_path):
    path = tmp_path / "noise.tar"
    path.write_bytes(bytes(range(256)) * 100)

    assert contents(path).clips == []
