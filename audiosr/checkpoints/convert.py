"""How does a released AudioSR checkpoint become a model folder, and a model folder one of those?

Both ways stand together, since each has to undo the other to the last bit.
"""

from pathlib import Path

import torch
from safetensors.torch import load_file
from torch import Tensor

from audiosr.checkpoints import layout as released
from audiosr.checkpoints.files import Pickled, listed, said, save, write_safetensors
from audiosr.checkpoints.files import Progress as OnBytes
from audiosr.errors import AudioSRError, UsageError
from audiosr.files import file_hash, replaced_folder
from audiosr.model import PARTS, DiffusionSettings, LatentSettings, Model
from audiosr.networks.build import build_network

EXPORT_DTYPES = {"float32": torch.float32, "bfloat16": torch.bfloat16, "float16": torch.float16}
"""In which the weights of a model folder may be kept."""
UNUSED = "unused.safetensors"
"""In a model folder: the tensors of a released checkpoint that no network of ours uses."""

# What the training framework of the release writes beside the weights.
_TRAINER = {
    "callbacks",
    "epoch",
    "global_step",
    "hparams_name",
    "hyper_parameters",
    "loops",
    "lr_schedulers",
    "optimizer_states",
    "pytorch-lightning_version",
}


def import_released(
    source: str | Path,
    out: str | Path,
    *,
    dtype: torch.dtype = torch.float32,
    ema: bool = False,
    keep_unused: bool = True,
    head_channels: int = released.HEAD_CHANNELS,
    expected_sha256: str | None = None,
    progress: OnBytes | None = None,
) -> Path:
    """Write the model folder of a released checkpoint, whole or not at all.

    Nothing of the file is run, and it is never in memory as a whole.

    Args:
        source: `pytorch_model.bin`, a dictionary with the key `state_dict`.
        out: the model folder; one that is there is replaced.
        dtype: in which the networks' weights are kept: float32, bfloat16 or float16.
        ema: take the moving average as the denoiser, instead of the weights that it averages.
        keep_unused: keep what no network uses (the other of weights and average is not kept), bit
            for bit in `unused.safetensors`, so that an export in float32 gives the same file back.
        head_channels: width of the denoiser's attention heads, which no shape tells.
        expected_sha256: hash that the file must have.
        progress: called with the number of bytes done; together `work(source)`.

    Raises:
        AudioSRError: not such a file, another hash, or tensors that are missing, mis-shaped,
            unknown, not finite, unlike the original that they should repeat, or off the schedule.
    """
    source, out = Path(source).expanduser(), Path(out).expanduser()
    if dtype not in EXPORT_DTYPES.values():
        raise UsageError(f"dtype={dtype}: choose one of {', '.join(EXPORT_DTYPES)}")
    tell = progress or (lambda count: None)
    file = Pickled(source)
    digest = file_hash(source, progress=progress)
    if expected_sha256 is not None and digest != expected_sha256:
        raise AudioSRError(
            f"{source} has the hash {digest} and not {expected_sha256}: it was cut short or "
            "changed, fetch it again"
        )
    shapes, dtypes = _tensors(file)
    try:
        layout = released.account(shapes, ema=ema, head_channels=head_channels)
    except AudioSRError as error:
        raise AudioSRError(f"{source} is no released checkpoint: {error}") from None
    averages = {name: ema_name for ema_name, name in layout.averages.items()} if ema else {}
    copies = {name: copy for copy, name in layout.copies.items() if copy in shapes}
    used = {*layout.weights, *copies.values(), released.SCALE, *averages.values()}
    unused = {name: (shapes[name], dtypes[name]) for name in shapes if name not in used}

    def tensor(name: str) -> Tensor:
        value = file.read("state_dict", name)
        tell(value.nbytes)
        return value

    def weight(name: str) -> Tensor:
        value = tensor(averages.get(name, name))
        if name in copies and not torch.equal(value, tensor(copies[name])):
            raise AudioSRError(
                f"{source}: {copies[name]} should repeat {name} and differs from it, so that it is "
                "not known which of the two is meant"
            )
        kept = value.to(dtype)
        if not kept.isfinite().all():
            raise AudioSRError(f"{source}: {averages.get(name, name)} is not finite in {dtype}")
        return kept

    for name in released.schedule_tables().keys() & shapes.keys():
        if (off := released.off_schedule(name, tensor(name))) > 1:
            raise AudioSRError(
                f"{source}: {name} is not that of the cosine schedule ({off:.3g} times the "
                "tolerance off), so this model was trained with another one"
            )
    scale = float(tensor(released.SCALE))
    if not 0 < scale < float("inf"):
        raise AudioSRError(f"{source}: scale_factor is {scale}, which scales no latent")
    with torch.device("meta"):
        networks = {name: build_network(spec) for name, spec in layout.networks.items()}
    model = Model(
        features=released.FEATURES,
        latent=LatentSettings(scale, released.NULL_VALUE),
        diffusion=DiffusionSettings(released.TIMESTEPS),
        architectures=layout.networks,
        provenance={
            "released": {
                "file": source.name,
                "sha256": digest,
                "denoiser": "moving average" if ema else "weights",
                "dtype": str(dtype).removeprefix("torch."),
            }
        },
        **networks,
    )
    with said(out), replaced_folder(out) as building:
        for network, tensors in layout.used.items():
            prefix = released.PREFIXES[network]
            write_safetensors(
                building / f"{network}.safetensors",
                {name: (shape, dtype) for name, shape in tensors.items()},
                lambda name, prefix=prefix: weight(prefix + name),
            )
        if keep_unused and unused:
            write_safetensors(building / UNUSED, unused, tensor)
        model.write_settings(building)
    return out


def export_released(
    folder: str | Path, out: str | Path, *, progress: OnBytes | None = None
) -> Path:
    """Write a model folder as a released checkpoint, float32, whole or not at all.

    The conditioner's copy and, where the folder keeps no other, the moving average are the weights
    of the networks; the file holds them once. CLAP, which restoring does not use, is in it only
    where the folder keeps it.

    Args:
        folder: model folder with the three networks of the released classes.
        out: the file; one that is there is replaced.
        progress: called with the number of bytes written.

    Raises:
        AudioSRError: a network, log-mel, schedule or null condition that the released format has no
            place for.
    """
    folder, out = Path(folder).expanduser(), Path(out).expanduser()
    model = Model.load(folder, parts=PARTS)
    model.need(*PARTS)
    for name, target in released.CLASSES.items():
        if (found := model.architectures[name]["_target_"]) != target:
            raise AudioSRError(
                f"{folder}: its {name} is {found}, and the released format holds {target} only"
            )
    fixed = {
        "features": (model.features, released.FEATURES),
        "diffusion": (model.diffusion, DiffusionSettings(released.TIMESTEPS)),
        "latent.null_value": (model.latent.null_value, released.NULL_VALUE),
    }
    for name, (found, wanted) in fixed.items():
        if found != wanted:
            raise AudioSRError(
                f"{folder}: {name} is {found}, and the released format means {wanted}"
            )
    weights = {
        released.PREFIXES[network] + name: value.detach()
        for network, part in model.parts.items()
        for name, value in part.state_dict().items()
    }
    layout = released.Layout(
        model.architectures,
        {
            network: {name: tuple(value.shape) for name, value in part.state_dict().items()}
            for network, part in model.parts.items()
        },
    )
    kept = load_file(folder / UNUSED) if (folder / UNUSED).is_file() else {}
    fill = released.fill_in(layout)
    state = {
        **{name: fill.pop(name) for name in list(fill) if not name.startswith("model_ema.")},
        released.SCALE: torch.tensor(model.latent.scale),
        **weights,
        **fill,
        **{name: weights[original] for name, original in layout.averages.items()},
        **{name: weights[original] for name, original in layout.copies.items()},
    }
    if strange := [n for n in kept if n not in state and not n.startswith("clap.")]:
        raise AudioSRError(f"{folder / UNUSED} holds what no checkpoint has: {listed(strange)}")
    with said(out):
        save({"state_dict": {**state, **kept}}, out, progress)
    return out


def _tensors(file: Pickled) -> tuple[dict[str, tuple[int, ...]], dict[str, torch.dtype]]:
    """Shapes and dtypes of the state dict, in which nothing but tensors may stand."""
    state = file.content.get("state_dict")
    if not isinstance(state, dict) or not state:
        raise AudioSRError(f"{file.path} has no state_dict: it is no released checkpoint")
    if others := [str(name) for name in file.content.keys() - {"state_dict"} - _TRAINER]:
        raise AudioSRError(f"{file.path} holds unknown things: {listed(sorted(others))}")
    if odd := [str(name) for name, value in state.items() if not isinstance(value, Tensor)]:
        raise AudioSRError(f"{file.path}: these are no tensors: {listed(odd)}")
    shapes = {str(name): tuple(value.shape) for name, value in state.items()}
    return shapes, {str(name): value.dtype for name, value in state.items()}
