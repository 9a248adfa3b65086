"""Which network does a specification name, and which may it name?"""

import importlib
import os
from collections.abc import Mapping
from typing import Any

from torch import nn

from audiosr.errors import AudioSRError

OURS = "audiosr.networks"
TRUSTED = "AUDIOSR_NETWORKS"
"""Environment variable: modules or packages, separated by commas, whose networks are built too."""


def build_network(spec: Mapping[str, Any]) -> Any:
    """Build a network from `{"_target_": class path, **arguments}`, where mappings may nest.

    A model folder may come from anywhere, so that only classes of `audiosr.networks` are built, and
    of the modules that the user names in `AUDIOSR_NETWORKS`.

    Returns:
        The network, an `nn.Module` of a type that only the specification knows.
    """
    target = str(spec["_target_"])
    module, _, name = target.rpartition(".")
    trusted = [OURS, *filter(None, os.environ.get(TRUSTED, "").split(","))]
    if not any(f"{module}.".startswith(f"{package}.") for package in trusted):
        raise AudioSRError(
            f"model.yaml names {target}, which is not a network of {OURS}: "
            f"if you trust its code, set {TRUSTED}={module}"
        )
    arguments = {
        key: build_network(value) if isinstance(value, dict) and "_target_" in value else value
        for key, value in spec.items()
        if key != "_target_"
    }
    network = getattr(importlib.import_module(module), name)
    if not (isinstance(network, type) and issubclass(network, nn.Module)):
        raise AudioSRError(f"model.yaml names {target}, which is not a network")
    return network(**arguments)
