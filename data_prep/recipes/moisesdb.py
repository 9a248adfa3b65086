"""MoisesDB: 240 songs of 47 artists as separate tracks, at 44.1 kHz.

The corpus has no split and no mixtures; each recorded track is a file of its own. Artists go to
train, valid and test as wholes, by the hash of the name. It has to be asked for on its page.
"""

import json
from argparse import Namespace
from collections.abc import Iterator
from functools import partial
from pathlib import Path

from audiosr.errors import UsageError
from data_prep import corpora
from data_prep.clips import Drop, Item
from data_prep.corpora import training_split
from data_prep.fetch.download import say

_PAGE = "https://music.ai/research/"
_SONGS = 240
_TEST_FRACTION = 0.1

add_arguments = partial(corpora.add_arguments, archives=False, valid=True)


def items(args: Namespace) -> Iterator[Item | Drop]:
    """The tracks of all songs."""
    root: Path = args.source
    songs = sorted(path.parent for path in root.rglob("data.json"))
    if not songs:
        raise UsageError(
            f"{root} holds no song of MoisesDB (a folder with data.json); ask for the corpus on "
            f"{_PAGE} and unpack it into {root}"
        )
    if len(songs) < _SONGS:
        say(f"warning: {len(songs)} songs where {_SONGS} are published; the corpus is not whole")
    for folder in songs:
        about = json.loads((folder / "data.json").read_text(encoding="utf-8"))
        artist = str(about.get("artist") or folder.name)
        split = training_split(artist, args.valid_fraction, test_fraction=_TEST_FRACTION)
        for path in sorted(folder.glob("*/*.wav")):
            name = path.relative_to(root).as_posix()
            yield Item(path, name, split, "music", artist, "CC-BY-NC-SA-4.0")
