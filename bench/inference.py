"""What does a restoration cost, part by part and as a whole beside the release's way?

Seconds of a shared machine mean little from one day to the next. So every round also times a fixed
matrix product, and the table gives each part's cost in such products as well: that figure can be
compared between runs, machines and models. With `--whole` the whole is timed beside the release's
pattern of calls on the same networks: two encodes, two passes a step, contiguous float32. With
`--distance` samplers, steps and precisions are compared by what they draw from the same noise: how
far is the log-mel from that of 200 steps, and how far are those of two noises apart? Run:

    python -m bench.inference --model outputs/demo/model
    python -m bench.inference --model outputs/demo/model --whole --steps 50 --guidance 3.5
    python -m bench.inference --model outputs/demo/model --distance
"""

from collections.abc import Callable
from dataclasses import replace
from statistics import median
from typing import NamedTuple

import torch

from audiosr.audio.io import read_audio
from audiosr.audio.lowpass import Lowpass, apply_lowpass
from audiosr.checkpoints.hub import resolve
from audiosr.diffusion.guidance import guided
from audiosr.diffusion.samplers import ddim
from audiosr.model import FillSettings, Model
from audiosr.restore.chain import sampled_timesteps
from audiosr.restore.load import load_restorer
from audiosr.restore.restorer import Restorer
from audiosr.restore.settings import RestoreSettings, load_profile
from audiosr.restore.steps import SAMPLERS
from audiosr.training.high_band import bands_below
from bench.timing import interleaved, options, peak_memory, ratio, set_threads

FILTER = Lowpass("cheby1", 8000.0, 8)
RELEASE = "the release's pattern"
SIDE = 1710
"""Side of the yardstick's square matrices: 2 * 1710^3 is 10 billion operations."""

RECORDING = "demo/audio/test/music/freeorion-music__0000.flac"


class Draw(NamedTuple):
    """A way of sampling."""

    sampler: str
    steps: int
    dtype: str = "float32"
    seed: int = 0


_SAMPLER = load_profile().sampler
DEFAULT = Draw(_SAMPLER, FillSettings().steps)
REFERENCE = Draw(_SAMPLER, 200)
WAYS = [
    *(
        Draw(_SAMPLER, steps, dtype)
        for dtype in ("float32", "bfloat16")
        for steps in (1, 4, 10, 50)
    ),
    *(Draw(name, steps) for name in SAMPLERS if name != _SAMPLER for steps in (4, 10, 50)),
    REFERENCE,
    REFERENCE._replace(seed=1),
]
"""What `--distance` compares."""


def parts(
    model: Model, seconds: float, settings: RestoreSettings
) -> dict[str, Callable[[], object]]:
    """Each part of a restoration as a function, on a fixed clip of `seconds`."""
    rate, device = model.features.rate, model.alphas_cumprod.device
    generator = torch.Generator().manual_seed(0)
    wave = 0.1 * torch.randn(1, 1, round(seconds * rate), generator=generator).to(device)
    low = apply_lowpass(wave, [FILTER], rate)
    mel = model.log_mel(low)
    condition = model.encode(mel)
    noise = torch.randn(condition.shape, generator=generator).to(device)
    assert model.denoiser is not None
    assert model.vocoder is not None
    predict = model.predictor(model.denoiser)
    denoise = guided(predict, condition, model.null_condition(condition), settings.guidance)
    timesteps = sampled_timesteps(model, settings)
    sampler, vocoder = SAMPLERS[settings.sampler], model.vocoder
    restorer = Restorer(model, settings=settings)
    return {
        "low-pass, log-mel": lambda: model.log_mel(apply_lowpass(wave, [FILTER], rate)),
        "encode": lambda: model.encode(mel),
        f"denoise, {settings.steps} steps": lambda: sampler(
            denoise, noise, timesteps, model.alphas_cumprod
        ),
        "decode": lambda: model.decode(condition),
        "vocoder": lambda: vocoder(mel),
        "restore, whole": lambda: restorer.restore(low[0], rate, cutoff_hz=FILTER.cutoff_hz),
    }


def release_pattern(
    model: Model, low: torch.Tensor, settings: RestoreSettings
) -> Callable[[], object]:
    """The networks as the release calls them (ddpm.py, ddim.py) on a low band `(1, 1, T)`."""
    assert model.denoiser is not None
    assert model.vocoder is not None
    vocoder, predict = model.vocoder, model.predictor(model.denoiser)
    timesteps = sampled_timesteps(model, settings)

    def run() -> torch.Tensor:
        mel = model.log_mel(low)
        latent = [model.encode(mel) for _ in range(2)][1]
        limits = latent.new_tensor([[FILTER.cutoff_hz], [24_000.0]])
        condition = model.condition(latent, *limits)
        null = model.null_condition(condition)

        def denoise(x: torch.Tensor, t: torch.Tensor) -> torch.Tensor:
            v_null, v = predict(x, t, null), predict(x, t, condition)
            return v_null + settings.guidance * (v - v_null)

        start = model.start(torch.randn_like(latent), condition)
        latent = ddim(denoise, start, timesteps, model.alphas_cumprod)
        return vocoder(model.decode(latent))

    return run


def wholes(
    model: Model, folder: str, seconds: float, settings: RestoreSettings
) -> dict[str, Callable[[], object]]:
    """The release's pattern, ours in two precisions, and ours with the steps of the default."""
    rate, device = model.features.rate, model.alphas_cumprod.device
    noise = torch.randn(1, 1, round(seconds * rate), generator=torch.Generator().manual_seed(0))
    low = apply_lowpass(0.1 * noise.to(device), [FILTER], rate)
    ours = {
        "ours, float32": Restorer(model),
        "ours, bfloat16": load_restorer(folder, device=device, dtype="bfloat16"),
    }
    given = replace(settings, cutoff_hz=FILTER.cutoff_hz)
    fast = replace(given, steps=FillSettings().steps)
    ways = [(name, restorer, given) for name, restorer in ours.items()]
    if fast != given:
        ways += [(f"{name}, {fast.steps} steps", restorer, fast) for name, restorer in ours.items()]
    works: dict[str, Callable[[], object]] = {
        name: lambda restorer=restorer, way=way: restorer.restore(low[0], rate, settings=way)
        for name, restorer, way in ways
    }
    return {RELEASE: release_pattern(model, low, settings), **works}


def distances(
    folder: str,
    recording: str,
    settings: RestoreSettings,
    *,
    seconds: float,
    rounds: int,
    device: str = "cpu",
) -> str:
    """Seconds and distance of every way of sampling, as Markdown.

    The distance is the mean of absolute differences of log-mels above the cutoff, in nats, from
    what the default sampler draws in `REFERENCE_STEPS` steps from the same noise.
    """
    restorers = {
        dtype: load_restorer(folder, device=device, dtype=dtype)
        for dtype in ("float32", "bfloat16")
    }
    features = restorers["float32"].model.features
    wave, rate = read_audio(recording)
    clip = torch.from_numpy(wave[None, :1, : round(seconds * rate)]).to(device)
    low = apply_lowpass(clip, [FILTER], rate)[0]
    first = int(bands_below(torch.tensor([FILTER.cutoff_hz]), features))
    mels: dict[Draw, torch.Tensor] = {}

    def draw(way: Draw) -> None:
        def watch(name: str, value: torch.Tensor) -> None:
            if name == "mel":
                mels[way] = value[..., first:]

        chosen = {"sampler": way.sampler, "steps": way.steps, "seed": way.seed}
        given = replace(settings, cutoff_hz=FILTER.cutoff_hz, temperature=1.0, **chosen)
        restorers[way.dtype].restore(low, rate, settings=given, watch=watch)

    works = {str(number): lambda way=way: draw(way) for number, way in enumerate(WAYS)}
    times = dict(zip(WAYS, interleaved(works, rounds).values(), strict=True))
    lines = [
        "| sampler | steps | precision | noise | of real time | of the default's | nats apart |",
        "| --- | --- | --- | --- | --- | --- | --- |",
    ]
    for way in WAYS:
        took = f"{median(times[way]) / seconds:.3f} | {ratio(times[way], times[DEFAULT])}"
        far = float((mels[way] - mels[REFERENCE]).abs().mean())
        noise = "another" if way.seed else "the same"
        lines.append(
            f"| {way.sampler} | {way.steps} | {way.dtype} | {noise} | {took} | {far:.3f} |"
        )
    return "\n".join(lines)


@torch.inference_mode()
def main() -> None:
    """Time every part beside the yardstick and print the table."""
    parser = options(__doc__)
    parser.add_argument("--model", default="outputs/demo/model", help="model folder")
    parser.add_argument("--device", default="cpu", help="cpu, cuda, ...")
    parser.add_argument("--seconds", type=float, default=5.12, help="length of the clip")
    parser.add_argument("--steps", type=int, default=FillSettings().steps, help="sampling steps")
    parser.add_argument("--whole", action="store_true", help="whole restorations alone")
    parser.add_argument("--distance", action="store_true", help="ways of sampling alone")
    parser.add_argument("--recording", default=RECORDING, help="what --distance restores")
    parser.add_argument("--guidance", type=float, default=load_profile().guidance)
    arguments = parser.parse_args()
    set_threads(arguments.threads)
    settings = load_profile(steps=arguments.steps, guidance=arguments.guidance)
    if arguments.distance:
        print(
            distances(
                str(resolve(arguments.model)),
                arguments.recording,
                settings,
                seconds=arguments.seconds,
                rounds=arguments.rounds,
                device=arguments.device,
            )
        )
        return
    model = Model.load(resolve(arguments.model), device=arguments.device)
    matrix = torch.randn(SIDE, SIDE, device=arguments.device)

    if arguments.whole:
        works = wholes(model, str(resolve(arguments.model)), arguments.seconds, settings)
    else:
        works = parts(model, arguments.seconds, settings)
    memory = {name: peak_memory(work, arguments.device) for name, work in works.items()}
    seconds = interleaved({"yardstick": lambda: matrix @ matrix, **works}, arguments.rounds)

    yardstick = seconds.pop("yardstick")
    weights = sum(p.nbytes for part in model.parts.values() for p in part.parameters())
    print(f"{arguments.model}: weights {weights / 2**20:.0f} MiB")
    print(f"clip of {arguments.seconds} s, yardstick {1000 * median(yardstick):.0f} ms\n")
    print("| part | of real time | yardsticks a second of audio | peak MiB above rest |")
    print("| --- | --- | --- | --- |")
    for name, times in seconds.items():
        each = [time / arguments.seconds for time in times]
        print(f"| {name} | {median(each):.4f} | {ratio(each, yardstick)} | {memory[name]:.0f} |")
    for name, times in seconds.items() if arguments.whole else ():
        print(f"{name}, of {RELEASE}: {ratio(times, seconds[RELEASE])}")


if __name__ == "__main__":
    main()
