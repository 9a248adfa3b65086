"""How do the tests run two ranks? As `torchrun` would, but out of a process that knows it all."""

import os
import socket
import sys
from multiprocessing import get_context
from pathlib import Path

from audiosr import cli

ON_TWO = ("trainer=ddp", "trainer.accelerator=cpu", "trainer.precision=32-true", "panels.clips=0")

# Starting Python and importing torch takes longer than the training of a test does.
_server = get_context("forkserver")
_server.set_forkserver_preload(
    [
        "audiosr.checkpoints.hub",
        "audiosr.data.datamodule",
        "audiosr.degrade.paper",
        "audiosr.networks.discriminators",
        "audiosr.networks.vocos",
        "audiosr.training.checkpoints",
        "audiosr.training.guard",
        "audiosr.training.ldm",
        "audiosr.training.resolve",
        "audiosr.training.resume",
        "audiosr.training.run",
        "audiosr.training.show",
        "audiosr.training.vae",
        "audiosr.training.vocoder",
        "torch.distributed.rendezvous",
    ]
)


def on_two_ranks(
    arguments: list[str], *more: str, folder: Path, **environment: str
) -> tuple[list[int | None], str]:
    """Trains in two processes; their exit codes, and all that they have printed.

    Args:
        arguments: the command line of a run of one process.
        more: added to it.
        folder: where what they print is kept.
        environment: variables of the two.
    """
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    given = [*(a for a in arguments if a != "trainer=cpu"), *ON_TWO, *more]
    said = folder / "said"
    said.unlink(missing_ok=True)
    ranks = [
        _server.Process(target=_train, args=(rank, port, given, str(said), environment))
        for rank in range(2)
    ]
    for process in ranks:
        process.start()
    for process in ranks:
        process.join(600)
        process.kill()
        process.join()
    return [process.exitcode for process in ranks], said.read_text()


def train_on_two(arguments: list[str], *more: str, folder: Path, **environment: str) -> None:
    """Trains in two processes, which have to end well."""
    codes, said = on_two_ranks(arguments, *more, folder=folder, **environment)
    assert codes == [0, 0], said


def _train(
    rank: int, port: int, arguments: list[str], said: str, environment: dict[str, str]
) -> None:
    place = {"RANK": str(rank), "LOCAL_RANK": str(rank), "WORLD_SIZE": "2"}
    meeting = {"MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(port)}
    os.environ |= place | meeting | {"TORCHELASTIC_RUN_ID": "tests"} | environment
    with open(said, "a") as file:
        for stream in (1, 2):
            os.dup2(file.fileno(), stream)
    sys.exit(cli.main(["train", *arguments]))
