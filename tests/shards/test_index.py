import json

import pytest

from audiosr.errors import DataError
from audiosr.shards.corpus import Corpus
from audiosr.shards.index import Index

pytestmark = pytest.mark.smoke


def test_missing_shards_are_reported_with_the_commands_that_make_them(tmp_path):
    with pytest.raises(DataError) as raised:
        Index.load(tmp_path / "none")

    assert str(raised.value) == (
        f"no shards at {tmp_path / 'none'}: run `make demo` or "
        f"`python -m data_prep folder --source DIR --out {tmp_path / 'none'}`"
    )


def test_saved_index_comes_back_equal(shards):
    index = Index.load(shards)
    index.save()

    assert Index.load(shards) == index
    assert index.clips("train") == 12
    assert index.clips("test") == 0
    assert list(Corpus.of(index).domains("train")) == ["effects", "music", "speech"]


def test_split_without_clips_is_reported(shards):
    with pytest.raises(DataError, match="no clips for split test; it holds train, valid"):
        Corpus.open(shards).domains("test")


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"schema": 99}, "schema 99"),
        ({"splits": {"train": {"speech": [{"name": "a.tar"}]}}}, "not an index"),
        ({"splits": 3}, "not an index"),
    ],
)
def test_index_that_is_not_ours_is_refused(shards, change, said):
    path = shards / "index.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | change))

    with pytest.raises(DataError, match=said):
        Index.load(shards)


@pytest.mark.parametrize(
    "name",
    [
        "/etc/passwd",
        "../other.tar",
        "train/../../other.tar",
        "pipe:touch canary",
        "file:///etc/passwd",
    ],
)
def test_shard_outside_the_folder_is_refused(shards, name):
    path = shards / "index.json"
    content = json.loads(path.read_text())
    content["splits"]["train"]["speech"][0]["name"] = name
    path.write_text(json.dumps(content))

    with pytest.raises(DataError, match="not a path below the folder"):
        Index.load(shards)


def test_half_written_index_is_reported(shards):
    path = shards / "index.json"
    path.write_text(path.read_text()[:100])

    with pytest.raises(DataError, match="cannot be read"):
        Index.load(shards)
