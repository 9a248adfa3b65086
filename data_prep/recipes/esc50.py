"""ESC-50: 2,000 environmental sounds of 5 s at 44.1 kHz, fold 5 as test.

Folds 1 to 4 are train, but for a part of the recordings that goes to valid; clips of one
recording stay together.
"""

import csv
from argparse import Namespace
from collections.abc import Iterator
from functools import partial

from data_prep import corpora
from data_prep.clips import Drop, Item
from data_prep.corpora import PublishedCorpus, training_split
from data_prep.fetch.download import Archive

_PAGE = "https://github.com/karolpiczak/ESC-50"
_CORPUS = PublishedCorpus(
    page=_PAGE,
    holds=("audio", "meta/esc50.csv"),
    files={"test": 400},
    # It is made by the server on request, so that no checksum of it is published.
    archives=(Archive(f"{_PAGE}/archive/refs/heads/master.zip", name="ESC-50-master.zip"),),
)

add_arguments = partial(corpora.add_arguments, archives=True, valid=True)


def items(args: Namespace) -> Iterator[Item | Drop]:
    """The clips of the corpus's own list."""
    root = _CORPUS.locate(args)

    def found() -> Iterator[Item | Drop]:
        with (root / "meta/esc50.csv").open(encoding="utf-8", newline="") as file:
            rows = sorted(csv.DictReader(file), key=lambda row: row["filename"])
        for row in rows:
            name = f"audio/{row['filename']}"
            if not (root / name).exists():
                yield Drop(name, "missing", "listed in meta/esc50.csv")
                continue
            source = row["src_file"]
            split = "test" if row["fold"] == "5" else training_split(source, args.valid_fraction)
            licence = "CC-BY-3.0" if row["esc10"] == "True" else "CC-BY-NC-3.0"
            yield Item(root / name, name, split, "effects", source, licence)

    return _CORPUS.count(found())
