"""Is a network built as its specification says, and never one that nobody trusts?"""

from pathlib import Path

import pytest

from audiosr.errors import AudioSRError
from audiosr.networks.build import build_network
from audiosr.trust import TRUSTED
from tests.tiny import ARCHITECTURES

OWN = """from torch import nn
class Own(nn.Linear):
    pass
def rogue(**_):
    raise AssertionError
"""


@pytest.fixture
def own(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    """A module of the user's own that Python finds."""
    (tmp_path / "own_networks.py").write_text(OWN)
    monkeypatch.syspath_prepend(tmp_path)
    return "own_networks"


def test_networks_are_built_of_networks() -> None:
    network = build_network(
        {
            "_target_": "audiosr.networks.linear_prior.LinearPriorDenoiser",
            "prior": {"_target_": "audiosr.networks.linear_prior.LinearPrior", "size": 8},
            "network": ARCHITECTURES["denoiser"],
        }
    )

    assert network.state_dict()["prior.bias"].shape == (1, 8)


def test_a_network_of_others_needs_the_word_of_the_user(
    own: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    spec = {"_target_": f"{own}.Own", "in_features": 2, "out_features": 3}

    with pytest.raises(AudioSRError, match=f"if you trust its code, set {TRUSTED}={own}$"):
        build_network(spec)
    for trusted in (f"{own}_too", "own", f"{own}.deeper"):
        monkeypatch.setenv(TRUSTED, trusted)
        with pytest.raises(AudioSRError, match="not a network of"):
            build_network(spec)
    monkeypatch.setenv(TRUSTED, f"another,{own}")
    assert build_network(spec).weight.shape == (3, 2)


def test_what_is_no_network_is_not_called(own: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(TRUSTED, own)

    with pytest.raises(AudioSRError, match="rogue, which is not a network"):
        build_network({"_target_": f"{own}.rogue"})
