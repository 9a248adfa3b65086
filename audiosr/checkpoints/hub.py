"""Which model folder does a name mean, and how do folders reach the Hugging Face hub?"""

import hashlib
import re
from pathlib import Path

from audiosr.checkpoints.convert import import_released
from audiosr.checkpoints.files import listed, work
from audiosr.checkpoints.trained import export_checkpoint, holds_model
from audiosr.errors import AudioSRError
from audiosr.files import cache_folder
from audiosr.model import NETWORKS, shipped_model
from audiosr.progress import progress_bar

RELEASED = {
    "audiosr_basic": "haoheliu/audiosr_basic",
    "audiosr_speech": "haoheliu/audiosr_speech",
}
"""The released models and their hub repositories."""
RELEASED_FILE = "pytorch_model.bin"
_SUFFIXES = (".bin", ".ckpt")
_HUB_ID = re.compile(r"[\w-][\w.-]*/[\w.-]*[\w-]")
_WANTED = ["model.yaml", "README.md", *(f"{part}.safetensors" for part in NETWORKS)]


def resolve(model: str | Path) -> Path:
    """The model folder that `model` means, made or fetched if need be.

    In this order: a folder (a model folder, a run folder with `model/` or checkpoints in it, or
    one that holds `pytorch_model.bin`), a checkpoint of a training run (with the average of the
    weights where there is one), a released checkpoint as a file (`.bin`, `.ckpt`), the name of a
    model that the package carries ("compact") or of a released one, the hub id `owner/name` of a
    model folder. Checkpoints are converted once into `cache_folder()`. What looks like none of
    these comes back as it is, and loading it says so.

    Raises:
        AudioSRError: it cannot be fetched, or is not what it should be.
    """
    path = Path(model).expanduser()
    if path.is_dir():
        for folder in (path, path / "model"):
            if (folder / "model.yaml").is_file():
                return folder
        for file in (path / RELEASED_FILE, path / "checkpoints/last.ckpt"):
            if file.is_file():
                return _converted(file)
        return path
    if path.is_file() and path.suffix in _SUFFIXES:
        return _converted(path)
    if carried := shipped_model(model):
        return carried
    if str(model) in RELEASED:
        return _released(str(model))
    if not path.exists() and _HUB_ID.fullmatch(str(model)):
        return _fetched(str(model))
    return path


def push(folder: str | Path, repo_id: str, *, private: bool = False) -> str:
    """Upload a model folder to the hub repository `repo_id`, which is made if it is not there.

    You must be logged in (`hf auth login`).

    Returns:
        The address of the repository.

    Raises:
        AudioSRError: no model folder, or the hub refuses.
    """
    from huggingface_hub import HfApi

    folder = Path(folder).expanduser()
    if not (folder / "model.yaml").is_file():
        raise AudioSRError(f"{folder} is no model folder (it has no model.yaml): name another")
    api = HfApi()
    try:
        address = api.create_repo(repo_id, private=private, exist_ok=True)
        api.upload_folder(repo_id=repo_id, folder_path=folder, allow_patterns=_WANTED)
    except (OSError, ValueError) as error:
        raise AudioSRError(f"{folder} could not be pushed to {repo_id}: {_line(error)}") from error
    return str(address)


def _released(name: str) -> Path:
    """The model folder of a released model: from the cache, a file put there, or the hub."""
    folder = cache_folder() / name
    if (folder / "model.yaml").is_file():
        return folder
    placed = cache_folder() / f"{name}.bin"
    if placed.is_file():
        _convert(placed, folder)
        return folder
    from huggingface_hub import get_hf_file_metadata, hf_hub_download, hf_hub_url
    from huggingface_hub.errors import OfflineModeIsEnabled

    address = hf_hub_url(RELEASED[name], RELEASED_FILE)
    expected = None
    try:
        downloaded = Path(hf_hub_download(RELEASED[name], RELEASED_FILE))
        try:
            # For large files the hub's tag is the SHA-256.
            etag = get_hf_file_metadata(address).etag or ""
            expected = etag if re.fullmatch(r"[0-9a-f]{64}", etag) else None
        except (OfflineModeIsEnabled, OSError):
            # An earlier download, offline: the hub's cache names it by its tag.
            blob = downloaded.resolve().name
            expected = blob if re.fullmatch(r"[0-9a-f]{64}", blob) else None
    except (OSError, ValueError) as error:
        raise AudioSRError(
            f"{name} is not on this machine and could not be fetched ({_line(error)}): download "
            f"{address} on another and put it at {placed}"
        ) from error
    _convert(downloaded, folder, expected_sha256=expected)
    return folder


def _fetched(repo_id: str) -> Path:
    """The hub's model folder `repo_id`, in the hub's own cache."""
    from huggingface_hub import snapshot_download

    try:
        folder = Path(snapshot_download(repo_id, allow_patterns=_WANTED))
    except (OSError, ValueError) as error:
        raise AudioSRError(
            f"{repo_id} is no folder here, and as a model of the hub it could not be fetched "
            f"({_line(error)}): check the name, or download https://huggingface.co/{repo_id} on "
            "another machine and give its folder"
        ) from error
    if not (folder / "model.yaml").is_file():
        raise AudioSRError(f"{repo_id} on the hub holds no model.yaml: it is no model folder")
    return folder


def _converted(path: Path) -> Path:
    """The model folder of a local checkpoint; made again when the file has changed."""
    path = path.resolve()
    stat = path.stat()
    key = hashlib.sha256(f"{path} {stat.st_size} {stat.st_mtime_ns}".encode()).hexdigest()[:16]
    folder = cache_folder() / f"{path.stem}-{key}"
    if not (folder / "model.yaml").is_file():
        _convert(path, folder)
    return folder


def _convert(path: Path, folder: Path, *, expected_sha256: str | None = None) -> None:
    if holds_model(path):
        export_checkpoint(path, folder)
        return
    with progress_bar(f"converting {path.name}", work(path), of_bytes=True) as progress:
        import_released(
            path, folder, keep_unused=False, expected_sha256=expected_sha256, progress=progress
        )


def _line(error: Exception) -> str:
    """The first line of what went wrong, without the full stop."""
    lines = listed([line for line in str(error).splitlines() if line.strip()][:1])
    return lines.strip().rstrip(".") or type(error).__name__
