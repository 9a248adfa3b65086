import json
import shutil
import subprocess
import zipfile

import pytest

from audiosr.errors import DataError, UsageError
from data_prep.clips import Item
from data_prep.corpora import training_split
from data_prep.fetch.unpack import unpack
from data_prep.recipes import (
    esc50,
    fma,
    freesound,
    medleydb,
    moisesdb,
    musdb18hq,
    openslr,
    song_describer,
    vctk,
)


def test_vctk_takes_microphone_1_and_the_published_test_speakers(
    put, run, splits, tmp_path, capsys
):
    for speaker in ("p225", "p280", "p315", "p360", "s5"):
        for mic in (1, 2):
            put(f"VCTK/wav48_silence_trimmed/{speaker}/{speaker}_001_mic{mic}.flac")

    found = run(vctk, "--source", tmp_path, "--valid-fraction", "0")

    names = splits(found)
    assert [name.split("/")[1] for name in names["train"]] == ["p225"]
    assert [name.split("/")[1] for name in names["test"]] == ["p360", "s5"]
    assert [name.split("/")[1] for name in names["outside the split"]] == ["p280", "p315"]
    assert {one.licence for one in found if isinstance(one, Item)} == {"CC-BY-4.0"}
    assert "test has 2 files where 2937 are published" in capsys.readouterr().err


def test_musdb_holds_back_the_known_validation_songs(put, run, splits, tmp_path):
    for song in ("train/Meaxic - Take A Step", "train/Ann - One", "test/Bob - Two"):
        for part in ("mixture", *musdb18hq._STEMS):
            put(f"{song}/{part}.wav")

    mixtures = splits(run(musdb18hq, "--source", tmp_path))
    stems = splits(run(musdb18hq, "--source", tmp_path, "--stems"))

    assert mixtures == {
        "train": ["train/Ann - One/mixture.wav"],
        "valid": ["train/Meaxic - Take A Step/mixture.wav"],
        "test": ["test/Bob - Two/mixture.wav"],
    }
    assert {split: len(names) for split, names in stems.items()} == dict.fromkeys(mixtures, 5)


def test_moisesdb_keeps_the_songs_of_an_artist_together(put, run, tmp_path, capsys):
    for song, artist in (("a1", "Ann"), ("a2", "Ann"), ("b1", "Bob")):
        put(f"moisesdb_v0.1/{song}/data.json", json.dumps({"artist": artist, "song": song}))
        put(f"moisesdb_v0.1/{song}/drums/{song}.wav")

    found = run(moisesdb, "--source", tmp_path, "--valid-fraction", "0.5")

    assert [one.source for one in found] == ["Ann", "Ann", "Bob"]
    assert found[0].split == found[1].split
    assert "3 songs where 240 are published" in capsys.readouterr().err


def test_medleydb_leaves_out_what_musdb_tests_on(put, run, splits, tmp_path):
    for song in ("MusicDelta_80sRock", "AnnBee_Song"):
        put(f"medley/V1/{song}/{song}_MIX.wav")
        put(f"medley/V1/{song}/{song}_STEMS/{song}_STEM_01.wav")
    put("musdb/test/Music Delta - 80s Rock/mixture.wav")

    options = ["--source", tmp_path / "medley", "--musdb18hq", tmp_path / "musdb", "--stems"]
    names = splits(run(medleydb, *options))

    assert names.pop("in another test split") == [
        "V1/MusicDelta_80sRock/MusicDelta_80sRock_MIX.wav"
    ]
    ((split, kept),) = names.items()
    assert len(kept) == 2
    assert split == training_split("AnnBee", 0.02, test_fraction=medleydb._TEST_FRACTION)


def test_esc50_has_fold_5_as_test(put, run, splits, tmp_path):
    put(
        "ESC-50-master/meta/esc50.csv",
        "filename,fold,target,category,esc10,src_file,take\n"
        "1-10-A-0.wav,1,0,dog,True,10,A\n5-20-A-1.wav,5,1,rain,False,20,A\n"
        "1-30-A-1.wav,1,1,rain,False,30,A\n",
    )
    for name in ("1-10-A-0.wav", "5-20-A-1.wav"):
        put(f"ESC-50-master/audio/{name}")

    found = run(esc50, "--source", tmp_path, "--valid-fraction", "0")

    assert splits(found) == {
        "train": ["audio/1-10-A-0.wav"],
        "test": ["audio/5-20-A-1.wav"],
        "missing": ["audio/1-30-A-1.wav"],
    }
    assert [one.licence for one in found if isinstance(one, Item)] == ["CC-BY-3.0", "CC-BY-NC-3.0"]


TRACKS = """\
,album,artist,set,set,track
,id,id,split,subset,license
track_id,,,,,
2,1,7,training,small,CC BY-NC 4.0
3,1,8,test,small,
5,1,9,validation,small,CC BY
7,1,9,training,large,CC BY
"""


def test_fma_takes_the_small_set_with_its_split(put, run, splits, tmp_path):
    put("fma_metadata/tracks.csv", TRACKS)
    for track in (2, 3, 7):
        put(f"fma_small/000/{track:06d}.mp3")

    found = run(fma, "--source", tmp_path)

    assert splits(found) == {
        "train": ["fma_small/000/000002.mp3"],
        "test": ["fma_small/000/000003.mp3"],
        "missing": ["fma_small/000/000005.mp3"],
    }
    assert (found[0].source, found[0].licence) == ("artist-7", "CC BY-NC 4.0")


def test_fma_says_when_the_table_is_another(put, run, tmp_path):
    put("fma_metadata/tracks.csv", "a,b\nc,d\n")
    put("fma_small/000/000002.mp3")

    with pytest.raises(DataError, match=r"tracks\.csv has no column"):
        run(fma, "--source", tmp_path)


def test_song_describer_is_all_test_with_artists_as_sources(put, run, tmp_path):
    put("song_describer.csv", "track_id,artist_id\n1004034,77\n")
    put("audio/34/1004034.2min.mp3")
    put("audio/35/1.2min.mp3")

    found = run(song_describer, "--source", tmp_path)

    assert [(one.split, one.source) for one in found] == [
        ("test", "artist-77"),
        ("test", "track-1"),
    ]


def test_openslr_reads_speakers_off_the_names(put, run, tmp_path, capsys):
    put("SLR64/mr_in_female/mrt_02484_00010427796.wav")
    put("SLR64/mr_in_female/mrt_02484_00010427797.wav")

    found = run(openslr, "--source", tmp_path, "--sets", "64", "83")

    assert {one.source for one in found} == {"SLR64-mrt_02484"}
    assert len({one.split for one in found}) == 1
    assert "left out: SLR83" in capsys.readouterr().err


def test_openslr_refuses_a_set_that_it_does_not_know(run, tmp_path):
    with pytest.raises(UsageError, match="--sets 12 is not one of 30, 32"):
        run(openslr, "--source", tmp_path, "--sets", "12")


@pytest.fixture
def freesound_tree(put, tmp_path):
    dev, evaluated = {"1": ("train", "Music,Drum"), "2": ("val", "Bark")}, {"3": "Bark"}
    rows = "".join(f'{n},"{labels}",/m,{split}\n' for n, (split, labels) in dev.items())
    put("FSD50K.ground_truth/dev.csv", "fname,labels,mids,split\n" + rows)
    rows = "".join(f'{n},"{labels}",/m\n' for n, labels in evaluated.items())
    put("FSD50K.ground_truth/eval.csv", "fname,labels,mids\n" + rows)
    for part, numbers in (("dev", dev), ("eval", evaluated)):
        about = {n: {"uploader": f"user{n}", "license": f"by/{n}"} for n in numbers}
        put(f"FSD50K.metadata/{part}_clips_info_FSD50K.json", json.dumps(about))
        for number in numbers:
            put(f"FSD50K.{part}_audio/{number}.wav")
    return tmp_path


def test_fsd50k_gives_split_uploader_and_licence(freesound_tree, run):
    found = run(freesound, "--source", freesound_tree)

    assert [(one.split, one.domain, one.source, one.licence) for one in found] == [
        ("train", "music", "user1", "by/1"),
        ("valid", "effects", "user2", "by/2"),
        ("test", "effects", "user3", "by/3"),
    ]


def test_wavcaps_adds_only_what_no_test_split_holds(freesound_tree, put, run, splits):
    listed = [
        {"id": 1, "author": "user1"},
        {"id": 10, "author": "user3"},
        {"id": 11, "author": "user9"},
        {"id": 12, "author": "user9", "href": "https://freesound.org/12"},
        {"id": 13, "author": "user9"},
    ]
    put("wavcaps/json_files/FreeSound/fsd_final.json", json.dumps({"data": listed}))
    for one in listed[:-1]:
        put(f"wavcaps/FreeSound_flac/{one['id']}.flac")
    put("esc50/meta/esc50.csv", "filename,fold,src_file\na.wav,5,11\nb.wav,1,12\n")
    options = ["--wavcaps", freesound_tree / "wavcaps", "--esc50", freesound_tree / "esc50"]

    names = splits(run(freesound, "--source", freesound_tree, *options))

    assert names["train"][1:] == ["WavCaps/FreeSound/12.flac"]
    assert names["duplicate"] == ["WavCaps/FreeSound/1.flac"]
    assert [name[18:] for name in names["in another test split"]] == ["10.flac", "11.flac"]
    assert names["missing"] == ["WavCaps/FreeSound/13.flac"]


RECIPES = (vctk, musdb18hq, moisesdb, medleydb, freesound, openslr, esc50, fma, song_describer)


@pytest.mark.parametrize("recipe", RECIPES, ids=lambda recipe: recipe.__name__.rpartition(".")[2])
def test_absent_corpus_is_said_in_one_line_with_address_and_place(recipe, run, tmp_path):
    with pytest.raises(UsageError) as error:
        run(recipe, "--source", tmp_path)

    said = str(error.value)
    assert "https://" in said
    assert str(tmp_path) in said
    assert "\n" not in said


def test_archive_beside_is_unpacked_by_download(put, run, splits, tmp_path):
    for song in ("00/1.2min.mp3", "01/2.2min.mp3"):
        put(f"tree/{song}")
    folder = tmp_path / "corpus"
    folder.mkdir()
    (folder / "song_describer.csv").write_text("track_id,artist_id\n")
    with zipfile.ZipFile(folder / "song_describer_audio.zip", "w") as archive:
        for path in sorted((tmp_path / "tree").rglob("*.mp3")):
            archive.write(path, path.relative_to(tmp_path / "tree"))

    found = run(song_describer, "--source", folder, "--download")

    assert splits(found) == {"test": ["00/1.2min.mp3", "01/2.2min.mp3"]}


@pytest.mark.skipif(not shutil.which("zip"), reason="no program zip here")
def test_parts_of_an_archive_are_put_together(put, tmp_path):
    for number in range(4):
        put(f"FSD50K.eval_audio/{number}.wav", seconds=2)
    command = ["zip", "-q", "-0", "-r", "-s", "256k", "FSD50K.eval_audio.zip", "FSD50K.eval_audio"]
    subprocess.run(command, cwd=tmp_path, check=True)
    assert (tmp_path / "FSD50K.eval_audio.z01").exists()

    whole = freesound._joined(tmp_path / "FSD50K.eval_audio.zip")

    unpack(whole, tmp_path / "out")
    assert len(list((tmp_path / "out/FSD50K.eval_audio").iterdir())) == 4
