"""OpenSLR: crowd-sourced high-quality speech at 48 kHz, in many languages, by Google.

The sets are SLR30, 32, 37, 41 to 44, 61, 63 to 66, 69 to 80, 83 and 86, each in a folder of
--source: DIR/SLR64/... Files are named LANGUAGE_SPEAKER_NUMBER.wav. There is no split; speakers go
to train, valid and test as wholes, by the hash of the name. --sets chooses some.
"""

from argparse import ArgumentParser, Namespace
from collections.abc import Iterator
from pathlib import Path

from audiosr.errors import UsageError
from data_prep.clips import Drop, Item
from data_prep.corpora import add_arguments as add_common
from data_prep.corpora import training_split
from data_prep.fetch.download import Archive, fetch, say
from data_prep.fetch.unpack import unpack

_TEST_FRACTION = 0.02
_LICENCE = "CC-BY-SA-4.0"
_BOTH = ("female", "male")
_DIALECTS = ("midlands", "northern", "scottish", "southern", "welsh")
_SETS: dict[int, tuple[str, ...]] = {
    30: ("si_lk.tar.gz",),
    32: ("af_za.tar.gz", "st_za.tar.gz", "tn_za.tar.gz", "xh_za.tar.gz"),
    37: ("bn_bd.zip", "bn_in.zip"),
    42: ("km_kh_male.zip",),
    43: ("ne_np_female.zip",),
    64: ("mr_in_female.zip",),
    74: ("es_pr_female.zip",),
    80: ("my_mm_female.zip",),
    83: (
        "irish_english_male.zip",
        *(f"{dialect}_english_{voice}.zip" for dialect in _DIALECTS for voice in _BOTH),
    ),
} | {
    number: tuple(f"{language}_{voice}.zip" for voice in _BOTH)
    for number, language in {
        **{41: "jv_id", 44: "su_id", 61: "es_ar", 63: "ml_in", 65: "ta_in", 66: "te_in"},
        **{69: "ca_es", 70: "en_ng", 71: "es_cl", 72: "es_co", 73: "es_pe", 75: "es_ve"},
        **{76: "eu_es", 77: "gl_es", 78: "gu_in", 79: "kn_in", 86: "yo_ng"},
    }.items()
}
"""Archives by number of the set. No checksums of them are published."""


def add_arguments(parser: ArgumentParser) -> None:
    """The options of this recipe."""
    add_common(parser, archives=True, valid=True)
    parser.add_argument(
        "--sets", metavar="N", type=int, nargs="+", help="numbers of the sets (default: all)"
    )


def items(args: Namespace) -> Iterator[Item | Drop]:
    """The utterances of the sets that are there."""
    root: Path = args.source
    wanted = sorted(args.sets or _SETS)
    if unknown := [str(number) for number in wanted if number not in _SETS]:
        known = ", ".join(map(str, sorted(_SETS)))
        raise UsageError(f"--sets {' '.join(unknown)} is not one of {known}")
    if args.download:
        for number in wanted:
            for name in _SETS[number]:
                archive = Archive(f"https://www.openslr.org/resources/{number}/{name}")
                folder = root / f"SLR{number}" / name.partition(".")[0]
                unpack(fetch(archive, root / "archives" / f"SLR{number}"), folder)
    there = [number for number in wanted if next(root.glob(f"SLR{number}/**/*.wav"), None)]
    absent = [number for number in wanted if number not in there]
    if not there:
        raise UsageError(
            f"{root} holds no SLR{absent[0]}/**/*.wav; fetch the archives from "
            f"https://www.openslr.org/{absent[0]}/ into {root}/SLR{absent[0]} and unpack them "
            "(or give --download)"
        )
    if absent:
        say(f"warning: not there and left out: SLR{', SLR'.join(map(str, absent))}")
    return _found(root, there, args.valid_fraction)


def _found(root: Path, sets: list[int], valid_fraction: float) -> Iterator[Item | Drop]:
    for number in sets:
        for path in sorted(root.glob(f"SLR{number}/**/*.wav")):
            name = path.relative_to(root).as_posix()
            voice = path.stem.rpartition("_")[0] or path.parent.name
            speaker = f"SLR{number}-{voice}"
            split = training_split(speaker, valid_fraction, test_fraction=_TEST_FRACTION)
            yield Item(path, name, split, "speech", speaker, _LICENCE)
