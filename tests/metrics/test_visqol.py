"""ViSQOL equals the package's own command line."""

import contextlib
import re
import runpy
import sys

import pytest
import soundfile
import torch

from audiosr.metrics.visqol import Visqol
from tests.evaluation.conftest import tone_burst

pytest.importorskip("visqol")


def test_the_score_equals_the_command_lines(tmp_path, monkeypatch, capsys):
    reference = tone_burst(1.0, 20_000)
    output = tone_burst(1.0, 5000)
    paths = {name: str(tmp_path / f"{name}.wav") for name in ("reference", "output")}
    for path, wave in zip(paths.values(), (reference, output), strict=True):
        soundfile.write(path, wave, 48_000, "FLOAT")
    monkeypatch.setattr(sys, "argv", ["visqol", "-r", paths["reference"], "-d", paths["output"]])
    with contextlib.suppress(SystemExit):
        runpy.run_module("visqol", run_name="__main__")
    metric = Visqol()

    metric.update(torch.from_numpy(output)[None], torch.from_numpy(reference)[None])

    scores = [float(number) for number in re.findall(r"\d\.\d{3,}", capsys.readouterr().out)]
    assert metric.compute()["visqol"].item() == pytest.approx(scores[0], abs=1e-4)


@pytest.mark.parametrize("reference", [torch.zeros(1, 48_000), torch.ones(1, 100)])
def test_silence_and_fragments_have_no_score(reference):
    metric = Visqol(per_clip=True)
    metric.update(reference, reference)
    assert metric.compute()["visqol"].isnan().all()
