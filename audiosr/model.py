"""What is a trained AudioSR, and how is it kept?

Three networks with the settings they were trained under, in memory and as a model folder:
`model.yaml`, one safetensors file per network, and a model card. A folder may hold a part, such as
a vocoder alone. Writing and reading stand together, since what one writes the other must accept.
"""

import math
import os
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import torch
import yaml
from einops import rearrange
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from torch import Tensor, nn

from audiosr.audio.mel import LogMel, MelSettings, band_centres
from audiosr.diffusion.settings import DiffusionSettings
from audiosr.errors import AudioSRError, UsageError
from audiosr.files import replaced_folder, share_file
from audiosr.networks.build import build_network
from audiosr.networks.envelope_prior import EnvelopePrior
from audiosr.networks.roles import AutoencoderRole, DenoiserRole, FollowsProcess, VocoderRole

FORMAT = 1
PARTS = ("autoencoder", "denoiser", "vocoder")
STUDENT = "student"
"""What a model may have beside its parts: a denoiser that draws in one step."""
ENVELOPE = "envelope"
"""What a model may have too: a regression that completes what its denoisers follow."""
NETWORKS = (*PARTS, STUDENT, ENVELOPE)
"""All that a model may hold."""
TOLD = ("cutoff", "bandwidth")
"""What a denoiser can be told of a clip."""
_KNOWN = 0.95
"""Bands above this share of the cutoff say nothing of the recording: a low-pass bends its edge."""


@dataclass(frozen=True)
class LatentSettings:
    """How latents reach the denoiser.

    Attributes:
        scale: factor on a latent before diffusion, 1 / the standard deviation of what the denoiser
            has to generate (Rombach et al., 2112.10752).
        null_value: value of every element of the condition that stands for "no condition", before
            the scale.
        condition_on: what the denoiser is told beside the latent of the low-passed clip, each as a
            further channel of the condition: "cutoff", "bandwidth" of the clip, both, or nothing.
    """

    scale: float = 1.0
    null_value: float = 0.0
    condition_on: Sequence[str] = ()

    def __post_init__(self) -> None:
        object.__setattr__(self, "condition_on", tuple(self.condition_on))
        if unknown := set(self.condition_on) - set(TOLD):
            raise UsageError(
                f"condition_on names {', '.join(sorted(unknown))}; there are {', '.join(TOLD)}"
            )


@dataclass(frozen=True)
class FillSettings:
    """How a model fills a recording where nobody says otherwise; chosen for it, not learnt.

    Attributes:
        steps: of sampling; 0 takes what the envelope expects, and no denoiser.
        bandwidth_hz: up to where, in Hz, which a denoiser that is told the bandwidth is told; none
            is half the sampling rate.
        expansion: by how much the level of what is drawn is to move more over time than it does,
            for a denoiser that evens it out; see `audiosr.restore.expansion`.
        temperature: factor on the starting noise.
    """

    steps: int = 4
    bandwidth_hz: float | None = None
    expansion: float = 1.0
    temperature: float = 1.0


@dataclass
class Model:
    """The trio of networks and what they were trained under.

    Attributes:
        features: settings of the log-mel front end.
        autoencoder: log-mel to latent and back.
        denoiser: the diffusion model.
        vocoder: log-mel to waveform.
        student: takes the denoiser's place where one step is asked for.
        envelope: completes the log-mel of a low-passed clip before it is encoded; without one it is
            encoded as it is.
        latent: scale and null condition.
        fill: how it restores, unless asked otherwise.
        diffusion: the forward process.
        architectures: for each network its class and arguments, `{"_target_": ..., ...}`.
        provenance: where each part comes from (run, step, data), for the model card.
    """

    features: MelSettings = field(default_factory=MelSettings)
    autoencoder: AutoencoderRole | None = None
    denoiser: DenoiserRole | None = None
    vocoder: VocoderRole | None = None
    student: DenoiserRole | None = None
    envelope: EnvelopePrior | None = None
    latent: LatentSettings = field(default_factory=LatentSettings)
    fill: FillSettings = field(default_factory=FillSettings)
    diffusion: DiffusionSettings = field(default_factory=DiffusionSettings)
    architectures: dict[str, Any] = field(default_factory=dict)
    provenance: dict[str, Any] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self.log_mel = LogMel(self.features)
        self._centres = band_centres(self.features)
        self.alphas_cumprod, self.objective, self.start = self.diffusion.process()
        for denoiser in (self.denoiser, self.student):
            if denoiser is not None:
                self.predictor(denoiser)

    @property
    def parts(self) -> dict[str, nn.Module]:
        """The networks that are there, by name."""
        return {name: part for name in NETWORKS if (part := getattr(self, name)) is not None}

    @property
    def bandwidth_hz(self) -> float:
        """Up to where in Hz it fills a recording of which nobody says how far it reached."""
        return self.fill.bandwidth_hz or self.features.rate / 2

    def need(self, *names: str) -> None:
        """Raise an `AudioSRError` that names the networks of `names` which this model lacks."""
        missing = [name for name in names if getattr(self, name) is None]
        if missing:
            raise AudioSRError(
                f"the model holds no {' and no '.join(missing)}: train that stage, "
                "then join the parts with `audiosr assemble`"
            )

    def encode(self, mel: Tensor, generator: torch.Generator | None = None) -> Tensor:
        """Scaled latent `(B, C, T/8, F/8)` of `mel (B, 1, T, F)`.

        It is the posterior's mode, or with a `generator` a sample.
        """
        assert self.autoencoder is not None
        posterior = self.autoencoder.encode(mel)
        latent = posterior.mode() if generator is None else posterior.sample(generator)
        return latent * self.latent.scale

    def decode(self, latent: Tensor) -> Tensor:
        """Log-mel `(B, 1, T, F)` of a scaled `latent`."""
        assert self.autoencoder is not None
        return self.autoencoder.decode(latent / self.latent.scale)

    def complete(self, mel: Tensor, cutoff_hz: Tensor) -> Tensor:
        """What is encoded for the denoiser to follow, of the log-mels of low-passed clips.

        Args:
            mel: `(B, 1, T, F)`.
            cutoff_hz: up to where these hold their content, `(B,)`.
        """
        if self.envelope is None:
            return mel
        known = (self._centres.to(cutoff_hz) < _KNOWN * cutoff_hz[:, None]).sum(1)
        return self.envelope(mel, known).clamp_min(math.log(self.features.floor))

    def condition(self, latent: Tensor, cutoff_hz: Tensor, bandwidth_hz: Tensor) -> Tensor:
        """What the denoiser follows: a scaled latent, and what it is told as further channels.

        Each of these says of every latent band how much of it lies below a frequency, from -1, all
        above, to 1, all below.

        Args:
            latent: of the low-passed clips, scaled, `(B, C, t, f)`.
            cutoff_hz: up to where these hold their content, `(B,)`.
            bandwidth_hz: up to where the restored clips are to reach, `(B,)`; NaN, of a clip that
                was never measured, counts as that of a recording of which nobody knows.
        """
        usual_hz = self.bandwidth_hz
        told = {"cutoff": cutoff_hz, "bandwidth": bandwidth_hz.nan_to_num(nan=usual_hz)}
        planes = [
            rearrange(2 * self.share_below(told[name]) - 1, "b f -> b 1 1 f").expand(
                -1, 1, latent.shape[2], -1
            )
            for name in self.latent.condition_on
        ]
        return torch.cat([latent, *(plane.to(latent) for plane in planes)], 1)

    def share_below(self, hz: Tensor) -> Tensor:
        """The part of each latent band, 8 mel bands, that lies below `hz (B,)`: `(B, F/8)`."""
        centres = self._centres.to(hz)
        bands = (centres < hz[:, None]).sum(1, keepdim=True).float()
        first = torch.arange(0, len(centres), 8, device=hz.device)
        return ((bands - first) / 8).clamp(0, 1)

    def null_condition(self, like: Tensor) -> Tensor:
        """The scaled condition that says nothing, shaped as `like`; what is told is kept."""
        null = torch.full_like(like, self.latent.null_value * self.latent.scale)
        if told := len(self.latent.condition_on):
            null[:, -told:] = like[:, -told:]
        return null

    def predictor(self, denoiser: DenoiserRole) -> Callable[[Tensor, Tensor, Tensor], Tensor]:
        """`(x_t, timesteps (B,), condition) -> v`, whatever `denoiser` predicts, for samplers."""
        if isinstance(denoiser, FollowsProcess):
            denoiser.follow(self.alphas_cumprod, self.objective)

        def predict(x: Tensor, timesteps: Tensor, condition: Tensor) -> Tensor:
            abar = self.alphas_cumprod[timesteps]
            predicted = denoiser(self.objective.shown(x, abar), timesteps, condition)
            return self.objective.velocity(predicted, x, abar)

        return predict

    def to(self, device: str | torch.device, dtype: torch.dtype | None = None) -> "Model":
        """Move networks and front end to `device`; the networks to `dtype` too. Returns self."""
        for part in self.parts.values():
            part.to(device=device, dtype=dtype)
        self.log_mel.to(device)
        self._centres = self._centres.to(device)
        self.alphas_cumprod = self.alphas_cumprod.to(device)
        return self

    def eval(self) -> "Model":
        """Put the networks in evaluation mode, without gradients. Returns self."""
        for part in self.parts.values():
            part.eval().requires_grad_(False)
        return self

    def merge(self, other: "Model") -> "Model":
        """A model with the parts of both; where both have a part, the one of `other`.

        The settings of latents, diffusion and filling and the envelope follow the denoiser, to
        which a student belongs: another denoiser comes without it. Raises `AudioSRError` if the
        log-mel settings differ.
        """
        if self.features != other.features:
            raise AudioSRError(f"log-mel settings differ: {self.features} and {other.features}")
        follows = other if other.denoiser is not None else self
        return Model(
            features=self.features,
            autoencoder=other.autoencoder or self.autoencoder,
            denoiser=other.denoiser or self.denoiser,
            vocoder=other.vocoder or self.vocoder,
            student=other.student or (self.student if follows is self else None),
            envelope=follows.envelope,
            latent=follows.latent,
            fill=follows.fill,
            diffusion=follows.diffusion,
            architectures=self.architectures | other.architectures,
            provenance=self.provenance | other.provenance,
        )

    def save(self, folder: str | Path, *, dtype: torch.dtype | None = None) -> Path:
        """Write the model folder, whole or not at all: built beside `folder`, then renamed."""
        with replaced_folder(folder) as building:
            for name, part in self.parts.items():
                # What half precision leaves of a covariance is none.
                rounded = None if name == ENVELOPE else dtype
                tensors = {
                    key: value.detach().to("cpu", rounded if value.is_floating_point() else None)
                    for key, value in part.state_dict().items()
                }
                path = building / f"{name}.safetensors"
                save_file({k: v.contiguous() for k, v in tensors.items()}, path)
                share_file(path)
            self.write_settings(building)
        return Path(folder)

    def write_settings(self, folder: Path) -> None:
        """Write what a model folder holds beside the weights: `model.yaml` and the card."""
        (folder / "model.yaml").write_text(yaml.safe_dump(self.settings(), sort_keys=False))
        (folder / "README.md").write_text(self.card())

    def settings(self) -> dict[str, Any]:
        """What `model.yaml` holds: all but the weights, as plain values."""
        return {
            "format": FORMAT,
            "networks": {name: self.architectures[name] for name in self.parts},
            "features": asdict(self.features),
            "latent": asdict(self.latent),
            "fill": asdict(self.fill),
            "diffusion": asdict(self.diffusion),
            "provenance": self.provenance,
        }

    def card(self) -> str:
        """The model card, as Markdown."""
        rows = [
            f"| {name} | `{self.architectures[name]['_target_'].rsplit('.', 1)[1]}` "
            f"| {sum(p.numel() for p in part.parameters()):,} |"
            for name, part in self.parts.items()
        ]
        origin = (
            yaml.safe_dump(self.provenance, sort_keys=False) if self.provenance else "unknown\n"
        )
        return (
            "---\ntags: [audio, audio-super-resolution, bandwidth-extension]\n---\n\n"
            "# AudioSR model\n\n"
            f"Audio super-resolution to {self.features.rate} Hz (AudioSR, arXiv 2309.07314).\n\n"
            "| network | class | parameters |\n| --- | --- | --- |\n" + "\n".join(rows) + "\n\n"
            'Use: `audiosr.load("FOLDER").restore(wave, rate)`, or '
            "`python infer.py input=FILE output=FILE model=FOLDER`.\n\n"
            "What it was trained on decides what it restores well; "
            "material unlike that needs a listen.\n\n"
            f"## Training\n\n```yaml\n{origin}```\n"
        )

    @classmethod
    def of(cls, settings: Mapping[str, Any], networks: Mapping[str, Any]) -> "Model":
        """The model of some networks and of what `settings` said of it."""
        return cls(
            features=MelSettings(**settings["features"]),
            latent=LatentSettings(**settings["latent"]),
            fill=FillSettings(**settings.get("fill", {})),
            diffusion=DiffusionSettings(**settings["diffusion"]),
            architectures=dict(settings["networks"]),
            provenance=settings["provenance"],
            **networks,
        )

    @classmethod
    def load(
        cls,
        folder: str | Path,
        *,
        parts: Collection[str] = NETWORKS,
        device: str | torch.device = "cpu",
        dtype: torch.dtype | None = None,
    ) -> "Model":
        """Read a model folder for inference: of its networks, those that `parts` names.

        With a denoiser comes the envelope that completes what it follows.

        Raises `AudioSRError` that says what is wrong.
        """
        folder = Path(folder)
        path = folder / "model.yaml"
        if not path.is_file():
            raise AudioSRError(
                f"no model at {folder} (it has no model.yaml): "
                "name another, or `compact`, which the package carries"
            )
        try:
            settings = yaml.safe_load(path.read_text())
        except yaml.YAMLError:
            settings = None
        if not isinstance(settings, dict) or settings.get("format") != FORMAT:
            raise AudioSRError(f"{path}: not a model.yaml of format {FORMAT}")
        try:
            if unknown := set(settings["networks"]) - {*NETWORKS}:
                raise KeyError(f"unknown network {', '.join(sorted(unknown))}")
            wanted = {*parts, *([ENVELOPE] if {"denoiser", STUDENT} & {*parts} else [])}
            architectures = {n: spec for n, spec in settings["networks"].items() if n in wanted}
            networks = {
                name: _read(spec, folder / f"{name}.safetensors")
                for name, spec in architectures.items()
            }
            model = cls.of(settings | {"networks": architectures}, networks)
        except (
            AttributeError,
            FileNotFoundError,
            ImportError,
            KeyError,
            RuntimeError,
            SafetensorError,
            TypeError,
        ) as error:
            raise AudioSRError(
                f"{folder}: broken model folder ({str(error).splitlines()[0]})"
            ) from error
        return model.eval().to(device, dtype)


def shipped_model(name: str | Path) -> Path | None:
    """The folder of the model that the package carries under `name`, such as "compact", if any."""
    folder = Path(__file__).with_name("weights") / name
    carried = len(Path(name).parts) == 1 and os.path.isfile(folder / "model.yaml")
    return folder if carried else None


def _read(spec: dict[str, Any], path: Path) -> Any:
    """The network of `spec` with the weights of a file, in float32.

    Weights that are float32 in the file are mapped into memory from it, so that no second set of
    them, the initial values, is ever made.
    """
    try:
        with torch.device("meta"):
            network = build_network(spec)
        whole = {name for name, _ in network.named_buffers()} <= network.state_dict().keys()
    except RuntimeError:  # it computes with the values of its tensors, of which meta has none
        whole = False
    if not whole:
        network = build_network(spec)
    network.load_state_dict(load_file(path), assign=whole)
    return network.float()
