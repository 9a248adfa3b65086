"""What can be restored, and what is refused in one sentence?"""

import subprocess
import sys

import numpy as np
import pytest
import torch

import audiosr
from audiosr.errors import AudioFileError, AudioSRError, UsageError
from audiosr.restore.settings import load_profile
from tests.tiny import save_tiny_model


@pytest.mark.parametrize(
    ("wave", "rate", "error", "words"),
    [
        (np.zeros((2, 0), np.float32), 48000, AudioFileError, "no samples"),
        (np.full((1, 9), np.nan, np.float32), 48000, AudioFileError, "NaN"),
        (np.zeros((1, 9), np.float32), 3999, UsageError, "rate=3999"),
        (np.zeros((33, 9), np.float32), 48000, UsageError, "33 channels"),
        (np.zeros((1, 9), np.int16), 48000, UsageError, "int16"),
        (np.zeros((1, 1, 9), np.float32), 48000, UsageError, "shape"),
    ],
)
def test_what_cannot_be_restored_is_said_in_one_sentence(restorer, wave, rate, error, words):
    with pytest.raises(error, match=words):
        restorer.restore(wave, rate)


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"steps": -1}, "steps=-1"),
        ({"steps": 1001}, "steps=1001"),
        (
            {"sampler": "euler"},
            "sampler=euler: choose one of dpm_solver_pp_2m, dpm_solver_pp_3m, heun, ddim",
        ),
        ({"sampler": "nosuch.euler"}, "or a MODULE.FUNCTION .* \\(No module named 'nosuch'"),
        ({"spacing": "x"}, "spacing=x"),
        ({"prefilter": "x"}, "prefilter=x"),
        ({"eta": 0.5}, "needs sampler=ddim"),
        ({"sampler": "ddim", "eta": 2.0}, "eta=2.0"),
        ({"cutoff_hz": -1.0}, "cutoff_hz=-1.0"),
        ({"output_bandwidth_hz": 0.0}, "output_bandwidth_hz=0.0"),
        ({"prefilter_order": 0}, "prefilter_order=0"),
    ],
)
def test_settings_that_cannot_be_used_are_refused(options, words):
    with pytest.raises(UsageError, match=words):
        load_profile(**options)


def test_load_gives_a_restorer(tmp_path, noise):
    folder = save_tiny_model(tmp_path / "model")

    restored = audiosr.load(folder, device="cpu").restore(noise(0.2), 48000, steps=1)

    assert restored.shape == (1, 9600)


def test_load_says_what_is_wrong(tmp_path):
    with pytest.raises(AudioSRError, match="or `compact`"):
        audiosr.load(tmp_path / "nothing")
    folder = save_tiny_model(tmp_path / "part", "vocoder")
    with pytest.raises(AudioSRError, match="autoencoder"):
        audiosr.load(folder)
    with pytest.raises(UsageError, match="device=tpu9"):
        audiosr.load(save_tiny_model(tmp_path / "whole"), device="tpu9")
    with pytest.raises(UsageError, match="dtype=float16"):
        audiosr.load(tmp_path / "whole", dtype="float16")


def test_importing_audiosr_is_light_and_restoring_needs_no_training_packages():
    code = (
        "import sys, audiosr\n"
        "assert 'torch' not in sys.modules and 'numpy' not in sys.modules\n"
        "import audiosr.restore.restorer, audiosr.restore.load, audiosr.restore.files\n"
        "heavy = {'lightning', 'pytorch_lightning', 'hydra', 'omegaconf', 'webdataset', 'wandb'}\n"
        "found = heavy | {'torchmetrics', 'matplotlib', 'librosa'}\n"
        "print(sorted(found & set(sys.modules)))\n"
    )

    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)

    assert done.stdout == "[]\n", done.stderr


def test_in_bfloat16_weights_are_rounded_once_and_the_result_is_near(tmp_path, noise):
    folder = save_tiny_model(tmp_path / "model")
    options = {"steps": 2, "cutoff_hz": 3000.0}
    wave = noise(0.5)

    exact = audiosr.load(folder)
    rounded = audiosr.load(folder, dtype="bfloat16")

    assert next(rounded.model.parts["vocoder"].parameters()).dtype == torch.bfloat16
    difference = rounded.restore(wave, 48000, **options) - exact.restore(wave, 48000, **options)
    assert np.abs(difference).max() < 0.1 * np.abs(wave).max()
