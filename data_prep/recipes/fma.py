"""FMA small: 8,000 excerpts of 30 s in 8 genres, MP3, with the official split by artist.

Its test split is a public stand-in for the private music of the AudioSR paper. Nearly all files
are MP3 that end at 16 to 20 kHz; those below --min-bandwidth are left out.
"""

import csv
from argparse import Namespace
from collections.abc import Iterator
from functools import partial
from pathlib import Path

from audiosr.errors import DataError
from data_prep import corpora
from data_prep.clips import Drop, Item
from data_prep.corpora import PublishedCorpus
from data_prep.fetch.download import Archive

_TRACKS = "fma_metadata/tracks.csv"
_CORPUS = PublishedCorpus(
    page="https://github.com/mdeff/fma",
    holds=("fma_small", _TRACKS),
    files={"train": 6400, "valid": 800, "test": 800},
    archives=(
        Archive(
            "https://os.unil.cloud.switch.ch/fma/fma_metadata.zip",
            sha1="f0df49ffe5f2a6008d7dc83c6915b31835dfe733",
        ),
        Archive(
            "https://os.unil.cloud.switch.ch/fma/fma_small.zip",
            sha1="ade154f733639d52e35e32f5593efe5be76c6d70",
        ),
    ),
)
_SPLITS = {"training": "train", "validation": "valid", "test": "test"}

add_arguments = partial(corpora.add_arguments, archives=True)


def items(args: Namespace) -> Iterator[Item | Drop]:
    """The excerpts that the list of tracks puts into the small set."""
    root = _CORPUS.locate(args)

    def found() -> Iterator[Item | Drop]:
        for track, about in sorted(_tracks(root / _TRACKS).items()):
            name = f"fma_small/{track[:3]}/{track}.mp3"
            if not (root / name).exists():
                yield Drop(name, "missing", "listed in tracks.csv")
                continue
            split, artist, licence = about
            yield Item(root / name, name, split, "music", f"artist-{artist}", licence or None)

    return _CORPUS.count(found())


def _tracks(path: Path) -> dict[str, tuple[str, str, str]]:
    """Split, artist and licence of each track of the small set.

    Two lines of the table make the names of the columns: ("set", "split"), ("artist", "id").
    """
    with path.open(encoding="utf-8", newline="") as file:
        rows = csv.reader(file)
        names = list(zip(next(rows), next(rows), strict=False))
        try:
            wanted = [("set", "subset"), ("set", "split"), ("artist", "id"), ("track", "license")]
            places = [names.index(name) for name in wanted]
        except ValueError as error:
            raise DataError(f"{path} has no column {error}; fetch fma_metadata.zip again") from None
        found = {}
        for row in rows:
            if not row[0].isdigit():
                continue  # the third line names the first column
            subset, split, artist, licence = (row[place] for place in places)
            if subset == "small":
                found[f"{int(row[0]):06d}"] = (_SPLITS[split], artist, licence)
        return found
