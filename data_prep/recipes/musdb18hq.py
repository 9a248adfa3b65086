"""MUSDB18-HQ: 150 songs at 44.1 kHz, 100 of train and 50 of test.

Of train, the 14 songs that the authors' own tools hold back are valid. --stems adds drums, bass,
other and vocals to the mixtures.
"""

from argparse import ArgumentParser, Namespace
from collections.abc import Iterator

from data_prep.clips import Drop, Item
from data_prep.corpora import PublishedCorpus
from data_prep.corpora import add_arguments as add_common
from data_prep.fetch.download import Archive

_CORPUS = PublishedCorpus(
    page="https://zenodo.org/records/3338373",
    holds=("train", "test"),
    files={"train": 86, "valid": 14, "test": 50},
    archives=(
        Archive(
            "https://zenodo.org/record/3338373/files/musdb18hq.zip",
            # As torchaudio has it.
            sha256="baac80d0483c61d74b2e5f3be75fa557eec52898339e6aa45c1fa48833c5d21d",
        ),
    ),
)
_VALID = frozenset(
    {
        "Actions - One Minute Smile",
        "Clara Berry And Wooldog - Waltz For My Victims",
        "Johnny Lokke - Promises & Lies",
        "Patrick Talbot - A Reason To Leave",
        "Triviul - Angelsaint",
        "Alexander Ross - Goodbye Bolero",
        "Fergessen - Nos Palpitants",
        "Leaf - Summerghost",
        "Skelpolu - Human Mistakes",
        "Young Griffo - Pennies",
        "ANiMAL - Rockshow",
        "James May - On The Line",
        "Meaxic - Take A Step",
        "Traffic Experiment - Sirens",
    }
)
"""Songs of train that sigsep/sigsep-mus-db (configs/mus.yaml) uses for validation."""
_STEMS = ("drums", "bass", "other", "vocals")
_LICENCE = "MUSDB18: for education and research, not commercial; CC BY-NC-SA where nothing else"


def add_arguments(parser: ArgumentParser) -> None:
    """The options of this recipe."""
    add_common(parser, archives=True)
    parser.add_argument("--stems", action="store_true", help="the four stems besides the mixtures")


def items(args: Namespace) -> Iterator[Item | Drop]:
    """The mixtures, by song."""
    root = _CORPUS.locate(args)
    wanted = ("mixture", *_STEMS) if args.stems else ("mixture",)

    def found() -> Iterator[Item | Drop]:
        for folder in sorted([*root.glob("train/*/"), *root.glob("test/*/")]):
            song, split = folder.name, folder.parent.name
            split = "valid" if split == "train" and song in _VALID else split
            for part in wanted:
                if (path := folder / f"{part}.wav").exists():
                    name = path.relative_to(root).as_posix()
                    yield Item(path, name, split, "music", song, _LICENCE)

    return _CORPUS.count(found(), each=len(wanted))
