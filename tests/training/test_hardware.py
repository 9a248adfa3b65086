"""Does a run fitted to other hardware learn the same, under the same names?"""

import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import lightning as L
import pytest
import torch
from omegaconf import OmegaConf

from audiosr.model import Model
from audiosr.training.hardware import Tuning, lay_out

Run = Callable[..., tuple[dict[str, float], dict[str, Any]]]
ROOT = Path(__file__).parents[2]


@pytest.fixture(autouse=True)
def matmul_precision() -> Iterator[None]:
    before = torch.get_float32_matmul_precision()
    yield
    torch.set_float32_matmul_precision(before)


def test_the_preset_for_a_gpu_takes_a_step(run: Run) -> None:
    _, objects = run("vae", 1, "trainer=gpu", "trainer.accelerator=cpu")

    assert objects["trainer"].global_step == 1
    assert objects["trainer"].precision == "bf16-mixed"
    assert torch.get_float32_matmul_precision() == "high"
    weight = objects["stage"].autoencoder.encoder.conv_in.weight
    assert weight.is_contiguous(memory_format=torch.channels_last)
    assert all(group["fused"] for o in objects["trainer"].optimizers for group in o.param_groups)


@pytest.mark.slow
def test_the_preset_for_slurm_takes_a_step_and_stays_out_of_its_way(
    arguments: Callable[..., list[str]], tmp_path: Path
) -> None:
    given = [a for a in arguments("vae", 1, f"run_dir={tmp_path / 'run'}") if a != "trainer=cpu"]
    task = {
        "SLURM_NTASKS": "1",
        "SLURM_NTASKS_PER_NODE": "1",
        "SLURM_NNODES": "1",
        "SLURM_JOB_ID": "1",
        "SLURM_JOB_NAME": "train",
        "SLURM_JOB_NODELIST": "localhost",
        "SLURM_PROCID": "0",
        "SLURM_LOCALID": "0",
        "SLURM_NODEID": "0",
    }
    result = subprocess.run(
        [sys.executable, "train.py", *given, "trainer=slurm", "trainer.accelerator=cpu"],
        cwd=ROOT,
        env=os.environ | task | {"OMP_NUM_THREADS": "1"},
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )

    assert result.returncode == 0, result.stdout + result.stderr
    assert (tmp_path / "run/model/autoencoder.safetensors").is_file()
    trainer = OmegaConf.load(tmp_path / "run/config.yaml").trainer
    assert (trainer.precision, trainer.channels_last) == ("bf16-mixed", True)


def test_the_layout_of_memory_can_change_when_a_run_goes_on() -> None:
    def train(*, change: bool) -> torch.Tensor:
        torch.manual_seed(0)
        network = torch.nn.Conv2d(4, 8, 3)
        optimiser = torch.optim.AdamW(network.parameters(), 0.1, fused=True)
        for step in range(4):
            if change and step == 2:
                lay_out(network)
                trainer: Any = SimpleNamespace(optimizers=[optimiser])
                Tuning(channels_last=True, compile=()).on_train_start(trainer, L.LightningModule())
            optimiser.zero_grad()
            network(torch.randn(2, 4, 8, 8)).square().mean().backward()
            optimiser.step()
        return network.weight.detach()

    changed, unbroken = train(change=True), train(change=False)

    assert changed.is_contiguous(memory_format=torch.channels_last)
    assert torch.allclose(changed, unbroken, atol=1e-5)


@pytest.mark.slow
def test_a_compiled_network_is_saved_under_its_own_names(run: Run) -> None:
    _, plain = run("vocoder", 1)
    _, compiled = run("vocoder", 1, "trainer.compile=[vocoder]")

    assert compiled["stage"].state_dict().keys() == plain["stage"].state_dict().keys()
    model = Model.load(compiled["folder"] / "model")
    assert model.vocoder is not None
    mel = torch.randn(1, 1, 16, 256)
    with torch.no_grad():
        assert torch.allclose(
            model.vocoder(mel), compiled["stage"].vocoder(mel), rtol=1e-3, atol=1e-4
        )
