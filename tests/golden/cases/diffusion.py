"""Are the noise schedule and the way through it the released ones?"""

import re
from functools import cache
from typing import Any

import numpy as np
import torch
from torch import Tensor

from audiosr.diffusion.guidance import guided
from audiosr.diffusion.samplers import ddim
from audiosr.diffusion.schedule import cosine_alphas_cumprod, cosine_betas, released_timesteps
from tests.golden import recipe
from tests.golden.cases.case import Arrays, Case, Cases, Folder, same, tensor
from tests.golden.cases.networks import latent_numbers, unet

SCHEDULE_TOLERANCE = 1e-5
DDIM_TOLERANCE = 1e-4
NEAR_END = 5
"""Last entries of the tables that are left out: there they are quotients of rounding errors."""


def schedule_cases(folder: Folder, arrays: Arrays) -> Cases:
    """Tables, timesteps, coefficients of a step, and how many steps are taken."""
    tables = _tables()
    for name in (name for name in arrays if name in tables):
        inner = slice(None, -NEAR_END) if len(tables[name]) > NEAR_END else slice(None)
        yield Case(
            f"schedule {name}",
            lambda name=name, inner=inner: tables[name][inner],
            arrays[name][inner],
            SCHEDULE_TOLERANCE,
        )
    for key in arrays:
        if match := re.fullmatch(r"s(\d+)_timesteps", key):
            yield from _spacing(int(match[1]), arrays)
    if "actual_steps_for_S_1_to_1000" in arrays:
        actual = arrays["actual_steps_for_S_1_to_1000"]
        asked = 1 + np.arange(len(actual))
        runs = actual > 0
        for label, counts, want in (
            (f"schedule steps taken for {runs.sum()} counts", asked[runs], actual[runs]),
            (f"schedule steps for {(~runs).sum()} that fail there", asked[~runs], asked[~runs]),
        ):
            yield same(
                label,
                lambda counts=counts: [len(released_timesteps(int(steps))) for steps in counts],
                want,
            )


def ddim_cases(folder: Folder, arrays: Arrays) -> Cases:
    """Latents after every step, and the first and the last prediction of the clean one."""
    network = unet(folder, "tiny")
    scale, null = latent_numbers(arrays)
    for name, case in arrays["cases_json"].items():

        @cache
        def run(case: Any = case) -> tuple[list[Tensor], list[Tensor]]:
            condition = tensor(
                np.float32(case["cond_scale"]) * recipe.normal(case["cond_seed"], case["shape"])
            )
            denoise = guided(
                network,
                scale * condition,
                torch.full_like(condition, scale * null),
                case["guidance"],
            )
            return sampled(
                denoise,
                tensor(recipe.normal(case["xT_seed"], case["shape"])),
                case["S"],
                case["eta"],
                lambda i: tensor(recipe.normal(case["noise_seed_first"] + i, case["shape"])),
            )

        latents = arrays[f"{name}_x"]
        yield same(f"ddim {name} steps", lambda run=run: len(run()[0]), len(latents))
        for step, want in enumerate(latents):
            label = f"ddim {name} step {step + 1}"
            yield Case(label, lambda run=run, i=step: run()[0][i], want, DDIM_TOLERANCE)
        for index, want in zip((0, -1), arrays.get(f"{name}_pred_x0_first_last", ()), strict=False):
            label = f"ddim {name} x0 of the {'last' if index else 'first'} step"
            yield Case(label, lambda run=run, i=index: run()[1][i], want, DDIM_TOLERANCE)


def sampled(
    denoise: Any, x: Tensor, steps: int, eta: float, noise: Any
) -> tuple[list[Tensor], list[Tensor]]:
    """Latents and clean predictions after each step of the release's DDIM.

    `noise(i)` is that of step i.
    """
    abar = cosine_alphas_cumprod()
    latents: list[Tensor] = []
    clean: list[Tensor] = []

    def keep(index: int, t: int, x: Tensor, x0: Tensor) -> None:
        latents.append(x)
        clean.append(x0)

    ddim(
        denoise,
        x,
        released_timesteps(steps),
        abar,
        eta=eta,
        noise=lambda _: noise(len(latents)),
        last_alpha=float(abar[0]),
        callback=keep,
    )
    return latents, clean


def _tables() -> dict[str, np.ndarray]:
    """What the release derives from the schedule, out of ours (`ddpm.py`, `register_schedule`)."""
    beta = cosine_betas().numpy()
    abar = np.cumprod(1 - beta)
    previous = np.append(1.0, abar[:-1])
    variance = beta * (1 - previous) / (1 - abar)
    with np.errstate(divide="ignore"):
        log_noise = np.log(1 - abar)
    return {
        "betas": beta,
        "alphas_cumprod": cosine_alphas_cumprod().numpy(),
        "alphas_cumprod_prev": previous,
        "sqrt_alphas_cumprod": np.sqrt(abar),
        "sqrt_one_minus_alphas_cumprod": np.sqrt(1 - abar),
        "log_one_minus_alphas_cumprod": log_noise,
        "sqrt_recip_alphas_cumprod": np.sqrt(1 / (abar + 1e-10)),
        "sqrt_recipm1_alphas_cumprod": np.sqrt(1 / (abar + 1e-10) - 1),
        "posterior_variance": variance,
        "posterior_log_variance_clipped": np.log(np.maximum(variance, 1e-20)),
        "posterior_mean_coef1": beta * np.sqrt(previous) / (1 - abar),
        "posterior_mean_coef2": (1 - previous) * np.sqrt(1 - beta) / (1 - abar),
        "lvlb_weights": np.ones_like(abar),
    }


def _spacing(steps: int, arrays: Arrays) -> Cases:
    """The list of timesteps for a step count, and the coefficients along the release's list."""
    times = arrays[f"s{steps}_timesteps"]
    yield same(f"schedule s{steps}_timesteps", lambda: released_timesteps(steps).flip(0), times)
    abar = cosine_alphas_cumprod()
    now = abar[torch.from_numpy(times)]
    before = torch.cat([abar[:1], now[:-1]])
    ours = {
        "alphas": lambda: now,
        "alphas_prev": lambda: before,
        "sqrt_one_minus_alphas": lambda: (1 - now).sqrt(),
        "sigmas_eta0": lambda: _sigmas(times, before, 0.0),
        "sigmas_eta1": lambda: _sigmas(times, before, 1.0),
    }
    for part, got in ours.items():
        if (key := f"s{steps}_{part}") in arrays:
            yield Case(f"schedule {key}", got, arrays[key], SCHEDULE_TOLERANCE)


def _sigmas(times: np.ndarray, before: Tensor, eta: float) -> list[float]:
    """The noise that one step of the sampler adds: what it makes of nothing and a noise of 1."""
    abar = cosine_alphas_cumprod()
    nothing = torch.zeros(1, 1, dtype=torch.float64)
    return [
        ddim(
            lambda x, t: torch.zeros_like(x),
            nothing,
            torch.tensor([time]),
            abar,
            eta=eta,
            noise=torch.ones_like,
            last_alpha=float(last),
        ).item()
        for time, last in zip(times, before, strict=True)
    ]
