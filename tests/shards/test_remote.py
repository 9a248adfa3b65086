"""Does training from a URL see what training from the folder sees? Does the cache keep house?"""

import functools
import hashlib
import http.server
import json
import threading
from collections.abc import Iterator
from multiprocessing import get_context
from pathlib import Path

import pytest
import torch

from audiosr.data.batches import TrainBatches
from audiosr.data.datamodule import ShardDataModule
from audiosr.errors import DataError, UsageError
from audiosr.shards import remote
from audiosr.shards.cache import Cache
from audiosr.shards.corpus import Corpus
from audiosr.shards.reader import Reader, evaluation_clips
from audiosr.shards.remote import Missing


class Server(http.server.ThreadingHTTPServer):
    """The server of the standard library, which knows no ranges; remembers what was asked."""

    def __init__(self, folder: Path) -> None:
        self.asked: list[str] = []
        self.failures: list[str] = []
        """Paths to answer with 503 once each."""
        super().__init__(("127.0.0.1", 0), functools.partial(Handler, directory=str(folder)))

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server_port}"

    def shards(self) -> list[str]:
        return [path for path in self.asked if path.endswith(".tar")]


class Handler(http.server.SimpleHTTPRequestHandler):
    def do_GET(self) -> None:
        assert isinstance(self.server, Server)
        self.server.asked.append(self.path)
        if self.path in self.server.failures:
            self.server.failures.remove(self.path)
            self.send_error(503)
        else:
            super().do_GET()

    def log_message(self, *arguments) -> None:
        pass


@pytest.fixture
def server(shards: Path) -> Iterator[Server]:
    with Server(shards) as found:
        threading.Thread(target=found.serve_forever, daemon=True).start()
        yield found
        found.shutdown()


@pytest.fixture(autouse=True)
def _quick(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(remote.time, "sleep", lambda seconds: None)


def module(root, cache: Path, **options) -> ShardDataModule:
    settings = {"batch_size": 4, "crop_seconds": 0.25, "steps_per_epoch": 12, "seed": 7} | options
    return ShardDataModule(root, cache=cache, **settings)


def waves(loader) -> torch.Tensor:
    return torch.cat([batch["waveform"] for batch in loader])


def test_a_url_gives_the_batches_of_the_folder_and_fetches_each_shard_once(
    server, shards, tmp_path
):
    here = module(shards, tmp_path / "cache").train_dataloader()
    there = module(server.url, tmp_path / "cache", open_shards=100).train_dataloader()

    assert torch.equal(waves(here), waves(there))
    assert len(server.shards()) == len(set(server.shards())) == 7


@pytest.mark.slow
@pytest.mark.parametrize("open_shards", [1, 4, None])
def test_resume_and_workers_change_nothing_where_few_shards_are_open(server, tmp_path, open_shards):
    def run(name: str, **options) -> torch.Tensor:
        return waves(
            module(server.url, tmp_path / name, open_shards=open_shards, **options)
            .train_dataloader()
        )  # fmt: skip

    whole = run("a")

    assert torch.equal(run("b", start_step=5), whole[20:])
    assert torch.equal(run("c", num_workers=2), whole)


def test_few_open_shards_are_all_drawn_in_time(server, tmp_path):
    corpus = Corpus.open(server.url, cache=tmp_path / "cache")
    dataset = TrainBatches(
        Reader(corpus, "train"), batch_size=4, crop_samples=480, seed=1, open_shards=3
    )

    keys = {key for step in range(30) for key in dataset[step]["key"]}  # pyright: ignore

    assert len(keys) == 12


def test_cache_stays_below_its_limit_and_keeps_what_is_in_use(shards, server, tmp_path):
    corpus = Corpus.open(server.url)
    places = [p for places in corpus.domains("train").values() for p in places]
    size = max(place.shard.bytes for place in places)
    cache = Cache(tmp_path / "cache", limit_bytes=3 * size, handles=1)
    other = Cache(tmp_path / "cache", limit_bytes=3 * size, handles=1)

    def get(store: Cache, number: int) -> Path:
        shard = places[number].shard
        return store.path(places[number].location, shard.bytes, shard.sha256)

    used = get(cache, 0)
    for number in range(1, len(places)):
        last = get(other, number)

    kept = list((tmp_path / "cache").glob("??/*.tar"))
    assert {used, last} <= set(kept)
    assert sum(path.stat().st_size for path in kept) <= 3 * size
    assert not list((tmp_path / "cache").rglob("*.partial"))


def test_shards_are_fetched_ahead_in_the_background(server, tmp_path):
    corpus = Corpus.open(server.url, cache=tmp_path / "cache")
    places = corpus.domains("train")["speech"]

    corpus.want(places)
    for _ in range(500):
        if len(found := list((tmp_path / "cache").glob("??/*.tar"))) == len(places):
            break
        threading.Event().wait(0.02)

    assert {path.stem for path in found} == {place.shard.sha256 for place in places}


def fetch(folder: Path, location: str, size: int, sha256: str) -> None:
    Cache(folder, limit_bytes=1e9).path(location, size, sha256)


def test_processes_that_want_one_shard_fetch_it_once(server, tmp_path):
    place = Corpus.open(server.url).domains("train")["music"][0]
    shard = (place.location, place.shard.bytes, place.shard.sha256)
    context = get_context("fork")
    processes = [context.Process(target=fetch, args=(tmp_path / "cache", *shard)) for _ in range(4)]

    for process in processes:
        process.start()
    for process in processes:
        process.join(20)

    assert [process.exitcode for process in processes] == [0] * 4
    assert len(server.shards()) == 1


def test_passing_failure_of_the_server_is_tried_again(server, tmp_path):
    server.failures = ["/index.json"] * 2 + ["/valid/music-000000.tar"] * 3

    assert len(list(evaluation_clips(server.url, "valid", cache=tmp_path))) == 7


def test_server_that_stays_away_ends_the_run_with_one_sentence(server, tmp_path):
    server.failures = ["/train/music-000000.tar"] * 4

    with pytest.raises(DataError, match=r"music-000000.tar cannot be fetched .*tried 4 times"):
        list(evaluation_clips(server.url, "train", cache=tmp_path))


@pytest.mark.parametrize("change", ["shorter", "longer", "other", "gone"])
def test_shard_that_is_not_what_the_index_says_is_counted_as_lost(server, shards, tmp_path, change):
    path = shards / "train" / "music-000000.tar"
    content = path.read_bytes()
    if change == "gone":
        path.unlink()
    else:
        changed = {"shorter": content[:-1], "longer": content + b"0", "other": content[:-1] + b"1"}
        path.write_bytes(changed[change])

    clips = list(evaluation_clips(server.url, "train", max_bad_fraction=0.2, cache=tmp_path))

    assert len(clips) == 10
    assert not list(tmp_path.glob("??/*.partial"))


def test_cache_too_small_for_the_open_shards_is_refused(server, tmp_path):
    with pytest.raises(UsageError, match=r"data.cache_gb=1e-05 cannot hold the 2 shards"):
        module(server.url, tmp_path, cache_gb=1e-5, open_shards=2).train_dataloader()


def test_missing_index_is_reported_with_the_url(server, tmp_path):
    with pytest.raises(DataError, match=rf"no shards at {server.url}/none: index.json not found"):
        module(f"{server.url}/none", tmp_path).setup("fit")


def test_unknown_protocol_is_a_usage_error(tmp_path):
    with pytest.raises(UsageError, match="protocol nonsense is not known"):
        module("nonsense://host/x", tmp_path).setup("fit")


@pytest.mark.parametrize(
    ("root", "words"),
    [
        ("pipe:touch {canary}; cat {{}}", "would run a command: set data.allow_pipe=true"),
        ("file://{shards}", "would read any file of this machine"),
        ("simplecache::file://{shards}", "chains several protocols"),
    ],
)
def test_roots_that_run_or_reach_are_refused(shards, tmp_path, root, words):
    canary = tmp_path / "canary"

    with pytest.raises(UsageError, match=words):
        module(root.format(canary=canary, shards=shards), tmp_path).setup("fit")

    assert not canary.exists()


@pytest.mark.parametrize("root", ["pipe:cat {shards}/{{}}", "file://{shards}"])
def test_pipes_and_file_urls_work_where_they_are_allowed(shards, tmp_path, root):
    data = module(root.format(shards=shards), tmp_path, allow_pipe=True, open_shards=99)

    assert torch.equal(
        waves(data.train_dataloader()), waves(module(shards, tmp_path).train_dataloader())
    )


def test_command_that_fails_stalls_or_does_not_end_is_an_error(tmp_path, monkeypatch):
    monkeypatch.setattr(remote, "STALL_SECONDS", 0.2)

    with pytest.raises(DataError, match="exit code 3"):
        remote.download("pipe:exit 3", tmp_path / "out", 100)
    with pytest.raises(DataError, match="printed nothing"):
        remote.download("pipe:sleep 60", tmp_path / "out", 100)
    with pytest.raises(Missing, match="larger"):
        remote.download("pipe:cat /dev/zero", tmp_path / "out", 100)


def test_hash_in_a_hostile_index_is_no_path(tmp_path):
    with pytest.raises(Missing, match="no SHA-256"):
        Cache(tmp_path / "cache", limit_bytes=1).path("pipe:true", 0, "../../outside")


def test_roots_are_joined_by_domain(server, shards, tmp_path):
    twice = Corpus.open([shards, server.url], cache=tmp_path)

    assert twice.clips("train") == 24
    assert [len(places) for places in twice.domains("train").values()] == [4, 4, 6]
    clips = list(evaluation_clips([shards, server.url], "valid", cache=tmp_path))
    assert len(clips) == 14


def test_index_names_are_checked_from_afar_too(server, shards, tmp_path):
    path = shards / "index.json"
    content = json.loads(path.read_text())
    content["splits"]["train"]["music"][0]["name"] = "../../etc/passwd"
    path.write_text(json.dumps(content))

    with pytest.raises(DataError, match="not a path below the folder"):
        Corpus.open(server.url, cache=tmp_path)


def test_cached_name_is_the_hash_of_the_content(server, tmp_path):
    list(evaluation_clips(server.url, "valid", cache=tmp_path))

    for path in tmp_path.glob("??/*.tar"):
        assert path.stem == hashlib.sha256(path.read_bytes()).hexdigest()
