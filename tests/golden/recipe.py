"""Which weights and signals were fed to the released code when the golden numbers were made?

Everything is a function of names, shapes and seeds, so the tests store outputs only. The golden
numbers come from the released AudioSR package (commit 034db6c) and ssr_eval (commit 7129ee8), run
on what this module builds.

    load_weights(UNet(...), "model.diffusion_model.")      a network with the golden weights
    signal({"fn": "noise", "n": 48000, "seed": 3})         a mono waveform
    meanlike_mel(11, 64), normal(31, (1, 16, 16, 32))      a log-mel picture, a latent or a noise
"""

import math
import zlib
from collections.abc import Callable, Mapping, Sequence
from typing import Any, TypeVar

import numpy as np
import numpy.typing as npt
import torch
from torch import nn

Signal = npt.NDArray[np.float64]
Spec = Mapping[str, Any]
AnyModule = TypeVar("AnyModule", bound=nn.Module)

SCALE_FACTOR = 0.7377
NULL_CONDITION = -11.4981

# Gain of a weight by a piece of its name; the first that fits counts, 1 where none does. They keep
# the networks far from chaos, so that rounding does not grow through their depth.
_GAINS: tuple[tuple[str, float], ...] = (
    ("vocoder.conv_pre.", 0.35),
    ("vocoder.conv_post.", 0.35),
    ("vocoder.resblocks.", 0.6),
    ("vocoder.ups.", 1.2),
    ("out_layers.3.", 0.5),
    ("transformer_blocks.", 1.0),
    ("first_stage_model.decoder.mid.attn_1.proj_out.", 1.0),
    ("first_stage_model.encoder.mid.attn_1.proj_out.", 1.0),
    (".proj_out.", 0.5),
    ("mid.attn_1.q.", 1.5),
    ("mid.attn_1.k.", 1.5),
    ("model.diffusion_model.out.2.", 0.7),
    ("decoder.conv_out.", 2.0),
    ("time_embed.", 1.5),
)
_CONDITIONER, _FIRST_STAGE = "cond_stage_models.0.vae.", "first_stage_model."


def normal(seed: int, shape: Sequence[int]) -> npt.NDArray[np.float32]:
    """Standard normal numbers of a latent or a noise."""
    return np.random.default_rng(int(seed)).standard_normal(tuple(shape), dtype=np.float32)


def tensor(name: str, shape: Sequence[int]) -> npt.NDArray[np.float32]:
    """The golden value of the released tensor `name`; the seed is the CRC-32 of the name.

    Biases are 0.05 n, norm scales 1 + 0.1 n, weights n * gain / sqrt(fan in), with n standard
    normal. The conditioner's copy of the autoencoder has the numbers of the first stage.
    """
    if name == "scale_factor":
        return np.full(tuple(shape), SCALE_FACTOR, dtype=np.float32)
    if name.startswith(_CONDITIONER):
        name = _FIRST_STAGE + name.removeprefix(_CONDITIONER)
    draw = normal(zlib.crc32(name.encode()), shape)
    if name.endswith(".bias"):
        return draw * np.float32(0.05)
    if draw.ndim == 1:
        return np.float32(1) + np.float32(0.1) * draw
    # a transposed convolution of twice its stride adds two taps of every input channel to a sample
    fan_in = 2 * draw.shape[0] if "vocoder.ups." in name else math.prod(draw.shape[1:])
    gain = next((gain for piece, gain in _GAINS if piece in name), 1.0)
    return draw * np.float32(gain / np.sqrt(fan_in))


def load_weights(module: AnyModule, prefix: str) -> AnyModule:
    """Fill `module` with the golden weights of the released names, `prefix` + own; in eval mode."""
    weights = {
        name: torch.from_numpy(tensor(prefix + name, value.shape))
        for name, value in module.state_dict().items()
    }
    module.load_state_dict(weights)
    return module.eval()


def meanlike_mel(seed: int, frames: int, bins: int = 256) -> npt.NDArray[np.float32]:
    """A smooth picture in the range of log-mels, about -11.5 to 2, `(frames, bins)`."""
    rng = np.random.default_rng(int(seed))
    frame = np.arange(frames, dtype=np.float64)[:, None]
    band = np.arange(bins, dtype=np.float64)[None, :]
    mel = -4.0 - 4.0 * band / bins
    for _ in range(6):
        height, speed, slope, phase = rng.random(4)
        wave = speed * 0.04 * frame + slope * 0.03 * band
        mel = mel + (0.6 + height) * np.sin(2 * np.pi * wave + 6.28 * phase)
    mel = mel + 0.5 * rng.standard_normal((frames, bins))
    return np.clip(mel, np.log(1e-5), 2.0).astype(np.float32)


def signal(spec: Spec) -> npt.NDArray[np.float32]:
    """The waveform of `spec`: `fn` names one of the functions below, the rest are its arguments."""
    return np.ascontiguousarray(_build(spec), dtype=np.float32)


def _build(spec: Spec) -> Signal:
    return _SIGNALS[spec["fn"]](**{key: value for key, value in spec.items() if key != "fn"})


def _silence(n: int, **_: Any) -> Signal:
    return np.zeros(n)


def _constant(n: int, value: float = 0.1, **_: Any) -> Signal:
    return np.full(n, float(value))


def _impulse(n: int, at: int = 0, value: float = 1.0, **_: Any) -> Signal:
    wave = np.zeros(n)
    wave[at] = value
    return wave


def _sines(
    n: int,
    sr: int,
    freqs: Sequence[float],
    amps: Sequence[float],
    phases: Sequence[float] | None = None,
    **_: Any,
) -> Signal:
    seconds = np.arange(n) / sr
    wave = np.zeros(n)
    for freq, amp, phase in zip(freqs, amps, phases or [0.0] * len(freqs), strict=True):
        wave += amp * np.sin(2 * np.pi * freq * seconds + phase)
    return wave


def _chirp(n: int, sr: int, f0: float, f1: float, amp: float = 0.5, **_: Any) -> Signal:
    seconds = np.arange(n) / sr
    rise = (f1 - f0) * sr / n
    return amp * np.sin(2 * np.pi * (f0 * seconds + rise * seconds**2 / 2))


def _noise(n: int, seed: int, amp: float = 0.1, color: float = 0.0, **_: Any) -> Signal:
    """Gaussian noise of RMS `amp` whose spectrum falls as f^-color."""
    wave = np.random.default_rng(int(seed)).standard_normal(n)
    if color:
        spectrum = np.fft.rfft(wave)
        bins = np.maximum(np.arange(spectrum.size, dtype=np.float64), 1.0)
        wave = np.fft.irfft(spectrum / bins**color, n)
    return amp * wave / np.sqrt(np.mean(wave**2))


def _band(of: Spec, sr: int, lo: float = 0.0, hi: float = math.inf, **_: Any) -> Signal:
    """Brick-wall band limit."""
    wave = _build(of)
    frequency = np.fft.rfftfreq(wave.size, 1 / sr)
    kept = (frequency >= lo) & (frequency <= hi)
    return np.fft.irfft(np.where(kept, np.fft.rfft(wave), 0), wave.size)


def _speechlike(
    n: int, sr: int, seed: int, f0: float = 140.0, amp: float = 0.3, top: float = 8000.0, **_: Any
) -> Signal:
    """Harmonics of a wandering pitch under four formants, in syllables, with bursts of noise."""
    rng = np.random.default_rng(int(seed))
    seconds = np.arange(n) / sr
    rate, start = rng.random(), rng.random()
    pitch = f0 * (1 + 0.12 * np.sin(2 * np.pi * (0.9 + 0.3 * rate) * seconds + 6 * start))
    phase = 2 * np.pi * np.cumsum(pitch) / sr
    formants = np.array([500.0, 1500.0, 2600.0, 4200.0]) * (0.8 + 0.4 * rng.random(4))
    voice = np.zeros(n)
    for harmonic in range(1, int(top / (f0 * 1.15)) + 1):
        level = np.exp(-0.5 * ((harmonic * f0 - formants) / 350.0) ** 2).sum() + 0.02
        turn = 6.2831853 * rng.random()
        voice += level / np.sqrt(harmonic) * np.sin(harmonic * phase + turn)
    voice *= np.clip(np.sin(2 * np.pi * 3.3 * seconds + 6 * rng.random()) + 0.4, 0, None)
    hiss = np.diff(np.random.default_rng(int(seed) + 1).standard_normal(n), prepend=0.0)
    bursts = np.clip(np.sin(2 * np.pi * 1.7 * seconds + 1.0), 0, None) ** 6
    wave = voice + 0.2 * hiss * bursts
    return amp * wave / (np.abs(wave).max() + 1e-12)


def _add(parts: Sequence[Spec], **_: Any) -> Signal:
    return np.sum([_build(part) for part in parts], axis=0)


def _scale(of: Spec, gain: float, **_: Any) -> Signal:
    return gain * _build(of)


def _delay(of: Spec, by: int, **_: Any) -> Signal:
    wave = _build(of)
    return np.concatenate([np.zeros(by), wave])[: wave.size]


def _cut(of: Spec, n: int, **_: Any) -> Signal:
    return _build(of)[:n]


def _padzero(of: Spec, n: int, **_: Any) -> Signal:
    wave = _build(of)
    return np.pad(wave, (0, n - wave.size))


_SIGNALS: dict[str, Callable[..., Signal]] = {
    "silence": _silence,
    "constant": _constant,
    "impulse": _impulse,
    "sines": _sines,
    "chirp": _chirp,
    "noise": _noise,
    "band": _band,
    "speechlike": _speechlike,
    "add": _add,
    "scale": _scale,
    "delay": _delay,
    "cut": _cut,
    "padzero": _padzero,
}
