"""Do released checkpoints come in whole, go out the same, and are damaged ones refused?"""

import pickle
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file

from audiosr.checkpoints import released
from audiosr.checkpoints.convert import UNUSED, export_released, import_released
from audiosr.checkpoints.layout import NULL_VALUE, schedule_tables
from audiosr.errors import AudioSRError
from audiosr.model import Model
from tests.checkpoints.conftest import LAYOUT, State
from tests.golden import recipe
from tests.networks.released import relative_error
from tests.tiny import save_tiny_model

Write = Callable[..., Path]
UNET = "model.diffusion_model."
COPY = "cond_stage_models.0.vae.decoder.mid.attn_1.q.weight"


def read(path: Path) -> State:
    return torch.load(path, weights_only=True)["state_dict"]


def differing(one: State, other: State) -> list[str]:
    """Names in one of the two only, or whose tensors are not the same to the bit."""
    return [
        name
        for name in one.keys() | other.keys()
        if name not in one
        or name not in other
        or one[name].dtype != other[name].dtype
        or not torch.equal(one[name], other[name])
    ]


def test_an_import_computes_with_the_weights_of_the_file(
    state: State, write: Write, tmp_path: Path
) -> None:
    model = Model.load(import_released(write(state), tmp_path / "model"))

    for name, prefix in (("denoiser", UNET), ("vocoder", "first_stage_model.vocoder.")):
        expected = recipe.load_weights(getattr(model, name), prefix).state_dict()
        assert not differing(expected, getattr(model, name).state_dict())
    assert model.latent.scale == pytest.approx(recipe.SCALE_FACTOR)
    assert model.latent.null_value == NULL_VALUE
    assert len(model.provenance["released"]["sha256"]) == 64
    mel = torch.from_numpy(recipe.meanlike_mel(3, 16))[None, None]
    wave = model.parts["vocoder"](model.decode(model.encode(mel)))
    assert wave.shape == (1, 1, 7680)


def test_import_then_export_gives_the_same_tensors(
    state: State, write: Write, tmp_path: Path
) -> None:
    model = import_released(write(state), tmp_path / "model")

    back = export_released(model, tmp_path / "back" / "pytorch_model.bin")

    assert not differing(read(back), state)
    again = import_released(back, tmp_path / "again")
    for file in model.glob("*.safetensors"):
        assert file.read_bytes() == (again / file.name).read_bytes()
    assert {p.name for p in back.parent.iterdir()} == {back.name}


def test_the_average_can_be_taken_as_the_model(state: State, write: Write, tmp_path: Path) -> None:
    model = import_released(write(state), tmp_path / "model", ema=True)

    denoiser = load_file(model / "denoiser.safetensors")
    assert all(
        torch.equal(state[ema], denoiser[name.removeprefix(UNET)])
        for ema, name in LAYOUT.averages.items()
    )
    back = read(export_released(model, tmp_path / "back.bin"))
    assert all(torch.equal(back[name], state[ema]) for ema, name in LAYOUT.averages.items())
    assert all(torch.equal(back[ema], state[ema]) for ema in LAYOUT.averages)


def test_what_is_not_used_can_be_dropped(state: State, write: Write, tmp_path: Path) -> None:
    model = import_released(write(state), tmp_path / "model", keep_unused=False)

    assert not (model / UNUSED).exists()
    back = read(export_released(model, tmp_path / "back.bin"))
    assert back.keys() == {name for name in state if not name.startswith("clap.")}
    assert {name: tuple(value.shape) for name, value in back.items()} == {
        name: tuple(value.shape) for name, value in state.items() if name in back
    }
    changed = set(differing(back, {name: state[name] for name in back}))
    assert changed == {*LAYOUT.averages, "logvar", "model_ema.decay", "model_ema.num_updates"}
    assert not differing({n: back[n] for n in schedule_tables()}, schedule_tables())


@pytest.mark.parametrize(("dtype", "error"), [(torch.bfloat16, 0.004), (torch.float16, 5e-4)])
def test_weights_are_kept_in_the_precision_asked_for(
    state: State, write: Write, tmp_path: Path, dtype: torch.dtype, error: float
) -> None:
    model = import_released(write(state), tmp_path / "model", dtype=dtype)

    for part in ("autoencoder", "denoiser", "vocoder"):
        for value in load_file(model / f"{part}.safetensors").values():
            assert value.dtype == dtype
    back = read(export_released(model, tmp_path / "back.bin"))
    for name in LAYOUT.weights:
        assert back[name].dtype == torch.float32
        assert relative_error(back[name], state[name]) < error


def changed_copy(state: State) -> None:
    state[COPY] = state[COPY].clone()
    state[COPY][0, 0] += 1e-6


def wrong_shape(state: State) -> None:
    name = UNET + "out.2.weight"
    state[name] = state[name][:, :16]


def other_schedule(state: State) -> None:
    state["alphas_cumprod"] = torch.linspace(1, 0, 1000)


def not_finite(state: State) -> None:
    state[UNET + "out.2.bias"][3] = torch.nan


def no_tensor(state: dict[str, Any]) -> None:
    state["logvar"] = "zero"


FAULTS: dict[str, tuple[Callable[[State], object], str]] = {
    "a changed copy": (changed_copy, f"{COPY} should repeat .* and differs"),
    "one missing": (lambda s: s.pop(UNET + "out.2.bias"), r"1 missing: .*out\.2\.bias$"),
    "a copy missing": (lambda s: s.pop(COPY), rf"1 missing: {COPY}$"),
    "many missing": (
        lambda s: [s.pop(n) for n in list(s) if n.startswith("first_stage_model.decoder.")],
        r"missing: first_stage.* and \d+ more$",
    ),
    "a wrong shape": (wrong_shape, r"1 of another shape: .*out\.2\.weight 16x16x3x3 instead of"),
    "one unknown": (lambda s: s.update({"extra.w": torch.ones(1)}), r"1 unknown: extra\.w$"),
    "no tensor": (no_tensor, "no tensors: logvar"),
    "another schedule": (other_schedule, "alphas_cumprod is not that of the cosine schedule"),
    "not finite": (not_finite, r"out\.2\.bias is not finite"),
    "no scale": (lambda s: s["scale_factor"].zero_(), "scale_factor is 0.0"),
}


@pytest.mark.parametrize("what", FAULTS)
def test_a_damaged_file_is_refused_with_the_reason(
    state: State, write: Write, tmp_path: Path, what: str
) -> None:
    damage, words = FAULTS[what]
    damage(state)
    path = write(state)

    with pytest.raises(AudioSRError, match=words) as error:
        import_released(path, tmp_path / "model")

    assert str(path) in str(error.value)
    assert "\n" not in str(error.value)
    assert list(tmp_path.iterdir()) == [path]


class Evil:
    """Unpickled, it leaves a file."""

    def __init__(self, mark: Path) -> None:
        self.mark = mark

    def __reduce__(self) -> tuple[Callable[[Path], None], tuple[Path]]:
        return Path.touch, (self.mark,)


@pytest.mark.parametrize("where", ["value", "tensor", "bare pickle"])
def test_a_pickle_that_runs_code_is_refused_and_runs_none(
    state: State, write: Write, tmp_path: Path, where: str
) -> None:
    mark = tmp_path / "ran"
    if where == "bare pickle":
        path = tmp_path / "pytorch_model.bin"
        path.write_bytes(pickle.dumps({"state_dict": Evil(mark)}))
    else:
        path = write(Evil(mark) if where == "value" else {**state, "logvar": Evil(mark)})

    with pytest.raises(AudioSRError, match="run code") as error:
        import_released(path, tmp_path / "model")

    assert "\n" not in str(error.value)
    assert list(tmp_path.iterdir()) == [path]


@pytest.mark.parametrize(
    ("content", "words"),
    [(b"", "no checkpoint"), (b"PK\x03\x04 cut", "no checkpoint"), (None, "does not exist")],
)
def test_what_is_no_checkpoint_is_said(tmp_path: Path, content: bytes | None, words: str) -> None:
    path = tmp_path / "file.bin"
    if content is not None:
        path.write_bytes(content)
    with pytest.raises(AudioSRError, match=words):
        import_released(path, tmp_path / "model")


def test_another_hash_is_refused(state: State, write: Write, tmp_path: Path) -> None:
    with pytest.raises(AudioSRError, match="has the hash"):
        import_released(write(state), tmp_path / "model", expected_sha256="0" * 64)


def test_only_released_networks_can_be_exported(tmp_path: Path) -> None:
    folder = save_tiny_model(tmp_path / "model")
    with pytest.raises(AudioSRError, match="the released format holds"):
        export_released(folder, tmp_path / "out.bin")
    assert list(tmp_path.iterdir()) == [folder]


def test_the_command_imports_and_exports(
    state: State, write: Write, tmp_path: Path, capsys
) -> None:
    path, model, back = write(state), tmp_path / "model", tmp_path / "back.bin"

    assert released.main(["import", str(path), str(model)]) == 0
    assert released.main(["export", str(model), str(back)]) == 0
    assert not differing(read(back), state)
    assert capsys.readouterr().out.startswith(f"{model}: 0.0")

    assert released.main(["import", str(path), str(model)]) == 1
    assert "add --overwrite" in capsys.readouterr().err
    assert released.main(["import", str(path), str(model), "--overwrite", "--drop-unused"]) == 0
    assert released.main(["import", str(path), str(tmp_path), "--overwrite"]) == 1
    assert "is no model folder" in capsys.readouterr().err
    assert path.is_file()
