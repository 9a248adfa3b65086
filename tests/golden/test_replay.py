"""Does the replay of golden data find what differs, and say what it did not look at?"""

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from audiosr.networks.unet import UNet
from tests.golden import recipe, replay

GOLDEN = Path(__file__).parent
REPOSITORY = GOLDEN.parents[1]


def lay_out(folder: Path, *, lsd_offset: float = 0.0) -> Path:
    """A small folder of golden data: LSD pairs and cutoffs out of what the tests store."""
    stored = json.loads((GOLDEN / "lsd.json").read_text())
    pairs: list[dict[str, Any]] = []
    for pair in (pair for pair in stored if pair["rate"] == 16000):
        found: dict[str, Any] = {"error": "AssertionError"}
        if pair["lsd"]:
            names = ("lsd", "sispec", "log_sispec", "ssim")
            found = {"result": {name: pair[name] for name in names} | {"pesq": 1.0}}
        sides = {"est": pair["estimate"], "target": pair["target"]}
        pairs.append({"rate": pair["rate"], "name": pair["name"], **sides, **found})
    pairs[0]["result"]["lsd"] += lsd_offset
    (folder / "lsd.json").write_text(json.dumps({"pairs": pairs}))
    with np.load(GOLDEN / "audio.npz") as audio:
        cutoffs = dict(list(json.loads(str(audio["cutoffs_json"])).items())[:2])
    np.savez(
        folder / "mel_replace.npz",
        signals_json=json.dumps({name: case["signal"] for name, case in cutoffs.items()}),
        cutoffs_json=json.dumps(
            {
                name: {
                    "wave_stft_bin_0.985": case["stft"],
                    "wave_stft_bin_0.97": case["stft_0.97"],
                    "mel_bin_0.985": case["mel"],
                    "librosa_bin_0.985": case["librosa"],
                }
                for name, case in cutoffs.items()
            }
        ),
        gen_seeds_json="{}",
        of_another_layout=np.zeros(3),
    )
    return folder


def save_unet(folder: Path, *, weight: float = 1.0) -> None:
    """Outputs of a U-Net of another width, for other seeds, times and sizes."""
    width = {
        "in_channels": 32,
        "out_channels": 16,
        "model_channels": 32,
        "channel_mult": [1, 2],
        "num_res_blocks": 1,
        "attention_resolutions": [2],
        "num_head_channels": 8,
    }
    (folder / "tiny_config.json").write_text(json.dumps({"unet": width}))
    network = UNet(
        channels=32, multipliers=(1, 2), blocks=1, attention_rates=(2,), head_channels=8
    ).requires_grad_(False)
    recipe.load_weights(network, "model.diffusion_model.")
    shape, scale, null = (1, 16, 4, 6), 0.5, -3.0
    x, condition = (torch.from_numpy(recipe.normal(seed, shape)) for seed in (70, 71))
    arrays = {"scale_factor": scale, "null_value": null, "q_x_seed": 70, "q_cond_seed": 71}
    arrays["q_t7_cond"] = weight * network(x, torch.tensor([7]), scale * condition).numpy()
    arrays["q_t8_null"] = network(x, torch.tensor([8]), torch.full_like(x, scale * null)).numpy()
    np.savez(folder / "unet.npz", **arrays)


def verdicts(text: str, verdict: str) -> list[str]:
    """The lines of one verdict."""
    return [line for line in text.splitlines() if line.startswith(verdict)]


def test_equal_values_pass_as_a_command(tmp_path: Path):
    command = [sys.executable, "tests/golden/replay.py", str(lay_out(tmp_path))]

    done = subprocess.run(command, cwd=REPOSITORY, capture_output=True, text=True)

    assert done.returncode == 0, done.stdout + done.stderr
    assert len(verdicts(done.stdout, "ok")) > 25
    assert not verdicts(done.stdout, "FAIL")


def test_a_wrong_value_fails_alone(tmp_path: Path, capsys: pytest.CaptureFixture[str]):
    assert replay.main([str(lay_out(tmp_path, lsd_offset=0.1))]) == 1

    (line,) = verdicts(capsys.readouterr().out, "FAIL")
    assert "lsd 16000 Hz identical" in line
    assert "tolerance 1e-03" in line


def test_what_is_not_compared_is_said(tmp_path: Path, capsys: pytest.CaptureFixture[str]):
    replay.main([str(lay_out(tmp_path))])

    said = "\n".join(verdicts(capsys.readouterr().out, "--"))
    for name in ("of_another_layout", "pesq", "base_unet.npz", "features.npz"):
        assert name in said


def test_other_widths_seeds_and_names_are_replayed(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
):
    save_unet(tmp_path)

    assert replay.main([str(tmp_path)]) == 0
    assert len(verdicts(capsys.readouterr().out, "ok")) == 2

    save_unet(tmp_path, weight=1.001)

    assert replay.main([str(tmp_path)]) == 1
    (line,) = verdicts(capsys.readouterr().out, "FAIL")
    assert "q_t7_cond" in line
    assert "1.0e-03" in line


def test_a_broken_file_fails_and_the_others_are_replayed(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
):
    lay_out(tmp_path)
    np.savez(tmp_path / "ddim.npz", cases_json="{}")

    assert replay.main([str(tmp_path)]) == 1

    out = capsys.readouterr().out
    (line,) = verdicts(out, "FAIL")
    assert "ddim.npz" in line
    assert any("lsd" in ok for ok in verdicts(out, "ok"))


def test_a_shape_that_differs_fails(tmp_path: Path, capsys: pytest.CaptureFixture[str]):
    save_unet(tmp_path)
    with np.load(tmp_path / "unet.npz") as stored:
        arrays = {**stored, "q_t7_cond": stored["q_t7_cond"][:, :8]}
    arrays["q_shape"] = np.array([1, 16, 4, 6])
    np.savez(tmp_path / "unet.npz", **arrays)

    assert replay.main([str(tmp_path)]) == 1
    assert "the golden one is (1, 8, 4, 6)" in capsys.readouterr().out


def test_a_folder_without_golden_data_is_refused(tmp_path: Path):
    with pytest.raises(SystemExit) as ended:
        replay.main([str(tmp_path)])

    assert ended.value.code == 2
