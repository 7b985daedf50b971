"""Measured costs: every network, in every mode, with what was counted beside it; no clock decides a test."""

import json

import pytest
import torch

from vgglib import measured_cost
from vgglib.__main__ import main
from vgglib.cost import cost
from vgglib.measured_cost import layer_seconds, measure
from vgglib.memory import memory
from vgglib.model import VGG

SMALL = dict(image_size=32, width=0.0625, hidden=8, num_classes=5)


@pytest.fixture
def record(tmp_path):
    said = []
    made = measure("AC", 32, batch=2, steps=1, rounds=2, device="cpu", note="quiet", path=tmp_path / "one.json",
                   tell=said.append, width=0.0625, hidden=8, num_classes=5)  # fmt: skip
    assert json.loads((tmp_path / "one.json").read_text()) == made
    assert [text.split(":")[0] for text in said] == ["round 1, A", "round 1, C", "round 2, C", "round 2, A"]
    return made


def test_counts_stand_beside_times(record):
    assert list(record["networks"]) == ["A", "C"]
    for name, found in record["networks"].items():
        net = VGG(name, **SMALL)
        assert found["parameters"] == cost(net, 32).parameters
        assert found["macs"] == cost(net, 32).macs
        assert found["inference"]["predicted_bytes"] == memory(net, 2, "inference").total
        assert found["training"]["predicted_bytes"] == memory(net, 2).total
        for mode in ("inference", "training"):
            assert found[mode]["seconds"]["n"] == 2
            assert found[mode]["seconds"]["mean"] > 0
            assert found[mode]["peak_bytes"] is None or found[mode]["peak_bytes"] >= 0


def test_conditions_are_said(record):
    assert record["conditions"]["note"] == "quiet"
    assert record["conditions"]["torch"] == torch.__version__
    assert record["conditions"]["tf32"] is False
    assert (record["batch"], record["image_size"], record["steps"]) == (2, 32, 1)


def test_the_first_step_does_not_count(monkeypatch):
    ticks = iter([0.0, 9.0, 10.0, 12.0, 20.0, 23.0, 30.0, 30.5, 40.0, 44.0, 50.0, 55.0])
    monkeypatch.setattr(measured_cost.time, "perf_counter", lambda: next(ticks))
    once = measured_cost._once("A", 32, 2, 2, torch.device("cpu"), False, dict(width=0.0625, hidden=8))
    assert {mode: run["seconds"] for mode, run in once.items()} == {"inference": 2.0, "training": 4.0}


def test_training_changes_the_network_and_inference_does_not():
    net = VGG("A", **SMALL)
    X, y = torch.rand(2, 3, 32, 32), torch.tensor([0, 1])
    before = [parameter.clone() for parameter in net.parameters()]
    measured_cost._step(net, X, y, "inference", False)()
    assert all(parameter.grad is None for parameter in net.parameters())
    measured_cost._step(net, X, y, "training", False)()
    assert not all(map(torch.equal, before, net.parameters()))


@pytest.mark.parametrize("wrong", ["batch", "steps", "rounds"])
def test_nonsense_is_refused(wrong):
    with pytest.raises(ValueError, match=f"{wrong} must be at least 1, got 0"):
        measure("A", **{wrong: 0})
    with pytest.raises(ValueError, match=f"{wrong} must be a whole number, got 1.5"):
        measure("A", **{wrong: 1.5})


def test_nothing_to_measure_is_refused():
    with pytest.raises(ValueError, match="no configuration to measure"):
        measure([])
    with pytest.raises(ValueError, match="runs must be at least 1, got 0"):
        measured_cost.fastest(torch.nn.ReLU(), torch.zeros(1), runs=0)


def test_where_nobody_knows_the_memory_none_is_said(monkeypatch):
    monkeypatch.setattr(measured_cost, "_status", lambda name: None)
    once = measured_cost._once("A", 32, 2, 1, torch.device("cpu"), False, dict(width=0.0625, hidden=8))
    assert [run["peak_bytes"] for run in once.values()] == [None, None]


def test_layers_are_those_of_the_network():
    net = VGG("64 64 | 128 |", **SMALL)
    times = layer_seconds(net, torch.rand(2, 3, 32, 32), runs=1)
    assert list(times) == [row.name for row in cost(net, 32)[1:]]
    assert all(seconds > 0 for seconds in times.values())


def test_the_command_writes_and_tells(tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(measured_cost, "CONFIGURATIONS", ("A",))
    whole = measured_cost.measure
    monkeypatch.setattr(measured_cost, "measure", lambda **asked: whole("A", **asked, width=0.0625, hidden=8))
    path = tmp_path / "cost.json"
    asked = ["--image-size", "32", "--steps", "1", "--rounds", "1", "--device", "cpu", "--result", str(path)]
    assert main(["measure-cost", *asked]) == 0
    assert "A, training:" in capsys.readouterr().out
    assert json.loads(path.read_text())["networks"]["A"]["macs"] > 0
    monkeypatch.chdir(tmp_path)  # what readers measure is not the book's own record
    assert main(["measure-cost", *asked[:-2]]) == 0
    assert "wrote runs/measured-cost-cpu.json" in capsys.readouterr().out
    assert json.loads((tmp_path / "runs" / "measured-cost-cpu.json").read_text())["networks"].keys() == {"A"}
    assert main(["measure-cost", "--batch", "0", "--result", str(path)]) == 1
    assert "batch must be at least 1" in capsys.readouterr().err


def test_bytes_counted_in_float32_do_not_stand_beside_bfloat16(tmp_path):
    made = measure("A", 32, batch=2, steps=1, rounds=1, device="cpu", bf16=True, tell=len, width=0.0625, hidden=8)
    assert made["networks"]["A"]["inference"]["predicted_bytes"] is None
