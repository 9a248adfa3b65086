"""Do the shared layers compute what the released ones do, in the precision they promise?"""

import numpy as np
import torch
from torch.nn import functional as F

from audiosr.networks.layers import GroupNorm, Upsample, timestep_embedding
from tests.networks import released


def test_timestep_embedding_is_the_released_one():
    with np.load(released.GOLDEN / "networks.npz") as outputs:
        want = torch.from_numpy(outputs["timestep_embedding_128"])

    got = timestep_embedding(torch.tensor([1, 501, 981]), 128)

    torch.testing.assert_close(got, want, rtol=0, atol=1e-6)


def test_group_norm_of_bfloat16_loses_only_the_rounding_of_its_input():
    norm = GroupNorm(32, eps=1e-5)
    x = (100 + torch.randn(2, 32, 64, 64)).bfloat16()  # an offset that eats bfloat16's digits

    with torch.no_grad():
        got = norm(x)

    assert got.dtype == torch.bfloat16
    want = F.group_norm(x.double(), 32, eps=1e-5)
    assert released.relative_error(got, want) < 0.005


def test_upsampling_repeats_before_it_smooths():
    layer = Upsample(1)
    torch.nn.init.dirac_(layer.conv.weight)
    torch.nn.init.zeros_(layer.conv.get_parameter("bias"))
    x = torch.arange(4.0).reshape(1, 1, 2, 2)

    got = layer(x)

    assert got[0, 0].tolist() == [[0, 0, 1, 1], [0, 0, 1, 1], [2, 2, 3, 3], [2, 2, 3, 3]]
