"""Does the profile "released", fed with the recorded draws, give the released waveform?"""

import re
from functools import cached_property
from typing import Any

import torch
from torch import Tensor

from audiosr.audio import released
from audiosr.diffusion.guidance import guided
from audiosr.diffusion.objective import x0_from_v
from audiosr.diffusion.schedule import released_timesteps
from audiosr.model import LatentSettings, Model
from audiosr.networks.gaussian import DiagonalGaussian
from audiosr.restore.chain import shared_noise
from audiosr.restore.restorer import Restorer
from audiosr.restore.settings import load_profile
from tests.golden.cases import networks
from tests.golden.cases.audio import wave
from tests.golden.cases.case import Arrays, Case, Cases, Folder, same, scaled_error, tensor

TOLERANCE = 1e-4
LATENT_TOLERANCE = 1e-3
LATENTS = ("posterior_mean_input", "z_input", "condition_latent", "ddim_x", "ddim_pred_x0_last")
RATE = 48_000


class Chain:
    """One restoration at the tiny width, with what was seen on the way."""

    def __init__(self, folder: Folder, arrays: Arrays) -> None:
        self.meta: dict[str, Any] = arrays["meta_json"]
        posterior = [arrays["draw_posterior_z"], arrays["draw_posterior_cond"]]
        self.draws = [tensor(x) for x in (*posterior, arrays["draw_xT"], *arrays["draw_steps"])]
        self.autoencoder = networks.autoencoder(folder, "tiny")
        self.denoiser = networks.unet(folder, "tiny")
        scale, null = folder.config["scale_factor"], folder.config["null_condition_value"]
        self.model = Model(
            autoencoder=self.autoencoder,
            denoiser=self.denoiser,
            vocoder=networks.vocoder(folder, "tiny"),
            latent=LatentSettings(scale=scale, null_value=null),
        )
        self.clip = wave(self.meta["signal"])[0]

    @cached_property
    def seen(self) -> dict[str, Any]:
        """What `Chain.watch` names, with "x" as a list, the "cutoff_hz", and the "result"."""
        meta, draws = self.meta, iter(self.draws)
        seen: dict[str, Any] = {"x": []}

        def watch(name: str, value: Tensor) -> None:
            if name == "x":
                seen["x"].append(value)
            else:
                seen[name] = value

        restorer = Restorer(self.model, settings=load_profile("released"))
        seen["cutoff_hz"] = restorer.cutoff_hz(self.clip.numpy(), RATE, restorer.settings)
        seen["result"] = restorer.restore(
            self.clip,
            RATE,
            profile="released",
            noise=lambda x: next(draws),
            watch=watch,
            steps=meta["ddim_steps"],
            guidance=meta["guidance"],
            eta=meta["eta"],
            seed=meta["seed"],
            prefilter_order=meta["lowpass_order"],
        )
        return seen

    @cached_property
    def input_posterior(self) -> DiagonalGaussian:
        """What the encoder says of the clip before the filter; the release samples it in vain."""
        return self.autoencoder.encode(self.model.log_mel(self.seen["wave"]))

    def z_input(self) -> Tensor:
        """That sample, scaled."""
        posterior = self.input_posterior
        return self.model.latent.scale * (posterior.mean + posterior.std * self.draws[0])

    def last_x0(self) -> Tensor:
        """The clean latent that the last step predicts from the latent before it."""
        before = [self.draws[2], *self.seen["x"]][-2]
        time = released_timesteps(self.meta["ddim_steps"])[-1:].expand(len(before))
        condition = self.seen["condition"]
        null = self.model.null_condition(condition)
        v = guided(self.denoiser, condition, null, self.meta["guidance"])(before, time)
        return x0_from_v(before, v, self.model.alphas_cumprod[time])


def chain_cases(folder: Folder, arrays: Arrays) -> Cases:
    """Every stored intermediate, in the order of the work, and the decisions on the way."""
    chain = Chain(folder, arrays)
    meta = chain.meta
    facts = {
        "cutoff_hz": lambda: chain.seen["cutoff_hz"],
        "lowpass_family": lambda: released.family_for_seed(meta["seed"]),
        "mel_cutoff_bin": lambda: released.mel_cutoff_bin(chain.seen["low_mel"]).item(),
        "librosa_cutoff_bin": lambda: released.stft_cutoff_bin(chain.seen["low"]).item(),
        "vocoder_samples": lambda: chain.seen["generated"].shape[-1],
        "out_shape": lambda: (1, *chain.seen["result"].shape),
    }
    for name, got in facts.items():
        if name in meta:
            yield same(f"e2e {name}", got, meta[name])
    if meta.get("draws_equal_torch_manual_seed_stream"):
        yield from _draws(chain)
    whole = {
        "mel": lambda: chain.model.log_mel(chain.seen["wave"])[0, 0],
        "waveform_lowpass": lambda: chain.seen["low"][0, 0],
        "lowpass_mel": lambda: chain.seen["low_mel"][0, 0],
        "posterior_mean_input": lambda: chain.input_posterior.mean,
        "z_input": chain.z_input,
        "condition_latent": lambda: chain.seen["condition"] / chain.model.latent.scale,
        "ddim_x": lambda: torch.stack(chain.seen["x"]),
        "ddim_pred_x0_last": chain.last_x0,
        "decoded_mel": lambda: chain.seen["mel"][0, 0],
        "vocoder_wave": lambda: chain.seen["generated"][0, 0],
        "final_wave": lambda: chain.seen["result"][0],
    }
    for name, got in whole.items():
        yield from _stored(name, got, arrays)
    if (key := "waveform_lowpass_rest_absmax") in arrays:
        start = len(arrays["waveform_lowpass"])
        yield Case(
            f"e2e {key}",
            lambda: chain.seen["low"][0, 0, start:].abs().max(),
            arrays[key],
            TOLERANCE,
            scaled_error,
        )
    for name, measure in (
        ("absmax", lambda x: x.abs().max()),
        ("std", lambda x: x.std(correction=0)),
    ):
        if name in meta.get("final_wave_stats", {}):
            yield Case(
                f"e2e final_wave {name}",
                lambda measure=measure: measure(chain.seen["result"]),
                meta["final_wave_stats"][name],
                TOLERANCE,
            )


def _draws(chain: Chain) -> Cases:
    """Does the seed alone give the recorded draws?"""
    draw = shared_noise(chain.meta["seed"])
    for index, want in enumerate(chain.draws):
        yield Case(f"e2e draw {index + 1} by seed", lambda x=want: draw(x), want, TOLERANCE)


def _stored(name: str, got: Any, arrays: Arrays) -> Cases:
    """The parts of an intermediate that are stored: all of it, `_firstN` or `_lastN` rows."""
    for key in arrays:
        match = re.fullmatch(re.escape(name) + r"(?:_(first|last)(\d+))?", key)
        if match:
            want = arrays[key]

            def part(end: str | None = match[1], shape: tuple[int, ...] = want.shape) -> Tensor:
                value = got()
                if end == "last":
                    return value[-shape[0] :]
                return value[tuple(slice(size) for size in shape)]

            tolerance = LATENT_TOLERANCE if name in LATENTS else TOLERANCE
            yield Case(f"e2e {key}", part, want, tolerance)
