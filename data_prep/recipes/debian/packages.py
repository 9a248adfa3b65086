"""How do Debian packages become audio files in a folder, without root and without installing?"""

import csv
import fnmatch
import os
import shutil
import subprocess
import zipfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from urllib.parse import unquote

from audiosr.audio.io import AUDIO_SUFFIXES
from audiosr.errors import DataError
from audiosr.files import atomic_path
from data_prep.fetch.unpack import inside

KEPT_BACK = frozenset(
    {"alsa-utils", "endless-sky-data", "freecol"}
    | {"fretsonfire-songs-muldjord", "ktuberling-data", "sonic-pi-samples"}
)
"""Packages that are reserved for measuring: no list may name them, nothing of them is read."""

_ARCHIVES = frozenset({".zip", ".pk3", ".pk4", ".wz"})
"""Endings of zip archives in which games carry their audio."""

_UNKNOWN = ("Unable to locate package", "No packages found", "has no installation candidate")


@dataclass(frozen=True)
class PackageSource:
    """One line of the table: some files of a package that come from one origin."""

    package: str
    version: str
    """Version that the table was made from."""
    source: str
    domain: str
    split: str
    join: str
    """Where short files may be joined with others: "source", or "folder" where each folder is
    another speaker."""
    megabytes: float
    """Size of the package."""
    files: str
    """Globs on paths in the package with "|" between; "!" before one leaves out. A member of a
    zip archive is "path/archive.zip!member"."""
    licence: str
    notes: str


@dataclass(frozen=True)
class Package:
    """A package that has been fetched and unpacked."""

    root: Path
    version: str

    @property
    def key(self) -> str:
        """Name and version, as they stand in the file's name."""
        return self.root.name


def read_table(path: Path) -> list[PackageSource]:
    """The sources that a tab-separated table names.

    Raises:
        DataError: the table names a package of `KEPT_BACK`.
    """
    with path.open(encoding="utf-8", newline="") as file:
        rows = list(csv.DictReader(file, delimiter="\t", quoting=csv.QUOTE_NONE))
    if refused := sorted({row["package"] for row in rows} & KEPT_BACK):
        raise DataError(
            f"{path} names {', '.join(refused)}, reserved for measuring; take the line out"
        )
    return [PackageSource(**{**row, "megabytes": float(row["megabytes"])}) for row in rows]


def fetch_package(package: str, version: str, cache: Path) -> Package | None:
    """Download a package with `apt-get download`, which checks it, and unpack it below `cache`.

    What is there already is used. Where the archive no longer has `version`, the version that it
    offers is taken; `Package.version` says which. None: apt knows no such package.

    Raises:
        DataError: no apt-get or dpkg-deb, no network, or a package that cannot be unpacked.
    """
    if package in KEPT_BACK:
        raise DataError(f"{package} is reserved for measuring and is not fetched")
    debs = cache / "debs"
    debs.mkdir(parents=True, exist_ok=True)
    file = _cached(debs, package, version) or _download(debs, package, version)
    if file is None:
        return None
    root = cache / "unpacked" / file.stem
    if not root.is_dir():
        partial = root.with_name(f".partial-{file.stem}")
        shutil.rmtree(partial, ignore_errors=True)
        partial.mkdir(parents=True)
        done = _run(["dpkg-deb", "-x", str(file.resolve()), str(partial)], cache)
        if done.returncode:
            raise DataError(f"{file} cannot be unpacked ({_last(done)}); delete it and run again")
        partial.replace(root)
    return Package(root, _version(file))


def audio_files(root: Path, globs: str) -> Iterator[tuple[str, Path, str | None]]:
    """Name, file and, for audio in a zip archive, member of all that `globs` choose, by name.

    Links are passed over. Globs as in `PackageSource.files`.
    """
    wanted = [glob for glob in globs.split("|") if not glob.startswith("!")]
    unwanted = [glob[1:] for glob in globs.split("|") if glob.startswith("!")]

    def chosen(name: str) -> bool:
        return any(fnmatch.fnmatchcase(name, glob) for glob in wanted) and not any(
            fnmatch.fnmatchcase(name, glob) for glob in unwanted
        )

    found: list[tuple[str, Path, str | None]] = []
    for path in root.rglob("*"):
        if path.is_symlink() or not path.is_file():
            continue
        name = path.relative_to(root).as_posix()
        if path.suffix.lower() in AUDIO_SUFFIXES and chosen(name):
            found.append((name, path, None))
        elif path.suffix.lower() in _ARCHIVES and zipfile.is_zipfile(path):
            with zipfile.ZipFile(path) as archive:
                found += [
                    (f"{name}!{member}", path, member)
                    for member in archive.namelist()
                    if Path(member).suffix.lower() in AUDIO_SUFFIXES and chosen(f"{name}!{member}")
                ]
    yield from sorted(found, key=lambda one: one[0])


def extract(path: Path, members: list[str], folder: Path) -> dict[str, Path]:
    """Write members of a zip archive below `folder`, each whole or not at all; where they are."""
    written = {}
    with zipfile.ZipFile(path) as archive:
        for member in members:
            target = inside(folder, member)
            if not target.exists() or target.stat().st_size != archive.getinfo(member).file_size:
                with (
                    archive.open(member) as source,
                    atomic_path(target) as partial,
                    partial.open("wb") as file,
                ):
                    shutil.copyfileobj(source, file, 1 << 20)
            written[member] = target
    return written


def _cached(debs: Path, package: str, version: str) -> Path | None:
    found = sorted(debs.glob(f"{package}_*.deb"), key=lambda file: file.stat().st_mtime)
    return next((file for file in found if _version(file) == version), found[-1] if found else None)


def _version(file: Path) -> str:
    return unquote(file.stem.split("_")[1])  # apt writes the colon of an epoch as %3a


def _download(debs: Path, package: str, version: str) -> Path | None:
    if not shutil.which("apt-get") or not shutil.which("dpkg-deb"):
        raise DataError(
            f"apt-get and dpkg-deb are needed to fetch {package}; run this on Debian or put the "
            f"packages of the list as .deb files into {debs}"
        )
    done = None
    for wanted in (f"{package}={version}", package):
        # A folder of its own, so that a download that breaks off is not taken for a package.
        with TemporaryDirectory(dir=debs, prefix=".partial-") as folder:
            # As the present user: the user that apt switches to may not write into the cache.
            sandbox = ["-o", "APT::Sandbox::User="]
            done = _run(["apt-get", "download", "-q", *sandbox, wanted], Path(folder))
            if got := next(Path(folder).glob("*.deb"), None):
                return got.replace(debs / got.name)
        if "was not found" not in done.stderr and not any(one in done.stderr for one in _UNKNOWN):
            break
    assert done is not None
    if any(one in done.stderr for one in _UNKNOWN):
        return None
    raise DataError(
        f"{package} cannot be fetched ({_last(done)}); check the network and run `apt-get update`, "
        f"or put its .deb file into {debs}, then run again: what is there is kept"
    )


def _run(command: list[str], folder: Path) -> "subprocess.CompletedProcess[str]":
    environment = os.environ | {"LC_ALL": "C", "DEBIAN_FRONTEND": "noninteractive"}
    return subprocess.run(command, cwd=folder, env=environment, capture_output=True, text=True)


def _last(done: "subprocess.CompletedProcess[str]") -> str:
    lines = [line.strip() for line in done.stderr.splitlines() if line.strip()]
    return lines[-1].removeprefix("E: ") if lines else f"exit code {done.returncode}"
