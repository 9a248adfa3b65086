"""ViSQOL equals the package's own command line."""

import re
import subprocess
import sys

import pytest
import soundfile
import torch

from audiosr.metrics.visqol import Visqol
from tests.evaluation.conftest import tone_burst

pytest.importorskip("visqol")


def test_the_score_equals_the_command_lines(tmp_path):
    reference = tone_burst(3.0, 20_000)
    output = tone_burst(3.0, 5000)
    for name, wave in (("reference", reference), ("output", output)):
        soundfile.write(tmp_path / f"{name}.wav", wave, 48_000, "FLOAT")
    command = [sys.executable, "-m", "visqol", "-r", f"{tmp_path}/reference.wav"]
    said = subprocess.run(
        [*command, "-d", f"{tmp_path}/output.wav"], capture_output=True, text=True, check=True
    ).stdout
    metric = Visqol()

    metric.update(torch.from_numpy(output)[None], torch.from_numpy(reference)[None])

    scores = [float(number) for number in re.findall(r"\d\.\d{3,}", said)]
    assert metric.compute()["visqol"].item() == pytest.approx(scores[0], abs=1e-4)


@pytest.mark.parametrize("reference", [torch.zeros(1, 48_000), torch.ones(1, 100)])
def test_silence_and_fragments_have_no_score(reference):
    metric = Visqol(per_clip=True)
    metric.update(reference, reference)
    assert metric.compute()["visqol"].isnan().all()
