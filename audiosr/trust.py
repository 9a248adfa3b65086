"""Which classes and functions may a model folder name, which may come from anywhere?"""

import importlib
import os
from typing import Any

from audiosr.errors import AudioSRError

TRUSTED = "AUDIOSR_NETWORKS"
"""Environment variable: modules or packages, separated by commas, that are trusted too."""


def find_trusted(target: str, ours: str, kind: str) -> Any:
    """The class or function `target`, if it is defined in the package `ours` or a trusted one.

    Raises:
        AudioSRError: it is not; the sentence says of which `kind` it was to be.
    """
    module, _, name = target.rpartition(".")
    trusted = [ours, *filter(None, os.environ.get(TRUSTED, "").split(","))]
    if not any(f"{module}.".startswith(f"{package}.") for package in trusted):
        raise AudioSRError(
            f"model.yaml names {target}, which is not {kind} of {ours}: "
            f"if you trust its code, set {TRUSTED}={module}"
        )
    return getattr(importlib.import_module(module), name)
