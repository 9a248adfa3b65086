"""Does the benchmark of sampling say how far few steps are from many?"""

from pathlib import Path

import soundfile as sf

from audiosr.restore.settings import load_profile
from bench.inference import distances
from tests.tiny import tiny_model


def test_more_steps_come_nearer_and_another_noise_does_not(tmp_path: Path, noise) -> None:
    recording = tmp_path / "recording.wav"
    sf.write(recording, noise(0.7)[0], 48000)
    model = tiny_model().save(tmp_path / "model")

    table = distances(str(model), str(recording), load_profile(), seconds=0.64, rounds=1)

    rows = [[cell.strip() for cell in line.strip("|").split("|")] for line in table.splitlines()]
    far = {(row[0], row[1], row[2]): float(row[-1]) for row in rows[2:] if row[3] == "the same"}
    for sampler in ("dpm_solver_pp_2m", "dpm_solver_pp_3m", "heun", "ddim"):
        assert far[sampler, "50", "float32"] < far[sampler, "4", "float32"], sampler
    assert far["dpm_solver_pp_2m", "200", "float32"] == 0.0
    another = next(float(row[-1]) for row in rows[2:] if row[3] == "another")
    assert another > far["dpm_solver_pp_2m", "50", "float32"]
