"""AudioSR: audio of any kind, heard through a few kilohertz, comes back as full-band 48 kHz.

    model = audiosr.load()
    wave = model.restore(wave, rate)

Nothing heavy is imported before `load` is called.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pathlib import Path

    import torch

    from audiosr.restore.restorer import Restorer

__version__ = "0.1.0"
__all__ = ["__version__", "load"]

DEFAULT_MODEL = "compact"
"""The model that the package carries."""


def load(
    model: str | Path = DEFAULT_MODEL,
    *,
    device: str | torch.device = "auto",
    dtype: str | torch.dtype = "float32",
    batch_seconds: float = 20.48,
) -> Restorer:
    """Load a model for restoration.

    Args:
        model: "compact", which the package carries; or a model folder with autoencoder, denoiser
            and vocoder, a run folder, a released checkpoint (`.bin`), `"audiosr_basic"`,
            `"audiosr_speech"`, or a hub id `owner/name`.
        device: as torch names it; "auto" is the first GPU, or else the processor.
        dtype: precision of the networks, "float32" or "bfloat16".
        batch_seconds: of audio, over all windows and channels, that are in the networks at once.

    Raises:
        AudioSRError: no such model, a broken one, one that lacks a network or cannot be fetched.
        UsageError: a device that is not there, or another dtype.
    """
    from audiosr.checkpoints.hub import resolve
    from audiosr.restore.load import load_restorer

    return load_restorer(resolve(model), device=device, dtype=dtype, batch_seconds=batch_seconds)
