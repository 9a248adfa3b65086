import json
import shutil
import subprocess
import zipfile
from pathlib import Path

import numpy as np
import pytest
import soundfile
from scipy.signal import butter, sosfiltfilt

from audiosr.errors import DataError, UsageError
from data_prep.clips import Drop, Item
from data_prep.recipes import debian
from data_prep.recipes.debian import packages

pytestmark = pytest.mark.skipif(not shutil.which("dpkg-deb"), reason="no dpkg-deb here")

COLUMNS = [
    *("package", "version", "source", "domain", "split", "join"),
    *("megabytes", "files", "licence", "notes"),
]
COPYRIGHT = """\
Format: https://www.debian.org/doc/packaging-manuals/copyright-format/1.0/

Files: *
Copyright: 2020 Ann
License: GPL-2+

Files: data/music/*
 data/extra/*
Copyright: 2021 Bob
License: CC-BY-SA-3.0
 The text of it.
"""


def voice(seconds: float, seed: int) -> np.ndarray:
    """Noise that comes and goes as syllables do, up to Nyquist."""
    rng = np.random.default_rng(seed)
    time = np.arange(round(seconds * 44100)) / 44100
    envelope = np.maximum(np.sin(2 * np.pi * 4 * time), 0) ** 4 + 1e-4
    return 0.1 * rng.standard_normal(len(time)) * envelope


def row(package, source, domain, split, files, join="source", version="1.0-1", licence="X"):
    return (package, version, source, domain, split, join, "1.5", files, licence, "-")


@pytest.fixture
def corpus(tmp_path, monkeypatch):
    """A cache with two packages as .deb files, and the table that names them."""
    games = tmp_path / "tree" / "game-data"
    share = games / "usr/share/game/data"
    for folder in ("voices/ann", "voices/bob", "music", "hits"):
        (share / folder).mkdir(parents=True)

    def put(name, wave):
        soundfile.write(share / name, wave, 44100)

    for seed in range(12):
        put(f"voices/ann/{seed:02d}.wav", voice(1.0, seed))
    for seed in range(20, 23):
        put(f"voices/bob/{seed}.wav", voice(1.0, seed))
    narrow = sosfiltfilt(butter(8, 5000, fs=44100, output="sos"), voice(1, 30))
    put("voices/bob/narrow.wav", narrow)
    put("voices/bob/hiss.wav", 0.1 * np.random.default_rng(31).standard_normal(44100))
    put("voices/bob/copy.wav", voice(1.6, 50))  # said in the test split too
    for seed in (40, 41):
        put(f"music/{seed}.flac", voice(50, seed))
    (share / "music/linked.flac").symlink_to("40.flac")
    document = games / "usr/share/doc/game-data/copyright"
    document.parent.mkdir(parents=True)
    document.write_text(COPYRIGHT)

    other = tmp_path / "tree" / "test-data"
    (other / "usr/share/t").mkdir(parents=True)
    soundfile.write(tmp_path / "said.wav", voice(1.6, 50), 44100)
    with zipfile.ZipFile(other / "usr/share/t/sounds.pk3", "w") as archive:
        for number in range(3):
            soundfile.write(tmp_path / "hit.wav", voice(1.2, 60 + number), 44100)
            archive.write(tmp_path / "hit.wav", f"hits/{number}.wav")
        archive.write(tmp_path / "said.wav", "words/said.wav")
        archive.writestr("words/readme.txt", "no audio")

    debs = tmp_path / "cache/debs"
    debs.mkdir(parents=True)
    for tree in (games, other):
        control = tree / "DEBIAN/control"
        control.parent.mkdir()
        control.write_text(
            f"Package: {tree.name}\nVersion: 1.0-1\nArchitecture: all\n"
            "Maintainer: A <a@b.c>\nDescription: test\n"
        )
        command = ["dpkg-deb", "-b", "-Znone", str(tree), str(debs / f"{tree.name}_1.0-1_all.deb")]
        subprocess.run(command, check=True, capture_output=True)
    write_table(
        tmp_path,
        monkeypatch,
        row("game-data", "voices", "speech", "train", "*/voices/*|!*/hits/*", join="folder"),
        row("game-data", "music", "music", "train", "*/music/*"),
        row("test-data", "hits", "effects", "test", "usr/share/t/sounds.pk3!hits/*"),
        row("test-data", "words", "speech", "test", "usr/share/t/sounds.pk3!words/*"),
    )
    return tmp_path / "cache"


def write_table(folder: Path, monkeypatch, *rows: tuple[str, ...]) -> None:
    table = folder / "table.tsv"
    table.write_text("".join("\t".join(line) + "\n" for line in (COLUMNS, *rows)))
    monkeypatch.setattr(debian, "_TABLE", table)


@pytest.fixture
def build(corpus, run):
    return lambda *argv: run(debian, "--cache", corpus, *argv)


def of(found, source):
    return [one for one in found if isinstance(one, Item) and one.source == source]


def test_words_of_one_speaker_are_joined_with_60_ms_between(build):
    clips = of(build(), "voices")

    members = [json.loads(one.path.with_suffix(".json").read_text()) for one in clips]
    assert sorted(len(one) for one in members) == [3, 3, 9]
    for clip, pieces in zip(clips, members, strict=True):
        assert len({piece["name"].rpartition("/")[0] for piece in pieces}) == 1
        expected = sum(piece["seconds"] for piece in pieces) + 0.06 * (len(pieces) - 1)
        assert soundfile.info(clip.path).duration == pytest.approx(expected, abs=0.001)


def test_narrow_hissing_and_repeated_words_are_left_out_before_joining(build):
    reasons = {one.name.rpartition("/")[2]: one.reason for one in build() if isinstance(one, Drop)}

    assert reasons == {
        "narrow.wav": "low bandwidth",
        "hiss.wav": "hiss",
        "copy.wav": "duplicate",
    }


def test_members_of_zip_archives_are_found_and_joined(build):
    (hits,) = of(build(), "hits")

    assert (hits.split, hits.domain) == ("test", "effects")
    names = [one["name"] for one in json.loads(hits.path.with_suffix(".json").read_text())]
    assert names == [f"test-data/usr/share/t/sounds.pk3!hits/{n}.wav" for n in range(3)]


def test_licence_is_that_of_the_file_in_the_copyright_file(build):
    found = build()

    assert {one.licence for one in of(found, "music")} == {"CC-BY-SA-3.0"}
    assert {one.licence for one in of(found, "hits")} == {"X"}  # no copyright file: the table's


def test_minutes_are_shared_by_the_long_files_of_a_source(build):
    whole, short = build(), build("--max-minutes-per-source", "1")

    assert [one.seconds for one in of(whole, "music")] == [None, None]
    used = sorted(one.seconds or 0 for one in of(short, "music"))
    assert used == pytest.approx([60 - 30.72, 30.72])


def test_what_is_over_the_minutes_is_listed(build):
    found = build("--max-minutes-per-source", "0.17")

    over = [one for one in found if isinstance(one, Drop) and one.reason.startswith("over")]
    kept = of(found, "voices")
    assert len(over) == 3  # one of music, two of voices
    assert len(kept) == 1


def test_second_run_gives_the_same_and_writes_nothing_anew(build, corpus):
    first = build()
    dates = {path: path.stat().st_mtime_ns for path in corpus.rglob("*") if path.is_file()}

    assert build() == first
    assert {path: path.stat().st_mtime_ns for path in dates} == dates


def test_package_that_is_kept_back_is_refused(corpus, tmp_path, monkeypatch, build):
    write_table(tmp_path, monkeypatch, row("freecol", "freecol", "music", "train", "*"))

    with pytest.raises(DataError, match="freecol, reserved for measuring"):
        build()
    with pytest.raises(DataError, match="reserved"):
        packages.fetch_package("alsa-utils", "1", corpus)


def test_list_of_the_repository_keeps_splits_apart_and_nothing_back():
    table = packages.read_table(debian._TABLE)

    assert not {one.package for one in table} & packages.KEPT_BACK
    assert len({one.source for one in table}) == len(table)
    assert {one.domain for one in table} == {"speech", "music", "effects"}
    assert {one.split for one in table} == {"train", "valid", "test"}
    assert {one.join for one in table} == {"source", "folder"}
    by_package: dict[str, set[str]] = {}
    for one in table:
        by_package.setdefault(one.package, set()).add(one.split)
    mixed = {package for package, splits in by_package.items() if len(splits) > 1}
    assert mixed == {"tuxpaint-stamps-default", "klettres-data"}  # split by speaker


APT = """\
#!/bin/sh
for wanted in "$@"; do :; done
case "$wanted" in
  *=*) echo "E: Version '9' for 'new-data' was not found" >&2; exit 100;;
  gone-data) echo "E: Unable to locate package gone-data" >&2; exit 100;;
  far-data) echo "E: Failed to fetch http://host/x  Could not resolve" >&2; exit 100;;
esac
cp {deb} "$PWD/$wanted"_2.0-1_all.deb
"""


@pytest.fixture
def apt(corpus, tmp_path, monkeypatch):
    """A folder on the path with an apt-get that has one package, in another version."""
    program = tmp_path / "bin/apt-get"
    program.parent.mkdir()
    program.write_text(APT.format(deb=corpus / "debs/game-data_1.0-1_all.deb"))
    program.chmod(0o755)
    monkeypatch.setenv("PATH", f"{program.parent}:/usr/bin:/bin")


def test_newer_version_is_taken_and_said(apt, tmp_path, monkeypatch, build, capsys):
    write_table(
        tmp_path,
        monkeypatch,
        row("new-data", "music", "music", "train", "*/music/*", version="9"),
        row("gone-data", "gone", "music", "train", "*"),
    )

    found = build()

    assert len(of(found, "music")) == 2
    assert [one.name for one in found if isinstance(one, Drop)] == ["gone-data"]
    said = capsys.readouterr().err
    assert "new-data: 2.0-1 is taken, the list was made from 9" in said
    assert "gone-data is not in the archive that apt knows" in said


def test_missing_network_is_said_in_one_line_and_leaves_no_file(apt, corpus):
    with pytest.raises(DataError, match=r"far-data cannot be fetched \(Failed to fetch"):
        packages.fetch_package("far-data", "1", corpus)

    assert not [path for path in (corpus / "debs").iterdir() if "far" in path.name]


def test_machine_without_apt_is_told_where_packages_go(corpus, monkeypatch):
    monkeypatch.setenv("PATH", "/nowhere")

    with pytest.raises(DataError, match="apt-get and dpkg-deb are needed") as error:
        packages.fetch_package("far-data", "1", corpus)
    assert str(corpus / "debs") in str(error.value)


def test_impossible_options_are_refused(build):
    with pytest.raises(UsageError, match="minutes per source"):
        build("--eval-minutes-per-source", "0")
    with pytest.raises(UsageError, match="--max-package-mb 1 leaves no package"):
        build("--max-package-mb", "1")
