"""How was a run started, and what did it say? `run.yaml` and `train.log` in its folder."""

import logging
import platform
import shlex
import subprocess
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field
from datetime import datetime, timezone
from importlib.metadata import version
from pathlib import Path
from typing import Any

import torch
import yaml

from audiosr.files import atomic_path

_PACKAGES = (
    "audiosr-lightning",
    "lightning",
    "torch",
    "torchaudio",
    "torchmetrics",
    "numpy",
    "hydra-core",
    "wandb",
)


@dataclass(frozen=True)
class RunStart:
    """One start of a run, the first or a resumption.

    Attributes:
        time: when, ISO 8601 in UTC; what `last` and `newest` compare.
        command: what was typed.
        overrides: the settings among it.
        git: commit of the code and whether files differ from it; empty outside a checkout.
        versions: of Python, this package and what it stands on.
        host: name of the machine.
    """

    time: str
    command: str
    overrides: list[str]
    git: dict[str, Any] = field(default_factory=dict)
    versions: dict[str, str] = field(default_factory=dict)
    host: str = ""


_LOG = logging.getLogger("audiosr")


def say_and_log(text: str) -> None:
    """Print a line, and write it into the log of the run if there is one."""
    print(text, flush=True)
    _LOG.info(text)


@contextmanager
def kept_log(folder: Path) -> Iterator[None]:
    """Write what is said, what Lightning reports and how it ends into `train.log`."""
    handler = logging.FileHandler(folder / "train.log", delay=True)
    handler.setFormatter(logging.Formatter("%(asctime)s %(levelname)s %(message)s"))
    loggers = [_LOG, *(logging.getLogger(f"lightning.{name}") for name in ("pytorch", "fabric"))]
    for logger in loggers:
        for shown in logger.handlers:
            shown.setLevel(logging.WARNING)  # no tips, no advertisements
        logger.setLevel(logging.INFO)
        logger.addHandler(handler)
    try:
        yield
    except BaseException as error:
        _LOG.error("ended by %s: %s", type(error).__name__, error)
        raise
    finally:
        for logger in loggers:
            logger.removeHandler(handler)
        handler.close()


def record_start(folder: Path, overrides: Sequence[str]) -> None:
    """Add a start, now and by this process, to `run.yaml` in the run folder."""
    start = RunStart(
        time=datetime.now(timezone.utc).isoformat(),
        command=shlex.join(sys.argv),
        overrides=list(overrides),
        git=git_state(Path(__file__).parents[2]),
        versions={
            "python": platform.python_version(),
            **{name: version(name) for name in _PACKAGES},
            **({"cuda": torch.version.cuda} if torch.version.cuda else {}),
        },
        host=platform.node(),
    )
    starts = [asdict(known) for known in read_starts(folder)] + [asdict(start)]
    with atomic_path(folder / "run.yaml") as partial:
        partial.write_text(yaml.safe_dump({"starts": starts}, sort_keys=False))


def read_starts(folder: Path) -> list[RunStart]:
    """The starts of a run, the first one first; empty where they were not written down."""
    path = folder / "run.yaml"
    if not path.is_file():
        return []
    return [RunStart(**start) for start in yaml.safe_load(path.read_text())["starts"]]


def last_started(folder: Path) -> str:
    """When the run was last started or resumed; empty, before all times, where nobody knows."""
    starts = read_starts(folder)
    return starts[-1].time if starts else ""


def git_state(folder: Path) -> dict[str, Any]:
    """`commit` of the checkout at `folder` and whether it is `dirty`; empty where it is none."""
    commit = _git(folder, "rev-parse", "HEAD") if (folder / ".git").exists() else None
    if commit is None:
        return {}
    changed = _git(folder, "status", "--porcelain", "--untracked-files=no")
    return {"commit": commit, "dirty": bool(changed)}


def _git(folder: Path, *arguments: str) -> str | None:
    try:
        done = subprocess.run(
            ["git", "-C", str(folder), *arguments], capture_output=True, text=True, timeout=30
        )
    except (OSError, subprocess.TimeoutExpired):
        return None
    return done.stdout.strip() if done.returncode == 0 else None
