import hashlib
import io
import tarfile
import threading
import zipfile
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import pytest

from audiosr.errors import DataError
from data_prep.fetch import download
from data_prep.fetch.download import Archive, fetch
from data_prep.fetch.unpack import unpack

CONTENT = b"".join(number.to_bytes(4, "big") for number in range(250_000))


class _Server(ThreadingHTTPServer):
    """Sends CONTENT; the first `breaks` answers end in the middle."""

    breaks = 0
    ranges = True
    asked: list[str | None]

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server_address[1]}/corpus.zip"


class _Handler(BaseHTTPRequestHandler):
    server: _Server  # pyright: ignore[reportIncompatibleVariableOverride]

    def do_GET(self) -> None:
        wanted = self.headers["Range"]
        self.server.asked.append(wanted)
        if self.path != "/corpus.zip":
            self.send_error(404)
            return
        start = int(wanted[6:-1]) if wanted and self.server.ranges else 0
        if start >= len(CONTENT):
            self.send_response(416)
            self.send_header("Content-Range", f"bytes */{len(CONTENT)}")
            self.send_header("Content-Length", "0")
            self.end_headers()
            return
        self.send_response(206 if start else 200)
        self.send_header("Content-Length", str(len(CONTENT) - start))
        self.end_headers()
        stop = len(CONTENT)
        if self.server.breaks:
            self.server.breaks -= 1
            stop = start + (len(CONTENT) - start) // 2
        self.wfile.write(CONTENT[start:stop])
        self.close_connection = True

    def log_message(self, format: str, *args: object) -> None:
        pass


@pytest.fixture
def server(monkeypatch):
    monkeypatch.setattr(download, "_PAUSE_SECONDS", 0.01)
    made = _Server(("127.0.0.1", 0), _Handler)
    made.asked = []
    threading.Thread(target=made.serve_forever, daemon=True).start()
    yield made
    made.shutdown()
    made.server_close()


@pytest.mark.parametrize("ranges", [True, False])
def test_broken_transfer_goes_on_where_it_stopped(server, tmp_path, ranges):
    server.breaks, server.ranges = 2, ranges
    sha256 = hashlib.sha256(CONTENT).hexdigest()

    path = fetch(Archive(server.url, bytes=len(CONTENT), sha256=sha256), tmp_path)

    assert path.read_bytes() == CONTENT
    half = len(CONTENT) // 2
    assert server.asked[:2] == [None, f"bytes={half}-"]
    assert [one.name for one in tmp_path.iterdir()] == ["corpus.zip"]


def test_next_call_goes_on_with_what_is_left_of_an_earlier_one(server, tmp_path):
    (tmp_path / "corpus.zip.partial").write_bytes(CONTENT[:1000])

    assert fetch(Archive(server.url), tmp_path).read_bytes() == CONTENT
    assert server.asked == ["bytes=1000-"]


def test_partial_file_that_is_whole_already_is_taken(server, tmp_path):
    (tmp_path / "corpus.zip.partial").write_bytes(CONTENT)

    assert fetch(Archive(server.url), tmp_path).read_bytes() == CONTENT


@pytest.mark.parametrize(
    "published", [{"sha256": "0" * 64}, {"md5": "0" * 32}, {"sha1": "0" * 40}, {"bytes": 12}]
)
def test_other_content_than_published_is_refused_and_deleted(server, tmp_path, published):
    with pytest.raises(DataError, match="is not what was published"):
        fetch(Archive(server.url, **published), tmp_path)

    assert not list(tmp_path.iterdir())


def test_archive_put_there_by_hand_is_checked_and_left(tmp_path):
    (tmp_path / "a.zip").write_bytes(b"other")

    with pytest.raises(DataError, match="is not what was published"):
        fetch(Archive("http://127.0.0.1:9/a.zip", sha1="0" * 40), tmp_path)

    assert (tmp_path / "a.zip").exists()


def test_missing_page_and_missing_network_are_said_with_the_place(server, tmp_path):
    with pytest.raises(DataError, match="HTTP 404"):
        fetch(Archive(server.url.replace("corpus", "nothing")), tmp_path)
    with pytest.raises(DataError, match=f"put it as a.zip into {tmp_path}"):
        fetch(Archive("http://127.0.0.1:9/a.zip"), tmp_path)


def zipped(path, members):
    with zipfile.ZipFile(path, "w") as archive:
        for name, content in members.items():
            archive.writestr(name, content)
    return path


def tarred(path, members, *, link=None, packed="gz"):
    mode: Any = f"w:{packed}"
    with tarfile.open(path, mode) as archive:
        for name, content in members.items():
            entry = tarfile.TarInfo(name)
            entry.size = len(content)
            archive.addfile(entry, io.BytesIO(content))
        if link:
            entry = tarfile.TarInfo("link")
            entry.type, entry.linkname = tarfile.SYMTYPE, link
            archive.addfile(entry)
    return path


@pytest.mark.parametrize("pack", [zipped, tarred])
def test_archive_is_unpacked_once(tmp_path, pack):
    path = pack(tmp_path / "a", {"x/one.wav": b"1", "two.wav": b"2"})
    out = tmp_path / "out"

    unpack(path, out)
    (out / "two.wav").unlink()
    unpack(path, out)

    assert (out / "x/one.wav").read_bytes() == b"1"
    assert not (out / "two.wav").exists()


@pytest.mark.parametrize("name", ["../evil.wav", "/evil.wav", "a/../../evil.wav", "..\\evil.wav"])
@pytest.mark.parametrize("pack", [zipped, tarred])
def test_member_that_leads_outside_is_refused_and_nothing_kept(tmp_path, pack, name):
    path = pack(tmp_path / "a", {"good.wav": b"1", name: b"2"})
    out = tmp_path / "out"

    with pytest.raises(DataError, match="leads outside"):
        unpack(path, out)

    assert not list(out.iterdir())
    assert not list(tmp_path.rglob("evil.wav"))


def test_links_are_passed_over(tmp_path):
    unpack(tarred(tmp_path / "a", {"good.wav": b"1"}, link="/etc/passwd"), tmp_path / "out")

    assert (tmp_path / "out/good.wav").exists()
    assert not (tmp_path / "out/link").is_symlink()


def test_damaged_archive_is_said(tmp_path):
    path = tarred(tmp_path / "a", {"good.wav": bytes(100_000)})
    path.write_bytes(path.read_bytes()[:60])

    with pytest.raises(DataError, match="is damaged"):
        unpack(path, tmp_path / "out")


@pytest.mark.parametrize("packed", ["gz", "bz2", "xz", ""])
def test_tar_is_unpacked_however_it_is_compressed(tmp_path, packed):
    path = tarred(tmp_path / "a", {"x/one.wav": CONTENT, "two.wav": b"2"}, packed=packed)

    unpack(path, tmp_path / "out")

    assert (tmp_path / "out/x/one.wav").read_bytes() == CONTENT
    assert (tmp_path / "out/two.wav").read_bytes() == b"2"


@pytest.mark.parametrize(("packed", "at"), [("gz", -8), ("bz2", -4), ("xz", -20)])
def test_what_is_checked_after_the_last_member_is_read(tmp_path, packed, at):
    path = tarred(tmp_path / f"a.{packed}", {"one.wav": CONTENT}, packed=packed)
    content = bytearray(path.read_bytes())
    content[at] ^= 1
    path.write_bytes(content)

    with pytest.raises(DataError, match=r"a\.\w+ is damaged \(.+\); delete it"):
        unpack(path, tmp_path / "out")

    assert not list((tmp_path / "out").iterdir())


@pytest.mark.parametrize("cut", [False, True])
@pytest.mark.parametrize("packed", ["zip", "gz", "bz2", "xz"])
def test_archive_damaged_anywhere_is_said_and_nothing_kept(tmp_path, packed, cut):
    members = {f"{number}.wav": CONTENT[:20_000] for number in range(3)}
    path, out = tmp_path / "a", tmp_path / "out"
    if packed == "zip":
        with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
            for name, content in members.items():
                archive.writestr(name, content)
    else:
        tarred(path, members, packed=packed)
    whole = path.read_bytes()

    for part in (0.1, 0.3, 0.5, 0.7, 0.9):
        at = int(part * len(whole))
        path.write_bytes(whole[:at] if cut else whole[:at] + bytes(8) + whole[at + 8 :])
        with pytest.raises(DataError, match=r"a is damaged \(.+\); delete it"):
            unpack(path, out)
        assert not list(out.iterdir())
