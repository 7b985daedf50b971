"""All trained networks: read from any record with accuracies and recipes, their costs worked out or taken over."""

import json
from dataclasses import asdict

import pytest

from vgglib import results
from vgglib.balance import Trained, trained_networks
from vgglib.cost import cost
from vgglib.model import VGG
from vgglib.training import recipe

SUMMARY = {"n": 2, "mean": 0.9, "sd": 0.01}
SMALL = {**asdict(recipe("laptop", configuration="8 | 8 |", hidden=6)), "scale": 32}


def put(folder, name, record):
    (folder / f"{name}.json").write_text(json.dumps(record), encoding="utf-8")


def test_one_network_and_several(tmp_path):
    put(tmp_path, "alone", {"test_accuracy": SUMMARY, "runs": [{"seed": 0, "recipe": SMALL, "epochs": [{}, {}]}]})
    several = {"x": SUMMARY, "y": {**SUMMARY, "mean": 0.8}}
    runs = [
        {"label": "x", "recipe": SMALL, "pictures": 500},
        {"label": "y", "recipe": SMALL, "parameters": 7, "macs": 9, "test_accuracy": 0.8},
    ]
    put(tmp_path, "study", {"test_accuracy": several, "runs": runs})
    one, x, y = trained_networks(tmp_path)
    table = cost(VGG("8 | 8 |", 1, 10, 32, 0.25, 6, True), 32)
    assert one == Trained("alone", "alone", 2, 0.9, 0.01, table.parameters, table.macs, 2 * 55_000)
    assert x == Trained("study", "x", 2, 0.9, 0.01, table.parameters, table.macs, 8 * 500)
    assert (y.label, y.mean, y.parameters, y.macs, y.reached) == ("y", 0.8, 7, 9, (0.8,))


@pytest.mark.parametrize(
    "record",
    [
        {"seconds": 3.0},
        [1, 2],
        {"test_accuracy": 0.9, "runs": []},
        {"test_accuracy": SUMMARY, "runs": [{"seed": 0}]},
        {"test_accuracy": {"x": SUMMARY}, "runs": [{"label": "y", "recipe": SMALL}]},
        {"test_accuracy": {"x": {"mean": 0.9}}, "runs": [{"label": "x", "recipe": SMALL}]},
        {"test_accuracy": {"x": 0.9}, "runs": [{"label": "x", "recipe": SMALL}]},
        {"test_accuracy": SUMMARY},
    ],
)
def test_other_records_are_passed_over(record, tmp_path):
    put(tmp_path, "other", record)
    assert trained_networks(tmp_path) == []


def test_networks_of_the_protocol_are_those_that_continue_no_other(tmp_path):
    def run(stage, seed, error):
        tests = [
            {"method": method, "top1_error": error + more} for method, more in (("single crop", 0), ("dense", 0.5))
        ]
        return {"configuration": "D", "stage": stage, "seed": seed, "recipe": SMALL, "tests": tests}

    runs = [run("32", 0, 0.2), run("32", 1, 0.1), run("48", 0, 0.3)]
    record = {"pictures": "Fashion-MNIST", "training_pictures": 6000, "runs": runs, "ensembles": []}
    put(tmp_path, "protocol", record)
    put(tmp_path, "protocol-canvas", {**record, "pictures": "Fashion-MNIST on canvases"})
    put(tmp_path, "protocol-float32", {**record, "seeds": [0, 1]})  # the same networks once more
    (one,) = trained_networks(tmp_path)
    assert (one.record, one.label, one.n, one.mean) == ("protocol", "D at 28 pixels", 2, pytest.approx(0.85))
    assert one.shown == SMALL["epochs"] * (6000 - SMALL["validation"])
    assert one.parameters == cost(VGG("8 | 8 |", 1, 10, 32, 0.25, 6, True), 32).parameters


def test_a_damaged_record_is_named(tmp_path):
    (tmp_path / "bad.json").write_text("{", encoding="utf-8")
    with pytest.raises(ValueError, match=r"bad\.json"):
        trained_networks(tmp_path)


def test_a_missing_folder_is_named(tmp_path):
    with pytest.raises(ValueError, match=r"there is no folder .*nowhere"):
        trained_networks(tmp_path / "nowhere")


def test_the_book_s_own_records():
    found = {(net.record, net.label): net for net in trained_networks()}
    laptop = found["laptop", "laptop"]
    assert laptop.mean == results.load("laptop")["test_accuracy"]["mean"]
    assert laptop.parameters == 912_042
    assert {("three-by-three", "B"), ("three-by-three", "five 5x5")} <= found.keys()
    assert all(0 < net.mean <= 1 and net.parameters > 0 and net.macs > 0 and net.shown > 0 for net in found.values())
