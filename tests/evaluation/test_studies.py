from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from omegaconf import OmegaConf

from audiosr.audio.io import RATE
from audiosr.cli import main
from audiosr.entry import compose_config
from audiosr.errors import UsageError
from audiosr.evaluation.damage import Damaged
from audiosr.evaluation.results import FileFigures, Results
from audiosr.evaluation.run import evaluate_studies
from audiosr.evaluation.studies import Study, describe_gaps, study_table
from audiosr.evaluation.study_report import write_studies
from audiosr.files import config_folder
from tests.evaluation.conftest import made_results, tone_burst
from tests.tiny import save_tiny_model


def shifted(results: Results, by: float) -> Results:
    """The same with every headline figure of the model greater by so much."""

    def move(file: FileFigures) -> FileFigures:
        value = file.metrics["lsd_nuwave2"]
        assert value is not None
        return replace(file, metrics={**file.metrics, "lsd_nuwave2": value + by})

    files = tuple(move(f) if f.system == "model" else f for f in results.files)
    moved = tuple(
        replace(a, mean=a.mean + by) if (a.system, a.metric) == ("model", "lsd_nuwave2") else a
        for a in results.aggregates
    )
    return replace(results, files=files, aggregates=moved)


@pytest.fixture
def study() -> Study:
    base = made_results()
    return Study("steps", "How many?", {"10": base, "2": shifted(base, 0.5), "1": shifted(base, 9)})


def test_a_study_compares_every_variant_with_the_first_on_the_same_files(study):
    table = study_table(study)
    assert table.head[:6] == (
        "cutoff", "variant", "unprocessed", "model", "interval", "difference",
    )  # fmt: skip
    assert "from '10' on the same files" in table.caption
    assert [row[1] for row in table.rows[:3]] == ["10", "2", "1"]
    assert [row[5] for row in table.rows[:3]] == [
        "-", "+0.50 (0.50 to 0.50)", "+9.00 (9.00 to 9.00)",
    ]  # fmt: skip
    assert table.bold == {(0, 3), (3, 3), (6, 3)}
    assert [row[3].endswith("!") for row in table.rows[:3]] == [False, False, True]


def test_a_study_of_one_variant_has_nothing_to_subtract(study):
    table = study_table(replace(study, variants={"sweep": study.variants["10"]}))
    assert table.head == (
        "cutoff", "unprocessed", "model", "interval", "effects", "music", "speech",
    )  # fmt: skip
    assert table.labels == 1
    assert "ifference" not in table.caption


def test_variants_that_look_equal_are_all_the_best_and_none_is_where_one_is_alone(study):
    base = study.variants["10"]
    variants = {"10": base, "same": shifted(base, 1e-5), "worse": shifted(base, 0.5)}
    assert study_table(replace(study, variants=variants)).bold == {
        (row, 3) for row in (0, 1, 3, 4, 6, 7)
    }
    assert not study_table(replace(study, variants={"sweep": base})).bold


def test_the_best_of_a_figure_that_is_better_high_is_the_highest(study):
    variants = {
        name: replace(r, protocol=replace(r.protocol, headline="snr_below_cutoff_db"))
        for name, r in study.variants.items()
    }
    base = variants["10"]
    low = tuple(replace(a, mean=a.mean - 1) for a in base.aggregates)
    table = study_table(replace(study, variants={"10": base, "low": replace(base, aggregates=low)}))
    assert table.bold == {(0, 3), (2, 3), (4, 3)}
    assert "higher is better" in table.caption


def test_differences_are_told_in_words_and_only_those_that_are_no_chance(study):
    base = study.variants["10"]
    noisy = tuple(
        replace(f, metrics={"lsd_nuwave2": (f.metrics["lsd_nuwave2"] or 0) + (-1) ** number})
        for number, f in enumerate(base.files)
    )
    variants = {
        "10": base,
        "9": shifted(base, 1e-4),
        "2": shifted(base, 0.5),
        "20": shifted(base, -0.25),
        "noisy": replace(base, files=noisy),
    }
    everywhere = "{0}4 kHz and {0}8 kHz and {0}12 kHz".format
    assert describe_gaps(replace(study, variants=variants)) == [
        f"9: no clear difference at {everywhere('')}",
        f"2: worse than '10' by {everywhere('0.50 at ')}",
        f"20: better than '10' by {everywhere('0.25 at ')}",
        f"noisy: no clear difference at {everywhere('')}",
    ]
    assert describe_gaps(replace(study, variants={"sweep": base})) == []


def test_the_high_band_stands_beside_the_headline_where_it_was_measured(study):
    base = study.variants["10"]
    louder = tuple(
        replace(a, metric="hf_energy_db", mean=-3.0) for a in base.aggregates if a.system == "model"
    )
    measured = replace(base, aggregates=(*base.aggregates, *louder))
    table = study_table(replace(study, variants={"10": measured, "2": base}))
    assert table.head[6:8] == ("HF energy", "effects")
    assert [row[6] for row in table.rows[:2]] == ["-3.0", "-"]
    assert "0 is right" in table.caption


def test_the_report_of_studies_has_a_table_and_pictures_for_each(study, tmp_path):
    text = write_studies(tmp_path, [study]).read_text()
    assert text.count("<table>") == 1
    assert text.count("<svg") == 3
    assert all(f"LSD at {khz} kHz" in text for khz in (4, 8, 12))
    assert text.count("How many?") == 1
    assert "2: worse than &#39;10&#39; by 0.50 at 4 kHz" in text
    assert "The smallest domain has 3 clips" in text
    assert "http" not in text.replace("http://www.w3.org", "")
    assert Results.read(tmp_path / "steps" / "2" / "results.json") == study.variants["2"]
    assert "+0.50" in (tmp_path / "table.md").read_text()


@pytest.mark.parametrize(
    "choice", sorted({f.stem for f in (config_folder() / "study").iterdir()} - {"finetuned"})
)
def test_every_study_composes(choice):
    cfg = compose_config("evaluate", [f"study={choice}"])
    assert all(len(study.variants) for study in cfg.study.values())


def test_variants_are_what_they_are_called_at_one_number_of_steps():
    cfg = compose_config("evaluate", ["study=all"])
    default = cfg.system.model.settings
    for name, key, unit in (
        ("steps", "steps", "{:g} steps"),
        ("guidance", "guidance", "weight {:g}"),
        ("temperature", "temperature", "temperature {:g}"),
    ):
        variants = cfg.study[name].variants
        chosen = [
            OmegaConf.select(changes, f"system.model.settings.{key}", default=default[key])
            for changes in variants.values()
        ]
        assert list(variants) == [unit.format(value) for value in chosen]
        assert default[key] in (None, chosen[0])
        steps = {changes.system.model.settings.steps for changes in variants.values()}
        assert name == "steps" or steps == {4}


def test_fine_tuning_needs_the_other_model():
    with pytest.raises(UsageError, match=r"study\.finetuned\.variants\.finetuned\.model"):
        compose_config("evaluate", ["study=finetuned"])


def test_studies_of_settings_and_of_damage_run_end_to_end(tmp_path, audio_file):
    audio_file("clips/a/1.wav", tone_burst(0.4, 20_000)[None])
    model = save_tiny_model(tmp_path / "tiny")
    studies = evaluate_studies(
        compose_config(
            "evaluate",
            [
                "study=[replacement,damage]",
                "benchmark=folder",
                f"benchmark.root={tmp_path}/clips",
                f"model={model}",
                f"out={tmp_path}/out",
                "cutoffs=[4000]",
                "metrics=quick",
                "device=cpu",
                "system.model.settings.steps=1",
            ],
        )
    )
    replacement, damage = studies

    def kept(name: str) -> float:
        (snr,) = (
            f.metrics["snr_below_cutoff_db"]
            for f in replacement.variants[name].files
            if f.system == "model"
        )
        assert snr is not None
        return snr

    assert kept("both") > 40 > kept("mel")
    assert kept("STFT") > 40 > kept("none")
    bases = {
        name: next(f.metrics["lsd_nuwave2"] for f in results.files if f.system == "unprocessed")
        for name, results in damage.variants.items()
    }
    assert len(set(bases.values())) == len(bases)
    calls = damage.variants["telephone, mu-law"]
    assert {file.cutoff_hz for file in calls.files} == {3400}
    assert (tmp_path / "out" / "report.html").exists()
    assert not list(tmp_path.glob("*.unfinished"))


def test_studies_name_the_clips_that_failed_and_end_with_1(tmp_path, audio_file, capsys):
    audio_file("clips/a/1.wav", tone_burst(0.4, 20_000)[None])
    (tmp_path / "clips/a/broken.wav").write_text("no audio")
    arguments = ["study=bandwidth", "benchmark=folder", f"benchmark.root={tmp_path}/clips"]
    arguments += ["system=unprocessed", "metrics=quick", "device=cpu", f"out={tmp_path}/out"]
    assert main(["evaluate", *arguments]) == 1
    said = capsys.readouterr()
    assert "1 clips of the studies failed" in said.err
    assert "bandwidth, sweep: a/broken.wav: " in said.err
    assert (tmp_path / "out/report.html").exists()


def test_damage_is_the_same_in_every_run_and_nothing_by_default():
    wave = tone_burst(0.5, 20_000).astype(np.float64)
    plain = Damaged()(wave, 4000, RATE)
    noisy = Damaged(snr_db=10)
    assert (noisy(wave, 4000, RATE) == noisy(wave, 4000, RATE)).all()
    assert not np.allclose(noisy(wave, 4000, RATE), plain, atol=1e-3)
    assert np.allclose(Damaged(gain_db=-20)(wave, 4000, RATE), 0.1 * plain, atol=1e-6)
    with pytest.raises(UsageError, match="no resampler"):
        Damaged(resampler="good")


def test_a_telephone_passes_what_lies_between_300_hz_and_the_cutoff():
    noise = np.random.default_rng(0).normal(0, 0.1, RATE)
    hz = np.fft.rfftfreq(RATE, 1 / RATE)

    def level_db(low: float, high: float) -> float:
        band = (hz > low) & (hz < high)
        power = np.abs(np.fft.rfft(call)[band]) ** 2 / np.abs(np.fft.rfft(noise)[band]) ** 2
        return 10 * np.log10(power.mean())

    call = Damaged(telephone="ULAW")(noise, 3400, RATE)

    assert level_db(500, 3000) == pytest.approx(0, abs=1)
    assert max(level_db(20, 150), level_db(4100, 20_000)) < -25
    assert Damaged(telephone="ULAW").card()["telephone"] == "ULAW"
    with pytest.raises(UsageError, match="no telephone passes"):
        Damaged(telephone="ULAW")(noise, 8000, RATE)
    unknown: Any = "TIN"
    with pytest.raises(UsageError, match="no coding of calls"):
        Damaged(telephone=unknown)
