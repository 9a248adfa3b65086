"""Which frozen networks does the diffusion stage stand on, and how does its run keep them?"""

from pathlib import Path

from omegaconf import DictConfig

from audiosr.errors import UsageError
from audiosr.model import Model
from audiosr.training.runs import find_model

FOLDER = "frozen"


def place_frozen(cfg: DictConfig) -> None:
    """Put the folders of the frozen networks that `cfg.stage` names into it.

    Raises:
        UsageError: there is no autoencoder.
    """
    where = {"outputs": cfg.paths.outputs, "size": cfg.size.name}
    autoencoder = find_model("stage.autoencoder", cfg.stage.autoencoder, stage="vae", **where)
    if autoencoder is None:
        raise UsageError(
            f"stage {cfg.stage.name} needs a trained autoencoder: "
            f"run `python train.py stage=vae size={cfg.size.name}` first, "
            "or give stage.autoencoder=FOLDER"
        )
    vocoder = find_model("stage.vocoder", cfg.stage.vocoder, stage="vocoder", **where)
    cfg.stage.autoencoder, cfg.stage.vocoder = str(autoencoder), vocoder and str(vocoder)


def load_frozen(cfg: DictConfig) -> Model:
    """The autoencoder, and any vocoder to listen by: those that the run keeps, or else `cfg`'s.

    Kept in the run folder they are what the run started with, wherever the folder is now and
    whatever became of the runs that they came from.
    """
    kept = Path(cfg.run_dir) / FOLDER
    if kept.is_dir():
        return Model.load(kept)
    autoencoder, vocoder = cfg.stage.autoencoder, cfg.stage.vocoder
    apart = vocoder is not None and vocoder != autoencoder
    model = Model.load(autoencoder, parts=["autoencoder"] if apart else ["autoencoder", "vocoder"])
    model.need("autoencoder")
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
