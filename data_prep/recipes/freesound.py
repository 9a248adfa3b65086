"""Freesound: FSD50K with its official split, and the recordings of WavCaps' list.

FSD50K has 51,197 clips at 44.1 kHz in train, valid and eval; eval is test. Licence and uploader,
the source, come with each. With --wavcaps DIR the Freesound part of WavCaps is added to train
(json_files/FreeSound/fsd_final.json and the FLAC files anywhere below DIR), without what FSD50K
holds and without the uploaders of its eval split. With --esc50 DIR the recordings of ESC-50's test
fold, which come from Freesound too, are left out of train and valid. Clips labelled as music are
of the domain music.

FSD50K's archives are in parts, which the program zip puts together.
"""

import csv
import json
import shutil
import subprocess
from argparse import ArgumentParser, Namespace
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from audiosr.errors import DataError, UsageError
from data_prep.clips import Drop, Item
from data_prep.corpora import PublishedCorpus
from data_prep.corpora import add_arguments as add_common
from data_prep.fetch.download import Archive, fetch
from data_prep.fetch.unpack import unpack

_PAGE = "https://zenodo.org/records/4060432"
_WAVCAPS_PAGE = "https://huggingface.co/datasets/cvssp/WavCaps"
_MD5 = {
    "FSD50K.dev_audio.z01": "faa7cf4cc076fc34a44a479a5ed862a3",
    "FSD50K.dev_audio.z02": "8f9b66153e68571164fb1315d00bc7bc",
    "FSD50K.dev_audio.z03": "1196ef47d267a993d30fa98af54b7159",
    "FSD50K.dev_audio.z04": "d088ac4e11ba53daf9f7574c11cccac9",
    "FSD50K.dev_audio.z05": "81356521aa159accd3c35de22da28c7f",
    "FSD50K.dev_audio.zip": "c480d119b8f7a7e32fdb58f3ea4d6c5a",
    "FSD50K.eval_audio.z01": "3090670eaeecc013ca1ff84fe4442aeb",
    "FSD50K.eval_audio.zip": "6fa47636c3a3ad5c7dfeba99f2637982",
    "FSD50K.ground_truth.zip": "ca27382c195e37d2269c4c866dd73485",
    "FSD50K.metadata.zip": "b9ea0c829a411c1d42adb9da539ed237",
}
# Its archives are in parts, so that they are unpacked here and not by `locate`.
_CORPUS = PublishedCorpus(
    page=_PAGE,
    holds=("FSD50K.dev_audio", "FSD50K.eval_audio", "FSD50K.ground_truth", "FSD50K.metadata"),
    files={"train": 36796, "valid": 4170, "test": 10231},
)


def add_arguments(parser: ArgumentParser) -> None:
    """The options of this recipe."""
    add_common(parser, archives=True)
    parser.add_argument(
        "--wavcaps", metavar="DIR", type=Path, help="folder with the Freesound part of WavCaps"
    )
    parser.add_argument(
        "--esc50", metavar="DIR", type=Path, help="folder of ESC-50, whose test fold is left out"
    )


def items(args: Namespace) -> Iterator[Item | Drop]:
    """The clips of FSD50K by number, then those of WavCaps."""
    if args.download and not all((args.source / name).is_dir() for name in _CORPUS.holds):
        _download(args.source)
    root = _CORPUS.locate(args)
    if args.wavcaps is not None and not args.wavcaps.is_dir():
        raise UsageError(f"--wavcaps {args.wavcaps} is not a folder; fetch it from {_WAVCAPS_PAGE}")
    about = {part: _about(root, part) for part in ("dev", "eval")}
    tested = _esc50_test(args.esc50) if args.esc50 is not None else frozenset()
    yield from _CORPUS.count(_fsd50k(root, about, tested))
    if args.wavcaps is not None:
        testers = {str(one.get("uploader")) for one in about["eval"].values()}
        known = about["dev"].keys() | about["eval"].keys()
        yield from _wavcaps(args.wavcaps, known, testers, tested)


def _fsd50k(
    root: Path, about: dict[str, dict[str, Any]], tested: frozenset[str]
) -> Iterator[Item | Drop]:
    for part in ("dev", "eval"):
        table = root / f"FSD50K.ground_truth/{part}.csv"
        with table.open(encoding="utf-8", newline="") as file:
            rows = sorted(csv.DictReader(file), key=lambda row: int(row["fname"]))
        for row in rows:
            number = row["fname"]
            name = f"FSD50K.{part}_audio/{number}.wav"
            if not (root / name).exists():
                yield Drop(name, "missing", f"listed in {table.name}")
                continue
            if part == "dev" and number in tested:
                yield Drop(name, "in another test split", "ESC-50")
                continue
            split = "test" if part == "eval" else {"train": "train", "val": "valid"}[row["split"]]
            domain = "music" if "Music" in row["labels"].split(",") else "effects"
            info = about[part].get(number, {})
            uploader = str(info.get("uploader") or f"freesound-{number}")
            yield Item(root / name, name, split, domain, uploader, info.get("license"))


def _wavcaps(
    root: Path, known: set[str], testers: set[str], tested: frozenset[str]
) -> Iterator[Item | Drop]:
    listed = next(iter(sorted(root.rglob("fsd_final.json"))), None)
    if listed is None:
        raise UsageError(f"{root} holds no fsd_final.json; fetch json_files from {_WAVCAPS_PAGE}")
    files = {path.stem: path for path in sorted(root.rglob("*.flac"))}
    for one in json.loads(listed.read_text(encoding="utf-8"))["data"]:
        number, uploader = str(one["id"]), str(one.get("author") or f"freesound-{one['id']}")
        name = f"WavCaps/FreeSound/{number}.flac"
        if number in known:
            yield Drop(name, "duplicate", "in FSD50K")
        elif uploader in testers or number in tested:
            why = "ESC-50" if number in tested else f"uploader {uploader}"
            yield Drop(name, "in another test split", why)
        elif number not in files:
            yield Drop(name, "missing", f"listed in {listed.name}")
        else:
            licence = "Freesound, by clip: " + str(one.get("href") or number)
            yield Item(files[number], name, "train", "effects", uploader, licence)


def _esc50_test(root: Path) -> frozenset[str]:
    table = next(iter(sorted(root.rglob("esc50.csv"))), None)
    if table is None:
        raise UsageError(f"--esc50 {root} holds no meta/esc50.csv")
    with table.open(encoding="utf-8", newline="") as file:
        return frozenset(row["src_file"] for row in csv.DictReader(file) if row["fold"] == "5")


def _about(root: Path, part: str) -> dict[str, Any]:
    path = root / f"FSD50K.metadata/{part}_clips_info_FSD50K.json"
    return json.loads(path.read_text(encoding="utf-8"))


def _download(folder: Path) -> None:
    for name, md5 in _MD5.items():
        fetch(Archive(f"{_PAGE}/files/{name}", md5=md5), folder)
    for part in ("ground_truth", "metadata"):
        unpack(folder / f"FSD50K.{part}.zip", folder)
    for part in ("dev_audio", "eval_audio"):
        if not (folder / f".unpacked-FSD50K.{part}.whole.zip").exists():
            whole = _joined(folder / f"FSD50K.{part}.zip")
            unpack(whole, folder)
            whole.unlink()


def _joined(last: Path) -> Path:
    """One archive out of the parts NAME.z01, NAME.z02, ... NAME.zip."""
    whole = last.with_name(f"{last.stem}.whole.zip")
    if shutil.which("zip") is None:
        raise DataError(
            f"the parts of {last} need the program zip; install it or unpack {last} with 7z"
        )
    partial = last.with_name(f"{last.stem}.joining.zip")
    partial.unlink(missing_ok=True)
    command = ["zip", "-q", "-s", "0", str(last), "--out", str(partial)]
    done = subprocess.run(command, capture_output=True, text=True)
    if done.returncode:
        raise DataError(f"the parts of {last} do not fit together: {done.stdout.strip()[-200:]}")
    partial.replace(whole)
    return whole
