"""Which rows a table has: several models, other tools, and what is refused."""

import pytest

from audiosr.entry import compose_config
from audiosr.errors import UsageError
from audiosr.evaluation.rows import table_rows
from audiosr.evaluation.run import evaluate
from tests.evaluation.conftest import tone_burst
from tests.tiny import save_tiny_model


def names(*overrides: str) -> list[str]:
    return list(table_rows(compose_config("evaluate", overrides)))


def test_systems_are_rows_in_their_order():
    assert names("system=[unprocessed,model,gt_mel]") == ["unprocessed", "model", "gt_mel"]


def test_each_model_is_a_row_of_its_own():
    assert names("models={general: A, finetuned: B}", "system=[unprocessed,model,gt_mel]") == [
        *("unprocessed", "general", "finetuned", "gt_mel general", "gt_mel finetuned"),
    ]


def test_outputs_of_other_tools_come_last():
    assert names("system=unprocessed", "outputs={flashsr: A}") == ["unprocessed", "flashsr"]


@pytest.mark.parametrize(
    ("overrides", "sentence"),
    [
        (["model=[a,b]"], r"models=\{general: DIR"),
        (["models={unprocessed: a}"], "two systems would be called unprocessed"),
        (["system=[]"], "no systems"),
    ],
)
def test_contradictions_get_a_sentence(overrides, sentence):
    with pytest.raises(UsageError, match=sentence):
        names(*overrides)


def test_two_models_in_one_table(tmp_path, audio_file):
    audio_file("refs/music/a.wav", tone_burst(0.4, 20_000)[None])
    models = [save_tiny_model(tmp_path / name) for name in "ab"]
    results = evaluate(
        compose_config(
            "evaluate",
            [
                *("benchmark=folder", f"benchmark.root={tmp_path}/refs", f"out={tmp_path}/out"),
                *(f"models={{general: {models[0]}, finetuned: {models[1]}}}", "cutoffs=[4000]"),
                *("system=[unprocessed,model,vae_mel]", "system.model.settings.steps=2"),
                *("metrics=quick", "report.clips=1", "report.seconds=0.2", "device=cpu"),
            ],
        )
    )
    cards = results.protocol.systems
    assert list(cards) == [
        *("unprocessed", "general", "finetuned", "vae_mel general", "vae_mel finetuned"),
    ]
    assert cards["finetuned"]["model"]["folder"] == str(models[1])
    assert {file.system for file in results.files} == set(cards)
    assert "finetuned" in (tmp_path / "out" / "report.html").read_text()
