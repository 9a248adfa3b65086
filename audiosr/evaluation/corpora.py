"""Which clips does a published test set have, and is what lies here that set?

A corpus is taken as it is downloaded: a folder of the published layout, or the shards that the
recipe of `data_prep` of the same corpus has made of it.
"""

import csv
import zipfile
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from itertools import zip_longest
from pathlib import Path

from audiosr.errors import DataError, UsageError
from audiosr.evaluation.benchmark import Benchmark, Shards
from audiosr.evaluation.clips import UnreadClip, file_entry, list_hash
from audiosr.shards.index import INDEX_NAME

Listed = Iterable[tuple[str, str]]
"""Domain and path below the root, with forward slashes, of each clip."""


@dataclass(frozen=True)
class PublishedSet:
    """A test set as it is published."""

    title: str
    page: str
    """Where a person gets it."""
    archives: Sequence[str]
    """What is fetched there and unpacked."""
    holds: Sequence[str]
    """What it has at its top (globs)."""
    clips: Callable[[Path], Listed]
    """The clips that the corpus lists."""
    counts: Mapping[str, int]
    """How many are published, by domain."""
    note: str = ""
    """What a table says of it."""
    list_sha256: str | None = None
    """`list_hash` of domain and path of all clips; None where no published list could be had."""

    @property
    def total(self) -> int:
        """How many clips are published."""
        return sum(self.counts.values())


_VCTK = {
    **{"p360": 424, "p361": 424, "p362": 123, "p363": 419},
    **{"p364": 301, "p374": 424, "p376": 424, "s5": 398},
}
"""Speakers and utterances of ssr_eval's shipped results (haoheliu/ssr_eval, examples/results)."""


def _vctk(root: Path) -> Listed:
    for speaker in _VCTK:
        for path in sorted((root / "wav48_silence_trimmed" / speaker).glob("*_mic1.flac")):
            yield speaker, path.relative_to(root).as_posix()


def _esc50(root: Path) -> Listed:
    rows = _rows(root / "meta/esc50.csv", ("filename", "fold"))
    return sorted(("effects", f"audio/{name}") for name, fold in rows if fold == "5")


def _fma_small(root: Path) -> Listed:
    columns = ("track_id", "set subset", "set split")
    rows = _rows(root / "fma_metadata/tracks.csv", columns, lines=3)
    tracks = (int(track) for track, subset, split in rows if (subset, split) == ("small", "test"))
    return [("music", f"fma_small/{track // 1000:03d}/{track:06d}.mp3") for track in sorted(tracks)]


def _music(root: Path, *, files: str) -> Listed:
    return [("music", path.relative_to(root).as_posix()) for path in sorted(root.glob(files))]


_UNLIKE = {True: "not checked against a published hash", False: "not that of the published set"}
"""What a card says of a list that is not known to be the published one, by whether any is known."""

_PRIVATE = "the paper's music, 100 pieces of AudioStock, is private: its rows are of other clips"

PUBLISHED: dict[str, PublishedSet] = {
    "vctk": PublishedSet(
        "VCTK 0.92, microphone 1, the 8 test speakers of ssr_eval",
        "https://datashare.ed.ac.uk/handle/10283/3443",
        ("VCTK-Corpus-0.92.zip",),
        ("wav48_silence_trimmed",),
        _vctk,
        _VCTK,
        "domains are speakers: the mean over them is that of ssr_eval, in a joint table too",
    ),
    "esc50": PublishedSet(
        "ESC-50, fold 5",
        "https://github.com/karolpiczak/ESC-50",
        ("ESC-50-master.zip",),
        ("audio", "meta/esc50.csv"),
        _esc50,
        {"effects": 400},
        list_sha256="20d5f98faee228ec2f76cfe18ce387e4bb38ecf1bb9ca65b6165c17e5ad9035f",
    ),
    "fma_small": PublishedSet(
        "FMA small, official test split",
        "https://github.com/mdeff/fma",
        ("fma_small.zip", "fma_metadata.zip"),
        ("fma_small", "fma_metadata/tracks.csv"),
        _fma_small,
        {"music": 800},
        f"{_PRIVATE}; MP3 that mostly end at 16 to 20 kHz",
    ),
    "song_describer": PublishedSet(
        "Song Describer",
        "https://zenodo.org/records/10072001",
        ("audio.zip", "song_describer_audio.zip"),
        ("[0-9][0-9]/*.mp3",),
        partial(_music, files="[0-9][0-9]/*.mp3"),
        {"music": 706},
        f"{_PRIVATE}; MP3 of 320 kbit/s",
    ),
    "musdb18hq": PublishedSet(
        "MUSDB18-HQ, mixtures of the test split",
        "https://zenodo.org/records/3338373",
        ("musdb18hq.zip",),
        ("test/*/mixture.wav",),
        partial(_music, files="test/*/mixture.wav"),
        {"music": 50},
        _PRIVATE,
    ),
}
"""The published test sets by name; `data_prep` has a recipe for each."""


class Published(Benchmark):
    """A published test set in a folder of its own layout, whole unless `partial`."""

    def __init__(
        self,
        root: Path,
        layout: PublishedSet,
        *,
        name: str,
        domains: Sequence[str] | None = None,
        limit: int | None = None,
        partial: bool = False,
    ) -> None:
        """List the clips and compare the list with the published one.

        Raises:
            DataError: the corpus or a part of it is not there; says what to fetch.
            UsageError: a domain that is not there.
        """
        base = _locate(root, layout)
        listed = list(layout.clips(base))
        found = [(domain, key) for domain, key in listed if (base / key).is_file()]
        counts = Counter(domain for domain, _ in found)
        short = [
            f"{counts[domain]} of {count} clips of {domain}"
            for domain, count in layout.counts.items()
            if counts[domain] != count
        ]
        if not found or (short and not partial):
            missing = next((key for _, key in listed if not (base / key).is_file()), None)
            raise DataError(
                f"{root} is not the published {layout.title}: it has {', '.join(short)}"
                + (f" (the first that is missing: {missing})" if missing else "")
                + f"; fetch {' and '.join(layout.archives[:2])} from {layout.page} again, or give "
                "partial=true to evaluate what is there"
            )
        same = list_hash(f"{domain}/{key}" for domain, key in found) == layout.list_sha256
        if layout.list_sha256 and not short and not same and not partial:
            raise DataError(
                f"{root} is not the published {layout.title}: its {len(found)} clips have other "
                f"names; fetch {' and '.join(layout.archives[:2])} from {layout.page} again, or "
                "give partial=true to evaluate what is there"
            )
        about = {
            "source": layout.title,
            "page": layout.page,
            "published": f"{len(found)} of {layout.total} clips" if short else "all clips",
            "list": "that of the published set" if same else _UNLIKE[layout.list_sha256 is None],
            **({"note": layout.note} if layout.note else {}),
        }
        entries: list[UnreadClip] = [file_entry(base, key, domain) for domain, key in found]
        super().__init__(name, root, entries, about, domains, limit)


def open_corpus(
    corpus: str,
    root: str,
    *,
    name: str,
    domains: Sequence[str] | None = None,
    limit: int | None = None,
    partial: bool = False,
) -> Benchmark:
    """A published test set, as it is downloaded or as shards.

    Args:
        corpus: one of `PUBLISHED`.
        root: folder that holds it.
        name: of the benchmark.
        domains: some of its domains; None for all.
        limit: at most so many clips of each domain.
        partial: evaluate what is there of the published list.

    Raises:
        DataError: it is not there, or not whole; says what to fetch.
        UsageError: no such corpus, or a domain that is not there.
    """
    if corpus not in PUBLISHED:
        raise UsageError(
            f"benchmark corpus {corpus!r} is not known: choose from {', '.join(PUBLISHED)}"
        )
    layout = PUBLISHED[corpus]
    if not (Path(root) / INDEX_NAME).exists():
        return Published(
            Path(root), layout, name=name, domains=domains, limit=limit, partial=partial
        )
    shards = Shards(root, split="test", name=name, domains=domains, limit=limit)
    shards.about |= {
        "source": f"{layout.title}, as shards",
        "page": layout.page,
        # data_prep leaves out what is silent, short or narrow, and cuts what is long.
        "published": f"{shards.about['listed']} clips made of {layout.total} files",
        **({"note": layout.note} if layout.note else {}),
    }
    return shards


def _locate(root: Path, layout: PublishedSet) -> Path:
    """The folder, `root` or one below it, that has what the corpus has at its top."""
    way = (
        f"fetch {' and '.join(layout.archives[:2])} from {layout.page} and unpack it into {root}, "
        "or name its folder, or shards of it, with benchmark.root=DIR"
    )
    if not root.is_dir():
        raise DataError(f"no {layout.title} at {root}: {way}")
    for folder in [root, *sorted(one for one in root.iterdir() if one.is_dir())]:
        if all(next(folder.glob(pattern), None) for pattern in layout.holds):
            return folder
    for archive in layout.archives:
        for path in (root / archive, root / f"{archive}.partial", root / f"{archive}.part"):
            if path.is_file() and zipfile.is_zipfile(path):
                raise DataError(f"{path} is not unpacked: unpack it into {root}")
            if path.is_file():
                raise DataError(f"{path} is downloaded in part: fetch it again from {layout.page}")
    raise DataError(f"{root} holds no {' and no '.join(layout.holds)}: {way}")


def _rows(path: Path, columns: Sequence[str], *, lines: int = 1) -> Iterator[tuple[str, ...]]:
    """The values of `columns` in each row of a table whose head has `lines` lines.

    A column is named by the words in its lines; where all but one are empty, by that one.
    """
    with path.open(encoding="utf-8", newline="") as file:
        rows = csv.reader(file)
        head = [next(rows, []) for _ in range(lines)]
        names = [" ".join(filter(None, words)) for words in zip_longest(*head)]
        try:
            places = [names.index(column) for column in columns]
        except ValueError as error:
            raise DataError(f"{path} has no column {error}; fetch the corpus again") from None
        for row in rows:
            if len(row) > max(places):
                yield tuple(row[place] for place in places)
