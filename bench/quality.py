"""Which variant of a denoiser restores best after the same work, and does it win by blur?

Every variant is trained for the same processor time on the same clips, judged on the same
validation clips, cutoffs and noises, and ranked. A distance rewards the average of what could be: a
variant that is nearer than the first one, but whose high band moves less, is marked. Needs shards,
and an autoencoder and a vocoder of the same size:

    python -m bench.quality --seconds 90 --seeds 0 1 2 --autoencoder FOLDER --vocoder FOLDER

Results are kept in `--out`, one file each, the runs are not; a call does what is missing and writes
the table.
"""

import argparse
import json
import math
import shutil
import statistics
import time
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

import lightning as L
import torch
from lightning.pytorch.callbacks import Callback

from audiosr.audio.io import RATE
from audiosr.audio.lowpass import Lowpass, apply_lowpass
from audiosr.entry import compose_config
from audiosr.metrics.lsd import log_spectral_distance
from audiosr.metrics.spectral import HighBandEnergy
from audiosr.metrics.visqol import Visqol
from audiosr.model import Model
from audiosr.restore.restorer import Restorer
from audiosr.restore.settings import load_profile
from audiosr.shards.reader import evaluation_clips
from audiosr.training.high_band import bands_below, high_band_errors
from audiosr.training.resolve import resolved
from audiosr.training.run import train

VARIANTS: dict[str, list[str]] = {
    "as the recipe": [],
    "no envelope, priors by cutoff": [
        *("size.envelope=null", "size.denoiser.prior.context=1"),
        "+size.denoiser.prior.knots=[13,17,20,23,26,29]",
    ],
    "no envelope, no cutoff, one prior, whole loss": [
        *("size.envelope=null", "size.denoiser.prior.context=1"),
        "size.denoiser.network.condition_channels=32",
        *("stage.module.condition_on=[]", "stage.module.low_weight=1"),
    ],
    "epsilon, linear": ["experiment=ddpm"],
    "x0": ["objective=x0"],
    "rectified flow": ["experiment=rectified_flow"],
    "bridge": ["experiment=bridge"],
    "min-SNR": ["experiment=min_snr"],
    "sigmoid": ["schedule=sigmoid"],
    "shifted": ["schedule=shifted"],
    "DiT": ["denoiser=dit"],
    "no prior": ["denoiser=frames_alone"],
}
"""Overrides of `python train.py stage=ldm`; the others are compared with the first."""

CUTOFFS_HZ = (4000.0, 8000.0)
STEPS = (1, 4, 8)
_PROBE = 12
"""Steps from which the time of a step is measured."""
_BLUR_DB = 0.5
"""How much less the high band must vary for a better distance to be put down to blur: less than the
first variant's, and less than the truth's."""


class StepTimes(Callback):
    """Processor seconds of this process at the end of each step."""

    def __init__(self) -> None:
        self.ends: list[float] = []

    def on_train_batch_end(
        self,
        trainer: L.Trainer,
        pl_module: L.LightningModule,
        outputs: Any,
        batch: Any,
        batch_idx: int,
    ) -> None:
        """Note the time."""
        self.ends.append(time.process_time())


def trained(overrides: Sequence[str], *, steps: int, common: Sequence[str]) -> tuple[Path, float]:
    """The folder of a run of `steps`, and the processor seconds of one of its steps."""
    given = [
        "stage=ldm",
        *overrides,
        *common,
        *(f"max_steps={steps}", "valid_every_n_steps=1000000", "panels.clips=0", "trainer=cpu"),
        *("trainer.enable_progress_bar=false", "data.num_workers=0", "run_suffix=-quality"),
        f"+callbacks.times._target_={__name__}.StepTimes",
    ]
    _, objects = train(resolved(compose_config("train", given), given))
    times = next(c for c in objects["trainer"].callbacks if isinstance(c, StepTimes))
    half = len(times.ends) // 2
    return objects["folder"], (times.ends[-1] - times.ends[half]) / (len(times.ends) - 1 - half)


def clips(shards: str, count: int, seconds: float) -> list[torch.Tensor]:
    """The beginnings `(1, 1, T)` of validation clips, evenly from all domains."""
    found = list(evaluation_clips(shards, "valid"))
    chosen = [found[number * len(found) // count] for number in range(min(count, len(found)))]
    return [
        torch.from_numpy(clip.wave[:1, : round(seconds * RATE)]).reshape(1, 1, -1)
        for clip in chosen
    ]


def judged(model: Model, waves: Iterable[torch.Tensor]) -> list[dict[str, float]]:
    """Figures of every clip at every cutoff and number of steps."""
    restorer, rows = Restorer(model), []
    visqol, level = Visqol(per_clip=True), HighBandEnergy(per_clip=True)
    for number, wave in enumerate(waves):
        for cutoff_hz in CUTOFFS_HZ:
            low = apply_lowpass(wave, [Lowpass("cheby1", cutoff_hz, 8)], RATE)[0]
            for steps in STEPS:
                settings = load_profile(steps=steps, cutoff_hz=cutoff_hz, seed=number)
                out = restorer.restore(low, RATE, settings=settings)[None]
                found, wanted = [
                    model.log_mel(w[..., : wave.shape[-1] // 480 * 480]) for w in (out, wave)
                ]
                above = bands_below(torch.tensor([cutoff_hz]), model.features)
                score = float(visqol(out, wave)["visqol"])
                distance = log_spectral_distance(out[0], wave[0], cutoff_hz=cutoff_hz)
                rows.append(
                    {
                        "clip": number,
                        "cutoff_hz": cutoff_hz,
                        "steps": steps,
                        "lsd_hf": float(torch.as_tensor(distance.hf)),
                        "energy_db": float(level(out, wave, cutoff_hz)["hf_energy_db"]),
                        "variance_db": float(high_band_errors(found, wanted, above)[1][0]),
                        "visqol": score if math.isfinite(score) else None,
                    }
                )
    return rows


def measure(name: str, seed: int, waves: Sequence[torch.Tensor], given: argparse.Namespace) -> Any:
    """Train a variant for the given processor time, and judge it."""
    common = [
        f"seed={seed}",
        f"data.root={given.shards}",
        f"stage.autoencoder={given.autoencoder}",
        f"stage.vocoder={given.vocoder}",
        f"paths.outputs={given.out}/runs",
        f"stage.module.scale_clips={given.scale_clips}",
        *("stage.module.fill.expansion=1.0", "stage.module.fill.temperature=1.0"),
    ]
    probe = [*common, "stage.module.scale_clips=16"]
    folder, step_seconds = trained(VARIANTS[name], steps=_PROBE, common=probe)
    shutil.rmtree(folder)  # half a gigabyte each
    steps = max(_PROBE, round(given.seconds / step_seconds))
    folder, _ = trained(VARIANTS[name], steps=steps, common=common)
    model = Model.load(folder / "model")
    shutil.rmtree(folder)
    assert model.denoiser is not None
    return {
        "variant": name,
        "seed": seed,
        "steps": steps,
        "seconds": given.seconds,
        "parameters": sum(p.numel() for p in model.denoiser.parameters()),
        "rows": judged(model, waves),
    }


def interval(values: Sequence[float]) -> tuple[float, float]:
    """Mean and half of its 95 % interval by the normal distribution, over `values`."""
    spread = statistics.stdev(values) if len(values) > 1 else 0.0
    return statistics.mean(values), 1.96 * spread / math.sqrt(len(values))


def table(results: Sequence[Any], steps: int) -> str:
    """The variants at a number of sampling steps, best distance first, as Markdown.

    Differences of the distance are to the first variant, clip by clip.
    """
    figures: dict[str, dict[tuple[int, int, float], Any]] = {}
    for result in results:
        own = figures.setdefault(result["variant"], {})
        for row in result["rows"]:
            if row["steps"] == steps:
                own[result["seed"], row["clip"], row["cutoff_hz"]] = row
    first = figures[next(name for name in VARIANTS if name in figures)]
    lines = []
    for name, own in figures.items():
        shared = [key for key in own if key in first]
        gain, sure = interval([own[key]["lsd_hf"] - first[key]["lsd_hf"] for key in shared])
        mean = {
            figure: statistics.mean(row[figure] for row in own.values() if row[figure] is not None)
            for figure in ("lsd_hf", "visqol", "variance_db")
        }
        energy = statistics.median(row["energy_db"] for row in own.values())
        livelier = mean["variance_db"] - statistics.mean(r["variance_db"] for r in first.values())
        dull = max(livelier, mean["variance_db"]) < -_BLUR_DB
        blur = " **by blur**" if gain < 0 and dull else ""
        trained_steps = round(statistics.mean(r["steps"] for r in results if r["variant"] == name))
        lines.append(
            (
                mean["lsd_hf"],
                f"| {name} | {trained_steps} | {mean['lsd_hf']:.3f} "
                f"| {gain:+.3f} +- {sure:.3f}{blur} | {mean['visqol']:.2f} | {energy:+.1f} "
                f"| {mean['variance_db']:+.1f} |",
            )
        )
    head = (
        "| variant | trained | LSD-HF | against the first | ViSQOL | energy, dB | variance, dB |\n"
        "| --- | --- | --- | --- | --- | --- | --- |"
    )
    return "\n".join([head, *(line for _, line in sorted(lines))])


def main() -> None:
    """Train and judge what is missing, and print the table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--seconds", type=float, default=90.0, help="of the processor, per run")
    parser.add_argument("--seeds", type=int, nargs="+", default=[0])
    parser.add_argument("--variants", nargs="+", default=list(VARIANTS), choices=list(VARIANTS))
    parser.add_argument("--shards", default="outputs/demo/shards")
    parser.add_argument("--autoencoder", required=True, help="model or run folder")
    parser.add_argument("--vocoder", required=True, help="model or run folder")
    parser.add_argument("--clips", type=int, default=6, help="of validation")
    parser.add_argument("--clip-seconds", type=float, default=4.0, help="of each that are judged")
    parser.add_argument("--scale-clips", type=int, default=256, help="on which the prior is fitted")
    parser.add_argument("--out", type=Path, default=Path("outputs/quality"))
    given = parser.parse_args()
    given.out.mkdir(parents=True, exist_ok=True)
    waves = clips(given.shards, given.clips, given.clip_seconds)
    results = []
    for seed in given.seeds:
        for name in given.variants:
            path = given.out / f"{name.replace(' ', '-').replace(',', '')}-{seed}.json"
            if not path.is_file():
                path.write_text(json.dumps(measure(name, seed, waves, given)))
            results.append(json.loads(path.read_text()))
    for steps in STEPS:
        print(f"\n{steps} sampling steps:\n\n{table(results, steps)}")


if __name__ == "__main__":
    main()
