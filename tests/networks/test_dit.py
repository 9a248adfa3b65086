"""Does the transformer see the whole clip, know where its tokens are, and start at nothing?"""

import pytest
import torch
from torch import Tensor

from audiosr.networks.dit import DiT, rotary_angles, rotate_pairs


def small(*, shaken: bool = True) -> DiT:
    network = DiT(
        latent_channels=3, condition_channels=5, bands=8, patch=4, channels=16, blocks=1, heads=2
    ).eval()
    if shaken:
        for parameter in network.parameters():
            if not parameter.any():
                torch.nn.init.normal_(parameter, std=0.3)
    return network.requires_grad_(False)


def clip(frames: int, channels: int, batch: int = 1) -> Tensor:
    return torch.randn(batch, channels, frames, 8)


@pytest.mark.parametrize("frames", [1, 7, 40])
def test_any_length_gives_a_prediction_shaped_as_the_latent(frames: int) -> None:
    prediction = small()(clip(frames, 3, 2), torch.tensor([3, 999]), clip(frames, 5, 2))

    assert prediction.shape == (2, 3, frames, 8)
    assert prediction.isfinite().all()


def test_a_new_one_predicts_nothing_and_learns() -> None:
    network = small(shaken=False).requires_grad_(True)

    prediction = network(clip(4, 3), torch.tensor([500]), clip(4, 5))
    (prediction - 1).square().mean().backward()

    assert not prediction.any()
    assert network.out.weight.grad is not None
    assert network.out.weight.grad.any()


def test_every_frame_hears_of_every_other_and_of_the_time() -> None:
    network = small()
    x, time, condition = clip(30, 3), torch.tensor([300]), clip(30, 5)
    prediction = network(x, time, condition)
    changed = condition.clone()
    changed[:, :, 29] += 1

    far = (network(x, time, changed) - prediction)[:, :, 0].abs().max()
    later = (network(x, time + 400, condition) - prediction).abs().max()

    assert far > 1e-6
    assert later > 1e-3


def test_the_order_of_frames_and_of_bands_counts() -> None:
    network = small()
    x, time, condition = clip(6, 3), torch.tensor([300]), clip(6, 5)
    prediction = network(x, time, condition)

    for axis, order in ((2, [1, 0, 3, 2, 5, 4]), (3, [4, 5, 6, 7, 0, 1, 2, 3])):
        moved = network(
            x.index_select(axis, torch.tensor(order)),
            time,
            condition.index_select(axis, torch.tensor(order)),
        )
        back = moved.index_select(axis, torch.tensor(order))
        assert (back - prediction).abs().max() > 1e-4, axis


def test_attention_depends_on_how_far_apart_tokens_are_alone() -> None:
    q, k = torch.randn(2, 1, 1, 1, 8)
    angles = rotary_angles(20, 3, 4, torch.device("cpu"))
    at = angles.reshape(20, 3, 4)

    def score(one: tuple[int, int], other: tuple[int, int]) -> float:
        return float((rotate_pairs(q, at[one][None]) * rotate_pairs(k, at[other][None])).sum())

    assert score((0, 0), (5, 2)) == pytest.approx(score((9, 0), (14, 2)), abs=1e-5)
    assert score((3, 1), (3, 1)) == pytest.approx(float((q * k).sum()), abs=1e-5)
    assert score((0, 0), (5, 2)) != pytest.approx(score((0, 0), (6, 2)), abs=1e-4)


def test_patches_that_do_not_divide_the_bands_are_refused() -> None:
    with pytest.raises(ValueError, match="patches must divide"):
        DiT(bands=32, patch=5)
