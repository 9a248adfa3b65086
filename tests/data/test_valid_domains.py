"""Is what is validated of the domains that are trained, and is it said where it is not?"""

import pytest

from audiosr.errors import UsageError
from tests.data.conftest import module


def test_validation_on_other_domains_than_the_trained_ones_is_refused(make_shards, noise):
    clips = [noise(1.0, seed=n) for n in range(2)]
    root = make_shards({"train/speech": clips, "train/music": clips, "valid/music": clips})

    with pytest.raises(UsageError, match="no validation clips of speech, only of music"):
        module(root, domain_weights={"speech": 1}).setup("fit")


def test_domains_that_are_not_validated_are_told(make_shards, noise, capsys):
    clips = [noise(1.0, seed=n) for n in range(2)]
    one = make_shards({"train/speech": clips, "train/music": clips, "valid/music": clips})
    module(one).val_dataloader()
    assert "no validation clips of speech" in capsys.readouterr().out

    none = make_shards({"train/speech": clips})
    module(none).val_dataloader()
    assert "of speech: nothing is validated" in capsys.readouterr().out
