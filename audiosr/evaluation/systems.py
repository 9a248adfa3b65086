"""What is measured: the model, and what bounds it from below and above?"""

from dataclasses import asdict, dataclass
from functools import lru_cache
from typing import Any
from typing import Protocol as Interface

import torch
import torch.nn.functional as F
from torch import Tensor

from audiosr.audio.io import RATE
from audiosr.audio.lowpass import Lowpass, apply_lowpass
from audiosr.audio.released import PEAK
from audiosr.checkpoints.hub import resolve
from audiosr.errors import UsageError
from audiosr.model import Model
from audiosr.restore.load import torch_device
from audiosr.restore.restorer import Restorer
from audiosr.restore.samples import FRAMES_MULTIPLE
from audiosr.restore.settings import RestoreSettings

LONGEST_EXCESS = RATE // 10
"""Samples that an output may be longer or shorter than its input; codecs and frames pad."""


@dataclass(frozen=True)
class Trial:
    """One clip at every cutoff of a protocol. Waveforms are at 48 kHz."""

    name: str
    """Domain and key of the clip."""
    reference: Tensor
    """(1, 1, T)."""
    low: Tensor
    """(B, 1, T): the reference, low-passed at each cutoff."""
    cutoff_hz: Tensor
    """(B,)."""
    cutoff_given: bool
    """Whether a system may look at `cutoff_hz`."""
    limit_hz: float | None
    """Bandwidth of the source, where outputs end; None for no limit."""
    seeds: tuple[int, ...]
    """B seeds for what a system draws."""


@dataclass(frozen=True)
class FittedOutputs:
    """Outputs that may have had to be brought to the form of their inputs."""

    waves: Tensor
    """(B, 1, T)."""
    changes: tuple[str, ...]
    """What was done to each of the B, empty where nothing."""
    excess: tuple[int, ...]
    """Samples at 48 kHz by which each was longer than its input; below 0: shorter."""


class System(Interface):
    """Returns (B, 1, T) for a trial; raises `AudioSRError` for a clip that it cannot do."""

    def __call__(self, trial: Trial) -> Tensor | FittedOutputs:
        """The outputs; what is a little longer or shorter than the inputs is cut or filled."""
        ...

    def card(self) -> dict[str, Any]:
        """What it is and where its weights come from, as plain values."""
        ...


class Unprocessed:
    """The low-passed input as it is."""

    def __call__(self, trial: Trial) -> Tensor:
        """The inputs (B, 1, T)."""
        return trial.low

    def card(self) -> dict[str, Any]:
        """A line for the protocol card."""
        return {"kind": "the low-passed input, untouched"}


class Restored:
    """The model, as `infer.py` runs it.

    Args:
        model: model folder with all three networks.
        device: `auto` (a GPU if there is one) or a torch device.
        settings: sampler, steps, guidance; cutoff, seed and output bandwidth come with each trial.
    """

    def __init__(
        self, model: str, *, device: str = "auto", settings: RestoreSettings | None = None
    ) -> None:
        """Raises `AudioSRError` where there is no model, or only a part of one."""
        self.folder = model
        self.restorer = Restorer(load_model(model, device), settings=settings)

    def __call__(self, trial: Trial) -> Tensor:
        """Restored waveforms (B, 1, T), one by one, so that none depends on its company."""
        # A limit that lies above what the model fills by itself tells it nothing.
        limit_hz = trial.limit_hz
        if limit_hz is not None and limit_hz >= self.restorer.model.bandwidth_hz:
            limit_hz = None
        outputs = [
            self.restorer.restore(
                low,
                RATE,
                cutoff_hz=cutoff_hz if trial.cutoff_given else None,
                seed=seed,
                output_bandwidth_hz=limit_hz,
            )
            for low, cutoff_hz, seed in zip(
                trial.low, trial.cutoff_hz.tolist(), trial.seeds, strict=True
            )
        ]
        return torch.stack(outputs)

    def card(self) -> dict[str, Any]:
        """Model, where it comes from, and the settings that hold for all trials."""
        settings = asdict(self.restorer.settings)
        for field in ("cutoff_hz", "seed", "output_bandwidth_hz"):
            del settings[field]
        return {
            "kind": "restored by the model",
            "model": _origin(self.folder, self.restorer.model),
            "settings": settings,
        }


class GroundTruthMel:
    """The reference's own log-mel through the vocoder: what a perfect mel would reach (GT-Mel).

    Nothing of the input is put back, and the level is handled as `Restorer` does.

    Args:
        model: model folder with a vocoder.
        device: `auto` (a GPU if there is one) or a torch device.
    """

    kind = "log-mel of the reference through the vocoder; a bound for the model"
    needs: tuple[str, ...] = ("vocoder",)
    frames = 1
    """Log-mel frames that a waveform is padded to a multiple of."""

    def __init__(self, model: str, *, device: str = "auto") -> None:
        """Raises `AudioSRError` where there is no model or not what it needs."""
        self.folder = model
        self.model = load_model(model, device)
        self.model.need(*self.needs)
        self.block = self.frames * self.model.features.hop

    def mel(self, mel: Tensor) -> Tensor:
        """What the vocoder gets of a log-mel (B, 1, T, F)."""
        return mel

    def __call__(self, trial: Trial) -> Tensor:
        """The same (1, 1, T) for every cutoff, as (B, 1, T)."""
        reference = trial.reference
        mean = reference.mean()
        level = (reference - mean).abs().max()
        if level == 0:
            return reference.expand_as(trial.low)
        normal = (reference - mean) * (PEAK / level)
        samples = normal.shape[-1]
        padded = F.pad(normal, (0, -samples % self.block), mode="replicate")
        assert self.model.vocoder is not None
        wave = self.model.vocoder(self.mel(self.model.log_mel(padded))).float()[..., :samples]
        if trial.limit_hz is not None:
            wave = apply_lowpass(wave, [Lowpass("butter", trial.limit_hz, 8)], RATE)
        return (wave * (level / PEAK) + mean).expand_as(trial.low)

    def card(self) -> dict[str, Any]:
        """The networks and where they come from."""
        return {"kind": self.kind, "model": _origin(self.folder, self.model)}


class AutoencodedMel(GroundTruthMel):
    """The reference's log-mel through autoencoder and vocoder: what perfect latents would reach.

    What lies between its figures and those of `GroundTruthMel` is lost in the autoencoder.
    """

    kind = "log-mel of the reference through autoencoder and vocoder; a bound for the model"
    needs = ("autoencoder", "vocoder")
    frames = FRAMES_MULTIPLE

    def mel(self, mel: Tensor) -> Tensor:
        """The log-mel (B, 1, T, F) as the autoencoder reconstructs it."""
        return self.model.decode(self.model.encode(mel)).float()


@lru_cache(maxsize=1)
def load_model(model: str, device: str) -> Model:
    """The model that `model` names (`resolve`); two systems in a row share it.

    Raises:
        AudioSRError: no model there.
        UsageError: it does not work at 48 kHz.
    """
    loaded = Model.load(resolve(model), device=torch_device(device))
    if loaded.features.rate != RATE:
        raise UsageError(
            f"{model} works at {loaded.features.rate} Hz, not {RATE}: choose another model"
        )
    return loaded


def _origin(folder: str, model: Model) -> dict[str, Any]:
    networks = {
        name: f"{type(part).__name__}, {sum(p.numel() for p in part.parameters()):,} parameters"
        for name, part in model.parts.items()
    }
    return {"folder": folder, "networks": networks, "provenance": model.provenance}
