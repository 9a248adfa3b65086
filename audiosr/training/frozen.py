"""Which frozen networks does a stage of diffusion stand on, and how does its run keep them?"""

from dataclasses import asdict
from pathlib import Path

import yaml
from omegaconf import DictConfig

from audiosr.errors import UsageError
from audiosr.model import Model, shipped_model
from audiosr.training.finetune import take_process
from audiosr.training.runs import find_model

FOLDER = "frozen"


def place_frozen(cfg: DictConfig) -> None:
    """Put the folders of the frozen networks that `cfg.stage` names into it.

    Where nothing has been trained yet they are those of the model that the package carries, if its
    autoencoder is of the kind of this size.

    Raises:
        UsageError: there is no autoencoder.
    """
    where = {"outputs": cfg.paths.outputs, "size": cfg.size.name}
    if "teacher" in cfg.stage:
        _place_teacher(cfg, find_model("stage.teacher", cfg.stage.teacher, stage="ldm", **where))
    autoencoder = find_model("stage.autoencoder", cfg.stage.autoencoder, stage="vae", **where)
    vocoder = find_model("stage.vocoder", cfg.stage.vocoder, stage="vocoder", **where)
    if autoencoder is None and (carried := _carried(cfg)):
        print(f"nothing of stage vae yet: the autoencoder of the model {carried.name}", flush=True)
        autoencoder = carried
        vocoder = vocoder or (carried if cfg.stage.vocoder == "newest" else None)
    if autoencoder is None:
        raise UsageError(
            f"stage {cfg.stage.name} needs a trained autoencoder: "
            f"run `python train.py stage=vae size={cfg.size.name}` first, "
            "or give stage.autoencoder=FOLDER"
        )
    cfg.stage.autoencoder, cfg.stage.vocoder = str(autoencoder), vocoder and str(vocoder)


def _place_teacher(cfg: DictConfig, folder: Path | None) -> None:
    """Let a student learn from the denoiser in a model folder, with what belongs to it.

    Raises:
        UsageError: there is none.
    """
    if folder is None or not (folder / "denoiser.safetensors").is_file():
        raise UsageError(
            f"stage {cfg.stage.name} needs a trained denoiser to learn from: "
            f"run `python train.py stage=ldm size={cfg.size.name}` first, or give "
            "stage.teacher=FOLDER"
        )
    teacher = Model.load(folder, parts=["denoiser"])
    take_process(cfg, f"stage.teacher={folder}", teacher.diffusion)
    cfg.stage.module.null_value = teacher.latent.null_value
    cfg.stage.module.condition_on = list(teacher.latent.condition_on)
    cfg.stage.module.fill = asdict(teacher.fill)
    cfg.stage.teacher = cfg.stage.autoencoder = str(folder)
    if cfg.stage.vocoder == "newest" and (folder / "vocoder.safetensors").is_file():
        cfg.stage.vocoder = str(folder)


def _carried(cfg: DictConfig) -> Path | None:
    """The package's model, if its autoencoder is built as that of this size."""
    folder = shipped_model("compact")
    if folder is None:
        return None
    kind = yaml.safe_load((folder / "model.yaml").read_text())["networks"]["autoencoder"]
    return folder if kind["_target_"] == cfg.size.autoencoder._target_ else None


def load_frozen(cfg: DictConfig) -> Model:
    """The autoencoder, a teacher, and any vocoder to listen by: those of the run, or else `cfg`'s.

    Kept in the run folder they are what the run started with, wherever the folder is now and
    whatever became of the runs that they came from.
    """
    kept = Path(cfg.run_dir) / FOLDER
    if kept.is_dir():
        return Model.load(kept)
    autoencoder, vocoder = cfg.stage.autoencoder, cfg.stage.vocoder
    apart = vocoder is not None and vocoder != autoencoder
    parts = ["autoencoder", *(["denoiser"] if "teacher" in cfg.stage else [])]
    model = Model.load(autoencoder, parts=parts if apart else [*parts, "vocoder"])
    model.need(*parts)
    if vocoder is not None and apart:
        model = model.merge(Model.load(vocoder, parts=["vocoder"]))
    if vocoder is not None:
        model.need("vocoder")
    return model


def keep_frozen(cfg: DictConfig) -> None:
    """Keep the networks of `load_frozen` in the run folder."""
    kept = Path(cfg.run_dir) / FOLDER
    if not kept.is_dir():
        load_frozen(cfg).save(kept)
