"""The study of depth: its networks, its record, going on after a stop, and a run that breaks."""

import dataclasses

import pytest
import torch

from vgglib import depth, results
from vgglib.__main__ import main
from vgglib.cost import cost
from vgglib.data import ImageSet
from vgglib.residual import Shortcut, twice
from vgglib.training import recipe

pytestmark = pytest.mark.filterwarnings("ignore::vgglib.training.NotLearningWarning")  # sixty random pictures


@pytest.fixture
def data(monkeypatch):
    """Small networks under the labels of the study, and sixty pictures."""
    small = {
        label: (twice("4 4 4 4 |") if label.startswith("2E") else "4 4 4 4 |", norm, shortcuts)
        for label, (_, norm, shortcuts) in depth.NETWORKS.items()
    }
    monkeypatch.setattr(depth, "NETWORKS", small)
    images = torch.randint(0, 256, (60, 1, 8, 8), dtype=torch.uint8, generator=torch.Generator().manual_seed(3))
    pictures = ImageSet(images, torch.arange(60) % 4, tuple("abcd"))
    return pictures, pictures[:20]


@pytest.fixture
def few():
    small = recipe("laptop", configuration="4 4 4 4 |", width=1.0, hidden=6, image_size=8, scale=8, epochs=1)
    return dataclasses.replace(small, validation=20, batch_size=16, dropout=0.0)


def test_eight_networks():
    assert list(depth.NETWORKS) == [
        *("E", "2E", "E, shortcuts", "2E, shortcuts"),
        *("E, batch norm", "2E, batch norm", "E, batch norm, shortcuts", "2E, batch norm, shortcuts"),
    ]
    deep = [sum(layer not in "|" for layer in depth.NETWORKS[label][0].split()) for label in ("2E", "2E, batch norm")]
    assert deep == [32, 32]


def test_plain_and_with_shortcuts_differ_in_nothing_else(data, few):
    plain, same = (
        depth.build_network(label, data[0], 1, few)[0] for label in ("2E, batch norm", "2E, batch norm, shortcuts")
    )
    assert torch.equal(plain.features[0].weight, same.features[0].weight)
    assert cost(plain, 8).macs == cost(same, 8).macs
    assert any(isinstance(module, Shortcut) for module in same.features)


def test_the_rate_is_lower_without_batch_norm(data, few):
    rates = [depth.build_network(label, data[0], 0, few)[1].learning_rate for label in ("E", "E, batch norm")]
    assert rates == [pytest.approx(0.04), 0.1]


def test_controls_differ_from_their_networks_in_one_thing(data, few):
    for label, (network, share, from_zero) in depth.CONTROLS.items():
        (control, its), (net, own) = (depth.build_network(name, data[0], 1, few) for name in (label, network))
        assert its == dataclasses.replace(own, learning_rate=share * own.learning_rate)
        assert (share != 1) == from_zero  # either another rate or another start
        branches = [part.branch for part in control.features if isinstance(part, Shortcut)]
        assert bool(branches) == ("shortcuts" in label)
        assert all(branch[-1].weight.any() for branch in branches)
        if from_zero:
            assert all(map(torch.equal, control.parameters(), net.parameters()))


def test_controls_are_run_once_and_recorded_apart(data, few, tmp_path):
    said, path = [], tmp_path / "depth-controls.json"
    record = depth.run_controls(data, path, "cpu", said.append, few, 30, (4,))
    assert [run["label"] for run in record["runs"]] == list(depth.CONTROLS)
    assert results.read(path) == record
    assert record["command"] == "python -m vgglib study depth-controls"
    assert depth.run_controls(data, path, "cpu", said.append, few, 30, (4,)) == record
    assert len(said) == len(depth.CONTROLS) + 1  # the last one says that nothing was trained
    with pytest.raises(ValueError, match="no record of the study depth:"):
        depth.run_depth(data, path, "cpu", said.append, few, 30, (4,))


def test_every_network_and_seed_is_run_once_and_recorded(data, few, tmp_path):
    said, path = [], tmp_path / "depth.json"
    record = depth.run_depth(data, path, "cpu", said.append, few, 30, (4, 9))
    assert len(record["runs"]) == len(said) == 16
    assert results.read(path) == record
    assert record["test_accuracy"]["2E, batch norm"]["n"] == 2
    run = record["runs"][-1]
    assert (run["label"], run["seed"], run["pictures"]) == ("2E, batch norm, shortcuts", 9, 30)
    assert run["stopped"] is None
    assert run["train_loss"] == run["train_losses"][-1]
    assert depth.run_depth(data, path, "cpu", said.append, few, 30, (4, 9)) == record
    assert [text.split(":")[0] for text in said[16:]] == [f"all 16 are in {path} already"]


def test_a_stopped_study_goes_on(data, few, tmp_path):
    path = tmp_path / "depth.json"

    def stop(text):
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        depth.run_depth(data, path, "cpu", stop, few, 30, (4,))
    whole = depth.run_depth(data, tmp_path / "whole.json", "cpu", str, few, 30, (4,))
    again = depth.run_depth(data, path, "cpu", str, few, 30, (4,))
    losses = [[run["train_loss"] for run in record["runs"]] for record in (whole, again)]
    assert losses[0] == losses[1]


def test_a_changed_recipe_is_run_again(data, few, tmp_path):
    said, path = [], tmp_path / "depth.json"
    depth.run_depth(data, path, "cpu", str, few, 30, (4,))
    record = depth.run_depth(data, path, "cpu", said.append, dataclasses.replace(few, learning_rate=0.03), 30, (4,))
    assert len(said) == len(record["runs"]) == 8


def test_a_run_that_breaks_is_recorded_with_the_reason(data, few, tmp_path):
    wild = dataclasses.replace(few, learning_rate=1e30, schedule="constant")
    record = depth.run_depth(data, tmp_path / "depth.json", "cpu", str, wild, 30, (4,))
    (run,) = [run for run in record["runs"] if run["label"] == "E"]
    assert "the loss is" in run["stopped"]
    assert run["train_loss"] is None
    assert 0 <= run["test_accuracy"] <= 1


def test_an_unknown_network_is_refused(data):
    with pytest.raises(ValueError, match="choose from E; 2E"):
        depth.build_network("F", data[0])


def test_the_command_reports_a_missing_folder(capsys, tmp_path):
    (tmp_path / "FashionMNIST").write_text("in the way", encoding="utf-8")
    assert main(["study", "depth", "--root", str(tmp_path)]) == 1
    assert capsys.readouterr().err.startswith("vgglib: ")
