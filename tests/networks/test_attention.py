"""Do all attentions take the kernel that never holds all weights?"""

from collections.abc import Callable
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.nn.attention import SDPBackend, sdpa_kernel

from audiosr.networks.autoencoder import Attention
from audiosr.networks.dit import DiT
from audiosr.networks.unet import UNet

LATENT = (2, 16, 8, 8)


def _denoise(network: nn.Module) -> Tensor:
    x, condition = torch.randn(2, *LATENT)
    return network(x, torch.tensor([5, 500]), condition)


NETWORKS: dict[str, tuple[Callable[[], nn.Module], Callable[[Any], Tensor]]] = {
    "autoencoder": (lambda: Attention(32), lambda n: n(torch.randn(2, 32, 8, 8))),
    "unet": (
        lambda: UNet(channels=32, multipliers=(1, 2), blocks=1, attention_rates=(2,)),
        _denoise,
    ),
    "dit": (lambda: DiT(bands=8, patch=4, channels=64, blocks=1, heads=2), _denoise),
}


@pytest.mark.parametrize("name", NETWORKS)
@pytest.mark.parametrize("layout", ["contiguous", "channels last"])
@pytest.mark.parametrize("precision", ["float32", "bfloat16"])
def test_every_attention_takes_the_fast_kernel(
    name: str, layout: str, precision: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    build, ask = NETWORKS[name]
    network = build()
    if layout == "channels last":
        lay_out: dict[str, Any] = {"memory_format": torch.channels_last}  # torch's types lack it
        network = network.to(**lay_out)
    attend, strides = F.scaled_dot_product_attention, []

    def watched(q: Tensor, k: Tensor, v: Tensor) -> Tensor:
        strides.extend(x.stride() for x in (q, k, v))
        return attend(q, k, v)

    monkeypatch.setattr(F, "scaled_dot_product_attention", watched)
    # Of the kernels, the one that never holds all weights: it refuses channels that lie apart.
    with (
        sdpa_kernel(SDPBackend.FLASH_ATTENTION),
        torch.autocast("cpu", torch.bfloat16, enabled=precision == "bfloat16"),
    ):
        ask(network).float().square().mean().backward()

    assert strides
    assert all(stride[-1] == 1 for stride in strides)
