"""Which network does a specification name, and which may it name?"""

from collections.abc import Mapping
from typing import Any

from torch import nn

from audiosr.errors import AudioSRError
from audiosr.trust import find_trusted

OURS = "audiosr.networks"


def build_network(spec: Mapping[str, Any]) -> Any:
    """Build a network from `{"_target_": class path, **arguments}`, where mappings may nest.

    A model folder may come from anywhere, so that only classes of `audiosr.networks` are built, and
    of the modules that the user names in `AUDIOSR_NETWORKS`.

    Returns:
        The network, an `nn.Module` of a type that only the specification knows.
    """
    network = find_trusted(str(spec["_target_"]), OURS, "a network")
    arguments = {
        key: build_network(value) if isinstance(value, dict) and "_target_" in value else value
        for key, value in spec.items()
        if key != "_target_"
    }
    if not (isinstance(network, type) and issubclass(network, nn.Module)):
        raise AudioSRError(f"model.yaml names {spec['_target_']}, which is not a network")
    return network(**arguments)
