"""Where do latents come from that were encoded before? From a folder, by what was encoded."""

from collections.abc import Callable, Sequence
from hashlib import sha256
from pathlib import Path

import torch
from safetensors.torch import load_file, save_file
from torch import Tensor

from audiosr.files import atomic_path
from audiosr.model import Model
from audiosr.networks.gaussian import DiagonalGaussian


class LatentCache:
    """Posteriors of crops that come again, one file each, float32.

    A crop is known by its samples, so that a cache serves whatever data hold them. It comes again
    where clips are no longer than the crop; of longer ones each crop is another.

    Args:
        folder: where they are kept; several processes and runs may share it.
        model: whose autoencoder encodes; each has a folder of its own in `folder`.
        precision: in which it computes; likewise.
    """

    def __init__(self, folder: str | Path, model: Model, precision: str) -> None:
        assert model.autoencoder is not None
        digest = sha256(f"{model.features} {precision}".encode())
        for name, tensor in model.autoencoder.state_dict().items():
            digest.update(name.encode())
            digest.update(tensor.detach().cpu().contiguous().numpy().tobytes())
        self.folder = Path(folder) / digest.hexdigest()[:16]

    def posterior(
        self,
        crops: Sequence[str],
        encode: Callable[[Tensor], DiagonalGaussian],
        device: torch.device,
    ) -> DiagonalGaussian:
        """The posterior of `crops`, as `name_crops` names them.

        Args:
            crops: one name for each of B clips.
            encode: from the places `(n,)` of those that are not here yet to their posterior.
            device: where the result is to be.
        """
        paths = [self.folder / crop[:2] / f"{crop}.safetensors" for crop in crops]
        missing = [place for place, path in enumerate(paths) if not path.is_file()]
        if missing:
            made = encode(torch.tensor(missing, device=device))
            for place, mean, logvar in zip(missing, made.mean, made.logvar, strict=True):
                sides = {"mean": mean.float().cpu(), "logvar": logvar.float().cpu()}
                paths[place].parent.mkdir(parents=True, exist_ok=True)
                with atomic_path(paths[place]) as building:
                    save_file({name: side.contiguous() for name, side in sides.items()}, building)
        found = [load_file(path) for path in paths]
        mean, logvar = (
            torch.stack([each[side] for each in found]).to(device) for side in ("mean", "logvar")
        )
        return DiagonalGaussian(mean, logvar)


def name_crops(waveform: Tensor) -> list[str]:
    """A name for each clip of `waveform (B, 1, T)`, in the memory of the processor: its digest."""
    return [sha256(clip.contiguous().numpy().tobytes()).hexdigest()[:32] for clip in waveform]
