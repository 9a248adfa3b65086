"""Which runs, checkpoints and models does a configuration mean? Names become paths here, once."""

import uuid
from collections.abc import Callable, Sequence
from pathlib import Path

from omegaconf import DictConfig, OmegaConf

from audiosr.audio.mel import MelSettings
from audiosr.errors import UsageError
from audiosr.ranks import agree
from audiosr.training.finetune import diffusion_settings, place_start
from audiosr.training.frozen import keep_frozen, place_frozen
from audiosr.training.optimiser import OptimiserSettings
from audiosr.training.record import read_starts, record_start, say_and_log
from audiosr.training.runs import (
    claim_folder,
    find_run,
    model_folder,
    newest_checkpoint,
    shared_folder,
)
from audiosr.training.typed import check_values

# Groups that may be chosen again for a run that goes on, and keys that are settled at its start.
_FREE = ("trainer", "logger", "callbacks", "data", "degrade", "paths")
_SETTLED = ("size", "recipe", "experiment", "init", "stage.autoencoder", "stage.vocoder")

# float16 needs a scaler that two optimisers do not share; weights in bf16 lose small steps.
_PRECISIONS = ("32-true", "bf16-mixed")


def resolved(
    cfg: DictConfig,
    overrides: Sequence[str] = (),
    *,
    find_start: Callable[[str], Path] = Path,
) -> DictConfig:
    """The configuration that `train` follows: read-only, with a path for every name in `cfg`.

    `resume` becomes a checkpoint, `init`, `stage.autoencoder` and `stage.vocoder` model folders,
    and `run_dir` the folder of this run, which is there and is no other run's. Of processes that
    were started together the first one decides for all.

    Args:
        cfg: the composed configuration, of `conf/train.yaml`.
        overrides: what the user typed; a resumed run takes its saved configuration and then these.
        find_start: from what `init` names to a folder.

    Raises:
        UsageError: something is not there, or parts of the configuration contradict each other.
    """
    if (shared := shared_folder()) is not None:
        # A rank that Lightning has started follows what the first one has resolved and saved.
        return _read_only(_saved(shared))
    return _read_only(agree(lambda: _decided(cfg, overrides, find_start)))


def _decided(
    cfg: DictConfig, overrides: Sequence[str], find_start: Callable[[str], Path]
) -> DictConfig:
    folder, checkpoint = _earlier(cfg)
    if folder is not None:
        cfg = _resumed(cfg, folder, checkpoint, overrides)
        check(cfg)
        say_and_log(f"going on from {checkpoint or 'step 0'} in {folder}")
    else:
        cfg = cfg.copy()
        cfg.resume = None
        if cfg.init is not None:
            place_start(cfg, model_folder("init", find_start(str(cfg.init))))
        if "autoencoder" in cfg.stage:
            place_frozen(cfg)
        check(cfg)
        cfg.run_id = cfg.run_id or uuid.uuid4().hex[:8]
        folder = claim_folder(cfg.run_dir, dated=_dated(cfg))
    cfg.run_dir = str(folder.absolute())
    if "autoencoder" in cfg.stage:
        keep_frozen(cfg)
    record_start(folder, overrides)
    return cfg


def _earlier(cfg: DictConfig) -> tuple[Path | None, Path | None]:
    """Folder and checkpoint of the run that goes on; neither where a new one starts.

    There is no checkpoint where `resume=auto` finds a run that was ended before its first one.
    """
    if cfg.resume is None:
        return None, None
    if cfg.resume != "auto":
        return find_run(str(cfg.resume), cfg.paths.outputs, cfg.stage.name)
    if _dated(cfg):
        raise UsageError(
            "resume=auto looks for the run by its folder: name it, by run_dir=outputs/STAGE/NAME"
        )
    folder = Path(cfg.run_dir)
    if not (folder / "config.yaml").is_file():
        return None, None
    return folder, newest_checkpoint(folder)


def _dated(cfg: DictConfig) -> bool:
    return "${now:" in str(OmegaConf.to_container(cfg)["run_dir"])  # pyright: ignore


def check(cfg: DictConfig) -> None:
    """Refuse what does not fit or contradicts itself, in the sentence the user needs."""
    if str(cfg.trainer.precision) not in _PRECISIONS:
        raise UsageError(
            f"trainer.precision={cfg.trainer.precision}: choose {' or '.join(_PRECISIONS)}"
        )
    check_values(cfg, {"optimiser": OptimiserSettings, "features": MelSettings})
    diffusion_settings(cfg).process()
    hop, rate = cfg.features.hop, cfg.features.rate
    for key in ("crop_seconds", "valid_crop_seconds"):
        frames = cfg.data[key] * rate / hop
        if abs(frames - round(frames)) > 1e-6 or round(frames) % cfg.stage.frames_multiple:
            unit = cfg.stage.frames_multiple * hop / rate
            raise UsageError(
                f"data.{key}={cfg.data[key]} is not a multiple of {unit:g} s, "
                f"which stage {cfg.stage.name} needs"
            )
        if frames < (least := cfg.stage.get("frames_least", 0)):
            raise UsageError(
                f"data.{key}={cfg.data[key]} is too short for the discriminator of stage "
                f"{cfg.stage.name}, which needs {least * hop / rate:g} s"
            )
    if max(cfg.degrade.cutoff_hz) >= rate / 2:
        raise UsageError(f"degrade.cutoff_hz={list(cfg.degrade.cutoff_hz)} reaches {rate / 2:g} Hz")
    if cfg.trainer.get("gradient_clip_val") is not None:
        raise UsageError(
            "trainer.gradient_clip_val does not reach two optimisers: set optimiser.clip_norm"
        )


def _resumed(
    cfg: DictConfig, folder: Path, checkpoint: Path | None, overrides: Sequence[str]
) -> DictConfig:
    """The configuration saved in `folder`, changed by `overrides`.

    A group that is chosen otherwise than before is composed anew; what was settled when the run
    started cannot be.
    """
    saved = _saved(folder)
    if saved.stage.name != cfg.stage.name:
        raise UsageError(f"{folder} is a run of stage {saved.stage.name}, not {cfg.stage.name}")
    if "run_id" not in saved:
        raise UsageError(
            f"{folder} was saved by an earlier version, whose runs cannot be resumed: start a new "
            f"one from its weights, by init={folder}"
        )
    # A logger that keeps runs by an id has this one already, or something is wrong.
    for logger in (saved.logger or {}).values() if checkpoint else ():
        if "resume" in logger:
            logger.resume = "must"
    starts = read_starts(folder)
    before = {_key(override): override for start in starts for override in start.overrides}
    for override in overrides:
        key, again = _key(override), before.get(_key(override)) == override
        if key in ("resume", "run_dir", "stage") or (again and key in (*_FREE, *_SETTLED)):
            continue
        if key in _SETTLED:
            raise UsageError(f"{override} does not reach {folder}, which goes on as it was started")
        if key in _FREE and cfg.size.name != saved.size.name:
            raise UsageError(
                f"what {override} sets depends on the size: add size={saved.size.name}"
            )
        if key in _FREE:
            # What was typed for the group before still holds, as if all had been typed at once.
            typed = {k: OmegaConf.select(saved, k) for k in before if k.startswith(f"{key}.")}
            saved[key] = OmegaConf.to_container(cfg)[key]  # pyright: ignore
        else:
            typed = {key: OmegaConf.select(cfg, key)}
        for name, value in typed.items():
            OmegaConf.update(saved, name, value, merge=False, force_add=True)
    saved.resume = checkpoint and str(checkpoint)
    return saved


def _key(override: str) -> str:
    return override.partition("=")[0].lstrip("+~")


def _saved(folder: Path) -> DictConfig:
    cfg = OmegaConf.load(folder / "config.yaml")
    assert isinstance(cfg, DictConfig)
    OmegaConf.set_struct(cfg, True)
    return cfg


def _read_only(cfg: DictConfig) -> DictConfig:
    OmegaConf.set_readonly(cfg, True)
    return cfg
