"""Does a public name mean one thing in the whole house?

Prints every public name that two modules of the packages define and that is not allowed below, and
exits with 1 when there is one.
"""

import ast
import sys
from collections import defaultdict
from collections.abc import Iterable, Iterator
from pathlib import Path

PACKAGES = ("audiosr", "data_prep")

ALLOWED = {
    "main": "what a module does when it is run",
    "add_arguments": "of a recipe: its options",
    "items": "of a recipe: the files of its corpus",
}
"""Names that mean the same thing in each of several modules, and what."""


def public_names(path: Path) -> Iterator[str]:
    """Names without an underscore that a module defines at its top level."""
    for node in ast.parse(path.read_text(encoding="utf-8")).body:
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef):
            found = [node.name]
        elif isinstance(node, ast.Assign):
            found = [target.id for target in node.targets if isinstance(target, ast.Name)]
        elif isinstance(node, ast.AnnAssign) and isinstance(node.target, ast.Name):
            found = [node.target.id]
        else:
            continue
        yield from (name for name in found if not name.startswith("_"))


def defined_twice(paths: Iterable[Path]) -> list[str]:
    """A line for each name that several of `paths` define and that is not in `ALLOWED`."""
    places = defaultdict(list)
    for path in paths:
        for name in public_names(path):
            places[name].append(str(path))
    return [
        f"{name} is defined in {', '.join(where)}"
        for name, where in sorted(places.items())
        if len(where) > 1 and name not in ALLOWED
    ]


if __name__ == "__main__":
    found = defined_twice(sorted(path for root in PACKAGES for path in Path(root).rglob("*.py")))
    print("\n".join(found) or "no public name is defined twice")
    sys.exit(1 if found else 0)
