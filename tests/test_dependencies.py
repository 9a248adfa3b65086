"""Every package that a user has to install is put to work."""

import ast
import re
import sys
from importlib.metadata import packages_distributions
from pathlib import Path

import pytest

if sys.version_info >= (3, 11):
    import tomllib
else:
    tomllib = pytest.importorskip("tomli")

ROOT = Path(__file__).parents[1]

OPENED_BY_NAME = {
    "tensorboard": "Lightning's TensorBoardLogger writes by it",
}
"""Dependencies that no module of ours imports, and who does."""


def imported_packages() -> set[str]:
    """Top-level names that the modules of the wheel import, wherever they do."""
    names = set()
    for folder in ("audiosr", "data_prep"):
        for path in (ROOT / folder).rglob("*.py"):
            for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
                if isinstance(node, ast.Import):
                    names |= {alias.name.split(".")[0] for alias in node.names}
                elif isinstance(node, ast.ImportFrom) and node.module and not node.level:
                    names.add(node.module.split(".")[0])
    return names


def normalised(name: str) -> str:
    return re.sub(r"[-_.]+", "-", name).lower()


def test_every_runtime_dependency_is_imported():
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    names = (re.split(r"[^\w.-]", dependency)[0] for dependency in project["dependencies"])
    declared = {normalised(name) for name in names}
    providers = packages_distributions()
    used = {
        normalised(distribution)
        for name in imported_packages()
        for distribution in providers.get(name, ())
    }

    assert declared - used - set(OPENED_BY_NAME) == set()
    assert not set(OPENED_BY_NAME) & used
