"""Which folder does a name lead to, with a hub, without one, and with files of one's own?"""

import base64
import hashlib
import json
import os
import subprocess
import sys
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from urllib.parse import unquote

import pytest

import audiosr
from audiosr.checkpoints.hub import resolve
from audiosr.errors import AudioSRError
from tests.checkpoints.conftest import State
from tests.tiny import save_tiny_model

REVISION = "0" * 40


class Hub(BaseHTTPRequestHandler):
    """As much of the hub's protocol as fetching and pushing files needs."""

    files: dict[str, bytes]
    """`owner/name/path` to content."""
    tags: dict[str, str]
    """Tags that are not the content's hash."""
    address: str
    """Where it is served."""

    def do_HEAD(self) -> None:
        self._file(body=False)

    def do_GET(self) -> None:
        if not self.path.startswith("/api/"):
            return self._file(body=True)
        if not self.path.startswith("/api/models/"):
            return self._answer({"name": "someone"})
        repo = "/".join(self.path.split("/")[3:5]).partition("?")[0]
        names = [n.removeprefix(f"{repo}/") for n in self.files if n.startswith(f"{repo}/")]
        if not names:
            return self._answer({}, 404, {"X-Error-Code": "RepoNotFound"})
        if "/tree/" in self.path:
            return self._answer(
                [{"type": "file", "path": n, "size": 1, "oid": REVISION} for n in names]
            )
        siblings = [{"rfilename": name} for name in names]
        return self._answer({"id": repo, "sha": REVISION, "siblings": siblings})

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers["Content-Length"]))
        if self.path == "/api/repos/create":
            asked = json.loads(body)
            address = f"{self.address}/{asked['organization']}/{asked['name']}"
            return self._answer({"url": address})
        if "/preupload/" in self.path:
            files = [
                {"path": f["path"], "uploadMode": "regular", "shouldIgnore": False}
                for f in json.loads(body)["files"]
            ]
            return self._answer({"files": files})
        if self.path.startswith("/api/validate-yaml"):
            return self._answer({"errors": [], "warnings": []})
        repo = "/".join(self.path.split("/")[3:5])
        for line in map(json.loads, body.splitlines()):
            if line["key"] == "file":
                content = base64.b64decode(line["value"]["content"])
                self.files[f"{repo}/{line['value']['path']}"] = content
        return self._answer(
            {
                "commitUrl": f"{self.address}/{repo}/commit/{REVISION}",
                "commitOid": REVISION,
                "hookOutput": "",
            }
        )

    def _file(self, *, body: bool) -> None:
        owner, name, _, _, path = unquote(self.path).lstrip("/").split("/", 4)
        content = self.files.get(key := f"{owner}/{name}/{path}")
        if content is None:
            return self._answer({}, 404, {"X-Error-Code": "EntryNotFound"})
        tag = self.tags.get(key, hashlib.sha256(content).hexdigest())
        self.send_response(200)
        self.send_header("ETag", f'"{tag}"')
        self.send_header("X-Repo-Commit", REVISION)
        self.send_header("Content-Length", str(len(content)))
        self.end_headers()
        if body:
            self.wfile.write(content)

    def _answer(self, value: object, code: int = 200, headers: dict | None = None) -> None:
        body = json.dumps(value).encode()
        self.send_response(code)
        for key, text in (headers or {}).items():
            self.send_header(key, text)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, format: str, *args: object) -> None:
        pass


@pytest.fixture
def hub() -> Iterator[type[Hub]]:
    """A hub of our own on this machine; `hub.address` is where."""

    class OwnHub(Hub):
        files, tags = {}, {}

    server = ThreadingHTTPServer(("127.0.0.1", 0), OwnHub)
    OwnHub.address = f"http://127.0.0.1:{server.server_port}"
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield OwnHub
    server.shutdown()
    server.server_close()


@pytest.fixture
def elsewhere(tmp_path: Path):
    """Run a line of Python in a process with caches of its own; returns the finished process."""

    def run(line: str, address: str | None = None) -> subprocess.CompletedProcess[str]:
        environment = {
            **{key: value for key, value in os.environ.items() if key != "HF_ENDPOINT"},
            "AUDIOSR_CACHE": str(tmp_path / "cache"),
            "HF_HOME": str(tmp_path / "hf"),
            "HF_HUB_OFFLINE": "0" if address else "1",
            "HF_HUB_DISABLE_XET": "1",
            "HF_TOKEN": "hf_none",
            **({"HF_ENDPOINT": address} if address else {}),
        }
        code = "from audiosr.checkpoints.hub import *; from audiosr.errors import report\n"
        code += f"raise SystemExit(report(lambda: {line}))"
        return subprocess.run(
            [sys.executable, "-c", code], env=environment, capture_output=True, text=True
        )

    return run


@pytest.fixture
def cache(tmp_path: Path, monkeypatch) -> Path:
    monkeypatch.setenv("AUDIOSR_CACHE", str(tmp_path / "cache"))
    return tmp_path / "cache"


def test_folders_come_back_and_runs_give_their_model(tmp_path: Path, cache: Path) -> None:
    model = save_tiny_model(tmp_path / "run" / "model")

    assert resolve(model) == model
    assert resolve(str(tmp_path / "run")) == model
    assert resolve(tmp_path / "nowhere") == tmp_path / "nowhere"
    assert resolve("nowhere") == Path("nowhere")
    assert not cache.exists()


def test_a_checkpoint_is_converted_once_and_again_when_it_changes(
    state: State, write, cache: Path, tmp_path: Path
) -> None:
    path = write(state, "mine/pytorch_model.bin")

    folder = resolve(path)
    made = (folder / "model.yaml").stat().st_mtime_ns
    assert folder.parent == cache
    assert resolve(path.parent) == folder
    assert (folder / "model.yaml").stat().st_mtime_ns == made
    assert audiosr.load(path).model.latent.null_value == pytest.approx(-11.4981)

    os.utime(path, ns=(1, 1))
    assert resolve(path) != folder


def test_a_released_name_takes_the_file_put_into_the_cache(state: State, write, cache) -> None:
    path = write(state, "cache/audiosr_basic.bin")

    assert resolve("audiosr_basic") == cache / "audiosr_basic"
    path.unlink()
    assert resolve("audiosr_basic") == cache / "audiosr_basic"


def test_a_released_model_is_fetched_checked_and_kept(state: State, write, hub, elsewhere) -> None:
    name = "haoheliu/audiosr_speech/pytorch_model.bin"
    hub.files[name] = write(state).read_bytes()
    line = "print(resolve('audiosr_speech'))"

    hub.tags[name] = "a" * 64
    done = elsewhere(line, hub.address)
    assert done.returncode == 1
    assert "has the hash" in done.stderr
    assert "Traceback" not in done.stderr

    del hub.tags[name]
    done = elsewhere(line, hub.address)
    assert done.returncode == 0, done.stderr
    folder = Path(done.stdout.strip())
    assert (folder / "model.yaml").is_file()
    assert Path(elsewhere(line).stdout.strip()) == folder


@pytest.mark.parametrize("name", ["audiosr_basic", "someone/model"])
def test_offline_one_line_says_what_to_download_and_where_to_put_it(
    elsewhere, tmp_path: Path, name: str
) -> None:
    done = elsewhere(f"resolve({name!r})")

    assert done.returncode == 1
    assert done.stderr.startswith("error: ")
    assert done.stderr.count("\n") == 1
    assert "https://huggingface.co/" in done.stderr
    if name == "audiosr_basic":
        assert "haoheliu/audiosr_basic/resolve/main/pytorch_model.bin" in done.stderr
        assert str(tmp_path / "cache" / "audiosr_basic.bin") in done.stderr


def test_a_model_folder_goes_to_the_hub_and_comes_back(hub, elsewhere, tmp_path: Path) -> None:
    folder = save_tiny_model(tmp_path / "model")
    (folder / "notes.txt").write_text("mine")

    done = elsewhere(f"print(push({str(folder)!r}, 'someone/model'))", hub.address)
    assert done.returncode == 0, done.stderr
    assert set(hub.files) == {
        f"someone/model/{p.name}" for p in folder.iterdir() if p.name != "notes.txt"
    }

    done = elsewhere("print(resolve('someone/model'))", hub.address)
    assert done.returncode == 0, done.stderr
    fetched = Path(done.stdout.strip())
    for file in fetched.iterdir():
        assert file.read_bytes() == (folder / file.name).read_bytes()


def test_only_model_folders_are_pushed(tmp_path: Path) -> None:
    from audiosr.checkpoints.hub import push

    with pytest.raises(AudioSRError, match="no model folder"):
        push(tmp_path, "someone/model")
