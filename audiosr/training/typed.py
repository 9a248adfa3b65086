"""Does each value of a configuration fit the argument that it is for? Annotations say what fits."""

import importlib
import re
from collections.abc import Iterator, Mapping
from typing import Any, cast, get_type_hints

from omegaconf import DictConfig, OmegaConf
from pydantic import ConfigDict, TypeAdapter, ValidationError
from pydantic.errors import PydanticUserError
from pydantic_core import SchemaError

from audiosr.errors import UsageError

_LENIENT = ConfigDict(arbitrary_types_allowed=True)


def check_values(cfg: DictConfig, settings: Mapping[str, type]) -> None:
    """Refuse a value that the class which a `_target_` names does not take.

    Args:
        cfg: the configuration.
        settings: classes of the nodes that name none, by key.

    Raises:
        UsageError: it says which key, which value, and what would fit.
    """
    values, written = OmegaConf.to_container(cfg, resolve=True), OmegaConf.to_container(cfg)
    for key, value, hint, source in _arguments(cast(Any, values), written, settings, ""):
        if (wrong := _mismatch(value, hint)) is not None:
            # An interpolation is what the user knows the value by.
            name = re.fullmatch(r"\$\{([\w.]+)\}", str(source))
            raise UsageError(f"{name[1] if name else key}={value}: {wrong}")


def _arguments(
    node: dict[str, Any], written: Any, settings: Mapping[str, type], place: str
) -> Iterator[tuple[str, Any, Any, Any]]:
    """Key, value, annotation and text of the plain arguments in `node` and below."""
    hints = _hints(node, settings.get(place.rstrip(".")))
    for name, value in node.items():
        source = written.get(name) if isinstance(written, dict) else None
        if isinstance(value, dict) and (name not in hints or "_target_" in str(value)):
            yield from _arguments(value, source, settings, f"{place}{name}.")
        elif name in hints:
            yield f"{place}{name}", value, hints[name], source


def _hints(node: dict[str, Any], known: type | None) -> dict[str, Any]:
    """Annotations of the arguments of what `node` is made into; none where they cannot be read."""
    if known is None and "_target_" not in node:
        return {}
    try:
        if known is None:
            module, _, name = node["_target_"].rpartition(".")
            known = getattr(importlib.import_module(module), name)
        if not isinstance(known, type):
            return get_type_hints(known)
        # What a class takes as **settings, it hands to the classes that it is built on.
        return {
            k: v for c in reversed(known.__mro__) for k, v in get_type_hints(c.__init__).items()
        }
    except (ImportError, AttributeError, NameError, TypeError):
        return {}  # building it says what is wrong


def _mismatch(value: Any, hint: Any) -> str | None:
    """Why `value` is none of `hint`; None where it is one."""
    try:
        taken = TypeAdapter(hint, config=_LENIENT).validate_python(value)
    except ValidationError as error:
        reasons = dict.fromkeys(found["msg"].partition(",")[0] for found in error.errors())
        return "; or ".join(list(reasons)[:3]).lower()
    except (PydanticUserError, SchemaError, TypeError):
        return None  # an annotation that is no plain type
    # Text that reads as a number, or a switch, is not turned into one on the way.
    if (
        isinstance(value, str | bool)
        and isinstance(taken, int | float)
        and type(taken) is not type(value)
    ):
        return "input should be a number"
    return None
