"""Where does the time of a training step go, and how far is it from its networks' own work?

The step is that of `python train.py` with the callbacks and loggers of its configuration, on shards
of noise that the benchmark writes. Between two steps the same networks do the bare work on the same
tensors: forward, losses, backward and optimisers as a plain loop has them. Discriminators take part
from the first step. Each instant counts for one part: `encode` is log-mels and the frozen encoder,
`forward` the networks that learn and their losses; `logging` is callbacks and `self.log`, `loop`
what is left to Lightning. Without worker processes (the default) `data` and
`degrade` hold all of reading; with some, `data` is the wait for them. Run:

    python -m bench.train --stage ldm --size small --batch 4

`--draws 1 8` has the diffusion stage learn from each encoded clip at 1 and at 8 times in turns, and
sets the samples per second beside each other. In one piece, so that step and bare work are read
together.
"""

import math
import tempfile
from collections import defaultdict
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from statistics import median
from time import perf_counter
from typing import Any

import lightning as L
import numpy as np
import torch
from hydra.utils import instantiate
from lightning.pytorch.callbacks import Callback
from lightning.pytorch.profilers import Profiler
from omegaconf import DictConfig, OmegaConf

from audiosr.entry import compose_config
from audiosr.model import Model
from audiosr.networks.build import build_network
from audiosr.training.ldm import LDMStage
from audiosr.training.run import build_stage, build_trainer
from audiosr.training.stage import Stage
from audiosr.training.vae import FittedOnMels
from bench.bare import BARE, MEMORY_FORMATS, PRECISIONS, Bare
from bench.data import write_shards
from bench.timing import options, peak_memory, ratio, set_threads

PARTS = ("data", "degrade", "encode", "forward", "backward", "optimiser", "logging", "loop")
CLIPS = 16
WARM_UP = 2


class Clock(Profiler):
    """Seconds by part since the last lap; an inner part interrupts the outer one."""

    def __init__(self) -> None:
        super().__init__()
        self.seconds: dict[str, float] = defaultdict(float)
        self._open, self._since = ["loop"], perf_counter()

    def start(self, action_name: str) -> None:
        """Lightning begins `action_name`."""
        part = self._open[-1]
        if action_name.endswith("train_dataloader_next") or "batch_to_device" in action_name:
            part = "data"
        elif action_name.startswith("[Callback]"):
            part = "logging"
        self.enter(part)

    def stop(self, action_name: str) -> None:
        """Lightning has ended it."""
        self.leave()

    def enter(self, name: str) -> None:
        """Count for `name` from here on, until `leave`."""
        self._turn()
        self._open.append(name)

    def leave(self) -> None:
        """Count for what was interrupted again."""
        self._turn()
        self._open.pop()

    @contextmanager
    def part(self, name: str) -> Iterator[None]:
        """Count what happens inside for `name`."""
        self.enter(name)
        try:
            yield
        finally:
            self.leave()

    def time(self, owner: Any, method: str, name: str) -> None:
        """Count what `owner.method` does for `name`."""
        function = getattr(owner, method)

        def timed(*args: Any, **kwargs: Any) -> Any:
            with self.part(name):
                return function(*args, **kwargs)

        setattr(owner, method, timed)

    def lap(self) -> dict[str, float]:
        """Seconds by part since the last call."""
        self._turn()
        lap, self.seconds = dict(self.seconds), defaultdict(float)
        return lap

    def _turn(self) -> None:
        if torch.cuda.is_available():
            torch.cuda.synchronize()
        now = perf_counter()
        self.seconds[self._open[-1]] += now - self._since
        self._since = now


class TimedDegradation:
    """A degradation whose time the clock counts."""

    def __init__(self, degrade: Callable[..., Any], clock: Clock) -> None:
        self.degrade, self.clock = degrade, clock

    def __call__(self, wave: Any, generator: Any) -> Any:
        """The twin of `wave`."""
        with self.clock.part("degrade"):
            return self.degrade(wave, generator)


class Between(Callback):
    """Times the bare work after every step, on the networks and the batch of the step."""

    def __init__(self, clock: Clock, *, compare: bool, draws: Sequence[int]) -> None:
        self.clock = clock
        self.compare = compare
        self.draws = draws
        self.steps: list[dict[str, float]] = []
        self.bare: list[float] = []
        self.compared: dict[str, list[float]] = defaultdict(list)
        self.memory = 0.0

    def on_train_start(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        """Put the clock on what the stage calls."""
        assert isinstance(pl_module, Stage)
        clock, stage = self.clock, pl_module
        clock.time(stage, "backward", "backward")
        clock.time(stage, "clip", "optimiser")
        clock.time(stage, "record", "logging")
        clock.time(stage, "training_step", "forward")
        if isinstance(stage, LDMStage):
            clock.time(stage, "latents", "encode")
        else:
            clock.time(stage.log_mel, "forward", "encode")
        for optimiser in trainer.optimizers:
            optimiser.register_step_pre_hook(lambda *_: clock.enter("optimiser"))
            optimiser.register_step_post_hook(lambda *_: clock.leave())
        clock.lap()

    def on_train_batch_start(
        self, trainer: L.Trainer, pl_module: L.LightningModule, batch: Any, batch_idx: int
    ) -> None:
        """Take the draws whose turn it is."""
        if self.draws:
            assert isinstance(pl_module, LDMStage)
            pl_module.draws_per_clip = self.draws[batch_idx % len(self.draws)]

    def on_train_batch_end(
        self,
        trainer: L.Trainer,
        pl_module: L.LightningModule,
        outputs: Any,
        batch: Any,
        batch_idx: int,
    ) -> None:
        """Take the lap and do the bare work."""
        assert isinstance(pl_module, Stage)
        lap = self.clock.lap()
        bare: Bare = BARE[pl_module.name](pl_module, batch)
        with trainer.precision_plugin.forward_context():
            seconds = bare.seconds()
        if batch_idx >= WARM_UP * max(1, len(self.draws)):
            self.steps.append(lap)
            self.bare.append(seconds)
            if self.compare:
                self._compare(bare)
        elif batch_idx == WARM_UP - 1:
            self.memory = peak_memory(bare.step, str(pl_module.device))
        self.clock.lap()

    def _compare(self, bare: Bare) -> None:
        """The bare work in each precision and memory format."""
        for layout, memory_format in MEMORY_FORMATS.items():
            bare.lay_out(memory_format)
            for precision, dtype in PRECISIONS.items():
                with torch.autocast(bare.device.type, dtype, enabled=dtype is not torch.float32):
                    bare.step()
                    self.compared[f"{precision}, {layout}"].append(bare.seconds())
        bare.lay_out(torch.contiguous_format)


def configure(arguments: Any, root: Path) -> DictConfig:
    """The configuration of the run, its shards and frozen autoencoder under `root`."""
    stage = arguments.stage
    given = [
        f"stage={stage}",
        f"size={arguments.size}",
        "data=shards",
        f"data.root={root}/shards",
        f"data.num_workers={arguments.workers}",
        f"data.batch_size={arguments.batch}",
        f"trainer={arguments.trainer}",
        f"trainer.precision={arguments.precision}",
        "trainer.enable_progress_bar=false",
        f"max_steps={(arguments.rounds + WARM_UP) * max(1, len(arguments.draws))}",
        f"run_dir={root}/run",
    ]
    if arguments.seconds:
        given.append(f"data.crop_seconds={arguments.seconds}")
    if stage == "ldm":
        given += [f"stage.autoencoder={root}/frozen", "stage.vocoder=null"]
        given.append("stage.module.scale_clips=16")
    else:
        given.append("stage.module.adversarial_start=0")
    return compose_config("train", [*given, *arguments.more])


def prepare(cfg: DictConfig, root: Path) -> None:
    """Write clips of noise as shards, and the autoencoder that the diffusion stage needs."""
    rng = np.random.default_rng(0)
    samples = round(max(cfg.data.crop_seconds, 1.0) * cfg.features.rate)
    write_shards(root, (0.1 * rng.standard_normal((CLIPS, samples))).astype(np.float32))
    (root / "run").mkdir()
    if cfg.stage.name == "ldm":
        spec: Any = OmegaConf.to_container(cfg.size.autoencoder, resolve=True)
        model = Model(autoencoder=build_network(spec), architectures={"autoencoder": spec})
        if isinstance(model.autoencoder, FittedOnMels):
            model.autoencoder.fit(model.log_mel(0.1 * torch.randn(4, 1, 48000))[:, :, :96])
        model.save(root / "frozen")


def main() -> None:
    """Train, and print where the time went."""
    parser = options(__doc__)
    parser.add_argument("--stage", default="vae", choices=BARE)
    parser.add_argument("--size", default="small", help="tiny, small or base")
    parser.add_argument("--batch", type=int, default=4, help="clips of a step")
    parser.add_argument("--seconds", type=float, help="of a clip; default: the recipe's")
    parser.add_argument("--workers", type=int, default=0, help="processes that read")
    parser.add_argument("--trainer", default="default", help="choice of conf/trainer")
    parser.add_argument("--precision", default="32-true", help="of the run")
    parser.add_argument("--compare", action="store_true", help="precisions, memory formats")
    parser.add_argument("--draws", type=int, nargs="+", default=(), help="per clip, in turns")
    parser.add_argument("more", nargs="*", help="overrides of conf/train.yaml")
    arguments = parser.parse_args()
    set_threads(arguments.threads)
    clock = Clock()
    between = Between(clock, compare=arguments.compare, draws=arguments.draws)
    with tempfile.TemporaryDirectory() as folder:
        cfg = configure(arguments, Path(folder))
        prepare(cfg, Path(folder))
        stage = build_stage(cfg)
        if cfg.stage.name == "ldm":
            vars(stage)["paired"] = True  # it has learnt nothing, and need not
        trainer = build_trainer(cfg)
        trainer.callbacks.append(between)  # pyright: ignore[reportAttributeAccessIssue]
        trainer.profiler = clock  # pyright: ignore[reportAttributeAccessIssue]
        data = instantiate(OmegaConf.to_container(cfg.data, resolve=True), _convert_="all")
        if data.degrade is not None and not arguments.workers:
            data.degrade = TimedDegradation(data.degrade, clock)
        trainer.fit(stage, datamodule=data)
    report_draws(cfg, between) if arguments.draws else report(cfg, between)


def report_draws(cfg: DictConfig, between: Between) -> None:
    """Print how many samples the optimiser gets at each number of draws."""
    turns = len(between.draws)
    per_sample = {
        draws: [sum(step.values()) / (draws * cfg.data.batch_size) for step in steps]
        for turn, draws in enumerate(between.draws)
        if (steps := between.steps[turn::turns])
    }
    first = per_sample[between.draws[0]]
    print(
        f"\nstage {cfg.stage.name}, size {cfg.size.name}, {cfg.trainer.precision}, "
        f"{cfg.data.batch_size} clips of {cfg.data.crop_seconds} s\n"
    )
    print(f"| draws per clip | samples per second | times those of {between.draws[0]} |")
    print("| --- | --- | --- |")
    for draws, seconds in per_sample.items():
        print(f"| {draws} | {1 / median(seconds):.3f} | {ratio(first, seconds)} |")


def report(cfg: DictConfig, between: Between) -> None:
    """Print the tables."""
    totals = [sum(step.values()) for step in between.steps]
    clips = cfg.data.batch_size / median(totals)
    print(
        f"\nstage {cfg.stage.name}, size {cfg.size.name}, {cfg.trainer.precision}, "
        f"{cfg.data.batch_size} clips of {cfg.data.crop_seconds} s\n"
    )
    print("| part | ms | of the step |")
    print("| --- | --- | --- |")
    for part in PARTS:
        seconds = median(step.get(part, 0.0) for step in between.steps)
        print(f"| {part} | {1000 * seconds:.1f} | {seconds / median(totals):.3f} |")
    print(f"| step | {1000 * median(totals):.1f} | 1 |")
    print(f"| bare step | {1000 * median(between.bare):.1f} | |")
    learning = [
        total - sum(step.get(part, 0.0) for part in ("data", "degrade"))
        for total, step in zip(totals, between.steps, strict=True)
    ]
    print(f"\nstep / bare step: {ratio(totals, between.bare)}")
    print(f"the same without data and degrade: {ratio(learning, between.bare)}")
    print(f"{clips:.2f} clips per second; the bare step takes {between.memory:.0f} MiB at most")
    if between.compared:
        reference = between.compared["float32, contiguous"]
        print("\n| bare step in | time, of float32 contiguous |")
        print("| --- | --- |")
        for name, times in between.compared.items():
            print(f"| {name} | {ratio(times, reference)} |")
    assert math.isfinite(clips)


if __name__ == "__main__":
    main()
