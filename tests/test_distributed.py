"""Two processes train the network that one trains: the same weights from shares of every batch, of any size."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file
from two_processes import CASES

from vgglib import distributed
from vgglib.distributed import from_all, highest, share, together, total

TESTS = Path(__file__).resolve().parent
TORCHRUN = [sys.executable, "-m", "torch.distributed.run", "--standalone"]


def calm(**more):
    """The environment of processes that share few cores."""
    return {**os.environ, "OMP_NUM_THREADS": "1", "PYTHONPATH": f"{TESTS.parent}{os.pathsep}{TESTS}", **more}


@pytest.fixture(scope="module")
def results(tmp_path_factory):
    """(weights, report) by (case, process, number of processes), from two processes and from one."""
    folder, found = tmp_path_factory.mktemp("processes"), {}
    script = [str(TESTS / "two_processes.py"), str(folder)]
    for words in ([*TORCHRUN, "--nproc-per-node", "2", *script], [sys.executable, *script]):
        done = subprocess.run(words, env=calm(), capture_output=True, text=True, timeout=300)
        assert done.returncode == 0, done.stderr[-3000:]
    for path in folder.glob("*.json"):
        case, _, which = path.stem.rpartition(", ")
        number, _, world = which.partition(" of ")
        found[case, int(number), int(world)] = load_file(path.with_suffix(".safetensors")), json.loads(path.read_text())
    assert len(found) == 3 * len(CASES)
    return found


def apart(one, other):
    """The largest difference between two networks, in units of the largest weight."""
    scale = max(tensor.abs().max() for tensor in one.values())
    return max((one[name] - other[name]).abs().max() / scale for name in one).item()


@pytest.mark.parametrize("case", ["equal shards", "unequal shards", "an empty shard", "in parts"])
def test_two_processes_are_one_in_float64(results, case):
    (alone, report), (first, told), (second, _) = (results[case, *which] for which in [(0, 1), (0, 2), (1, 2)])
    assert apart(alone, first) < 1e-9
    assert apart(first, second) == 0
    for one, other in zip(report["epochs"], told["epochs"], strict=True):
        assert other["train_loss"] == pytest.approx(one["train_loss"], rel=1e-6)
        assert other["train_accuracy"] == pytest.approx(one["train_accuracy"])
        assert other["validation_accuracy"] == pytest.approx(one["validation_accuracy"])


def test_two_processes_are_one_within_rounding_in_float32(results):
    assert apart(results["float32", 0, 1][0], results["float32", 0, 2][0]) < 1e-5


def test_parts_of_a_batch_give_the_gradients_of_the_batch(results):
    assert apart(results["an empty shard", 0, 1][0], results["in parts", 0, 1][0]) < 1e-9


@pytest.mark.parametrize("case", ["batch norm", "dropout"])
def test_batch_normalisation_and_dropout_are_not_the_same(results, case):
    """Each process normalises by its own shard and drops units of its own: known, and shown."""
    assert apart(results[case, 0, 1][0], results[case, 0, 2][0]) > 1e-4
    assert apart(results[case, 0, 2][0], results[case, 1, 2][0]) == 0


def test_every_process_sees_its_own_share(results):
    assert [results["unequal shards", *which][1]["pictures"] for which in [(0, 1), (0, 2), (1, 2)]] == [60, 31, 29]
    assert results["unequal shards", 0, 2][1]["conditions"]["processes"] == 2
    assert [results["batch norm", *which][1]["pictures"] for which in [(0, 1), (0, 2), (1, 2)]] == [60, 30, 30]


def test_a_lone_process_has_nothing_to_tell():
    with together("cpu") as device:
        assert (device, distributed.rank(), distributed.world()) == ("cpu", 0, 1)
    values = torch.tensor([1.0, 2.0])
    assert total(values) is values
    assert highest(values) is values
    assert from_all(values) == [values]
    assert list(range(7))[share(7)] == list(range(7))
