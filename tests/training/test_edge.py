"""Does the detector of the edge learn from recordings, the same every time?"""

import numpy as np
import pytest
import soundfile
import torch
from safetensors.torch import load_file

from audiosr.audio.edge_features import BANDS, EDGE_FEATURES, edge_features
from audiosr.audio.edge_net import EdgeNet, edge_shares, load_edge_net
from audiosr.errors import UsageError
from audiosr.shards.corpus import Corpus
from audiosr.shards.reader import open_reader
from audiosr.training.edge import (
    Examples,
    SourceClip,
    edge_loss,
    main,
    make_recordings,
    read_clips,
    right_bands,
    train_edge,
)


@pytest.fixture(scope="module")
def clips():
    rng = np.random.default_rng(0)
    wave = np.cumsum(rng.standard_normal(48_000)) * 0.02 + 0.05 * rng.standard_normal(48_000)
    return [SourceClip(wave.astype(np.float32), 24_000.0)]


@pytest.fixture(scope="module")
def examples(clips):
    return make_recordings(clips, 64, seed=0, workers=1)


def test_clips_of_shards_are_spread_over_the_train_split(chords):
    read = read_clips(chords, per_domain=2)

    assert [clip.wave.shape for clip in read] == [(5 * 48_000,)] * 2
    shards = open_reader(Corpus.open(chords), "train")
    for clip, number in zip(read, (0, 3), strict=True):
        whole = shards.read("music", number)
        assert whole is not None
        np.testing.assert_array_equal(clip.wave, whole.wave[0, : 5 * 48_000])
    assert all(clip.end_hz > 15_000 for clip in read)


def test_a_silent_clip_has_no_edge_to_learn(tmp_path, clips):
    soundfile.write(tmp_path / "sound.wav", clips[0].wave, 48_000)
    soundfile.write(tmp_path / "silence.wav", np.zeros(48_000), 48_000)

    assert len(read_clips(tmp_path)) == 1


def test_examples_do_not_depend_on_the_number_of_processes(clips, examples):
    again = make_recordings(clips, 8, seed=0, workers=2)

    torch.testing.assert_close(again.features, examples.features[:8])
    assert again.first.tolist() == examples.first[:8].tolist()
    assert (examples.first <= examples.last).all()


def test_right_bands_hold_the_edge():
    features = edge_features(np.random.default_rng(0).standard_normal(48_000), 48_000)

    assert right_bands(features, 4_000, 4_200) == (42, 44)
    assert right_bands(features, 4_010, 4_010) == (42, 42)
    assert right_bands(features, 23_990, 24_000) == (255, 255)


def test_every_answer_in_the_range_is_as_good():
    logits = torch.full((3, BANDS), -50.0)
    logits[0, 40], logits[1, 44], logits[2, 60] = 50.0, 50.0, 50.0
    first, last = torch.tensor([40] * 3), torch.tensor([44] * 3)

    each = [edge_loss(logits[i : i + 1], first[:1], last[:1]).item() for i in range(3)]

    assert each[0] == pytest.approx(0, abs=1e-3)
    assert each[1] == pytest.approx(0, abs=1e-3)
    assert each[2] > 90


def test_training_lowers_the_loss_and_repeats_itself(examples: Examples):
    def loss(net: EdgeNet) -> float:
        with torch.no_grad():
            logits = net.eval()(examples.features.float())
        return edge_loss(logits, examples.first, examples.last).item()

    torch.manual_seed(0)
    fresh = loss(EdgeNet())
    trained = loss(train_edge(examples, epochs=8, seed=0, batch=16))

    assert trained < 0.8 * fresh
    assert loss(train_edge(examples, epochs=8, seed=0, batch=16)) == trained


def test_no_edge_is_above_nyquist():
    features = edge_features(np.random.default_rng(0).standard_normal(8_000), 8_000)

    shares = edge_shares(load_edge_net(), torch.from_numpy(features.values)[None])

    assert features.values.shape == (EDGE_FEATURES, BANDS)
    assert shares[0, : features.bands].sum().item() == pytest.approx(1, abs=1e-4)


def test_the_command_writes_weights_that_can_be_loaded(tmp_path, clips, capsys):
    soundfile.write(tmp_path / "clip.wav", clips[0].wave, 48_000)
    out = tmp_path / "edge.safetensors"

    main(["--clips", str(tmp_path), "--out", str(out), "--count", "64", "--epochs", "1"])

    EdgeNet().load_state_dict(load_file(out))
    assert "64 recordings of 1 clips" in capsys.readouterr().out
    with pytest.raises(UsageError, match="does not end in"):
        main(["--clips", str(tmp_path), "--out", str(tmp_path / "edge.pt")])
