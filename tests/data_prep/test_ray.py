import importlib.util

import pytest

from audiosr.errors import UsageError
from tests.data_prep.conftest import contents


@pytest.mark.slow
def test_ray_writes_the_bytes_that_processes_write(mixed_corpus, prepared, monkeypatch):
    ray = pytest.importorskip("ray")
    monkeypatch.delenv("RAY_ADDRESS", raising=False)

    alone = prepared(mixed_corpus, "alone")
    spread = prepared(mixed_corpus, "spread", engine="ray", workers=2)

    assert contents(alone.root) == contents(spread.root)
    assert not ray.is_initialized()


@pytest.mark.skipif(importlib.util.find_spec("ray") is not None, reason="ray is installed")
def test_missing_ray_is_said_with_the_command_that_installs_it(mixed_corpus, prepared):
    with pytest.raises(UsageError, match=r"pip install 'audiosr-lightning\[ray\]'"):
        prepared(mixed_corpus, engine="ray")
