"""How likely is it for each band that a recording ends there?"""

from functools import lru_cache
from pathlib import Path

import torch
import torch.nn.functional as F
from safetensors.torch import load_file
from torch import Tensor, nn

from audiosr.audio.edge_features import BELOW_NYQUIST, EDGE_FEATURES

WEIGHTS = Path(__file__).with_name("edge.safetensors")
"""Made by `python -m audiosr.training.edge`."""

_DROPPED = 0.1
"""Share of the numbers that each layer loses in training."""

_NOWHERE = -30.0
"""Logit of bands above the Nyquist frequency."""


class EdgeNet(nn.Module):
    """Dilated convolutions over the bands, each with the mean over all bands added.

    Args:
        width: channels of every layer.
        dilations: of the layers between the first and the last, each with five taps.
    """

    def __init__(self, width: int = 24, dilations: tuple[int, ...] = (1, 2, 4, 8, 16, 32)) -> None:
        super().__init__()
        self.first = nn.Conv1d(EDGE_FEATURES, width, 5, padding=2)
        self.norms = nn.ModuleList(nn.GroupNorm(1, width) for _ in dilations)
        self.layers = nn.ModuleList(
            nn.Conv1d(width, width, 5, padding=2 * step, dilation=step) for step in dilations
        )
        self.means = nn.ModuleList(nn.Linear(width, width) for _ in dilations)
        self.last = nn.Conv1d(width, 1, 5, padding=2)

    def forward(self, features: Tensor) -> Tensor:
        """Logits (B, BANDS) of the edge for features (B, EDGE_FEATURES, BANDS)."""
        valid = features[:, BELOW_NYQUIST : BELOW_NYQUIST + 1]
        hidden = self.first(features) * valid
        for norm, layer, mean in zip(self.norms, self.layers, self.means, strict=True):
            whole = mean((hidden * valid).sum(-1) / valid.sum(-1))
            added = F.gelu(layer(norm(hidden) * valid) + whole[..., None])
            hidden = hidden + F.dropout(added, _DROPPED, self.training) * valid
        return self.last(hidden)[:, 0].masked_fill(valid[:, 0] < 0.5, _NOWHERE)


@lru_cache(maxsize=1)
def load_edge_net() -> EdgeNet:
    """The trained network of the package."""
    net = EdgeNet()
    net.load_state_dict(load_file(WEIGHTS))
    return net.eval().requires_grad_(False)


def edge_shares(net: EdgeNet, features: Tensor) -> Tensor:
    """Probability (B, BANDS) that the band of a recording ends in each of the bands."""
    with torch.inference_mode():
        return net(features).softmax(-1)
