"""A released checkpoint of the smallest widths, filled by the golden recipe."""

from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from torch import Tensor

from audiosr.checkpoints import layout as released
from tests.golden import recipe

SPECS = {
    "denoiser": {
        "_target_": released.CLASSES["denoiser"],
        "channels": 32,
        "multipliers": [1, 1],
        "blocks": 1,
        "attention_rates": [2],
    },
    "autoencoder": {
        "_target_": released.CLASSES["autoencoder"],
        "channels": 32,
        "multipliers": [1, 1, 1, 1],
        "blocks": 1,
    },
    "vocoder": {"_target_": released.CLASSES["vocoder"], "channels": 32, "kernels": [3, 7]},
}
LAYOUT = released.Layout(SPECS, {name: released.own_shapes(spec) for name, spec in SPECS.items()})

State = dict[str, Tensor]


@pytest.fixture
def state() -> State:
    """Every kind of tensor that a released file holds; the average is not that of the weights."""

    def golden(name: str, shape: tuple[int, ...]) -> Tensor:
        return torch.from_numpy(recipe.tensor(name, shape))

    weights = LAYOUT.weights
    return {
        **released.schedule_tables(),
        "logvar": torch.full((1000,), 0.25),
        "scale_factor": torch.tensor(recipe.SCALE_FACTOR),
        **{name: golden(name, shape) for name, shape in weights.items()},
        **{ema: golden(ema, weights[name]) for ema, name in LAYOUT.averages.items()},
        "model_ema.decay": torch.tensor(0.999),
        "model_ema.num_updates": torch.tensor(4711, dtype=torch.int32),
        **{copy: golden(copy, weights[name]) for copy, name in LAYOUT.copies.items()},
        "clap.model.text.position_ids": torch.arange(7)[None],
        "clap.model.weight": torch.ones(3, 5).half(),
    }


@pytest.fixture
def write(tmp_path: Path) -> Callable[..., Path]:
    """Maker of a checkpoint file from a state dict."""

    def make(state: object, name: str = "pytorch_model.bin") -> Path:
        path = tmp_path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        torch.save({"state_dict": state}, path)
        return path

    return make
