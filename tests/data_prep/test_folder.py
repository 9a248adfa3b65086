import json
import os
from argparse import Namespace
from collections import Counter, defaultdict

import pytest
import soundfile

from audiosr.errors import UsageError, report
from audiosr.evaluation.benchmark import Folder
from audiosr.evaluation.clips import ReferenceClip
from data_prep.__main__ import main
from data_prep.clips import Drop, Item
from data_prep.corpora import split_by_hash
from data_prep.recipes import folder
from data_prep.recipes.folder import split_sources

pytestmark = pytest.mark.smoke


def items(source, **options):
    settings = {"domain": None, "licence": None, "valid_fraction": 0.05, "test_fraction": 0.05}
    return list(folder.items(Namespace(source=source, **settings | options)))


def taken(source, **options) -> list[Item]:
    """The same where nothing is to be left out."""
    found = [item for item in items(source, **options) if isinstance(item, Item)]
    assert len(found) == len(items(source, **options))
    return found


@pytest.fixture
def put(tmp_path, noise):
    """Writer of a folder with audio files of the given names."""

    def write(*names):
        for number, name in enumerate(names):
            path = tmp_path / "own" / name
            path.parent.mkdir(parents=True, exist_ok=True)
            with path.open("wb") as file:
                soundfile.write(file, noise(1.5, seed=number).T, 48000, format="WAV")
        return tmp_path / "own"

    return write


def test_split_domain_and_source_come_from_the_folders(mixed_corpus):
    found = {
        i.name: (i.split, i.domain, i.source)
        for i in items(mixed_corpus)
        if not isinstance(i, Drop)
    }

    assert found["train/speech/ann__a.wav"] == ("train", "speech", "ann")
    assert found["train/music/bob/long.wav"] == ("train", "music", "bob")
    assert found["test/speech/dan__a.wav"] == ("test", "speech", "dan")


def test_files_beside_the_split_folders_are_not_lost_silently(mixed_corpus):
    assert [i.name for i in items(mixed_corpus) if isinstance(i, Drop)] == ["extra/outside.wav"]


def test_without_split_folders_the_domain_and_licence_are_given(mixed_corpus):
    (found,) = items(mixed_corpus / "train" / "music", domain="music", licence="CC0")

    assert isinstance(found, Item)
    assert (found.domain, found.licence, found.source) == ("music", "CC0", "bob")


def test_first_folders_are_the_domains_that_evaluate_takes_them_for(put):
    root = put("speech/ann/1.wav", "speech/2.wav", "music/bob/disc/3.wav", "4.wav")

    found = {item.name: (item.domain, item.source) for item in taken(root)}

    assert found == {
        "4.wav": (root.name, "4"),
        "music/bob/disc/3.wav": ("music", "bob"),
        "speech/2.wav": ("speech", "speech/2"),
        "speech/ann/1.wav": ("speech", "ann"),
    }
    assert {name: domain for name, (domain, _) in found.items()} == {
        clip.key: clip.domain
        for clip in Folder(root, name="own")
        if isinstance(clip, ReferenceClip)
    }


def test_domain_that_is_given_is_that_of_all_files(put):
    root = put("ann/one/1.wav", "bob/two/2.wav")

    found = taken(root, domain="music")

    assert [(item.domain, item.source) for item in found] == [("music", "ann"), ("music", "bob")]


def test_every_source_goes_to_one_split_as_a_whole(put):
    names = [f"{domain}/{who}/{n}.wav" for domain in "ab" for who in "wxyz" for n in range(5)]
    root = put(*names, "a/w__6.wav", "b/x__6.wav")

    splits = defaultdict(set)
    for item in taken(root, valid_fraction=0.3, test_fraction=0.3):
        splits[item.source].add(item.split)

    assert splits.keys() == set("wxyz")
    assert [len(found) for found in splits.values()] == [1] * 4
    assert set.union(*splits.values()) == {"train", "valid", "test"}


@pytest.mark.parametrize("sources", [1, 2, 3, 7])
def test_few_sources_leave_no_split_empty_that_is_to_have_some(sources):
    for seed in range(50):
        names = [f"{seed}-{number}" for number in range(sources)]

        splits = Counter(split_sources(names, valid=0.05, test=0.05).values())

        assert splits.total() == sources
        assert splits["train"] >= 1
        assert len(splits) == min(sources, 3)
        assert set(split_sources(names, valid=0.05, test=0.0).values()) <= {"train", "valid"}


def test_domain_is_a_name_that_files_can_have(put):
    root = put(os.fsdecode(b"caf\xe9/1.wav"), f"{'é' * 120}/2.wav")

    assert [item.domain for item in taken(root)] == ["caf_", "é" * 50]


@pytest.mark.parametrize(("mask", "mode"), [(0o022, 0o644), (0o002, 0o664), (0o077, 0o600)])
def test_output_may_be_read_by_whom_the_umask_says(put, prepared, mask, mode):
    root = put("speech/ann/1.wav")
    before = os.umask(mask)
    try:
        index = prepared(root)
    finally:
        os.umask(before)

    modes = {path.stat().st_mode & 0o777 for path in index.root.rglob("*") if path.is_file()}
    assert modes == {mode}


def test_split_by_hash_keeps_to_the_fractions_and_to_the_name():
    names = [f"folder/{n}.wav" for n in range(4000)]

    splits = [split_by_hash(name, valid=0.1, test=0.2) for name in names]

    counts = Counter(splits)
    assert counts["valid"] == pytest.approx(400, abs=80)
    assert counts["test"] == pytest.approx(800, abs=110)
    assert splits == [split_by_hash(name, valid=0.1, test=0.2) for name in names]


def test_larger_valid_part_moves_no_file_out_of_test():
    for name in map(str, range(500)):
        if split_by_hash(name, valid=0.1, test=0.1) == "test":
            assert split_by_hash(name, valid=0.5, test=0.1) == "test"


@pytest.mark.parametrize(
    ("options", "said"),
    [({"valid_fraction": 0.8, "test_fraction": 0.3}, "fraction"), ({"domain": "a/b"}, "domain")],
)
def test_contradicting_options_are_refused(mixed_corpus, options, said):
    with pytest.raises(UsageError, match=said):
        items(mixed_corpus / "train" / "speech", **options)


def test_command_writes_shards_and_prints_what_it_made(mixed_corpus, tmp_path, capsys):
    out = tmp_path / "out"

    code = main(["folder", "--source", str(mixed_corpus), "--out", str(out), "--workers", "1"])

    printed = capsys.readouterr()
    assert code == 0
    assert printed.err == ""
    assert "music" in printed.out
    assert "4 broken" in printed.out
    index = json.loads((out / "index.json").read_text())
    assert index["recipe"] == "folder"
    assert index["command"].startswith("python -m data_prep folder --source")


def test_help_names_every_recipe_and_option(capsys):
    with pytest.raises(SystemExit) as top:
        main(["--help"])
    with pytest.raises(SystemExit) as command:
        main(["folder", "--help"])

    printed = capsys.readouterr().out
    assert (top.value.code, command.value.code) == (0, 0)
    for word in ("folder", "--source", "--clip-seconds", "--min-bandwidth", "--workers", "16000"):
        assert word in printed


@pytest.mark.parametrize(
    ("argv", "code", "said"),
    [
        (["folder"], 2, "--source"),
        (["nothing"], 2, "invalid choice"),
        (["my_corpora.bells"], 2, "no recipe my_corpora.bells: No module named"),
        (["folder", "--source", "missing", "--out", "out"], 2, "missing is not a folder"),
        (["folder", "--source", ".", "--out", "out", "--workers", "0"], 2, "--workers 0"),
        (["folder", "--source", ".", "--out", "out", "--workers", "1"], 1, "no audio file"),
    ],
)
def test_mistakes_get_one_line_and_an_exit_code(argv, code, said, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)

    assert report(lambda: main(argv)) == code

    printed = capsys.readouterr()
    assert printed.err.count("\n") == 1
    assert said in printed.err
