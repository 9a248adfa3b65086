"""Are exported programs what their networks are, at any length and without their code?"""

import subprocess
import sys

import pytest
import torch

from audiosr import cli
from audiosr.model import Model
from tests.tiny import save_tiny_model

PARTS = ("encoder", "decoder", "denoiser", "vocoder")


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """The programs of a tiny model beside it; read only."""
    folder = tmp_path_factory.mktemp("programs")
    model = str(save_tiny_model(folder / "model"))
    assert cli.main(["programs", str(folder / "out"), "--model", model]) == 0
    return folder


@pytest.mark.slow
@pytest.mark.parametrize(("rows", "blocks"), [(1, 1), (4, 7)])
def test_programs_give_what_the_networks_give_at_other_lengths(folder, rows, blocks):
    model = Model.load(folder / "model")
    assert model.denoiser is not None
    assert model.vocoder is not None
    programs = {name: torch.export.load(folder / f"out/{name}.pt2").module() for name in PARTS}
    mel = torch.randn(rows, 1, 64 * blocks, 256) - 5
    timesteps = torch.arange(rows) * 200

    with torch.no_grad():
        latent = programs["encoder"](mel)
        noisy = torch.randn_like(latent)
        wanted = {
            "encoder": model.encode(mel),
            "decoder": model.decode(latent),
            "denoiser": model.denoiser(noisy, timesteps, latent),
            "vocoder": model.vocoder(mel[:, :, 5:]),
        }
        found = {
            "encoder": latent,
            "decoder": programs["decoder"](latent),
            "denoiser": programs["denoiser"](noisy, timesteps, latent),
            "vocoder": programs["vocoder"](mel[:, :, 5:]),
        }

    for name in PARTS:
        torch.testing.assert_close(found[name], wanted[name], atol=1e-5, rtol=1e-5)


@pytest.mark.slow
def test_a_program_needs_no_code_of_ours(folder):
    run = (
        "import sys, torch\n"
        f"program = torch.export.load({str(folder / 'out/vocoder.pt2')!r}).module()\n"
        "print(tuple(program(torch.zeros(1, 1, 30, 256) - 5).shape))\n"
        "print([name for name in sys.modules if name.startswith('audiosr')])\n"
    )

    done = subprocess.run([sys.executable, "-c", run], capture_output=True, text=True, check=True)

    assert done.stdout == "(1, 1, 14400)\n[]\n"
