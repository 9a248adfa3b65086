"""Under which licence is a file of a Debian package? What its copyright file says, by path."""

import re
from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True)
class Copyright:
    """The stanzas of a machine-readable copyright file (DEP-5), without what is not about files."""

    stanzas: tuple[tuple[re.Pattern[str], bool, str], ...] = ()
    """Pattern of paths, whether it is the one for all files, licence; of those that fit a path,
    the last counts."""

    @classmethod
    def load(cls, root: Path, package: str) -> "Copyright":
        """Read `usr/share/doc/PACKAGE/copyright` below `root`.

        Empty where there is none, or one in free text.
        """
        path = root / "usr/share/doc" / package / "copyright"
        if path.is_symlink() or not path.is_file():
            return cls()
        stanzas = []
        for text in re.split(r"\n\s*\n", path.read_text(encoding="utf-8", errors="replace")):
            fields = _fields(text)
            licence = fields.get("license", "").partition("\n")[0].strip()
            if globs := fields.get("files", "").split():
                stanzas.append((_pattern(globs), globs == ["*"], licence))
        return cls(tuple(stanzas))

    def of(self, name: str, known: str) -> str:
        """Licence of the file `name` of the package; of a zip member by its path in the archive.

        Paths in a copyright file are those of the source package, so each tail of `name` is tried.
        Where no stanza but the one for all files fits, `known`, what has been read by hand, is
        more exact when the two differ: the path in the source is another.
        """
        parts = name.replace("!", "/").split("/")
        tails = ["/".join(parts[at:]) for at in range(len(parts))]
        for pattern, everything, licence in reversed(self.stanzas):
            if any(pattern.fullmatch(tail) for tail in tails):
                return licence if licence and (not everything or not known) else known
        return known or "unknown"


def _fields(stanza: str) -> dict[str, str]:
    fields: dict[str, str] = {}
    name = ""
    for line in stanza.strip("\n").splitlines():
        if line[:1] in (" ", "\t"):
            fields[name] = fields.get(name, "") + "\n" + line.strip()
        elif ":" in line:
            name, _, value = line.partition(":")
            name = name.strip().lower()
            fields[name] = value.strip()
    return fields


def _pattern(globs: list[str]) -> re.Pattern[str]:
    """Of these globs only * and ? have a meaning, and both match a slash."""
    parts = (re.escape(glob).replace(r"\*", ".*").replace(r"\?", ".") for glob in globs)
    return re.compile("|".join(parts), re.DOTALL)
