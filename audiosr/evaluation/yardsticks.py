"""How far does one get without a network? Two systems that are fitted from shards in a minute.

`mean_noise` adds noise with the mean spectrum of the training clips above the cutoff. `envelope`
predicts the spectral envelope above the cutoff from the bands below it by ridge regression, frame
by frame with two neighbours on each side, and fills it with noise. A model that does not beat them
has learnt nothing of the signal.
"""

from collections.abc import Iterator
from dataclasses import asdict, dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
import torchaudio
from einops import rearrange
from numpy.typing import NDArray
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor

from audiosr.audio.edge import effective_bandwidth
from audiosr.audio.io import RATE
from audiosr.errors import AudioSRError, UsageError
from audiosr.evaluation.systems import Trial
from audiosr.files import atomic_path, file_hash
from audiosr.networks.envelope_prior import regression
from audiosr.progress import progress_bar
from audiosr.shards.corpus import Corpus
from audiosr.shards.reader import Reader

_N_FFT, _HOP = 2048, 512
_BANDS = 96
_SIDE = 2
_FLOOR = 1e-8
"""Least power that counts: that of LSD `nuwave2`, whose STFT this is."""
_GUARD = 0.95
"""Bands that end above this share of the cutoff are no inputs: a low-pass bends its edge."""
_EULER = float(np.euler_gamma)
"""The mean logarithm of the power of noise lies this far below the logarithm of its mean."""


@dataclass(frozen=True)
class FitSettings:
    """What the yardsticks are fitted from."""

    data: str
    """Folder of shards."""
    split: str = "train"
    """Of the shards."""
    clips: int = 400
    """At most so many of each domain, spread over it; all domains weigh alike."""

    def __post_init__(self) -> None:
        if self.clips < 1:
            raise UsageError(f"clips={self.clips}: at least 1 of each domain is needed")


@dataclass(frozen=True)
class Yardsticks:
    """Statistics of log spectra over training frames; powers are those of the STFT."""

    spectrum: Tensor
    """Mean log power of each bin (n_fft // 2 + 1,), natural."""
    mean: Tensor
    """Mean of the log bands of five frames (5 * bands,), frame by frame."""
    covariance: Tensor
    """Their covariance (5 * bands, 5 * bands)."""
    about: dict[str, str]
    """Where they come from."""

    @classmethod
    def fit(cls, settings: FitSettings) -> "Yardsticks":
        """Gather the statistics of a shard set.

        Raises:
            DataError: no shards there, no such split, or too many bad clips.
        """
        reader = Reader(Corpus.open(settings.data), settings.split)
        width = (2 * _SIDE + 1) * _BANDS
        spectrum = torch.zeros(_N_FFT // 2 + 1, dtype=torch.float64)
        total, square = spectrum.new_zeros(width), spectrum.new_zeros(width, width)
        frames, used = 0, 0
        chosen = list(_spread(reader, settings.clips))
        with progress_bar("fitting", len(chosen)) as advance:
            for domain, number in chosen:
                if (clip := reader.read(domain, number)) is not None:
                    power = _stft(torch.from_numpy(clip.wave.mean(0))).abs().square().double()
                    inputs = _context(_log_bands(power))
                    spectrum += power.clamp_min(_FLOOR).log().sum(-1)
                    total += inputs.sum(0)
                    square += inputs.T @ inputs
                    frames, used = frames + len(inputs), used + 1
                advance(1)
        mean = total / frames
        about = {name: str(value) for name, value in asdict(settings).items()}
        about |= {"domains": ", ".join(reader.domains), "read": str(used), "frames": str(frames)}
        return cls(spectrum / frames, mean, square / frames - torch.outer(mean, mean), about)

    def save(self, path: Path) -> None:
        """Write a safetensors file."""
        tensors = {name: getattr(self, name).float() for name in _TENSORS}
        with atomic_path(path) as partial:
            save_file(tensors, partial, metadata=self.about)

    @classmethod
    def load(cls, path: Path) -> "Yardsticks":
        """Read what `save` wrote.

        Raises:
            AudioSRError: no such file, or another one; says how to make one.
        """
        try:
            with safe_open(path, "pt") as file:
                tensors = {name: file.get_tensor(name).double() for name in _TENSORS}
                about = dict(file.metadata() or {})
        except (OSError, SafetensorError) as error:
            raise AudioSRError(
                f"no yardsticks at {path}: fit them with "
                f"`audiosr yardsticks --data SHARDS --out {path}`"
            ) from error
        return cls(**tensors, about=about)

    def regression(self, cutoff_hz: float) -> tuple[Tensor, Tensor, Tensor]:
        """Which bands (L,) tell of those above, and how: weights (5 * L, H), offset (H,)."""
        edges, _ = _filters()
        low = torch.from_numpy(np.flatnonzero(edges <= _GUARD * cutoff_hz))
        if not len(low):
            raise AudioSRError(f"a cutoff of {cutoff_hz:g} Hz leaves no band to predict from")
        inputs = torch.cat([low + _BANDS * frame for frame in range(2 * _SIDE + 1)])
        outputs = torch.arange(int(low[-1]) + 1, _BANDS) + _BANDS * _SIDE
        return low, *regression(self.mean, self.covariance, inputs, outputs)


_TENSORS = ("spectrum", "mean", "covariance")


class _Filled:
    """The input with shaped noise above its cutoff.

    Args:
        file: what `audiosr yardsticks` wrote.
    """

    kind: str

    def __init__(self, file: str) -> None:
        """Raises `AudioSRError` where there is no such file."""
        self.file = Path(file)
        self.yardsticks = Yardsticks.load(self.file)

    def log_power(self, low: Tensor, cutoff_hz: float) -> Tensor:
        """Mean log power (bins, frames or 1) above the cutoff for an input (T,)."""
        raise NotImplementedError

    def __call__(self, trial: Trial) -> Tensor:
        """The inputs (B, 1, T), each with noise from its own seed."""
        outputs = []
        for low, hz, seed in zip(
            trial.low[:, 0].cpu(), trial.cutoff_hz.tolist(), trial.seeds, strict=True
        ):
            if not trial.cutoff_given:
                hz = effective_bandwidth(low[None].numpy(), RATE)
            noise = torch.randn(low.shape, generator=torch.Generator().manual_seed(seed))
            spectrum = _stft(noise) / _window().square().sum().sqrt()
            spectrum = spectrum * (self.log_power(low, hz) / 2).exp().float()
            bins = torch.arange(len(spectrum)) * (RATE / _N_FFT)
            spectrum[(bins < hz) | (bins > (trial.limit_hz or RATE))] = 0
            outputs.append(
                low + torch.istft(spectrum, _N_FFT, _HOP, window=_window(), length=len(low))
            )
        return torch.stack(outputs)[:, None].to(trial.low)

    def card(self) -> dict[str, Any]:
        """The file and what it was fitted from."""
        return {
            "kind": self.kind,
            "file": str(self.file),
            "sha256": file_hash(self.file),
            "fitted": self.yardsticks.about,
        }


class MeanNoise(_Filled):
    """Noise with the mean training spectrum above the cutoff."""

    kind = "the input, with noise of the mean training spectrum above the cutoff"

    def log_power(self, low: Tensor, cutoff_hz: float) -> Tensor:
        """The training spectrum (bins, 1), whatever the input."""
        return (self.yardsticks.spectrum + _EULER)[:, None]


class Envelope(_Filled):
    """Noise in the envelope that ridge regression makes of the band below the cutoff."""

    kind = "the input, with noise in the envelope that a ridge regression of its log bands predicts"

    def log_power(self, low: Tensor, cutoff_hz: float) -> Tensor:
        """The predicted envelope (bins, frames)."""
        bands = _log_bands(_stft(low).abs().square().double())
        chosen, weights, offset = self.yardsticks.regression(cutoff_hz)
        predicted = _context(bands[:, chosen]) @ weights + offset
        centres = _filters()[1][-predicted.shape[1] :]
        bins = np.arange(_N_FFT // 2 + 1) * (RATE / _N_FFT)
        right = np.clip(np.searchsorted(centres, bins), 1, len(centres) - 1)
        share = np.clip((bins - centres[right - 1]) / (centres[right] - centres[right - 1]), 0, 1)
        share = torch.from_numpy(share)
        return (predicted[:, right - 1] * (1 - share) + predicted[:, right] * share).T


def _spread(reader: Reader, most: int) -> Iterator[tuple[str, int]]:
    """Up to `most` clips of every domain, at even distances."""
    for domain in reader.domains:
        held = reader.clips(domain)
        taken = min(held, most)
        yield from ((domain, number * held // taken) for number in range(taken))


@lru_cache(maxsize=1)
def _window() -> Tensor:
    return torch.hann_window(_N_FFT)


def _stft(wave: Tensor) -> Tensor:
    """Complex spectrum (bins, frames) of (T,)."""
    short = max(0, _N_FFT // 2 + 1 - len(wave))  # too short to be reflected
    return torch.stft(F.pad(wave, (0, short)), _N_FFT, _HOP, window=_window(), return_complex=True)


@lru_cache(maxsize=1)
def _filters() -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Upper edge and centre in Hz of each band."""
    basis = _basis().numpy() > 0
    hz = np.arange(_N_FFT // 2 + 1) * (RATE / _N_FFT)
    edges = np.array([hz[row].max() for row in basis])
    centres = np.asarray(_basis().double().numpy() @ hz, np.float64)
    return edges, centres


@lru_cache(maxsize=1)
def _basis() -> Tensor:
    """Mel filters (bands, bins), each of sum 1: a band's value is the mean power of its bins."""
    filters = torchaudio.functional.melscale_fbanks(
        _N_FFT // 2 + 1, 0.0, RATE / 2, _BANDS, RATE, mel_scale="slaney"
    )
    return rearrange(filters / filters.sum(0), "bins bands -> bands bins").contiguous()


def _log_bands(power: Tensor) -> Tensor:
    """Natural log of the mean power per band (frames, bands) of power (bins, frames)."""
    return (_basis().to(power) @ power).clamp_min(_FLOOR).log().T


def _context(bands: Tensor) -> Tensor:
    """Each frame with its neighbours, (frames, 5 * bands); the ends are repeated."""
    padded = F.pad(bands.T, (_SIDE, _SIDE), mode="replicate").T
    return rearrange(padded.unfold(0, 2 * _SIDE + 1, 1), "t bands frame -> t (frame bands)")
