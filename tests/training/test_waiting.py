"""Does a training step let the device work, and neither read a value back nor send a table?"""

from collections import Counter
from collections.abc import Callable
from typing import Any

import pytest
from torch.utils._python_dispatch import TorchDispatchMode

from audiosr.training.run import build_stage

Run = Callable[..., tuple[dict[str, float], dict[str, Any]]]

WAITS = ("_local_scalar_dense", "is_nonzero", "nonzero", "equal")
"""Operators that wait for a GPU: `.item()`, `float()`, `if tensor`, an index by truth values."""
SENDS = ("lift_fresh",)
"""`torch.tensor` of numbers: made on the processor and, on a GPU, sent there."""


class Operators(TorchDispatchMode):
    """Counts operators by name."""

    def __init__(self) -> None:
        super().__init__()
        self.counts: Counter[str] = Counter()

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        self.counts[func.overloadpacket.__name__] += 1
        return func(*args, **(kwargs or {}))


@pytest.mark.parametrize("stage", ["vae", "vocoder", "ldm"])
def test_a_step_waits_for_nothing(stage: str, run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    if stage == "ldm":
        run("vae", 2)
    seen: list[Counter[str]] = []

    def watched(cfg: Any) -> Any:
        module = build_stage(cfg)
        step = module.training_step

        def training_step(batch: dict[str, Any], batch_idx: int) -> Any:
            with Operators() as operators:
                result = step(batch, batch_idx)
            seen.append(operators.counts)
            return result

        vars(module)["training_step"] = training_step
        return module

    monkeypatch.setattr("audiosr.training.run.build_stage", watched)
    run(stage, 3, "trainer.log_every_n_steps=100")

    assert len(seen) == 3
    for counts in seen[2:]:  # Lightning makes a place for every logged value when it first comes
        assert sum(counts.values()) > 100
        assert {name: counts[name] for name in (*WAITS, *SENDS) if counts[name]} == {}
