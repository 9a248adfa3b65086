"""What does a user hear who asks for the options, or asks for one that there is not?"""

import difflib
import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml
from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.errors import HydraException, MissingConfigException, OverrideParseException
from omegaconf import DictConfig, ListConfig

from audiosr.errors import UsageError

_GLOBAL = "# @package _global_\n"


@dataclass(frozen=True)
class ConfigFiles:
    """A primary configuration, and the folders in which it and its groups lie.

    Attributes:
        name: of the primary configuration, without `.yaml`.
        folders: that of the package, and one that the user adds.
        compose: from overrides to the configuration; raises `UsageError`.
    """

    name: str
    folders: tuple[Path, ...]
    compose: Callable[[Sequence[str]], DictConfig]

    def text(self, name: str) -> str:
        """The content of a file, empty where it is in none of the folders."""
        paths = [path for folder in self.folders if (path := folder / name).is_file()]
        return paths[0].read_text(encoding="utf-8") if paths else ""

    def defaults(self) -> list[dict[str, Any]]:
        """The entries of the defaults list that choose from a group."""
        content = yaml.safe_load(self.text(f"{self.name}.yaml")) or {}
        return [entry for entry in content.get("defaults", []) if isinstance(entry, dict)]

    def groups(self) -> dict[str, list[str]]:
        """The groups in the defaults list, each with its choices."""
        groups: dict[str, list[str]] = {}
        for entry in self.defaults():
            # An entry reads `group: choice`, with `optional`, `override` and `@package` around it.
            name = next(key for key in entry if key not in ("optional", "override"))
            group = name.split()[-1].partition("@")[0].lstrip("/")
            found = {f.stem for folder in self.folders for f in (folder / group).glob("*.yaml")}
            groups[group] = sorted(found)
        return groups

    def check(self, overrides: Sequence[str]) -> None:
        """Refuse a choice that is made twice, which Hydra would merge into one.

        Raises:
            UsageError: a list of choices names one of them twice.
        """
        for override in overrides:
            group, _, value = override.partition("=")
            if group in self.groups() and value[:1] == "[":
                names = [name.strip() for name in value.strip("[]").split(",")]
                if twice := next((name for name in names if names.count(name) > 1), None):
                    raise UsageError(f"{group} names {twice} twice: name each choice once")

    def describe(self, program: Sequence[str]) -> str:
        """Groups with their choices, then the keys at the top level with their comments."""
        command = " ".join([Path(program[0]).name, *program[1:]])
        flags = "[--cfg job] [-m] [--config-dir FOLDER] [--debug] [--help] [--hydra-help]"
        lines = [f"usage: {command} [key=value ...] {flags}", ""]
        lines += [f"{group}={'|'.join(choices)}" for group, choices in self.groups().items()]
        primary = f"{self.name}.yaml"
        chosen = [
            f"{group}/{name}.yaml" for entry in self.defaults() for group, name in entry.items()
        ]
        for name in (primary, *chosen):
            text = self.text(name)
            # A default choice that fills the top level holds settings as the primary file does.
            if name == primary or text.startswith(_GLOBAL):
                lines += ["", f"conf/{name}:", "", text.removeprefix(_GLOBAL).strip()]
        return "\n".join(lines)


def explain(error: Exception, overrides: Sequence[str], files: ConfigFiles) -> str:
    """Say in one sentence what Hydra, OmegaConf or YAML found wrong with `overrides` of `files`."""
    if isinstance(error, MissingConfigException) and error.options is not None:
        group, _, choice = (error.missing_cfg_file or "").rpartition("/")
        return f"{group} has no choice {choice}: {_list(sorted(error.options), choice)}"
    if isinstance(error, OverrideParseException):
        return (
            f"cannot read the override {error.override!r}: write key=value, and put text "
            "that holds brackets, braces or commas in quotes"
        )
    if isinstance(error, yaml.MarkedYAMLError) and error.problem_mark is not None:
        mark = error.problem_mark
        return f"{mark.name}, line {mark.line + 1}: not valid YAML, {error.problem}"
    if not str(error) and isinstance(error.__cause__, Exception):
        error = error.__cause__
    message = " ".join(str(error).split())
    for override in overrides:
        key = override.lstrip("+~").partition("=")[0]
        if message.startswith(f"Could not override '{key}'"):
            reason = f"{message} {error.__cause__}"
            if "not in struct" in reason or "No match in the defaults list" in reason:
                rest = [o for o in overrides if o != override]
                return f"unknown key {key} in conf/{files.name}.yaml{_near(key, files, rest)}"
            return f"cannot set {override}: {_first_line(error.__cause__ or error)}"
    if unmade := re.match("You must specify '(.+?)'", message):
        choices = "|".join(files.groups().get(unmade[1], ["..."]))
        return f"no choice for {unmade[1]}: give {unmade[1]}={choices}"
    key = getattr(error, "full_key", None)
    return f"{key}: {_first_line(error)}" if key else message


def _near(key: str, files: ConfigFiles, overrides: Sequence[str]) -> str:
    """Name the keys that look like `key` in the configuration without the override at fault."""
    try:
        parsed = OverridesParser.create().parse_overrides(list(overrides))
        cfg = files.compose([o.input_line or "" for o in parsed if not o.is_sweep_override()])
    except (HydraException, UsageError):
        return ""
    known = [*_keys(cfg), *files.groups()]
    leaves = {k.rpartition(".")[2]: k for k in known}
    near = difflib.get_close_matches(key, known, cutoff=0.7)
    near += [leaves[k] for k in difflib.get_close_matches(key.rpartition(".")[2], list(leaves))]
    names = list(dict.fromkeys(near))[:3]
    return f": did you mean {' or '.join(names)}?" if names else "; --help lists the keys"


def _list(options: list[str], wanted: str) -> str:
    near = difflib.get_close_matches(wanted, options, n=1)
    return (f"did you mean {near[0]}? " if near else "") + f"choose from {', '.join(options)}"


def _first_line(error: BaseException) -> str:
    return str(error).strip().splitlines()[0]


def _keys(node: DictConfig | ListConfig, prefix: str = "") -> list[str]:
    """Dotted names of every key of a configuration."""
    names: list[str] = []
    if isinstance(node, DictConfig) and not node._is_none():
        for name in node:
            names.append(f"{prefix}{name}")
            child = node._get_node(name)
            if isinstance(child, DictConfig):
                names += _keys(child, f"{prefix}{name}.")
    return names
