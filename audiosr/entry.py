"""How does an entry point turn its command line into a configuration?

The scripts take `key=value` overrides of a file in `conf/`; Hydra composes them and writes nothing.
What is wrong with the overrides is said in one sentence.
"""

import difflib
import itertools
import os
import re
import subprocess
import sys
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path

import yaml
from hydra import compose, initialize_config_dir
from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.errors import (
    HydraException,
    InstantiationException,
    MissingConfigException,
    OverrideParseException,
)
from omegaconf import DictConfig, ListConfig, OmegaConf
from omegaconf.errors import OmegaConfBaseException

from audiosr.errors import AudioSRError, UsageError, report
from audiosr.files import config_folder

_GLOBAL = "# @package _global_\n"
_FLAGS = {"-h", "--help", "-m", "--multirun", "--cfg", "--debug"}


def run_hydra(
    main: Callable[[DictConfig], object],
    config_name: str,
    argv: Sequence[str] | None = None,
    *,
    paths: Sequence[str] = (),
) -> int:
    """Compose a configuration from the command line, call `main(cfg)`, return the exit code.

    Args:
        main: receives the resolved configuration in struct mode; an `int` it returns is the code.
        config_name: name of the primary configuration in `conf/`, without `.yaml`.
        argv: overrides and flags; default `sys.argv[1:]`. `--help` lists groups and defaults,
            `--cfg` prints the composed configuration, `-m` runs every combination of `key=a,b` one
            after the other, each in a process of its own, `--debug` shows a traceback.
        paths: keys whose values are file names, taken letter by letter (commas, brackets, `=`).
    """
    argv = list(sys.argv[1:] if argv is None else argv)
    flags = {a for a in argv if a.startswith("-")}
    overrides = [_literal(a, paths) for a in argv if a not in flags and a != "job"]
    if "--debug" in flags:
        os.environ["HYDRA_FULL_ERROR"] = "1"

    def call() -> int:
        if unknown := flags - _FLAGS:
            raise UsageError(
                f"unknown flag {min(unknown)}: options are written key=value, --help lists them"
            )
        if flags & {"-h", "--help"}:
            print(_help(config_name))
            return 0
        if flags & {"-m", "--multirun"}:
            return _sweep(overrides, argv)
        cfg = compose_config(config_name, overrides)
        if "--cfg" in flags:
            print(OmegaConf.to_yaml(cfg), end="")
            return 0
        try:
            result = main(cfg)
        except InstantiationException as error:
            raise _cause(error) from error
        return result if isinstance(result, int) else 0

    return report(call)


def compose_config(config_name: str, overrides: Iterable[str] = ()) -> DictConfig:
    """Compose and close (struct mode) a configuration whose interpolations are known to resolve.

    Raises:
        UsageError: an unknown key or group choice, an override that does not parse, an
            interpolation that does not resolve, or a mandatory value that nobody gave.
    """
    overrides = list(overrides)
    try:
        with initialize_config_dir(str(config_folder()), version_base="1.3"):
            cfg = compose(config_name, overrides)
        OmegaConf.resolve(cfg.copy())
        OmegaConf.set_struct(cfg, True)
    except (HydraException, OmegaConfBaseException, yaml.YAMLError) as error:
        raise UsageError(_sentence(error, config_name, overrides)) from error
    if missing := sorted(OmegaConf.missing_keys(cfg)):
        raise UsageError(f"no value for {', '.join(missing)}: give {missing[0]}=...")
    return cfg


def _literal(argument: str, paths: Sequence[str]) -> str:
    """Quote the value of a path override, so that Hydra's grammar leaves a file name alone."""
    key, equals, value = argument.partition("=")
    quoted = len(value) > 1 and value[0] == value[-1] and value[0] in "'\""
    if key not in paths or not equals or value in ("", "null", "???") or quoted:
        return argument
    # The grammar counts backslashes only where they stand before a quote.
    head = value.rstrip("\\")
    tail = value[len(head) :] * 2
    return f"{key}='" + head.replace("\\'", "\\\\'").replace("'", "\\'") + tail + "'"


def _sentence(error: Exception, config_name: str, overrides: list[str]) -> str:
    """Say in one sentence what Hydra, OmegaConf or YAML found wrong."""
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
    message = " ".join(str(error).split())
    for override in overrides:
        key = override.lstrip("+~").partition("=")[0]
        if message.startswith(f"Could not override '{key}'"):
            reason = f"{message} {error.__cause__}"
            if "not in struct" in reason or "No match in the defaults list" in reason:
                rest = [o for o in overrides if o != override]
                return (
                    f"unknown key {key} in conf/{config_name}.yaml{_near(key, config_name, rest)}"
                )
            return f"cannot set {override}: {_first_line(error.__cause__ or error)}"
    if unmade := re.match("You must specify '(.+?)'", message):
        choices = "|".join(_groups(config_name).get(unmade[1], ["..."]))
        return f"no choice for {unmade[1]}: give {unmade[1]}={choices}"
    key = getattr(error, "full_key", None)
    return f"{key}: {_first_line(error)}" if key else message


def _near(key: str, config_name: str, overrides: list[str]) -> str:
    """Name the keys that look like `key` in the configuration without the override at fault."""
    try:
        cfg = compose_config(config_name, overrides)
    except UsageError:
        return ""
    known = [*_keys(cfg), *_groups(config_name)]
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


def _groups(config_name: str) -> dict[str, list[str]]:
    """The groups in the defaults list of a configuration, each with its choices."""
    text = (config_folder() / f"{config_name}.yaml").read_text(encoding="utf-8")
    groups: dict[str, list[str]] = {}
    for entry in yaml.safe_load(text).get("defaults", []):
        if isinstance(entry, dict):
            # An entry reads `group: choice`, with `optional`, `override` and `@package` around it.
            name = next(key for key in entry if key not in ("optional", "override"))
            group = name.split()[-1].partition("@")[0].lstrip("/")
            groups[group] = sorted(f.stem for f in (config_folder() / group).glob("*.yaml"))
    return groups


def _help(config_name: str) -> str:
    """Groups with their choices, then the keys at the top level with their comments."""
    script = Path(sys.argv[0]).name
    lines = [f"usage: {script} [key=value ...] [--cfg] [-m] [--debug] [--help]", ""]
    for group, choices in _groups(config_name).items():
        lines.append(f"{group}={'|'.join(choices)}")
    primary = f"{config_name}.yaml"
    text = (config_folder() / primary).read_text(encoding="utf-8")
    defaults = [e for e in yaml.safe_load(text).get("defaults", []) if isinstance(e, dict)]
    chosen = [f"{group}/{choice}.yaml" for entry in defaults for group, choice in entry.items()]
    for name in (primary, *chosen):
        path = config_folder() / name
        text = path.read_text(encoding="utf-8") if path.is_file() else ""
        # A default choice that fills the top level holds settings as the primary file does.
        if name == primary or text.startswith(_GLOBAL):
            lines += ["", f"conf/{name}:", "", text.removeprefix(_GLOBAL).strip()]
    return "\n".join(lines)


def _sweep(overrides: list[str], argv: list[str]) -> int:
    """Run the script once per combination of the swept values; return the worst exit code."""
    choices = []
    try:
        for override in OverridesParser.create().parse_overrides(overrides):
            key = override.get_key_element()
            if override.is_discrete_sweep():
                choices.append([f"{key}={value}" for value in override.sweep_string_iterator()])
            else:
                choices.append([f"{key}={override.get_value_element_as_str()}"])
    except HydraException as error:
        raise UsageError(_first_line(error)) from error
    # What stands before the overrides (`train.py`, or `audiosr train`) starts each job again.
    command = [sys.executable, *sys.argv[: len(sys.argv) - len(argv)]]
    codes = []
    for job in itertools.product(*choices):
        print(f"run {len(codes) + 1}: {' '.join(job)}", flush=True)
        codes.append(subprocess.run([*command, *job], check=False).returncode)
    return max(codes, key=abs)


def _cause(error: BaseException) -> BaseException:
    """The sentence of ours that Hydra wrapped while it built an object, or the error itself."""
    cause: BaseException | None = error
    while cause is not None:
        if isinstance(cause, AudioSRError):
            return cause
        cause = cause.__cause__
    return error
