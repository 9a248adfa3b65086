"""Is the average of the weights the one that its formula says, and is training left alone by it?"""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import lightning as L
import pytest
import torch
from torch import Tensor, nn
from torch.utils.data import DataLoader

from audiosr.training.ema import EMA


class Line(L.LightningModule):
    """A stage as small as can be: one layer that learns, one that does not, a discriminator."""

    def __init__(self) -> None:
        super().__init__()
        self.layer = nn.Linear(2, 1)
        self.frozen = nn.Linear(2, 1).requires_grad_(False)
        self.discriminator = nn.Linear(1, 1)
        self.norm = nn.BatchNorm1d(2)
        self.history: list[Tensor] = []
        self.validated: list[Tensor] = []

    def training_step(self, batch: Tensor, batch_idx: int) -> Tensor:
        return self.discriminator(self.layer(self.norm(batch))).square().mean()

    def validation_step(self, batch: Tensor, batch_idx: int) -> None:
        self.validated.append(self.layer.weight.detach().clone())

    def on_train_batch_end(self, outputs: Any, batch: Any, batch_idx: int) -> None:
        self.history.append(self.layer.weight.detach().clone())

    def configure_optimizers(self) -> torch.optim.Optimizer:
        return torch.optim.SGD(self.parameters(), 0.1)


Fit = Callable[..., tuple[Line, EMA, L.Trainer]]


@pytest.fixture
def fit(tmp_path: Path) -> Fit:
    """Trains a `Line` for some steps; returns it with its average and the trainer."""

    def call(
        decay: float, steps: int, *, checkpoint: Path | None = None, **options: Any
    ) -> tuple[Line, EMA, L.Trainer]:
        module, ema = Line(), EMA(decay)
        settings: dict[str, Any] = {"limit_val_batches": 0} | options
        trainer = L.Trainer(
            accelerator="cpu",
            max_steps=steps,
            callbacks=[ema],
            logger=False,
            default_root_dir=tmp_path,
            enable_checkpointing=False,
            enable_progress_bar=False,
            enable_model_summary=False,
            num_sanity_val_steps=0,
            **settings,
        )
        clips: Any = torch.randn(64, 2)  # a sequence, though torch's types call it no dataset
        data = DataLoader(clips, batch_size=4)
        trainer.fit(module, data, data, ckpt_path=checkpoint, weights_only=False)
        return module, ema, trainer

    return call


def expected(history: list[Tensor], decay: float) -> Tensor:
    """The average after all of `history`, by the release's formula."""
    average = history[0].double()
    for n, weight in enumerate(history, start=1):
        d = min(decay, (1 + n) / (10 + n))
        average = d * average + (1 - d) * weight.double()
    return average.float()


@pytest.mark.parametrize("decay", [0.3, 0.9999])
def test_the_decay_warms_up_to_its_value(fit: Fit, decay: float) -> None:
    module, ema, _ = fit(decay, 12)

    assert ema.updates == len(module.history) == 12
    torch.testing.assert_close(ema.average["layer.weight"], expected(module.history, decay))
    other = expected(module.history, 0.3 if decay > 0.5 else 0.9999)
    assert not torch.allclose(ema.average["layer.weight"], other, atol=1e-6)


def test_a_decay_of_zero_follows_the_weights(fit: Fit) -> None:
    module, ema, _ = fit(0.0, 3)

    assert torch.equal(ema.average["layer.weight"], module.layer.weight)


def test_accumulated_batches_count_once(fit: Fit) -> None:
    module, ema, _ = fit(0.9999, 4, accumulate_grad_batches=3)

    assert len(module.history) == 12
    assert ema.updates == 4
    torch.testing.assert_close(ema.average["layer.weight"], expected(module.history[2::3], 0.9999))


def test_only_what_learns_is_averaged(fit: Fit) -> None:
    _, ema, _ = fit(0.9, 1)

    assert set(ema.average) == {"layer.weight", "layer.bias", "norm.weight", "norm.bias"}


def test_the_average_goes_in_and_comes_out_bit_for_bit(fit: Fit) -> None:
    module, ema, _ = fit(0.9999, 5)
    trained = {name: value.clone() for name, value in module.state_dict().items()}

    ema.swap_in(module)
    inside = {name: value.clone() for name, value in module.state_dict().items()}
    ema.swap_in(module)  # a second time changes nothing
    ema.swap_out(module)

    for name, value in ema.average.items():
        assert torch.equal(inside[name], value)
        assert not torch.equal(inside[name], trained[name])
    for name in trained.keys() - ema.average.keys():
        assert torch.equal(inside[name], trained[name])
    assert all(torch.equal(value, trained[name]) for name, value in module.state_dict().items())
    ema.swap_out(module)
    assert all(torch.equal(value, trained[name]) for name, value in module.state_dict().items())


def test_the_average_is_a_copy_of_its_own(fit: Fit) -> None:
    module, ema, _ = fit(0.9999, 2)
    before = {name: value.clone() for name, value in ema.average.items()}

    ema.swap_in(module)
    with torch.no_grad():
        module.layer.weight.add_(1)
    ema.swap_out(module)

    assert all(torch.equal(value, before[name]) for name, value in ema.average.items())


def test_without_an_update_the_weights_stay() -> None:
    module, ema = Line(), EMA(0.9)
    weight = module.layer.weight.detach().clone()

    ema.swap_in(module)

    assert torch.equal(module.layer.weight, weight)


def test_validation_sees_the_average_and_training_the_weights(fit: Fit) -> None:
    module, _, _ = fit(0.9999, 6, val_check_interval=3, limit_val_batches=1)

    assert len(module.validated) == 2
    torch.testing.assert_close(module.validated[0], expected(module.history[:3], 0.9999))
    torch.testing.assert_close(module.validated[1], expected(module.history, 0.9999))


def test_validating_changes_no_weight(fit: Fit) -> None:
    torch.manual_seed(1)
    without, _, _ = fit(0.9999, 6)
    torch.manual_seed(1)
    with_validation, _, _ = fit(0.9999, 6, val_check_interval=2, limit_val_batches=1)

    assert torch.equal(with_validation.layer.weight, without.layer.weight)


def test_a_checkpoint_keeps_the_average_and_the_count(fit: Fit, tmp_path: Path) -> None:
    _, ema, trainer = fit(0.9999, 5)
    trainer.save_checkpoint(tmp_path / "five.ckpt")

    kept = torch.load(tmp_path / "five.ckpt", weights_only=False)["callbacks"]["EMA"]
    other = EMA(0.9999)
    other.load_state_dict(kept)

    assert other.updates == ema.updates == 5
    assert other.average.keys() == ema.average.keys()
    assert all(torch.equal(other.average[name], value) for name, value in ema.average.items())


@pytest.mark.filterwarnings("ignore:You're resuming from a checkpoint that ended before")
def test_a_resumed_average_goes_on_where_it_was(fit: Fit, tmp_path: Path) -> None:
    _, ema, trainer = fit(0.9999, 5)
    trainer.save_checkpoint(tmp_path / "five.ckpt")

    module, resumed, _ = fit(0.9999, 8, checkpoint=tmp_path / "five.ckpt")

    assert (len(module.history), resumed.updates) == (3, 8)
    average = ema.average["layer.weight"]
    for n, weight in enumerate(module.history, start=6):
        average = average + (1 - (1 + n) / (10 + n)) * (weight - average)
    torch.testing.assert_close(resumed.average["layer.weight"], average)


@pytest.mark.parametrize("decay", [-0.1, 1.0, 999])
def test_a_decay_that_averages_nothing_is_refused(fit: Fit, decay: float) -> None:
    with pytest.raises(ValueError, match="outside"):
        fit(decay, 1)
