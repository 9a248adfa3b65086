import gc
import itertools
import multiprocessing
from collections import Counter
from typing import Any

import numpy as np
import pytest
import torch
import torch.utils.data

from audiosr.data.batches import TrainBatches, ValidBatches, normalised
from audiosr.errors import DataError, UsageError
from audiosr.shards.index import Index
from audiosr.shards.reader import Reader
from tests.data.conftest import module


def train(root, *, max_bad_fraction=0.01, **options) -> TrainBatches:
    settings: dict[str, Any] = {"batch_size": 4, "crop_samples": 12000, "seed": 7} | options
    return TrainBatches(Reader(Index.load(root), "train", max_bad_fraction), **settings)


def valid(root, *, batch_size=2, **options) -> ValidBatches:
    reader = Reader(Index.load(root), "valid")
    return ValidBatches(reader, batch_size=batch_size, crop_samples=12000, **options)


def batches(dataset, count) -> list:
    return [dataset[step] for step in range(count)]


def waves(found) -> torch.Tensor:
    return torch.cat([batch["waveform"] for batch in found])


def test_batch_has_the_promised_keys_and_shapes(shards):
    batch = next(iter(module(shards).train_dataloader()))

    assert batch["waveform"].shape == (4, 1, 12000)
    assert batch["waveform"].dtype == torch.float32
    assert [key.rstrip("0123456789") for key in batch["key"]] == batch["domain"]
    assert batch["bandwidth_hz"].tolist() == [20000 + int(key[-1]) for key in batch["key"]]


def test_crops_have_no_mean_and_half_scale_peak(shards):
    wave = waves(batches(train(shards), 3))

    assert wave.mean(-1).abs().max() < 1e-5
    assert wave.abs().amax(-1).numpy() == pytest.approx(0.5, abs=1e-4)


@pytest.mark.slow
def test_order_does_not_depend_on_the_number_of_workers(shards):
    alone = list(module(shards, num_workers=0).train_dataloader())
    together = list(module(shards, num_workers=2).train_dataloader())

    assert torch.equal(waves(alone), waves(together))


def test_seed_rules_the_draws(shards):
    assert torch.equal(waves(batches(train(shards), 2)), waves(batches(train(shards), 2)))
    assert not torch.equal(
        waves(batches(train(shards), 2)), waves(batches(train(shards, seed=8), 2))
    )


def test_epochs_have_one_length_and_go_on_where_the_last_ended(shards):
    loader = module(shards).train_dataloader()

    epochs = [list(loader), list(loader)]

    assert [len(epoch) for epoch in epochs] == [6, 6]
    assert len(loader) == 6
    assert torch.equal(waves(epochs[0] + epochs[1]), waves(batches(train(shards), 12)))


def test_resumed_loader_goes_on_with_the_very_next_batch(shards):
    resumed = module(shards, start_step=8).train_dataloader()

    assert torch.equal(waves(resumed), waves(batches(train(shards), 12)[8:]))


def test_ranks_draw_different_clips(shards):
    first, second = (waves(batches(train(shards, rank=rank, ranks=2), 4)) for rank in range(2))

    assert not any(torch.equal(a, b) for a, b in itertools.product(first, second))


def test_more_ranks_and_workers_than_shards_still_fill_every_batch(make_shards, noise):
    root = make_shards({"train/speech": [noise(1)], "valid/speech": [noise(1)]})

    for rank in range(5):
        assert len(waves(batches(train(root, rank=rank, ranks=5), 3))) == 12
        assert len(valid(root, rank=rank, ranks=5)) == 1


def test_domains_are_drawn_by_weight_and_alike_by_default(shards):
    def share(**options):
        drawn = batches(train(shards, batch_size=50, **options), 8)
        counts = Counter(domain for batch in drawn for domain in batch["domain"])
        return [counts[domain] / 400 for domain in ("effects", "music", "speech")]

    assert share() == pytest.approx([1 / 3] * 3, abs=0.1)
    assert share(domain_weights={"music": 3, "speech": 1}) == pytest.approx(
        [0, 0.75, 0.25], abs=0.1
    )


def test_validation_hears_the_domains_that_are_trained(shards):
    def domains(weights):
        dataset = valid(shards, domain_weights=weights)
        return {d for batch in batches(dataset, len(dataset)) for d in batch["domain"]}

    assert domains({"music": 3, "effects": 0}) == {"music"}
    assert len(domains(None)) > 1


def test_a_bad_validation_clip_alone_in_its_domain_ends_no_run(make_shards, noise):
    root = make_shards(
        {
            "train/speech": [noise(1)],
            "valid/music": [b"not audio"],
            "valid/speech": [noise(1), noise(1), noise(1)],
        }
    )
    dataset = ValidBatches(Reader(Index.load(root), "valid", 0.5), batch_size=1, crop_samples=12000)

    found = batches(dataset, len(dataset))

    assert all(set(batch["domain"]) == {"speech"} for batch in found)


@pytest.mark.parametrize(
    "weights",
    [{"songs": 1}, {"music": -1, "speech": 2}, {"music": 0}, {}, {"music": float("inf")}],
)
def test_impossible_domain_weights_are_refused(shards, weights):
    with pytest.raises(UsageError, match="domain_weights"):
        train(shards, domain_weights=weights)


def test_each_channel_of_a_clip_is_drawn(make_shards, noise):
    wave = noise(0.25, channels=2)
    drawn = waves(batches(train(make_shards({"train/speech": [wave]})), 8))

    scores = [
        [float(abs(np.corrcoef(clip[0], channel)[0, 1])) for channel in wave] for clip in drawn
    ]

    assert Counter(int(np.argmax(score)) for score in scores).keys() == {0, 1}
    assert min(max(score) for score in scores) > 0.99


def test_silent_crops_are_drawn_again(make_shards, noise):
    wave = np.concatenate([np.zeros((1, 48000)), noise(1), np.zeros((1, 48000))], axis=1)
    dataset = train(make_shards({"train/speech": [wave]}), crop_samples=2400)

    peaks = waves(batches(dataset, 16)).abs().amax((1, 2))

    assert (peaks > 0.4).float().mean() > 0.95


def test_short_clip_is_followed_by_zeros(make_shards, noise):
    wave = waves(batches(train(make_shards({"train/speech": [noise(0.1)]})), 1))

    assert (wave[..., 4800:] == 0).all()
    assert wave[..., :4800].abs().amax() == pytest.approx(0.5, abs=1e-4)


def test_silence_stays_silence():
    assert np.abs(normalised(np.full((1, 100), 0.3, np.float32), 100)).max() < 1e-3


def test_bad_clips_are_passed_over_below_the_budget(make_shards, noise):
    clips = [noise(0.3, seed=n) for n in range(9)]
    good = train(make_shards({"train/speech": [*clips, b"bad"]}), max_bad_fraction=0.2)

    drawn = batches(good, 20)

    assert good.reader.ledger.by_reason() == {"audio is broken": 1}
    assert len(waves(drawn)) == 80
    # What is drawn does not depend on whether the clip is known to be bad already.
    assert torch.equal(waves(drawn), waves(batches(good, 20)))


@pytest.mark.parametrize("workers", [0, pytest.param(1, marks=pytest.mark.slow)])
def test_too_many_bad_clips_end_training_with_one_sentence(make_shards, noise, workers):
    root = make_shards({"train/speech": [noise(0.3), b"bad", b"worse"]})

    with pytest.raises(DataError, match=r"^\d of 3 clips in .*speech") as raised:
        list(module(root, num_workers=workers, steps_per_epoch=30).train_dataloader())

    assert "\n" not in str(raised.value)


@pytest.mark.parametrize("ranks", [1, 2, 3, 4])
@pytest.mark.parametrize("batch_size", [1, 2, 16])
def test_every_validation_clip_is_seen_by_one_rank_once(shards, ranks, batch_size):
    parts = [
        list(batches_of(valid(shards, rank=r, ranks=ranks, batch_size=batch_size)))
        for r in range(ranks)
    ]

    seen = Counter(key for part in parts for batch in part for key in batch["key"])

    assert seen == Counter([*(f"music{n}" for n in range(4)), *(f"speech{n}" for n in range(3))])
    assert len({len(part) for part in parts}) == 1
    assert all(batch["key"] for part in parts for batch in part)


def batches_of(dataset: ValidBatches) -> list:
    return [dataset[number] for number in range(len(dataset))]


def test_ranks_without_a_clip_of_their_own_borrow_one(shards):
    parts = [batches_of(valid(shards, rank=rank, ranks=9)) for rank in range(9)]

    assert [len(part) for part in parts] == [1] * 9
    assert all(len(part[0]["key"]) == 1 for part in parts)


def test_validation_is_the_same_each_time_and_mixes_domains(shards):
    loader = module(shards, batch_size=2).val_dataloader()

    first = next(iter(loader))  # left in the middle, as with limit_val_batches
    again = [list(loader), list(loader)]

    assert first["domain"] == ["music", "speech"]
    assert torch.equal(first["waveform"], again[0][0]["waveform"])
    assert torch.equal(waves(again[0]), waves(again[1]))


def test_bad_validation_clip_leaves_no_batch_empty(make_shards, noise):
    root = make_shards({"valid/speech": [noise(1, seed=1), b"bad", noise(1, seed=2)]})
    dataset = ValidBatches(Reader(Index.load(root), "valid", 0.5), batch_size=1, crop_samples=4800)

    assert [batch["key"] for batch in batches_of(dataset)] == [
        ["speech0"],
        ["speech2"],
        ["speech2"],
    ]


def test_without_validation_clips_there_is_nothing_to_validate(make_shards, noise):
    assert module(make_shards({"train/speech": [noise(1)]})).val_dataloader() == []


def test_missing_shards_are_reported_when_training_is_set_up(tmp_path):
    with pytest.raises(DataError, match=r"no shards at .*: run `make demo`"):
        module(tmp_path / "none").setup("fit")


@pytest.mark.parametrize("wrong", [{"batch_size": 0}, {"steps_per_epoch": 0}, {"crop_seconds": 0}])
def test_impossible_settings_are_refused(tmp_path, wrong):
    with pytest.raises(UsageError, match=next(iter(wrong))):
        module(tmp_path, **wrong)


def test_clips_below_the_bandwidth_asked_for_are_not_drawn(shards):
    dataset = train(shards, min_bandwidth_hz=20002)

    drawn = batches(dataset, 40)

    keys = Counter(key for batch in drawn for key in batch["key"])
    assert set(keys) == {"music2", "effects2", "effects3", "speech2", "speech3", "speech4"}
    # The domains are drawn as often as without it.
    assert keys["music2"] / 160 == pytest.approx(1 / 3, abs=0.1)


def test_bandwidth_that_no_clip_of_a_domain_has_is_refused_in_one_sentence(shards):
    with pytest.raises(DataError, match=r"no clip of music in .*min_bandwidth_hz=20003: lower it"):
        list(module(shards, min_bandwidth_hz=20003).train_dataloader())

    only = train(shards, min_bandwidth_hz=20003, domain_weights={"effects": 1, "speech": 1})
    assert len(waves(batches(only, 5))) == 20


def test_one_clip_among_many_below_the_bandwidth_is_found(make_shards, noise):
    clips = [noise(0.05, seed=n) for n in range(300)]
    root = make_shards({"train/speech": clips}, per_shard=300)

    (batch,) = batches(train(root, min_bandwidth_hz=20299, crop_samples=2400), 1)

    assert batch["key"] == ["speech299"] * 4


def test_the_workers_end_with_the_last_batch_that_is_asked_for(shards):
    gc.disable()  # a forked process that collects garbage cannot end them
    try:
        next(iter(module(shards, num_workers=1).train_dataloader()))
        assert not multiprocessing.active_children()
    finally:
        gc.enable()
