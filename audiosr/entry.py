"""How does an entry point turn its command line into jobs, each with a configuration?

`hydra.main` composes the files of `conf/` and of folders that the user adds, sweeps over values and
hands jobs to launchers; it is kept from writing anything. What is wrong is said in one sentence.
"""

import os
import sys
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from contextlib import contextmanager
from functools import partial
from multiprocessing import get_context
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import NoReturn

import hydra
import yaml
from hydra import compose, initialize_config_dir
from hydra._internal.utils import get_args_parser
from hydra.core.hydra_config import HydraConfig
from hydra.core.utils import setup_globals
from hydra.errors import HydraException, InstantiationException
from hydra.types import RunMode
from omegaconf import DictConfig, OmegaConf
from omegaconf.errors import OmegaConfBaseException

from audiosr.errors import AudioSRError, UsageError, report, tell
from audiosr.files import config_folder
from audiosr.mistakes import ConfigFiles, explain

Work = Callable[[DictConfig, Sequence[str]], object]
"""What a job does with its configuration, in struct mode, and its overrides.

What it returns is what a sweeper that optimises a value gets.
"""

OmegaConf.register_new_resolver("joined", "+".join, replace=True)
OmegaConf.register_new_resolver("basename", os.path.basename, replace=True)

_MISTAKES = (HydraException, OmegaConfBaseException, yaml.YAMLError, ValueError)
_FULL_ERROR = "HYDRA_FULL_ERROR"
# A run has its own folder, or none.
_SILENT = (
    "hydra.run.dir=.",
    "hydra.output_subdir=null",
    "hydra.sweep.subdir=.",
    "hydra/hydra_logging=none",
    "hydra/job_logging=none",
)


def run_hydra(
    work: Work,
    config_name: str,
    argv: Sequence[str] | None = None,
    *,
    paths: Sequence[str] = (),
) -> int:
    """Do `work` with the configuration that the command line describes; return the exit code.

    With `-m` each combination of the swept values is a job. Hydra's basic launcher does them one
    after the other: each gets a process of its own, so that nothing of one reaches the next, and a
    job that fails does not keep the others from running.

    Args:
        work: see `Work`.
        config_name: name of the primary configuration in `conf/`, without `.yaml`.
        argv: overrides and Hydra's flags; default `sys.argv[1:]`. `--debug` shows a traceback.
        paths: keys whose values are file names, taken letter by letter (commas, brackets, `=`)
            unless values are swept.
    """
    argv = list(sys.argv[1:] if argv is None else argv)
    start = max(1, len(sys.argv) - len(argv))
    program = sys.argv[:start] if sys.argv[start:] == argv else sys.argv[:1]
    if "--debug" in argv:
        os.environ[_FULL_ERROR] = "1"
        argv.remove("--debug")
    return report(lambda: _call_hydra(work, config_name, program, argv, paths))


def compose_config(
    config_name: str, overrides: Iterable[str] = (), *, config_dir: str | None = None
) -> DictConfig:
    """Compose and close (struct mode) a configuration whose interpolations are known to resolve.

    Raises:
        UsageError: an unknown key or group choice, an override that does not parse, an
            interpolation that does not resolve, or a mandatory value that nobody gave.
    """
    overrides = list(overrides)
    files = _files(config_name, config_dir)
    files.check(overrides)
    search = [] if config_dir is None else [f"hydra.searchpath=['file://{config_dir}']"]
    try:
        with initialize_config_dir(str(config_folder()), version_base="1.3"):
            cfg = compose(config_name, [*overrides, *search])
    except _MISTAKES as error:
        raise UsageError(explain(error, overrides, files)) from error
    return _closed(cfg, files)


def _call_hydra(
    work: Work, config_name: str, program: list[str], argv: list[str], paths: Sequence[str]
) -> int:
    parser = get_args_parser()
    parser.error = _refuse
    known, rest = parser.parse_known_args(argv)
    if unknown := [word for word in rest if word.startswith("-")]:
        raise UsageError(
            f"unknown flag {unknown[0]}: options are written key=value, --help lists them"
        )
    config_name = known.config_name or config_name
    files = _files(config_name, known.config_dir)
    if known.help:
        print(files.describe(program))
        return 0
    # Hydra's parser wants flags and overrides apart.
    typed = [*known.overrides, *rest]
    flags = [word for word in argv if word not in typed]
    overrides = typed if known.multirun else [_literal(word, paths) for word in typed]
    files.check(overrides)

    full_error = os.environ.get(_FULL_ERROR)
    faults: list[Exception] = []
    codes: list[int] = []
    found: list[tuple[float, int, list[str]]] = []

    def do(cfg: DictConfig) -> object:
        settings = HydraConfig.get()
        swept = settings.mode == RunMode.MULTIRUN
        given = OmegaConf.to_container(settings.overrides.task)  # as typed, with its ${...}
        assert isinstance(given, list)
        # What a rank that Lightning starts repeats: this job, not the sweep.
        flags_of_job = [word for word in flags if word not in ("-m", "--multirun")]
        command = [*program, *flags_of_job, *given] if swept else [*program, *argv]
        launched_here = settings.runtime.choices["hydra/launcher"] == "basic"
        with _environment(_FULL_ERROR, full_error):
            try:
                _closed(cfg, files)
                if not (swept and launched_here):
                    return _do_job(work, cfg, given, command)
                print(f"run {settings.job.num + 1}: {' '.join(given)}", flush=True)
                with ProcessPoolExecutor(1, mp_context=get_context("spawn")) as pool:
                    value = pool.submit(_do_job, work, cfg, given, command).result()
                if isinstance(value, float):
                    found.append((value, settings.job.num + 1, given))
                return value
            except (AudioSRError, OSError) as error:
                if not launched_here:
                    raise
                codes.append(tell(error))
            except BrokenProcessPool:
                codes.append(tell(AudioSRError("that run was killed, perhaps for its memory")))
            except Exception as error:
                faults.append(error)
                raise

    with TemporaryDirectory(prefix="audiosr-") as scratch, _environment(_FULL_ERROR, "1"):
        # Hydra reads the command line from there, and a sweep leaves a note that nobody needs.
        before = sys.argv
        sys.argv = [program[0], *flags, *_SILENT, f"hydra.sweep.dir='{scratch}'"]
        sys.argv += [f"hydra.job.name={config_name}", *overrides]
        try:
            hydra.main(str(config_folder()), config_name, version_base="1.3")(do)()
        except _MISTAKES as error:
            if error in faults:
                raise
            raise UsageError(explain(error, overrides, files)) from error
        finally:
            sys.argv = before
    for value, number, given in sorted(found):
        print(f"{value:.5g} by run {number}: {' '.join(given)}", flush=True)
    return max(codes, default=0)


def _do_job(work: Work, cfg: DictConfig, overrides: list[str], command: list[str]) -> object:
    """Do `work` as if `command` had been typed; in a process of a sweep too."""
    setup_globals()  # the resolvers of Hydra, such as ${now:...}
    before, sys.argv = sys.argv, command
    try:
        return work(cfg, overrides)
    except InstantiationException as error:
        raise _cause(error) from error
    finally:
        sys.argv = before


def _closed(cfg: DictConfig, files: ConfigFiles) -> DictConfig:
    """`cfg` in struct mode, complete and resolvable."""
    try:
        OmegaConf.resolve(cfg.copy())
    except OmegaConfBaseException as error:
        raise UsageError(explain(error, (), files)) from error
    OmegaConf.set_struct(cfg, True)
    if missing := sorted(OmegaConf.missing_keys(cfg)):
        raise UsageError(f"no value for {', '.join(missing)}: give {missing[0]}=...")
    return cfg


def _files(config_name: str, config_dir: str | None) -> ConfigFiles:
    folders = (config_folder(), *([] if config_dir is None else [Path(config_dir)]))
    compose_again = partial(compose_config, config_name, config_dir=config_dir)
    return ConfigFiles(config_name, folders, compose_again)


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


def _refuse(message: str) -> NoReturn:
    raise UsageError(f"{message}; --help lists the options")


@contextmanager
def _environment(name: str, value: str | None) -> Iterator[None]:
    """Set a variable of the environment, or unset it, while the block runs."""
    before = os.environ.get(name)
    try:
        _set_variable(name, value)
        yield
    finally:
        _set_variable(name, before)


def _set_variable(name: str, value: str | None) -> None:
    if value is None:
        os.environ.pop(name, None)
    else:
        os.environ[name] = value


def _cause(error: BaseException) -> BaseException:
    """The sentence of ours that Hydra wrapped while it built an object, or the error itself."""
    cause: BaseException | None = error
    while cause is not None:
        if isinstance(cause, AudioSRError):
            return cause
        cause = cause.__cause__
    return error
