"""Do the bytes of a shard come whole, from wherever they are, and nothing else with them?"""

import json
import subprocess

import pytest

from audiosr.errors import DataError, UsageError
from audiosr.shards import locations
from audiosr.shards.corpus import Corpus
from audiosr.shards.locations import expand_pattern, open_shard
from audiosr.shards.reader import evaluation_clips
from tests.shards.servers import serving


@pytest.fixture(autouse=True)
def _quick(monkeypatch):
    monkeypatch.setattr(locations.time, "sleep", lambda seconds: None)


@pytest.fixture
def server(shards):
    with serving(shards) as found:
        yield found


def keys(clips) -> list[str]:
    return [f"{clip.domain}/{clip.key}" for clip in clips]


def test_a_url_gives_the_clips_of_the_folder_and_each_shard_is_asked_for_once(server, shards):
    here, there = (list(evaluation_clips(root, "train")) for root in (shards, server.url))

    assert keys(here) == keys(there)
    assert all((a.wave == b.wave).all() for a, b in zip(here, there, strict=True))
    assert len(server.shards()) == len(set(server.shards())) == 7


def test_transfer_that_breaks_goes_on_where_it_broke_off(server, shards):
    server.failures = ["/index.json"] * 2 + ["/valid/music-000000.tar"] * 3
    server.broken = {"/valid/speech-000000.tar": 70_000}

    found = list(evaluation_clips(server.url, "valid"))

    assert keys(found) == keys(evaluation_clips(shards, "valid"))
    assert server.asked.count("/valid/speech-000000.tar") == 2


@pytest.mark.parametrize("size", [-1, 1, 1000, 1 << 20])
def test_bytes_of_a_broken_transfer_come_once_each(server, shards, size):
    path = "train/music-000000.tar"
    server.broken = {f"/{path}": 99_999}

    with open_shard(f"{server.url}/{path}") as file:
        content = b"".join(iter(lambda: file.read(size), b""))

    assert content == (shards / path).read_bytes()


def test_server_that_stays_away_ends_the_run_with_one_sentence(server):
    server.failures = ["/train/music-000000.tar"] * 4

    with pytest.raises(DataError, match=r"music-000000.tar cannot be fetched .*tried 4 times"):
        list(evaluation_clips(server.url, "train"))


@pytest.mark.parametrize("change", ["shorter", "gone", "none"])
def test_shard_that_is_not_what_the_index_says_is_counted_as_lost(server, shards, change):
    path = shards / "train" / "music-000000.tar"
    content = path.read_bytes()
    path.unlink()
    if change != "gone":
        path.write_bytes(content[: len(content) // 4] if change == "shorter" else b"no tar" * 999)

    clips = list(evaluation_clips(server.url, "train", max_bad_fraction=0.2))

    assert len(clips) == 10
    assert keys(clips) == keys(evaluation_clips(shards, "train", max_bad_fraction=0.2))


def test_shards_in_the_cache_are_not_fetched_again(server, tmp_path, monkeypatch):
    monkeypatch.setattr(subprocess, "Popen", None)  # webdataset would run curl

    first, again = (
        keys(evaluation_clips(server.url, "valid", cache=tmp_path / "kept")) for _ in range(2)
    )

    assert first == again
    assert len(server.shards()) == len(set(server.shards())) == 4
    # Shards of one name in two folders are two.
    other = keys(evaluation_clips(server.url, "train", cache=tmp_path / "kept"))
    assert len(other) == 12
    assert not list((tmp_path / "kept").glob("*.temp*"))


def test_missing_index_is_reported_with_the_url(server):
    with pytest.raises(DataError, match=rf"no shards at {server.url}/none: index.json not found"):
        Corpus.open(f"{server.url}/none")


def test_unknown_protocol_is_a_usage_error():
    with pytest.raises(UsageError, match="protocol nonsense is not known"):
        Corpus.open("nonsense://host/x")


@pytest.mark.parametrize(
    "root",
    ["pipe:touch {0}/canary", "file://{0}", "local://{0}", "simplecache::file://{0}", "file:{0}"],
)
def test_roots_that_run_or_reach_are_refused(shards, root):
    with pytest.raises(UsageError, match="neither a path nor a plain URL"):
        Corpus.open(root.format(shards))

    assert not (shards / "canary").exists()


def test_roots_are_joined_by_domain(server, shards):
    twice = Corpus.open([shards, server.url])

    assert twice.clips("train") == 24
    assert [len(places) for places in twice.domains("train").values()] == [4, 4, 6]
    assert len(list(evaluation_clips([shards, server.url], "valid"))) == 14


def test_index_names_are_checked_from_afar_too(server, shards):
    path = shards / "index.json"
    content = json.loads(path.read_text())
    content["splits"]["train"]["music"][0]["name"] = "../../etc/passwd"
    path.write_text(json.dumps(content))

    with pytest.raises(DataError, match="not a path below the folder"):
        Corpus.open(server.url)


def test_patterns_name_shards_by_braces_and_wild_cards(shards, monkeypatch):
    monkeypatch.chdir(shards)

    assert expand_pattern("http://h/a-{008..010}.tar") == [
        f"http://h/a-{n:03}.tar" for n in (8, 9, 10)
    ]
    assert expand_pattern("{train,valid}/music-*.tar") == [
        *(f"train/music-00000{n}.tar" for n in range(2)),
        *(f"valid/music-00000{n}.tar" for n in range(2)),
    ]
    with pytest.raises(UsageError, match="matches no shard"):
        expand_pattern("none-*.tar")
    with pytest.raises(UsageError, match="lists no files"):
        expand_pattern("https://host/*.tar")


@pytest.mark.parametrize(
    ("name", "split", "domain"),
    [
        ("train/speech-000123.tar", "train", "speech"),
        ("http://host/music/validation/00017.tar", "valid", "audio"),
        ("vctk/000123.tar", "train", "vctk"),
        ("data/fsd50k-dev-00001-of-00020.tar", "valid", "fsd50k"),
        ("data/test.tar", "test", "data"),
        ("data/train-000.tar", "train", "data"),
    ],
)
def test_name_of_a_shard_without_an_index_tells_split_and_domain(name, split, domain):
    corpus = Corpus.open(name)

    assert {s: [*domains] for s, domains in corpus.splits.items()} == {split: [domain]}
    assert list(Corpus.open(name, domain="mine").domains(split)) == ["mine"]
