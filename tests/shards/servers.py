"""Which web server do the tests stream from?"""

import functools
import http.server
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path


class Server(http.server.ThreadingHTTPServer):
    """The server of the standard library, which knows no ranges; remembers what was asked."""

    def __init__(self, folder: Path) -> None:
        self.asked: list[str] = []
        self.failures: list[str] = []
        """Paths to answer with 503 once each."""
        self.broken: dict[str, int] = {}
        """Paths whose transfer breaks off after so many bytes, once each."""
        super().__init__(("127.0.0.1", 0), functools.partial(_Handler, directory=str(folder)))

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server_port}"

    def shards(self) -> list[str]:
        return [path for path in self.asked if path.endswith(".tar")]


class _Handler(http.server.SimpleHTTPRequestHandler):
    def do_GET(self) -> None:
        assert isinstance(self.server, Server)
        self.server.asked.append(self.path)
        if self.path in self.server.failures:
            self.server.failures.remove(self.path)
            self.send_error(503)
        elif (bytes_ := self.server.broken.pop(self.path, None)) is not None:
            content = Path(self.translate_path(self.path)).read_bytes()
            self.send_response(200)
            self.send_header("Content-Length", str(len(content)))
            self.end_headers()
            self.wfile.write(content[:bytes_])
            self.close_connection = True
        else:
            super().do_GET()

    def log_message(self, *arguments) -> None:
        pass


@contextmanager
def serving(folder: Path) -> Iterator[Server]:
    """A server of the files in `folder` on this machine."""
    with Server(folder) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield server
        server.shutdown()
