"""The study of chapter 08: each network once, curves that add up, heads on the same convolutions."""

import dataclasses

import pytest
import torch

from vgglib import data, lighter, results
from vgglib.__main__ import main
from vgglib.data import ImageSet
from vgglib.evaluation import accuracy_on
from vgglib.lighter import HEADS, RECIPE, compression_curves, last_maps, run_lighter, with_head
from vgglib.training import fit, split

pytestmark = pytest.mark.filterwarnings("ignore::vgglib.training.NotLearningWarning")  # forty random pictures
SMALL = dataclasses.replace(
    RECIPE, configuration="5 | 7 |", width=1.0, hidden=6, image_size=12, scale=12, epochs=1, validation=8,
    batch_size=16, bf16=False,
)  # fmt: skip


@pytest.fixture
def tiny():
    images = torch.randint(0, 256, (60, 1, 12, 12), dtype=torch.uint8, generator=torch.Generator().manual_seed(3))
    return ImageSet(images, torch.arange(60) % 4, tuple("abcd")), ImageSet(images, torch.arange(60) % 4, tuple("abcd"))


def test_every_head_and_seed_is_run_once(tiny, tmp_path):
    said, path = [], tmp_path / "lighter.json"
    record = run_lighter(tiny, path, "cpu", SMALL, (4, 9), said.append)
    assert [(run["label"], run["seed"]) for run in record["runs"]] == [
        (head, seed) for seed in (4, 9) for head in HEADS
    ]
    assert results.read(path) == record
    assert run_lighter(tiny, path, "cpu", SMALL, (4, 9), said.append) == record
    assert [text.split(":")[0] for text in said[6:]] == [f"all 6 are in {path} already"]
    assert record["curves"]["low rank"][0]["test_accuracy"]["n"] == 2
    (whole,) = lighter.curve(record, "whole")
    assert (whole.setting, whole.weights) == (1, 100.0)
    assert whole.test == pytest.approx(100 * record["test_accuracy"]["fully connected"]["mean"])
    for way in ("low rank", "pruned"):
        points = lighter.curve(record, way)
        for point, recorded in zip(points, record["curves"][way], strict=True):
            assert point.setting == recorded["setting"]
            assert point.weights == 100 * recorded["weights"] / record["curves"]["whole"][0]["weights"]
            assert point.validation == 100 * recorded["validation_accuracy"]["mean"]
            assert (point.test, point.sd) == tuple(100 * recorded["test_accuracy"][what] for what in ("mean", "sd"))
    changed = dataclasses.replace(SMALL, learning_rate=0.03)
    assert len(run_lighter(tiny, path, "cpu", changed, (4,), said.append)["runs"]) == 3


def test_a_recipe_that_holds_nothing_out(tiny, tmp_path):
    record = run_lighter(tiny, tmp_path / "lighter.json", "cpu", dataclasses.replace(SMALL, validation=0), (4,), str)
    assert {run["validation_accuracy"] for run in record["runs"]} == {None}
    assert [point.validation for point in lighter.curve(record, "whole")] == [None]
    assert lighter.curve(record, "pruned")[0].test > 0


def test_a_stopped_study_goes_on(tiny, tmp_path):
    def stop(text):
        raise KeyboardInterrupt

    path = tmp_path / "lighter.json"
    with pytest.raises(KeyboardInterrupt):
        run_lighter(tiny, path, "cpu", SMALL, (4,), stop)
    assert len(results.read(path)["runs"]) == 1
    again = run_lighter(tiny, path, "cpu", SMALL, (4,), str)
    whole = run_lighter(tiny, tmp_path / "whole.json", "cpu", SMALL, (4,), str)
    assert again["test_accuracy"] == whole["test_accuracy"]
    assert again["curves"] == whole["curves"]


def test_heads_stand_on_the_same_convolutions(tiny):
    nets = [with_head(head, SMALL, tiny[0], seed=5) for head in HEADS]
    for net in nets[1:]:
        assert torch.equal(net.features[0].weight, nets[0].features[0].weight)
        assert torch.equal(net.features[4].weight, nets[0].features[4].weight)
    assert [len(net.classifier) for net in nets] == [7, 1, 1]


def test_curves_start_at_the_whole_network(tiny):
    net = with_head("fully connected", SMALL, tiny[0], seed=5)
    part, watched = split(SMALL, *tiny)
    fit(net, part, watched, SMALL, 5, "cpu")
    fc6 = net.classifier[0].weight
    curves = compression_curves(net, watched, tiny[1], ranks=(1, 6, 500), shares=(1.0, 0.1))
    whole = curves["whole"][0]
    assert whole["test_accuracy"] == pytest.approx(accuracy_on(net, tiny[1]), abs=0.05)  # bfloat16 or not
    assert whole["weights"] == fc6.numel() == 7 * 3 * 3 * 6
    assert [point["setting"] for point in curves["low rank"]] == [1, 6]
    assert curves["low rank"][0]["weights"] == 63 + 6
    assert curves["low rank"][1]["test_accuracy"] == whole["test_accuracy"]
    assert curves["pruned"][0]["test_accuracy"] == whole["test_accuracy"]
    assert curves["pruned"][1]["weights"] == round(0.1 * fc6.numel())


def test_last_maps_are_what_the_classifier_is_given(tiny):
    net = with_head("fully connected", SMALL, tiny[0], seed=5).eval()
    maps = last_maps(net, tiny[1], batch_size=7)
    X = (tiny[1].images[:3] / 255 - net.mean) / net.std
    assert maps.shape == (60, 63)
    assert torch.allclose(maps[:3], net.features(X).flatten(1).detach(), rtol=0.02, atol=0.02)


def test_the_command_runs_it(tiny, tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(data, "fashion_mnist", lambda root=None: tiny)
    monkeypatch.setattr(lighter, "run_lighter", lambda sets, path, device: run_lighter(sets, path, device, SMALL, (1,)))
    assert main(["study", "lighter", "--device", "cpu", "--result", str(tmp_path / "one.json")]) == 0
    assert "average: test accuracy" in capsys.readouterr().out
    assert (tmp_path / "one.json").is_file()
