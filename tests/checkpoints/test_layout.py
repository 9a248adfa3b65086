"""Does the layout name what the released package names, at the released widths and at others?"""

import hashlib

import pytest
import torch

from audiosr.checkpoints import layout as released
from tests.checkpoints.conftest import LAYOUT


def shapes_of(layout: released.Layout) -> dict[str, tuple[int, ...]]:
    """Name to shape of a whole checkpoint."""
    return {
        **layout.weights,
        "scale_factor": (),
        **{copy: layout.weights[name] for copy, name in layout.copies.items()},
        **{ema: layout.weights[name] for ema, name in layout.averages.items()},
        **{name: tuple(value.shape) for name, value in released.fill_in(layout).items()},
    }


def test_names_and_shapes_at_base_width_are_the_released_ones() -> None:
    specs = {name: {"_target_": target} for name, target in released.CLASSES.items()}
    base = released.Layout(specs, {name: released.own_shapes(s) for name, s in specs.items()})

    lines = sorted(f"{n}:{'x'.join(map(str, s))}" for n, s in shapes_of(base).items())

    # Of the state dict that the released package builds, CLAP left out.
    assert len(lines) == 3236
    digest = hashlib.sha256("\n".join(lines).encode()).hexdigest()
    assert digest == "0f9e1157090a1f4c13223a0075ded083d23be912aeb8ac67071daf38486fdac5"


@pytest.mark.parametrize(
    "arguments",
    [
        {},
        {  # those of the golden numbers
            "denoiser": {"channels": 32, "multipliers": [1, 1, 2, 3]},
            "autoencoder": {"channels": 32, "multipliers": [1, 1, 2, 3]},
            "vocoder": {"channels": 64},
        },
        {
            "denoiser": {"channels": 64, "multipliers": [1, 2], "blocks": 3},
            "autoencoder": {"channels": 64, "multipliers": [1, 2], "latent_channels": 8},
            "vocoder": {"rates": [8, 6, 5], "kernels": [3, 7], "n_mels": 80, "channels": 128},
        },
    ],
)
def test_widths_are_read_from_shapes(arguments) -> None:
    specs = {
        name: {"_target_": target, **arguments.get(name, {})}
        for name, target in released.CLASSES.items()
    }
    if rates := arguments.get("denoiser", {}).get("multipliers"):
        specs["denoiser"]["attention_rates"] = [2**i for i in range(1, len(rates))]
    layout = released.Layout(specs, {name: released.own_shapes(s) for name, s in specs.items()})

    found = released.account(shapes_of(layout), ema=True, head_channels=32)

    assert found.used == layout.used
    for name, values in arguments.items():
        for key, value in values.items():
            assert found.networks[name][key] == value, (name, key)


def test_schedule_tables_have_the_released_values() -> None:
    tables = released.schedule_tables()

    for name, index, value in [
        ("betas", 0, 4.1284224e-05),
        ("alphas_cumprod", 501, 0.490727),
        ("alphas_cumprod_prev", 0, 1.0),
        ("sqrt_one_minus_alphas_cumprod", 0, 0.00642528),
        ("log_one_minus_alphas_cumprod", 0, -10.09503),
        ("sqrt_recip_alphas_cumprod", 999, 1e5),
        ("posterior_variance", 1, 2.1789496e-05),
        ("posterior_log_variance_clipped", 0, -46.0517),
        ("posterior_mean_coef1", 1, 0.5277814),
        ("posterior_mean_coef2", 1, 0.4722186),
    ]:
        assert float(tables[name][index]) == pytest.approx(value, rel=2e-6), name


def test_an_unguarded_reciprocal_is_the_same_schedule_and_a_nan_is_not() -> None:
    table = released.schedule_tables()["sqrt_recip_alphas_cumprod"]
    table[-1] = torch.inf
    assert released.off_schedule("sqrt_recip_alphas_cumprod", table) < 1
    table[3] = torch.nan
    assert released.off_schedule("sqrt_recip_alphas_cumprod", table) > 1


def test_files_without_average_copies_tables_or_clap_are_known() -> None:
    bare = {**LAYOUT.weights, "scale_factor": ()}
    assert released.account(bare, ema=False, head_channels=32).used == LAYOUT.used
