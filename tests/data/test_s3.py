"""Do shards in a bucket train, list, resume and validate as those of a folder?"""

import multiprocessing
import uuid
from pathlib import Path

import pytest
import torch

from audiosr.degrade.twins import Degraded
from audiosr.errors import DataError
from audiosr.shards.corpus import Corpus
from tests.data.conftest import module

server = pytest.importorskip("moto.server", reason="moto serves the bucket")
s3fs = pytest.importorskip("s3fs", reason="s3:// needs it")


@pytest.fixture
def bucket(shards, monkeypatch):
    """`s3://BUCKET/shards`, a copy of the folder on a server of this machine."""
    here = server.ThreadedMotoServer("127.0.0.1", port=0)
    here.start()
    host, port = here.get_host_and_port()
    monkeypatch.setenv("AWS_ENDPOINT_URL", f"http://{host}:{port}")
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "test")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "test")
    monkeypatch.setenv("AWS_DEFAULT_REGION", "us-east-1")
    s3fs.S3FileSystem.clear_instance_cache()
    files = s3fs.S3FileSystem()
    name = f"corpus-{uuid.uuid4().hex}"  # servers of one process share their buckets
    files.mkdir(name)
    files.put(str(shards), f"{name}/shards", recursive=True)
    yield f"s3://{name}/shards"
    s3fs.S3FileSystem.clear_instance_cache()
    here.stop()


def waves(loader) -> torch.Tensor:
    return torch.cat([batch["waveform"] for batch in loader])


@pytest.mark.parametrize("workers", [0, pytest.param(2, marks=pytest.mark.slow)])
def test_bucket_trains_resumes_and_validates_as_the_folder(bucket, shards, workers):
    def run(root, **options) -> torch.Tensor:
        return waves(module(root, num_workers=workers, shuffle=5, **options).train_dataloader())

    whole = run(bucket)

    assert torch.equal(run(bucket, start_step=3), whole[12:])
    assert torch.equal(whole, run(f"{bucket}/{{train,valid}}/*.tar"))
    here, there = (module(root).val_dataloader() for root in (shards, bucket))
    assert torch.equal(waves(here), waves(there))


def test_bucket_is_kept_in_the_cache(bucket, tmp_path):
    options = {"cache": tmp_path / "kept", "shuffle": 5}

    first, again = (waves(module(bucket, **options).train_dataloader()) for _ in range(2))

    assert torch.equal(first, again)
    assert len(list(Path(tmp_path / "kept").glob("*.tar"))) == 7


def test_bucket_without_an_index_says_so(bucket):
    with pytest.raises(DataError, match=r"index\.json not found"):
        Corpus.open(f"{bucket}/none")


def kind_of_process(wave, generator) -> Degraded:
    """A twin that tells in what kind of process it was made."""
    return Degraded(wave, 4000.0, type(multiprocessing.current_process()).__name__)


@pytest.mark.slow
def test_workers_are_new_processes_and_not_forks_where_fsspec_has_its_thread(bucket, shards):
    def kinds(root) -> set[str]:
        data = module(root, num_workers=1, steps_per_epoch=1, degrade=kind_of_process)
        return {kind for batch in data.train_dataloader() for kind in batch["chain"]}

    assert kinds(bucket) == {"SpawnProcess"}
    assert kinds(shards) == {"Process"}  # the default, a fork
