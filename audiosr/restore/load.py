"""Which device and precision does a model restore with?"""

from pathlib import Path

import torch

from audiosr.errors import UsageError
from audiosr.model import Model
from audiosr.restore.restorer import BATCH_SECONDS, Restorer

NETWORK_DTYPES = {"float32": torch.float32, "bfloat16": torch.bfloat16}


def load_restorer(
    model: str | Path,
    *,
    device: str | torch.device = "auto",
    dtype: str | torch.dtype = "float32",
    batch_seconds: float = BATCH_SECONDS,
) -> Restorer:
    """Read a model folder and put it on a device; the arguments of `audiosr.load`."""
    if not isinstance(batch_seconds, int | float) or not batch_seconds > 0:
        raise UsageError(f"batch_seconds={batch_seconds}: give a number of seconds above 0")
    name = str(dtype).removeprefix("torch.")
    if name not in NETWORK_DTYPES:
        raise UsageError(f"dtype={name}: choose one of {', '.join(NETWORK_DTYPES)}")
    chosen = NETWORK_DTYPES[name]
    # Weights that autocast would round at every call are rounded once, and take half the memory.
    rounded = None if chosen == torch.float32 else chosen
    loaded = Model.load(Path(model).expanduser(), device=torch_device(device), dtype=rounded)
    return Restorer(loaded, dtype=chosen, batch_seconds=batch_seconds)


def torch_device(name: str | torch.device) -> torch.device:
    """The device that `name` means; "auto" is a GPU if there is one.

    Raises:
        UsageError: torch knows no such device, or it is not there.
    """
    if name == "auto":
        accelerator = torch.accelerator.current_accelerator(check_available=True)
        return accelerator or torch.device("cpu")
    try:
        device = torch.device(name)
        torch.empty(1, device=device)
    except (RuntimeError, AssertionError, NotImplementedError) as error:
        raise UsageError(f"device={name} cannot be used here: choose auto, cpu or cuda") from error
    return device
