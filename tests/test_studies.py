"""Studies: every network with every seed, recorded as it goes, and not run twice."""

import dataclasses

import pytest
import torch

from vgglib import results, studies
from vgglib.__main__ import main
from vgglib.data import ImageSet
from vgglib.training import recipe

pytestmark = pytest.mark.filterwarnings("ignore::vgglib.training.NotLearningWarning")  # forty random pictures


@pytest.fixture
def tiny(monkeypatch):
    """A study of two small networks on forty pictures."""
    images = torch.randint(0, 256, (40, 1, 12, 12), dtype=torch.uint8, generator=torch.Generator().manual_seed(3))
    data = ImageSet(images, torch.arange(40) % 4, tuple("abcd"))
    small = recipe("laptop", configuration="5 | 7 |", width=1.0, hidden=6, image_size=12, scale=(12, 13), epochs=1)
    small = dataclasses.replace(small, validation=8, batch_size=16)
    wide = dataclasses.replace(small, width=2.0)
    study = studies.Study("does width help?", {"narrow": small, "wide": wide}, seeds=(4, 9))
    monkeypatch.setitem(studies.STUDIES, "tiny", study)
    return data, data[:20]


def test_every_network_and_seed_is_run_once(tiny, tmp_path):
    said, path = [], tmp_path / "tiny.json"
    record = studies.run_study("tiny", tiny, path, "cpu", said.append)
    assert [(run["label"], run["seed"]) for run in record["runs"]] == [
        ("narrow", 4),
        ("wide", 4),
        ("narrow", 9),
        ("wide", 9),
    ]
    assert len(said) == 4
    assert results.read(path) == record
    assert record["test_accuracy"]["wide"]["n"] == 2
    assert studies.run_study("tiny", tiny, path, "cpu", said.append) == record
    assert len(said) == 4


def test_a_stopped_study_goes_on(tiny, tmp_path):
    path = tmp_path / "tiny.json"

    def stop(text):
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        studies.run_study("tiny", tiny, path, "cpu", stop)
    whole = studies.run_study("tiny", tiny, tmp_path / "whole.json", "cpu", str)
    said = []
    again = studies.run_study("tiny", tiny, path, "cpu", said.append)
    accuracies = [[run["test_accuracy"] for run in record["runs"]] for record in (whole, again)]
    assert accuracies[0] == accuracies[1]


def test_a_changed_recipe_is_run_again(tiny, tmp_path, monkeypatch):
    path = tmp_path / "tiny.json"
    studies.run_study("tiny", tiny, path, "cpu", str)
    study = studies.STUDIES["tiny"]
    changed = dataclasses.replace(study.recipes["wide"], learning_rate=0.03)
    monkeypatch.setitem(studies.STUDIES, "tiny", dataclasses.replace(study, recipes={**study.recipes, "wide": changed}))
    said = []
    record = studies.run_study("tiny", tiny, path, "cpu", said.append)
    assert [text.split(",")[0] for text in said] == ["wide", "wide"]
    assert len(record["runs"]) == 4


def test_a_record_older_than_a_field_of_the_recipe_is_kept(tiny, tmp_path):
    path = tmp_path / "tiny.json"
    record = studies.run_study("tiny", tiny, path, "cpu", str)
    for run in record["runs"]:
        del run["recipe"]["rgb_shift"]
    results.write(path, record)
    said = []
    studies.run_study("tiny", tiny, path, "cpu", said.append)
    assert not said


def test_an_unknown_study_is_refused(capsys):
    assert main(["study", "nonsense"]) == 1
    assert "choose from three-by-three" in capsys.readouterr().err
