"""Which loader do the tests of the data room read the test shards with?"""

from audiosr.data.datamodule import ShardDataModule
from tests.shards.conftest import make_shards, shards  # noqa: F401  fixtures


def module(root, **options) -> ShardDataModule:
    settings = {"batch_size": 4, "crop_seconds": 0.25, "steps_per_epoch": 6, "seed": 7} | options
    return ShardDataModule(str(root), **settings)
