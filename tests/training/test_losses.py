"""Do the losses say what their formulas say?"""

import math

import pytest
import torch
from torch import nn

from audiosr.training.losses import (
    adaptive_weight,
    feature_matching_loss,
    hinge_discriminator_loss,
    hinge_generator_loss,
    last_gradients,
    least_squares_discriminator_loss,
    least_squares_generator_loss,
    log_mel_distance,
    log_stft_loss,
)


def test_hinge_is_zero_beyond_the_margin_and_one_at_the_border() -> None:
    sure = hinge_discriminator_loss(torch.full((2, 3), 1.5), torch.full((2, 3), -2.0))
    undecided = hinge_discriminator_loss(torch.zeros(2, 3), torch.zeros(2, 3))

    assert sure == 0
    assert undecided == 1
    assert hinge_generator_loss(torch.tensor([1.0, 3.0])) == -2


def test_least_squares_wants_one_for_real_and_zero_for_fake() -> None:
    ones, zeros = (torch.ones(2, 4), []), (torch.zeros(2, 4), [])

    assert least_squares_discriminator_loss([ones], [zeros]) == 0
    assert least_squares_discriminator_loss([zeros], [ones]) == 2
    assert least_squares_generator_loss([ones, zeros]) == 1


def test_every_discriminator_and_layer_weighs_as_much_as_if_it_were_alone() -> None:
    real = [(torch.ones(2, 4), [torch.ones(2, 3), torch.ones(2, 5, 2)])]
    fake = [(torch.zeros(2, 4), [torch.zeros(2, 3), torch.zeros(2, 5, 2)])]

    # The loss of one layer is a mean over its elements; layers and discriminators are added up.
    assert feature_matching_loss(real, fake) == 2
    assert feature_matching_loss(real * 3, fake * 3) == 6
    assert least_squares_generator_loss(fake * 3) == 3
    assert least_squares_discriminator_loss(fake * 3, real * 3) == 6


def test_feature_matching_pulls_only_the_fake() -> None:
    real = torch.ones(3, requires_grad=True)
    fake = torch.zeros(3, requires_grad=True)

    loss = feature_matching_loss([(real, [real])], [(fake, [fake])])
    loss.backward()

    assert loss == 1
    assert real.grad is None
    assert fake.grad is not None


def test_adaptive_weight_makes_both_pulls_equal() -> None:
    layer = nn.Linear(4, 4, bias=False)
    y = layer(torch.randn(8, 4))
    reconstruction, adversarial = 3.0 * y.square().mean(), 0.01 * y.mean()

    pull, push = last_gradients(reconstruction, adversarial, layer.weight)
    weight = adaptive_weight(pull, push)
    pushed = torch.autograd.grad(weight * adversarial, layer.weight)[0]

    assert pushed.norm() == pytest.approx(pull.norm().item(), rel=0.1)
    assert adaptive_weight(pull, push, maximum=0.25) == 0.25


def test_log_stft_loss_of_a_gain_is_its_logarithm() -> None:
    wave = torch.randn(2, 1, 9600)

    loss = log_stft_loss(2 * wave, wave)

    assert loss == pytest.approx(math.log(2), rel=1e-3)


def test_log_mel_distance_is_in_decades_of_power_and_splits_at_a_band() -> None:
    mel = torch.zeros(2, 1, 5, 10)
    louder = mel.clone()
    louder[..., 6:] = math.log(10)  # ten times the amplitude: two decades of power

    above = log_mel_distance(louder, mel, above=torch.tensor([6, 8]))

    assert above.tolist() == pytest.approx([2.0, 2.0], rel=1e-5)
    assert log_mel_distance(louder, mel).tolist() == pytest.approx(
        [2 * math.sqrt(0.4)] * 2, rel=1e-5
    )
