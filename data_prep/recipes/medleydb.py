"""MedleyDB 1 and 2: 196 multitrack songs at 44.1 kHz.

The corpus has no split; artists go to train, valid and test as wholes, by the hash of the name.
Of the songs 46 are in MUSDB18 too: give --musdb18hq DIR to leave out those of its test split.
--stems adds the stems to the mixes. Access has to be asked for on Zenodo.
"""

import re
from argparse import ArgumentParser, Namespace
from collections.abc import Iterator
from pathlib import Path

from audiosr.errors import UsageError
from data_prep.clips import Drop, Item
from data_prep.corpora import add_arguments as add_common
from data_prep.corpora import training_split
from data_prep.fetch.download import say

_PAGE = "https://zenodo.org/records/1649325 and https://zenodo.org/records/1715175"
_SONGS = 196
_TEST_FRACTION = 0.1


def add_arguments(parser: ArgumentParser) -> None:
    """The options of this recipe."""
    add_common(parser, archives=False, valid=True)
    parser.add_argument("--stems", action="store_true", help="the stems besides the mixes")
    parser.add_argument(
        "--musdb18hq",
        metavar="DIR",
        type=Path,
        help="folder of MUSDB18-HQ; songs of its test split are left out",
    )


def items(args: Namespace) -> Iterator[Item | Drop]:
    """The mixes of all songs, `Artist_Song/Artist_Song_MIX.wav`."""
    root: Path = args.source
    mixes = sorted(root.rglob("*_MIX.wav"))
    if not mixes:
        raise UsageError(
            f"{root} holds no *_MIX.wav; ask for MedleyDB at {_PAGE} and unpack it into {root}"
        )
    if len(mixes) < _SONGS:
        say(f"warning: {len(mixes)} songs where {_SONGS} are published; the corpus is not whole")
    refused = _musdb_test(args.musdb18hq) if args.musdb18hq else frozenset()
    for mix in mixes:
        song = mix.stem.removesuffix("_MIX")
        name = mix.relative_to(root).as_posix()
        if _plain(song) in refused:
            yield Drop(name, "in another test split", "MUSDB18-HQ")
            continue
        artist = song.partition("_")[0]
        split = training_split(artist, args.valid_fraction, test_fraction=_TEST_FRACTION)
        stems = sorted((mix.parent / f"{song}_STEMS").glob("*.wav")) if args.stems else []
        for path in [mix, *stems]:
            name = path.relative_to(root).as_posix()
            yield Item(path, name, split, "music", artist, "CC-BY-NC-SA-4.0")


def _musdb_test(root: Path) -> frozenset[str]:
    songs = [path.parent.name for path in root.rglob("test/*/mixture.wav")]
    if not songs:
        raise UsageError(f"--musdb18hq {root} holds no test/SONG/mixture.wav")
    return frozenset(_plain(song) for song in songs)


def _plain(song: str) -> str:
    """Letters and digits: "Music Delta - 80s Rock" and "MusicDelta_80sRock" are one song."""
    return re.sub(r"[^a-z0-9]", "", song.lower())
