import json
from argparse import Namespace
from collections import Counter

import pytest

from audiosr.errors import UsageError, report
from data_prep.__main__ import main
from data_prep.clips import Drop, Item
from data_prep.corpora import split_by_hash
from data_prep.recipes import folder

pytestmark = pytest.mark.smoke


def items(source, **options):
    settings = {"domain": "audio", "licence": None, "valid_fraction": 0.05, "test_fraction": 0.05}
    return list(folder.items(Namespace(source=source, **settings | options)))


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
