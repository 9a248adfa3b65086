"""How do a model's networks become programs that need none of its code? By `torch.export`."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from torch.export import Dim, ExportedProgram

from audiosr.errors import AudioSRError
from audiosr.files import atomic_path
from audiosr.model import Model
from audiosr.networks.roles import AutoencoderRole

MULTIPLE = 64
"""Mel frames of which encoder, decoder and denoiser take multiples, 0.64 s: a latent frame stands
for eight, and a U-Net halves its number up to three times. A vocoder takes any number."""

TOLERANCE = 1e-4
"""Of the largest value: by how much a program may differ from its network."""


def export_programs(model: Model, folder: Path) -> Iterator[tuple[Path, float]]:
    """Write `encoder.pt2`, `decoder.pt2`, `denoiser.pt2`, `vocoder.pt2`, for any batch and length.

    Each is what `torch.export.load(path).module()` calls: log-mel `(B, 1, T, F)` to the scaled
    latent `(B, C, T/8, F/8)`, and back; noisy latent, timesteps `(B,)` and condition to the
    prediction; log-mel to waveform `(B, 1, hop * T)`.

    Args:
        model: on the processor, in float32.
        folder: where to; programs of these names are replaced.

    Yields:
        The file, and the greatest difference from the network at a length and a batch that the
        program has not seen.

    Raises:
        AudioSRError: a network lacks, cannot be exported or comes out differently.
    """
    model.need("autoencoder", "denoiser", "vocoder")
    assert model.autoencoder is not None
    rows, blocks = Dim("rows", min=1), Dim("blocks", min=1)
    mel_shape: Any = {0: rows, 2: MULTIPLE * blocks}
    latent_shape: Any = {0: rows, 2: MULTIPLE // 8 * blocks}
    any_shape: Any = {0: rows, 2: Dim("frames", min=8)}
    networks: dict[str, tuple[Any, tuple[Any, ...]]] = {
        "encoder": (_Encoder(model.autoencoder, model.latent.scale), (mel_shape,)),
        "decoder": (_Decoder(model.autoencoder, model.latent.scale), (latent_shape,)),
        "denoiser": (model.denoiser, (latent_shape, {0: rows}, latent_shape)),
        "vocoder": (model.vocoder, (any_shape,)),
    }
    folder.mkdir(parents=True, exist_ok=True)
    traced, unseen = _inputs(model, rows=2, blocks=2), _inputs(model, rows=3, blocks=5)
    for name, (network, shapes) in networks.items():
        try:
            with torch.no_grad():
                program = torch.export.export(network, traced[name], dynamic_shapes=shapes)
        except (RuntimeError, ValueError) as error:
            reason = str(error).strip().partition("\n")[0]
            raise AudioSRError(f"the {name} cannot be exported: {reason}") from error
        difference = _difference(network, program, unseen[name])
        path = folder / f"{name}.pt2"
        with atomic_path(path) as partial, partial.open("wb") as file:
            torch.export.save(program, file)
        yield path, difference


class _Encoder(nn.Module):
    def __init__(self, autoencoder: AutoencoderRole, scale: float) -> None:
        super().__init__()
        self.autoencoder, self.scale = autoencoder, scale

    def forward(self, mel: Tensor) -> Tensor:
        return self.autoencoder.encode(mel).mean * self.scale


class _Decoder(nn.Module):
    def __init__(self, autoencoder: AutoencoderRole, scale: float) -> None:
        super().__init__()
        self.autoencoder, self.scale = autoencoder, scale

    def forward(self, latent: Tensor) -> Tensor:
        return self.autoencoder.decode(latent / self.scale)


@torch.no_grad()
def _inputs(model: Model, *, rows: int, blocks: int) -> dict[str, tuple[Tensor, ...]]:
    """What each program takes: the log-mel of noise, and what becomes of it."""
    generator = torch.Generator().manual_seed(rows)
    mel_shape = (rows, 1, MULTIPLE * blocks, model.features.n_mels)
    mel = torch.randn(mel_shape, generator=generator) - 5
    latent = model.encode(mel)
    noisy = torch.randn(latent.shape, generator=generator)
    timesteps = torch.randint(model.diffusion.timesteps, (rows,), generator=generator)
    cutoff_hz = torch.linspace(3000.0, 9000.0, rows)
    condition = model.condition(latent, cutoff_hz, torch.full_like(cutoff_hz, 24000.0))
    return {
        "encoder": (mel,),
        "decoder": (latent,),
        "denoiser": (noisy, timesteps, condition),
        "vocoder": (mel[:, :, :-3].contiguous(),),
    }


@torch.no_grad()
def _difference(network: Any, program: ExportedProgram, inputs: tuple[Tensor, ...]) -> float:
    wanted, found = network(*inputs), program.module()(*inputs)
    difference = float((wanted - found).abs().max())
    if not difference <= TOLERANCE * float(wanted.abs().max()):
        raise AudioSRError(f"the exported program differs from its network by {difference:.2g}")
    return difference
