"""Classifier-free guidance wraps a denoiser."""

import torch

from audiosr.diffusion.guidance import guided


class Recorder:
    """A denoiser that remembers its batch sizes."""

    def __init__(self):
        self.batches = []

    def __call__(self, x, t, condition):
        self.batches.append(len(x))
        return x + 2 * condition + t.reshape(-1, 1)


def test_scale_one_runs_the_condition_alone():
    denoiser = Recorder()
    x, condition = torch.ones(3, 4), torch.full((3, 4), 5.0)

    v = guided(denoiser, condition, torch.tensor(-1.0), 1.0)(x, torch.zeros(3))

    assert denoiser.batches == [3]
    assert torch.equal(v, denoiser(x, torch.zeros(3), condition))


def test_both_branches_run_in_one_batch():
    denoiser = Recorder()
    x, condition, null = torch.ones(3, 4), torch.full((3, 4), 5.0), torch.tensor(-1.0)
    t = torch.tensor([1.0, 2.0, 3.0])

    v = guided(denoiser, condition, null, 2.5)(x, t)

    v_null = x - 2 + t.reshape(-1, 1)
    v_condition = x + 10 + t.reshape(-1, 1)
    assert denoiser.batches == [6]
    torch.testing.assert_close(v, v_null + 2.5 * (v_condition - v_null))


def test_scale_zero_ignores_the_condition():
    x, null = torch.ones(2, 4), torch.zeros(2, 4)

    v = guided(Recorder(), torch.full((2, 4), 9.0), null, 0.0)(x, torch.zeros(2))

    assert torch.equal(v, x)


def test_beyond_its_interval_the_condition_alone_is_followed():
    rows = []

    def denoiser(x, t, condition):
        rows.append(len(x))
        return condition * t[:, None]

    x, condition = torch.zeros(2, 3), torch.ones(2, 3)
    denoise = guided(denoiser, condition, torch.zeros(1, 3), 3.0, interval=(200.0, 800.0))

    results = [denoise(x, torch.full((2,), t))[0, 0].item() for t in (100, 200, 800, 900)]

    assert rows == [2, 4, 4, 2]
    assert results == [100, 600, 2400, 900]


def test_a_rescaled_guidance_has_the_spread_of_the_conditional_prediction():
    generator = torch.Generator().manual_seed(0)
    condition = torch.randn(2, 3, 50, generator=generator)
    x, t = torch.zeros(2, 3, 50), torch.zeros(2)

    def denoise(rescale):
        null = 0.1 * condition.flip(1)
        return guided(lambda x, t, c: c, condition, null, 4.0, rescale=rescale)(x, t)

    spread = condition.std((1, 2))
    torch.testing.assert_close(denoise(1.0).std((1, 2)), spread)
    torch.testing.assert_close(denoise(0.5), 0.5 * (denoise(0.0) + denoise(1.0)))
    assert (denoise(0.0).std((1, 2)) > 2 * spread).all()
