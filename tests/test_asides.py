"""The trials that chapters quote in passing: all recorded, none run twice, and what is exact comes out again."""

import sys
from pathlib import Path

import pytest

from vgglib import results

sys.path.insert(0, str(Path(__file__).resolve().parent / "benchmarks"))

import asides


@pytest.fixture(scope="module")
def trials():
    return results.load("asides")["trials"]


def test_every_trial_is_recorded_and_no_other(trials):
    assert set(trials) == set(asides.TRIALS)


@pytest.mark.parametrize("name", asides.TRIALS)
def test_a_record_says_what_was_asked_and_how(trials, name):
    known, found = asides.TRIALS[name], trials[name]
    assert {*found} == {"question", "values", "n", "seeds", "seconds", "conditions"}
    assert (found["question"], found["n"], tuple(found["seeds"])) == (known.question, known.n, known.seeds)
    assert found["question"].endswith("?")
    assert found["values"]
    assert {"device", "torch", "python", "bf16"} <= found["conditions"].keys()


def test_a_recorded_trial_is_not_run_again(tmp_path):
    path, ran = tmp_path / "asides.json", []

    def trial(name):
        return asides.Trial(f"{name}?", lambda seeds: ran.append(name) or {"seen": len(seeds)}, 2, (0, 1))

    known = {name: trial(name) for name in ("one", "two")}
    asides.run(["one"], path, known, tell=ran.append)
    assert [*results.read(path)["trials"]] == ["one"]
    before = results.read(path)["trials"]["one"]
    record = asides.run(known, path, known, tell=lambda told: None)
    assert ran == ["one", "one: 0 s", "two"]
    assert record == results.read(path)
    assert record["trials"]["one"] == before
    assert record["trials"]["two"]["values"] == {"seen": 2}


def test_what_ran_before_a_stop_stays(tmp_path):
    path = tmp_path / "asides.json"

    def stop(_):
        raise KeyboardInterrupt

    known = {"one": asides.Trial("one?", lambda seeds: {"seen": 1}, 1, ()), "two": asides.Trial("two?", stop, 1, ())}
    with pytest.raises(KeyboardInterrupt):
        asides.run(known, path, known, tell=lambda told: None)
    assert [*results.read(path)["trials"]] == ["one"]


def test_the_bell_of_equal_weights_comes_out_again(trials):
    assert asides.equal_weights(()) == trials["equal-weights"]["values"]
