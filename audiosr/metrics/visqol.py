"""How good would listeners find it, by ViSQOL?"""

import contextlib
from functools import cached_property
from typing import Any

import torch
from torch import Tensor

from audiosr.errors import AudioSRError
from audiosr.metrics.clip import ClipMetric, paired

RATE_HZ = 48_000
"""The rate of ViSQOL's audio mode."""


class Visqol(ClipMetric):
    """ViSQOL v3 in audio mode (48 kHz), 1 to about 4.73, by the package visqol-python.

    Equal to that package's own command line. It compares 32 bands of a gammatone filterbank up to
    24 kHz, aligns delays and levels, and takes a second or two for five seconds of sound, on the
    processor. Silent targets and clips too short for a patch (0.6 s) have no score. Read the mean
    of many files: its authors warn of single scores.
    """

    higher_is_better = True

    def __init__(self, **settings: Any) -> None:
        super().__init__(("visqol",), **settings)

    @cached_property
    def _api(self) -> Any:
        try:
            from visqol import VisqolApi
        except ImportError as error:
            raise AudioSRError(
                "ViSQOL is not installed: run pip install 'audiosr-lightning[visqol]'"
            ) from error
        api = VisqolApi()
        api.create(mode="audio")
        return api

    def update(self, estimate: Tensor, target: Tensor) -> None:
        """Add clips `(B, 1, T)` or `(B, T)` at 48 kHz."""
        found, wanted = paired(estimate, target)
        wanted = wanted.expand_as(found)
        scores = [
            self._score(reference.cpu().numpy(), output.cpu().numpy())
            for reference, output in zip(wanted, found, strict=True)
        ]
        self.add(torch.tensor(scores, dtype=torch.float64, device=estimate.device))

    def _score(self, reference: Any, output: Any) -> float:
        if reference.any():
            with contextlib.suppress(ValueError):  # too short for a patch
                return float(self._api.measure_from_arrays(reference, output, RATE_HZ).moslqo)
        return float("nan")

    def describe(self) -> dict[str, Any]:
        """For a protocol card."""
        from importlib.metadata import version

        return {self.names[0]: f"MOS-LQO, audio mode, visqol-python {version('visqol-python')}"}
