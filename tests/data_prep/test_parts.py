"""Do the parts of a job, and several corpora, become one folder without loss or repetition?"""

import hashlib
import json
import shutil
import tarfile

import pytest
import soundfile

from audiosr.errors import DataError, UsageError
from audiosr.shards.index import Index
from audiosr.shards.reader import evaluation_clips
from data_prep.__main__ import main
from data_prep.parts import merge
from data_prep.sources import Part
from tests.data_prep.conftest import contents

OPTIONS = {"clip_seconds": 2, "shard_mb": 0.5}


def clip_names(root):
    """`(split, domain, key, audio hash)` of every clip in the shards."""
    splits = Index.load(root).splits
    clips = [(split, c) for split in splits for c in evaluation_clips(root, split)]
    return sorted((split, c.domain, c.key, c.meta.sha256) for split, c in clips)


@pytest.fixture
def parts(mixed_corpus, prepared, tmp_path):
    """The folder that holds the three parts of a job."""
    for number in (1, 2, 3):
        prepared(mixed_corpus, f"parts/{number}", part=Part(number, 3), **OPTIONS)
    return tmp_path / "parts"


@pytest.fixture
def whole(mixed_corpus, prepared):
    """The same work in one run."""
    return prepared(mixed_corpus, "whole", **OPTIONS)


def test_merged_parts_hold_the_clips_of_one_run(parts, whole, tmp_path):
    index = merge([parts], tmp_path / "merged", command="merge")

    assert clip_names(index.root) == clip_names(whole.root)
    assert index.drops == whole.drops
    assert Index.load(index.root) == index
    for domains in index.splits.values():
        for shards in domains.values():
            for shard in shards:
                content = (index.root / shard.name).read_bytes()
                assert len(content) == shard.bytes
                assert hashlib.sha256(content).hexdigest() == shard.sha256


def test_parts_share_no_file_and_no_shard_name(parts):
    indexes = [Index.load(parts / str(number)) for number in (1, 2, 3)]
    names = [s.name for i in indexes for ds in i.splits.values() for ss in ds.values() for s in ss]
    files = [line["name"] for n in (1, 2, 3) for line in lines(parts / str(n) / "dropped.jsonl")]

    assert {name[-17:-11] for name in names} == {"-p0001", "-p0002", "-p0003"}
    assert len(set(names)) == len(names)
    assert len(set(files)) == len(files)


def lines(path):
    return [json.loads(line) for line in path.read_text().splitlines()]


def test_merged_lists_and_report_agree_with_the_shards(parts, whole, tmp_path):
    root = merge([parts], tmp_path / "merged", command="merge").root
    report = json.loads((root / "report.json").read_text())
    single = json.loads((whole.root / "report.json").read_text())

    listed = [(c["split"], c["domain"], c["key"]) for c in lines(root / "clips.jsonl")]
    assert sorted(listed) == [name[:3] for name in clip_names(root)]
    assert len(report["runs"]) == 3
    assert report["origin"] == single["origin"]
    for name in ("settings", "sources", "bandwidth_hz", "loudness_lufs", "licences"):
        assert report[name] == single[name]
    assert {d["reason"]: d["count"] for d in report["drops"]} == dict(whole.drops)


def test_content_that_repeats_across_parts_stays_in_the_evaluation_split(
    prepared, tmp_path, audio_file, noise
):
    """Its copy is in an earlier part, whose shard is written again without it."""
    root = tmp_path / "corpus"
    audio_file("corpus/test/speech/a.wav", noise(2, seed=8), subtype="PCM_16")
    for number in range(1, 4):
        audio_file(f"corpus/train/speech/{number}.wav", noise(2, seed=number), subtype="PCM_16")
    kept = audio_file("corpus/test/speech/z.wav", noise(2, seed=9), subtype="PCM_16")
    wave, rate = soundfile.read(kept)
    soundfile.write(root / "train/speech/0copy.flac", wave, rate, subtype="PCM_24")
    for number in (1, 2):
        prepared(root, f"parts/{number}", part=Part(number, 2))
    before = contents(tmp_path / "parts")
    assert "0copy" in (tmp_path / "parts/1/clips.jsonl").read_text()
    assert "z.wav" in (tmp_path / "parts/2/clips.jsonl").read_text()

    index = merge([tmp_path / "parts"], tmp_path / "merged", command="merge")

    assert index.drops == {"duplicate": 1}
    (dropped,) = lines(index.root / "dropped.jsonl")
    assert dropped["name"] == "train/speech/0copy.flac"
    assert [clip.meta.source_file for clip in evaluation_clips(index.root, "test")] == [
        "test/speech/a.wav",
        "test/speech/z.wav",
    ]
    assert clip_names(index.root) == clip_names(prepared(root, "whole").root)
    assert contents(tmp_path / "parts") == before


def test_corpora_of_different_recipes_are_joined(prepared, tmp_path, audio_file, noise):
    one = prepared(audio_file("one/a.wav", noise(2, seed=1)).parent, "shards/one", domain="a")
    two = prepared(audio_file("two/a.wav", noise(2, seed=2)).parent, "shards/two", domain="a")

    index = merge([one.root, two.root], tmp_path / "merged", command="merge")

    assert [shard.clips for shard in index.splits["train"]["a"]] == [1, 1]


@pytest.fixture
def alike(prepared, tmp_path, audio_file, noise):
    """Two corpora, joined, whose files have the same names, and so keys, but other content."""
    for number in (1, 2):
        audio_file(f"o{number}/train/x/a.wav", noise(2, seed=number), subtype="PCM_16")
        audio_file(f"o{number}/train/x/b.wav", noise(2, seed=10 + number), subtype="PCM_16")
        prepared(tmp_path / f"o{number}", f"s{number}")
    return merge([tmp_path / "s1", tmp_path / "s2"], tmp_path / "alike", command="merge")


def by_shard(root):
    """`(shard, key, hash of the samples)` of every line of `clips.jsonl`, and of every clip."""
    facts = [(c["shard"], c["key"], c["samples_sha256"]) for c in lines(root / "clips.jsonl")]
    held = []
    for path in root.rglob("*.tar"):
        with tarfile.open(path) as tar:
            for name in tar.getnames():
                if name.endswith(".json"):
                    member = tar.extractfile(name)
                    assert member is not None
                    meta = json.load(member)
                    shard = path.relative_to(root).as_posix()
                    held.append((shard, name.removesuffix(".json"), meta["samples_sha256"]))
    return sorted(facts), sorted(held)


def test_clips_of_one_key_stay_apart_by_shard(alike):
    facts, held = by_shard(alike.root)

    assert facts == held
    assert len({key for _, key, _ in facts}) == 2
    assert len({(shard, key) for shard, key, _ in facts}) == 4


@pytest.mark.parametrize("seeds", [(1, 2), (1,), (2,)])
def test_of_clips_with_one_key_only_the_repeated_are_left_out(
    alike, prepared, tmp_path, audio_file, noise, seeds
):
    for seed in seeds:
        audio_file(f"o5/test/x/z{seed}.wav", noise(2, seed=seed), subtype="PCM_16")
    other = prepared(tmp_path / "o5", "s5")
    before, test = ({sound for _, _, sound in by_shard(one.root)[1]} for one in (alike, other))

    index = merge([alike.root, other.root], tmp_path / "merged", command="merge")

    facts, held = by_shard(index.root)
    assert facts == held
    assert {sound for shard, _, sound in held if shard.startswith("train/")} == before - test
    assert {sound for shard, _, sound in held if shard.startswith("test/")} == test
    assert index.drops == {"duplicate": len(seeds)}
    assert len(lines(index.root / "dropped.jsonl")) == len(seeds)
    assert index.clips("train") == 4 - len(seeds)


def test_missing_part_is_named(parts, tmp_path):
    shutil.rmtree(parts / "2")

    with pytest.raises(UsageError, match="part 2 of 3 is missing"):
        merge([parts], tmp_path / "merged", command="merge")


def test_parts_of_other_settings_are_not_taken_for_the_same_job(
    parts, prepared, mixed_corpus, tmp_path
):
    shutil.rmtree(parts / "2")
    prepared(mixed_corpus, "parts/2", part=Part(2, 3), clip_seconds=4)

    with pytest.raises(UsageError, match=r"is missing .* other files or settings"):
        merge([parts], tmp_path / "merged", command="merge")


def test_damaged_part_is_refused(parts, tmp_path):
    shard = next(parts.rglob("*.tar"))
    shard.write_bytes(shard.read_bytes()[:-1])

    with pytest.raises(DataError, match=r"is not the shard that the index lists"):
        merge([parts], tmp_path / "merged", command="merge")


def test_part_without_files_is_empty_but_whole(prepared, tmp_path, audio_file, noise):
    folder = audio_file("few/a.wav", noise(2)).parent
    for number in (1, 2):
        prepared(folder, f"parts/{number}", part=Part(number, 2))

    index = merge([tmp_path / "parts"], tmp_path / "merged", command="merge")

    assert Index.load(tmp_path / "parts/2").splits == {}
    assert index.clips("train") == 1


def test_commands_for_parts_and_merge(audio_file, noise, tmp_path, capsys):
    for number in range(3):
        folder = audio_file(f"corpus/{number}.wav", noise(2, seed=number)).parent
    for part in ("1/2", "2/2"):
        out = str(tmp_path / "parts" / part[0])
        argv = ["folder", "--source", str(folder), "--out", out, "--part", part, "--workers", "1"]
        assert main([*argv, "--valid-fraction", "0", "--test-fraction", "0"]) == 0

    assert main(["merge", str(tmp_path / "merged"), str(tmp_path / "parts")]) == 0

    assert "report.html" in capsys.readouterr().out
    assert Index.load(tmp_path / "merged").clips("train") == 3


@pytest.mark.parametrize("text", ["0/4", "5/4", "1", "a/b", "1/4/2", "-1/4"])
def test_impossible_part_is_refused(text):
    with pytest.raises(UsageError, match=r"--part .* is not I/N"):
        Part.parse(text)
