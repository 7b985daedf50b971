"""Measured results: summaries by hand, whole files or none, and conditions with every number that we ship."""

import json
import math
import os

import pytest

from vgglib import results


def test_summary_by_hand():
    assert results.summary([2.0, 4.0, 9.0]) == {"n": 3, "mean": 5.0, "sd": pytest.approx(math.sqrt(13))}
    assert results.summary([0.9]) == {"n": 1, "mean": 0.9, "sd": 0.0}


def test_a_summary_in_words():
    assert results.percent(results.summary([0.9, 0.92])) == "91.00 ± 1.41 % (n=2 seeds)"
    assert results.percent(results.summary([0.9, 0.92]), digits=1) == "91.0 ± 1.4 % (n=2 seeds)"
    assert results.percent(results.summary([0.905])) == "90.50 % (n=1 seed)"


def test_the_runs_of_a_record_by_label():
    runs = [{"label": label, "test_accuracy": share} for label, share in (("B", 0.5), ("A", 0.25), ("B", 0.75))]
    record = {"test_accuracy": {"B": ..., "A": ...}, "runs": runs}
    assert results.by_label(record) == {"B": [runs[0], runs[2]], "A": [runs[1]]}
    assert results.percentages(record) == {"B": [50.0, 75.0], "A": [25.0]}
    assert list(results.percentages(record)) == ["B", "A"]


@pytest.mark.parametrize(("bf16", "told"), [(True, ", bfloat16"), (False, ", float32"), (None, "")])
def test_where_a_record_was_made(bf16, told):
    where = {"device": "a CPU, 1 thread", "torch": "2.14.1", **({} if bf16 is None else {"bf16": bf16})}
    for record in ({"conditions": where}, {"runs": [{"conditions": where}, {"conditions": {}}]}):
        assert results.made_on(record) == f"a CPU, 1 thread, torch 2.14.1{told}"


def test_a_result_comes_back(tmp_path, monkeypatch):
    monkeypatch.setattr(results, "FOLDER", tmp_path / "results")
    assert results.recorded() == []
    results.write(results.FOLDER / "one.json", {"n": 3, "unit": "größer"})
    results.write(results.FOLDER / "one.json", {"n": 4, "unit": "größer"})
    results.write(results.FOLDER / "another.json", {"n": 5})
    assert results.load("one") == {"n": 4, "unit": "größer"}
    assert results.recorded() == ["another", "one"]
    assert sorted(os.listdir(results.FOLDER)) == ["another.json", "one.json"]
    assert (results.FOLDER / "one.json").read_bytes().endswith(b"}\n")


def test_a_missing_result_names_those_there_are(tmp_path, monkeypatch):
    monkeypatch.setattr(results, "FOLDER", tmp_path)
    with pytest.raises(FileNotFoundError, match=r"no result called 'one' .*recorded: none yet"):
        results.load("one")
    results.write(tmp_path / "other.json", {})
    with pytest.raises(FileNotFoundError, match="recorded: other"):
        results.load("one")


def test_a_record_goes_on_only_if_it_is_one(tmp_path):
    path, run = tmp_path / "one.json", {"label": "A", "seed": 0, "recipe": {}}
    assert results.so_far(path, "one", "label", "seed") == {"runs": []}
    results.write(path, {"runs": [run], "question": "?"})
    assert results.so_far(path, "one", "label", "seed") == {"runs": [run], "question": "?"}
    results.write(path, {"runs": [run], "command": "python -m vgglib study one --longer 0.25 --result FILE"})
    assert results.so_far(path, "one", "label", "seed")["runs"] == [run]
    for other, said in (
        ([run], "lists no runs"),
        ({}, "lists no runs"),
        ({"runs": {"A": run}}, "lists no runs"),
        ({"runs": [run, {**run, "recipe": None}]}, "its run 2 lacks recipe"),
        ({"runs": [{"label": "A", "recipe": {}}]}, "its run 1 lacks seed"),
        ({"runs": ["A"]}, "its run 1 lacks label"),
        ({"runs": [run], "command": "python -m vgglib study one-more"}, "it was made by .* study one-more"),
        (
            {"runs": [run], "command": "python -m vgglib train --recipe laptop"},
            "it was made by .* train --recipe laptop",
        ),
    ):
        results.write(path, other)
        with pytest.raises(ValueError, match=rf"one\.json is no record of .*{said}"):
            results.so_far(path, "one", "label", "seed")
    path.write_text("{", encoding="utf-8")
    with pytest.raises(ValueError, match=r"one\.json is no result"):
        results.so_far(path, "one")


def test_a_result_that_cannot_be_written_leaves_the_old_one(tmp_path, monkeypatch):
    path = tmp_path / "one.json"
    results.write(path, {"n": 1})
    with pytest.raises(TypeError):
        results.write(path, {"n": object()})

    def fail(*_):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "replace", fail)
    with pytest.raises(OSError, match="No space left"):
        results.write(path, {"n": 2})
    assert os.listdir(tmp_path) == ["one.json"]
    assert json.loads(path.read_text()) == {"n": 1}


def keys(value):
    """All keys in a JSON value, however deep, with what they hold."""
    for key, held in value.items() if isinstance(value, dict) else ():
        yield key, held
    for held in value.values() if isinstance(value, dict) else value if isinstance(value, list) else ():
        yield from keys(held)


def speeds(result):
    """The measured speeds of a benchmark, one list a variant and setting."""
    parts = result.get("sizes", [result])
    return [
        rounds for part in parts if "brings" in part or "ratio" in part for rounds in part["images_per_second"].values()
    ]


@pytest.mark.parametrize("name", results.recorded())
def test_every_recorded_result_states_its_conditions(name):
    result = results.load(name)
    found = dict(keys(result))
    measured = ("steps_measured", "seconds_extrapolated") if "seconds_extrapolated" in result else ("n", "seconds")
    if speeds(result):  # of a benchmark, in which both sides take turns
        measured = ("n", "images_per_second")
    if "same_accuracy" in result:
        measured = ("epochs", "by_seed")
    if "same_loss" in result:
        measured = ("steps", "losses")
    if "ensembles" in result:  # summaries are worked out from its runs, by vgglib.protocol
        measured = ("tests", "seconds")
    for wanted in ("device", "torch", "python", *measured):
        assert wanted in found, f"{name}.json does not say {wanted}"
    if "seconds_extrapolated" not in result and not speeds(result):
        assert {"seed", "seeds"} & found.keys(), f"{name}.json does not say which seeds"
    numbers = [held for _, held in keys(result) if isinstance(held, float)]
    assert all(map(math.isfinite, numbers))


@pytest.mark.parametrize("what", ["test_accuracy", "late_loss"])
@pytest.mark.parametrize("name", [name for name in results.recorded() if "runs" in results.load(name)])
def test_every_recorded_training_adds_up(name, what):
    result = results.load(name)
    if what not in result:
        assert {"ensembles", "recipes", "test_accuracy", "late_loss"} & result.keys()
        return
    said = result[what] if "question" in result else {None: result[what]}
    for label, summary in said.items():
        runs = [run for run in result["runs"] if run.get("label") == label]
        assert len({run["seed"] for run in runs}) == len(runs)
        assert summary == pytest.approx(results.summary([run[what] for run in runs]))
    assert {run.get("label") for run in result["runs"]} == said.keys()


@pytest.mark.parametrize("name", [name for name in results.recorded() if "recipes" in results.load(name)])
@pytest.mark.parametrize("what", ["test_accuracy", "seconds"])
def test_every_recorded_time_to_accuracy_adds_up(name, what):
    result = results.load(name)
    for label, said in result["recipes"].items():
        runs = [run for run in result["runs"] if run["label"] == label]
        assert len({(run["seed"], run["conditions"]["device"]) for run in runs}) == len(runs) > 0
        assert said[what] == pytest.approx(results.summary([run[what] for run in runs]))
    assert {run["label"] for run in result["runs"]} == result["recipes"].keys()


@pytest.mark.parametrize("name", [name for name in results.recorded() if speeds(results.load(name))])
def test_every_recorded_speed_is_a_list_of_rounds(name):
    result = results.load(name)
    rounds = {found for key, found in keys(result) if key == "n"}
    assert {len(found) for found in speeds(result)} == rounds
    assert all(speed > 0 for found in speeds(result) for speed in found)


@pytest.mark.parametrize("name", [name for name in results.recorded() if "same_accuracy" in results.load(name)])
def test_every_recorded_comparison_of_accuracies_adds_up(name):
    for one in results.load(name)["same_accuracy"]:
        assert one["by_seed"].keys() == one["test_accuracy"].keys() == {"d2l", "vgglib"}
        for side, accuracies in one["by_seed"].items():
            assert len(accuracies) == len(one["seeds"]) >= 3
            assert one["test_accuracy"][side] == pytest.approx(results.summary(accuracies))


@pytest.mark.parametrize("name", [name for name in results.recorded() if "same_loss" in results.load(name)])
def test_every_recorded_comparison_of_losses_adds_up(name):
    for one in results.load(name)["same_loss"]:
        theirs, ours = one["losses"]["d2l"], one["losses"]["vgglib"]
        assert len(theirs) == len(ours) == one["steps"]
        apart = max(abs(a - b) / a for a, b in zip(theirs, ours, strict=True))
        assert one["largest_relative_difference"] == pytest.approx(apart)
        assert one["fell_by"] == pytest.approx(theirs[0] - theirs[-1])


@pytest.mark.parametrize("name", [name for name in results.recorded() if "ensembles" in results.load(name)])
def test_every_recorded_protocol_tests_each_network_once(name):
    runs = results.load(name)["runs"]
    assert len({(run["configuration"], run["stage"], run["seed"]) for run in runs}) == len(runs)
    for run in runs:
        kinds = [(test["method"], tuple(test["scales"]), test["pictures"]) for test in run["tests"]]
        assert len(set(kinds)) == len(kinds) > 2
        assert all(0 < test["top1_error"] < 1 and test["pictures"] > 0 for test in run["tests"])


TRAINED = [name for name in results.recorded() if {"recipe_name", "runs"} <= results.load(name).keys()]


@pytest.mark.parametrize("name", TRAINED)
def test_every_recorded_epoch_adds_up(name):
    result = results.load(name)
    assert result["seconds"] == pytest.approx(results.summary([run["seconds"] for run in result["runs"]]))
    for run in result["runs"]:
        assert run["seconds"] == pytest.approx(sum(epoch["seconds"] for epoch in run["epochs"]))
        assert [epoch["number"] for epoch in run["epochs"]] == list(range(1, len(run["epochs"]) + 1))
