"""Do two files of this repository share a long block of lines?

Prints every shared block of at least `MIN_LINES` lines of code (blank lines, comments and imports
left out) and exits with 1 when there is one. What two files need belongs in one place.
"""

import subprocess
import sys
from pathlib import Path

MIN_LINES = 10
IGNORED = ("#", "import ", "from ")


def code_lines(path: Path) -> list[tuple[int, str]]:
    """Return `(line number, text)` of the lines that count."""
    lines = (line.strip() for line in path.read_text(encoding="utf-8").splitlines())
    return [
        (number, line)
        for number, line in enumerate(lines, start=1)
        if len(line) > 3 and not line.startswith(IGNORED)
    ]


def shared_blocks(paths: list[Path]) -> list[str]:
    """Describe each block of at least `MIN_LINES` lines that stands in two files."""
    seen: dict[tuple[str, ...], tuple[Path, int]] = {}
    found = []
    for path in paths:
        lines = code_lines(path)
        reported_until = 0
        for start in range(len(lines) - MIN_LINES + 1):
            block = tuple(text for _, text in lines[start : start + MIN_LINES])
            other, line = seen.setdefault(block, (path, lines[start][0]))
            if other != path:
                if start >= reported_until:
                    found.append(f"{path}:{lines[start][0]} repeats {other}:{line}")
                reported_until = start + MIN_LINES
    return found


if __name__ == "__main__":
    listed = subprocess.run(
        ["git", "ls-files", "-co", "--exclude-standard", "-z", "*.py", "*.yaml"],
        capture_output=True,
        text=True,
        check=True,
    ).stdout
    blocks = shared_blocks(
        [path for name in sorted(listed.split("\0")) if (path := Path(name)).is_file()]
    )
    print("\n".join(blocks) or "no repeated blocks")
    sys.exit(1 if blocks else 0)
