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
