"""Is a model kept bit for bit, whole or not at all, and is a folder from anywhere safe to read?

In one piece, as what is written and what is refused are variations of one folder.
"""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
import yaml
from safetensors.torch import load_file

from audiosr.audio.mel import MelSettings, band_edges
from audiosr.diffusion.objective import PredictFlow
from audiosr.diffusion.schedule import shifted_alphas_cumprod
from audiosr.errors import AudioSRError, UsageError
from audiosr.model import PARTS, DiffusionSettings, FillSettings, LatentSettings, Model
from tests.tiny import ARCHITECTURES, save_tiny_model, tiny_model


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A complete model folder, alone in its parent."""
    return save_tiny_model(tmp_path / "kept" / "model")


def states(model: Model) -> dict[str, torch.Tensor]:
    return {
        f"{name}/{key}": value
        for name, part in model.parts.items()
        for key, value in part.state_dict().items()
    }


def same(one: dict[str, torch.Tensor], other: dict[str, torch.Tensor]) -> bool:
    return one.keys() == other.keys() and all(torch.equal(one[k], other[k]) for k in one)


def contents(folder: Path) -> dict[str, bytes]:
    return {p.name: p.read_bytes() for p in folder.iterdir()}


def edit(folder: Path, change: Callable[[dict[str, Any]], Any]) -> None:
    settings = yaml.safe_load((folder / "model.yaml").read_text())
    change(settings)
    (folder / "model.yaml").write_text(yaml.safe_dump(settings))


def test_a_model_comes_back_bit_for_bit(folder: Path) -> None:
    model = tiny_model()

    loaded = Model.load(folder)

    assert same(states(loaded), states(model))
    assert set(loaded.parts) == set(PARTS)
    for name in ("features", "latent", "fill", "diffusion", "architectures", "provenance"):
        assert getattr(loaded, name) == getattr(model, name), name


def test_settings_that_are_not_the_defaults_come_back(tmp_path: Path) -> None:
    model = replace(
        tiny_model("denoiser"),
        features=MelSettings(rate=44100, hop=441 + 1, fmax=20000.0, floor=1e-4),
        latent=LatentSettings(scale=0.37, null_value=-11.5, condition_on=["cutoff"]),
        fill=FillSettings(steps=7, bandwidth_hz=19000.0, expansion=1.25, temperature=0.5),
        diffusion=DiffusionSettings(timesteps=200),
    )

    loaded = Model.load(model.save(tmp_path / "model"))

    assert (loaded.features, loaded.latent) == (model.features, model.latent)
    assert loaded.fill == model.fill
    assert len(loaded.alphas_cumprod) == 200
    assert loaded.log_mel.settings == model.features


def test_a_model_keeps_the_process_it_was_trained_with(tmp_path: Path) -> None:
    named: dict[str, Any] = {
        "schedule": {"_target_": "audiosr.diffusion.schedule.shifted_alphas_cumprod", "ratio": 0.3},
        "objective": {"_target_": "audiosr.diffusion.objective.PredictFlow"},
        "start": {"_target_": "audiosr.diffusion.start.FromCondition", "sigma": 0.1},
    }
    model = replace(tiny_model("denoiser"), diffusion=DiffusionSettings(timesteps=50, **named))

    loaded = Model.load(model.save(tmp_path / "model"))

    assert loaded.diffusion == model.diffusion
    assert torch.equal(loaded.alphas_cumprod, shifted_alphas_cumprod(50, ratio=0.3))
    assert isinstance(loaded.objective, PredictFlow)
    one = torch.ones(1, 1, 1, 1)
    assert float(loaded.start(one, one)) == pytest.approx(1.1)


def test_a_folder_that_names_no_process_or_filling_has_the_usual(folder: Path) -> None:
    settings = yaml.safe_load((folder / "model.yaml").read_text())
    settings["diffusion"] = {"timesteps": 1000}
    del settings["fill"]
    (folder / "model.yaml").write_text(yaml.safe_dump(settings))

    loaded = Model.load(folder)
    assert (loaded.diffusion, loaded.fill) == (DiffusionSettings(), FillSettings())


def test_a_process_of_elsewhere_is_not_called(folder: Path) -> None:
    settings = yaml.safe_load((folder / "model.yaml").read_text())
    settings["diffusion"]["schedule"] = {"_target_": "os.system", "command": "true"}
    (folder / "model.yaml").write_text(yaml.safe_dump(settings))

    with pytest.raises(AudioSRError, match="not a schedule of audiosr"):
        Model.load(folder)


def test_a_loaded_model_computes_the_same_and_learns_nothing(folder: Path) -> None:
    model, loaded = tiny_model(), Model.load(folder)
    mel = model.log_mel(0.1 * torch.randn(1, 1, 7680))

    latent = loaded.encode(mel)

    assert torch.equal(latent, model.encode(mel))
    assert torch.equal(loaded.decode(latent), model.decode(latent))
    for part in loaded.parts.values():
        assert not part.training
        assert not any(p.requires_grad for p in part.parameters())


@pytest.mark.parametrize("part", PARTS)
def test_a_part_alone_is_a_model(tmp_path: Path, part: str) -> None:
    loaded = Model.load(save_tiny_model(tmp_path / "model", part))

    assert set(loaded.parts) == {part}
    loaded.need(part)
    absent = [name for name in PARTS if name != part]
    with pytest.raises(AudioSRError, match=f"no {absent[0]} and no {absent[1]}.*assemble"):
        loaded.need(*PARTS)


def test_weights_are_kept_in_the_precision_asked_for(tmp_path: Path) -> None:
    model = tiny_model()

    folder = model.save(tmp_path / "model", dtype=torch.bfloat16)

    for name in PARTS:
        kept = load_file(folder / f"{name}.safetensors")
        assert {value.dtype for value in kept.values()} == {torch.bfloat16}
    rounded = {key: value.bfloat16().float() for key, value in states(model).items()}
    assert same(states(Model.load(folder)), rounded)
    assert {value.dtype for value in states(model).values()} == {torch.float32}


def test_latents_are_scaled_on_their_way_in_and_out() -> None:
    model = tiny_model()
    plain = replace(model, latent=LatentSettings(scale=1.0, null_value=-4.0))
    mel = model.log_mel(0.1 * torch.randn(1, 1, 7680))

    torch.testing.assert_close(model.encode(mel), 0.5 * plain.encode(mel))
    torch.testing.assert_close(model.decode(model.encode(mel)), plain.decode(plain.encode(mel)))
    sample = model.encode(mel, torch.Generator().manual_seed(1))
    assert torch.equal(sample, model.encode(mel, torch.Generator().manual_seed(1)))
    assert not torch.equal(sample, model.encode(mel))
    assert torch.equal(model.null_condition(sample), torch.full_like(sample, -4.0 * 0.5))


def test_a_denoiser_is_told_how_much_of_each_band_lies_below_a_frequency() -> None:
    model = replace(tiny_model(), latent=LatentSettings(0.5, -4.0, ["bandwidth", "cutoff"]))
    centres = band_edges(model.features)[1:-1]
    latent = torch.randn(2, 3, 5, len(centres) // 8)
    # The cutoffs lie between bands 19 and 20 (in the third eight), and above all bands.
    cutoff = torch.tensor([(centres[19] + centres[20]) / 2, 24000.0])

    condition = model.condition(latent, cutoff, torch.tensor([0.0, float(centres[8])]))

    assert torch.equal(condition[:, :3], latent)
    shares = (condition[:, 3:] + 1) / 2
    assert torch.equal(shares, shares[:, :, :1].expand_as(shares))
    bandwidth, told = shares[:, 0, 0], shares[:, 1, 0]
    assert bandwidth[0].sum() == 0
    assert bandwidth[1].tolist()[:3] == [1, 0, 0]
    assert told[0].tolist()[:4] == [1, 1, 0.5, 0]
    assert (told[1] == 1).all()
    null = model.null_condition(condition)
    assert (null[:, :3] == -2).all()
    assert torch.equal(null[:, 3:], condition[:, 3:])


def test_a_bandwidth_that_was_never_measured_is_that_of_a_recording_of_which_nobody_knows() -> None:
    told, latent = LatentSettings(condition_on=["bandwidth"]), torch.randn(1, 3, 5, 32)
    model = replace(tiny_model(), latent=told, fill=FillSettings(bandwidth_hz=12000.0))
    cutoff = torch.tensor([4000.0])

    unknown, usual = (
        model.condition(latent, cutoff, torch.tensor([hz])) for hz in (float("nan"), 12000.0)
    )

    assert torch.equal(unknown, usual)


def test_what_no_denoiser_can_be_told_is_refused() -> None:
    with pytest.raises(UsageError, match=r"condition_on names key; there are cutoff, bandwidth"):
        LatentSettings(condition_on=["cutoff", "key"])


def test_a_merged_model_has_the_parts_of_both() -> None:
    one, other = tiny_model("autoencoder", "denoiser"), tiny_model("vocoder")
    other.provenance = {"vocoder": {"run": "another"}}

    merged = one.merge(other)

    assert merged.parts == one.parts | other.parts
    assert merged.architectures == ARCHITECTURES
    assert merged.provenance == one.provenance | other.provenance
    assert set(one.parts) == {"autoencoder", "denoiser"}


def test_where_both_have_a_part_that_of_the_other_is_taken() -> None:
    one, other = tiny_model(), tiny_model("autoencoder")
    other.architectures = {"autoencoder": ARCHITECTURES["autoencoder"] | {"blocks": 1}}
    other.provenance = {"autoencoder": {"run": "another"}}

    merged = one.merge(other)

    assert merged.autoencoder is other.autoencoder
    assert merged.denoiser is one.denoiser
    assert merged.provenance == one.provenance | other.provenance


@pytest.mark.parametrize("order", [("autoencoder", "denoiser"), ("denoiser", "autoencoder")])
def test_latents_filling_and_schedule_follow_the_denoiser(order: tuple[str, str]) -> None:
    models = {name: tiny_model(name) for name in order}
    models["denoiser"] = replace(
        models["denoiser"],
        latent=LatentSettings(0.25, -11.0),
        fill=FillSettings(steps=9),
        diffusion=DiffusionSettings(timesteps=100),
    )

    merged = models[order[0]].merge(models[order[1]])

    assert merged.latent == LatentSettings(0.25, -11.0)
    assert merged.fill == FillSettings(steps=9)
    assert len(merged.alphas_cumprod) == 100


def test_models_of_other_log_mels_do_not_merge() -> None:
    other = replace(tiny_model("vocoder"), features=MelSettings(fmin=0.0))

    with pytest.raises(AudioSRError, match=r"settings differ.*fmin=20\.0.*fmin=0\.0"):
        tiny_model("autoencoder").merge(other)


@pytest.mark.parametrize(
    "target",
    [
        "os.system",
        "torch.nn.Linear",
        "audiosr.networks_of_others.Net",
        "audiosr.restore.restorer.Restorer",
        "builtins.eval",
    ],
)
def test_only_our_networks_are_built(folder: Path, target: str) -> None:
    foreign = {"_target_": target}

    for spec in (
        foreign,
        {"_target_": "audiosr.networks.linear_prior.LinearPriorDenoiser", "network": foreign},
    ):
        edit(folder, lambda settings, spec=spec: settings["networks"].update(denoiser=spec))
        with pytest.raises(AudioSRError, match=f"{target}, which is not a network of") as error:
            Model.load(folder)
        assert "\n" not in str(error.value)


def _shorten(path: Path) -> None:
    path.write_bytes(path.read_bytes()[:-100])


def _network(name: str, **values: Any) -> Callable[[Path], None]:
    return lambda folder: edit(folder, lambda s: s["networks"][name].update(values))


BREAKAGES: dict[str, tuple[Callable[[Path], Any], str]] = {
    "no folder": (lambda f: f.rename(f.with_name("gone")), "no model at .*model.yaml"),
    "no model.yaml": (lambda f: (f / "model.yaml").unlink(), "no model at .*model.yaml"),
    "no YAML": (lambda f: (f / "model.yaml").write_text("a: [1\nb: 2"), "model"),
    "an empty model.yaml": (lambda f: (f / "model.yaml").write_text(""), "format 1"),
    "another format": (lambda f: edit(f, lambda s: s.update(format=2)), "format 1"),
    "no settings": (lambda f: edit(f, lambda s: s.pop("latent")), "broken.*latent"),
    "an unknown setting": (lambda f: edit(f, lambda s: s["latent"].update(sale=1)), "broken.*sale"),
    "no mapping": (lambda f: edit(f, lambda s: s.update(networks=["vocoder"])), "broken"),
    "an unknown class": (
        _network("vocoder", _target_="audiosr.networks.vocos.Vocoss"),
        "broken.*Vocoss",
    ),
    "an unknown module": (
        _network("vocoder", _target_="audiosr.networks.vocs.Vocos"),
        "broken.*vocs",
    ),
    "an unknown argument": (_network("vocoder", blcks=2), "broken.*blcks"),
    "other sizes": (_network("vocoder", channels=16), "broken"),
    "more layers": (_network("vocoder", blocks=2), "broken"),
    "no weights": (lambda f: (f / "vocoder.safetensors").unlink(), "broken.*vocoder"),
    "cut weights": (lambda f: _shorten(f / "vocoder.safetensors"), "broken"),
    "empty weights": (lambda f: (f / "vocoder.safetensors").write_bytes(b""), "broken"),
}


@pytest.mark.parametrize("what", BREAKAGES)
def test_a_broken_folder_is_said_in_one_sentence(folder: Path, what: str) -> None:
    damage, words = BREAKAGES[what]
    damage(folder)

    with pytest.raises(AudioSRError, match=words) as error:
        Model.load(folder)

    assert "\n" not in str(error.value)
    assert str(folder) in str(error.value)


def test_nothing_lies_beside_a_saved_folder(folder: Path) -> None:
    assert [p.name for p in folder.parent.iterdir()] == ["model"]
    assert folder.stat().st_mode & 0o777 == 0o755


def test_a_save_leaves_nothing_of_the_folder_before(folder: Path) -> None:
    tiny_model("vocoder").save(folder)

    assert set(contents(folder)) == {"model.yaml", "README.md", "vocoder.safetensors"}
    assert [p.name for p in folder.parent.iterdir()] == ["model"]


def test_a_failing_save_leaves_the_old_folder_and_nothing_beside_it(folder: Path) -> None:
    before = contents(folder)
    model = tiny_model("vocoder")
    model.provenance = {"vocoder": object()}  # no YAML can say this

    with pytest.raises(yaml.YAMLError):
        model.save(folder)

    assert contents(folder) == before
    assert [p.name for p in folder.parent.iterdir()] == ["model"]


def test_a_failing_first_save_leaves_nothing(tmp_path: Path) -> None:
    model = tiny_model("vocoder")
    model.architectures = {}

    with pytest.raises(KeyError):
        model.save(tmp_path / "model")

    assert not list(tmp_path.iterdir())


def test_a_folder_that_cannot_be_put_in_place_leaves_the_old_one(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    before = contents(folder)
    rename = Path.rename

    def refuse_the_new(path: Path, target: Path) -> Path:
        if Path(target) == folder and path.suffix != ".old":
            raise OSError("the disk has gone")
        return rename(path, target)

    monkeypatch.setattr(Path, "rename", refuse_the_new)

    with pytest.raises(OSError, match="the disk has gone"):
        tiny_model("vocoder").save(folder)

    assert contents(folder) == before
    assert [p.name for p in folder.parent.iterdir()] == ["model"]


def test_a_folder_holds_no_pickle(folder: Path) -> None:
    files = contents(folder)

    assert set(files) == {"model.yaml", "README.md", *(f"{name}.safetensors" for name in PARTS)}
    # Pickles begin with the byte 0x80, archives of torch.save with PK.
    assert not [name for name, data in files.items() if data.startswith((b"\x80", b"PK"))]


def test_the_card_names_networks_sizes_and_origin(folder: Path) -> None:
    card = (folder / "README.md").read_text()

    for name, part in tiny_model().parts.items():
        count = sum(p.numel() for p in part.parameters())
        assert f"| {name} | `{type(part).__name__}` | {count:,} |" in card
    assert "48000 Hz" in card
    assert "run: tests" in card
    header = yaml.safe_load(card.split("---\n")[1])
    assert "audio-super-resolution" in header["tags"]


def test_the_card_of_a_part_names_no_other() -> None:
    model = tiny_model("vocoder")
    model.provenance = {}

    card = model.card()

    assert "`Vocos`" in card
    assert "Autoencoder`" not in card
    assert "unknown" in card
