"""Studies: every network with every seed, recorded as it goes, and not run twice."""

import dataclasses
from copy import deepcopy

import pytest
import torch

from vgglib import beginnings, depth, later, lighter, protocol, results, studies
from vgglib.__main__ import main
from vgglib.augment import view
from vgglib.beginnings import run_warm_starts
from vgglib.commands.study import own_studies
from vgglib.data import ImageSet
from vgglib.evaluation import prepared
from vgglib.protocol import PROTOCOLS, run_protocol
from vgglib.training import Epoch, History, recipe, split

pytestmark = pytest.mark.filterwarnings("ignore::vgglib.training.NotLearningWarning")  # forty random pictures


DATA = (ImageSet(torch.zeros(8, 1, 28, 28, dtype=torch.uint8), torch.arange(8) % 4, tuple("abcd")),) * 2


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
    assert said[4:] == [f"all 4 are in {path} already: nothing was trained (--result FILE begins anew)"]


def test_settled_averages_are_those_of_the_training_pictures(tiny, tmp_path, monkeypatch):
    """Two steps with momentum 0.1 leave the averages far from the pictures', and the answers with them."""
    study, nets = dataclasses.replace(studies.STUDIES["tiny"], settle=True, seeds=(4,)), []
    monkeypatch.setitem(studies.STUDIES, "tiny", study)
    monkeypatch.setattr(studies, "accuracy_on", lambda net, _, **more: nets.append(deepcopy(net)) or len(nets) / 10)
    record = studies.run_study("tiny", tiny, tmp_path / "tiny.json", "cpu", str)
    assert [run["settled_accuracy"] for run in record["runs"]] == [0.2, 0.4]
    assert record["settled_accuracy"]["wide"]["mean"] == 0.4
    before, after = nets[:2]
    assert all(map(torch.equal, before.parameters(), after.parameters()))
    pictures = split(study.recipes["narrow"], *tiny)[0].images
    first = next(module for module in after.features if isinstance(module, torch.nn.BatchNorm2d))
    seen = after.features[0](prepared(after, view(pictures, 12, 12)))
    torch.testing.assert_close(first.running_mean, seen.mean((0, 2, 3)), rtol=1e-4, atol=1e-5)
    assert first.momentum == 0.1


def test_curves_hold_every_epoch(tiny, tmp_path, monkeypatch):
    study = studies.STUDIES["tiny"]
    longer = dataclasses.replace(study.recipes["narrow"], epochs=3)
    monkeypatch.setitem(
        studies.STUDIES, "tiny", dataclasses.replace(study, recipes={"narrow": longer}, seeds=(4,), curves=True)
    )
    (run,) = studies.run_study("tiny", tiny, tmp_path / "tiny.json", "cpu", str)["runs"]
    assert [epoch["number"] for epoch in run["epochs"]] == [1, 2, 3]
    assert run["epochs"][-1]["validation_accuracy"] == run["validation_accuracy"]
    assert run["epochs"][-1]["train_loss"] == run["train_loss"]


def test_the_recorded_rates_drop_as_section_3_1_says():
    """Divided by ten after three epochs without a new best, three times at most; the others as their names say."""
    for run in results.load("rate-drops")["runs"]:
        rates = [epoch["learning_rate"] for epoch in run["epochs"]]
        best, waited, drops = -1, 0, 0
        for epoch, rate in zip(run["epochs"], rates, strict=True):
            if run["label"] == "plateau":
                assert rate == pytest.approx(0.05 / 10**drops)
            waited = 0 if epoch["validation_accuracy"] > best else waited + 1
            best = max(best, epoch["validation_accuracy"])
            if waited == 3:
                waited, drops = 0, drops + 1
        if run["label"] == "constant":
            assert set(rates) == {0.05}
        if run["label"] == "linear":
            assert rates[3:] == sorted(rates[3:], reverse=True)


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
    assert said == [f"all 4 are in {path} already: nothing was trained (--result FILE begins anew)"]


def test_an_unknown_study_is_refused(capsys):
    assert main(["study", "nonsense"]) == 1
    assert "choose from three-by-three" in capsys.readouterr().err


@pytest.mark.parametrize("name", [*studies.STUDIES, *own_studies()])
def test_what_is_recorded_is_recognised_and_not_trained_again(name, tmp_path, monkeypatch):
    """Also after recipes have got new fields: a record that is not recognised would be overwritten."""
    for module in (studies, beginnings, lighter, depth, later):
        monkeypatch.setattr(module, "fit", lambda *_: pytest.fail("trains again"))
    path = tmp_path / "record.json"
    path.write_bytes((results.FOLDER / f"{name}.json").read_bytes())
    before = results.read(path)
    run = own_studies().get(name)
    after = run(DATA, path) if run else studies.run_study(name, DATA, path)
    assert after["runs"] == before["runs"]
    assert after.get("test_accuracy") == before.get("test_accuracy")
    assert after.get("late_loss") == before.get("late_loss")
    assert before == results.read(path)


def test_the_longer_control_is_the_cold_network_with_as_many_steps_as_both(tmp_path, monkeypatch):
    begun = {}

    def watched(net, few, _, chosen, seed, device):
        label = f"{net.configuration}, {chosen.epochs}"
        begun.setdefault(label, []).append(torch.cat([p.detach().flatten() for p in net.parameters()]))
        return History(chosen, seed, 10, {}, [Epoch(1, 2.0, 0.1, None, 0.01, 1.0, 1.0)])

    monkeypatch.setattr(beginnings, "fit", watched)
    monkeypatch.setattr(beginnings, "SEEDS", (0,))
    monkeypatch.setattr(beginnings, "LABELS", ("B, he", "B, he, warm", "B, he, longer"))
    run_warm_starts(DATA, tmp_path / "record.json", "cpu", lambda text: None)
    (cold, warm), (longer,), (shallow,) = (begun[label] for label in ("B, 2", "B, 4", "A, 2"))
    assert torch.equal(cold, longer)
    assert not torch.equal(cold, warm)
    assert len(shallow) < len(cold)


def test_batch_norm_starts_differ_in_what_their_labels_say(tmp_path, monkeypatch):
    begun = []

    def watched(net, few, _, chosen, seed, device):
        begun.append((net.configuration, any(isinstance(part, torch.nn.BatchNorm2d) for part in net.features)))
        assert chosen.batch_norm == begun[-1][1]
        return History(chosen, seed, 10, {}, [Epoch(1, 2.0, 0.1, None, 0.01, 1.0, 1.0)])

    monkeypatch.setattr(beginnings, "fit", watched)
    monkeypatch.setattr(beginnings, "SEEDS", (0,))
    record = beginnings.run_batch_norm_starts(DATA, tmp_path / "record.json", "cpu", lambda text: None)
    assert list(record["late_loss"]) == [*beginnings.NORMED]
    assert begun.count(("A", False)) == 1  # for three warm ones
    assert [normed for name, normed in begun if name == "E"] == [False, False, True] * 3


@pytest.mark.parametrize("name", sorted({*PROTOCOLS} & {*results.recorded()}))
def test_a_protocol_goes_on_from_its_record_without_losing_any(name, tmp_path, monkeypatch):
    """On a machine that has the record and not the networks."""
    monkeypatch.setattr(protocol, "_chain", lambda *_: [])
    path = tmp_path / "record.json"
    path.write_bytes((results.FOLDER / f"{name}.json").read_bytes())
    before = results.read(path)
    after = run_protocol(name, DATA, path, networks=1, folder=tmp_path)
    assert after["runs"] == before["runs"]
    assert sorted(map(str, after["ensembles"])) == sorted(map(str, before["ensembles"]))
    assert before["ensembles"]
