"""Song Describer: 706 pieces of music of 2 minutes, MP3 at 320 kbit/s, for evaluation alone.

All are test, as the authors ask.
"""

import csv
from argparse import Namespace
from collections.abc import Iterator
from functools import partial

from data_prep import corpora
from data_prep.clips import Drop, Item
from data_prep.corpora import PublishedCorpus
from data_prep.fetch.download import Archive, fetch

_PAGE = "https://zenodo.org/records/10072001"
_CORPUS = PublishedCorpus(
    page=_PAGE,
    holds=("[0-9][0-9]/*.mp3",),
    files={"test": 706},
    archives=(Archive(f"{_PAGE}/files/audio.zip", name="song_describer_audio.zip"),),
)
_TABLE = Archive(f"{_PAGE}/files/song_describer.csv")
_LICENCE = "Creative Commons, by track: audio_licenses.txt of the corpus"

add_arguments = partial(corpora.add_arguments, archives=True)


def items(args: Namespace) -> Iterator[Item | Drop]:
    """The pieces, `NN/TRACK.2min.mp3`, with the artist as source where the table is there."""
    root = _CORPUS.locate(args)
    if args.download:
        fetch(_TABLE, args.source)
    artists: dict[str, str] = {}
    for folder in (root, root.parent):
        if (table := folder / _TABLE.file).exists():
            with table.open(encoding="utf-8", newline="") as file:
                artists |= {row["track_id"]: row["artist_id"] for row in csv.DictReader(file)}

    def found() -> Iterator[Item | Drop]:
        for path in sorted(root.glob("[0-9][0-9]/*.mp3")):
            track = path.name.partition(".")[0]
            source = f"artist-{artists[track]}" if track in artists else f"track-{track}"
            name = path.relative_to(root).as_posix()
            yield Item(path, name, "test", "music", source, _LICENCE)

    return _CORPUS.count(found())
