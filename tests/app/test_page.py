"""Who shows the page, what is left behind, and what is said where it cannot be shown."""

import sys
import tempfile
from urllib.request import urlopen

import pytest

from audiosr.app.page import open_page
from audiosr.errors import UsageError
from tests.tiny import save_tiny_model


def test_without_gradio_the_command_that_installs_it_is_named(monkeypatch):
    monkeypatch.setitem(sys.modules, "gradio", None)

    with pytest.raises(UsageError, match=r"pip install 'audiosr-lightning\[app\]'"):
        open_page(["compact"], "cpu").__enter__()


@pytest.mark.slow
def test_temporary_files_go_with_the_page_and_a_taken_port_is_named(tmp_path, monkeypatch):
    pytest.importorskip("gradio", reason="pip install 'audiosr-lightning[app]'")
    model = str(save_tiny_model(tmp_path / "tiny"))
    scratch = tmp_path / "scratch"
    scratch.mkdir()
    monkeypatch.setattr(tempfile, "tempdir", str(scratch))

    with open_page([model], "cpu") as address:
        port = int(address.rstrip("/").rpartition(":")[2])
        assert urlopen(address).status == 200
        assert len(list(scratch.glob("audiosr-app-*"))) == 1
        with pytest.raises(UsageError, match=f"port {port} is taken"):
            open_page([model], "cpu", port=port).__enter__()

    assert list(scratch.glob("audiosr-app-*")) == []
