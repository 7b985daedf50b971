"""Two processes train the network that one trains: the same weights from shares of every batch, of any size."""

import json
import os
import shutil
import socket
import subprocess
import sys
import threading
import time
from contextlib import suppress
from datetime import timedelta
from pathlib import Path

import pytest
import torch
import two_processes
from safetensors.torch import load_file
from test_training import patterns
from two_processes import CASES, SURVIVING

from vgglib import distributed
from vgglib.distributed import from_all, from_first, highest, share, together, total
from vgglib.resuming import CheckpointWarning
from vgglib.training import build, fit

pytestmark = pytest.mark.filterwarnings("ignore::vgglib.training.NotLearningWarning")
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
    words = [*TORCHRUN, "--nproc-per-node", "2", *script]
    done = subprocess.run(words, env=calm(), capture_output=True, text=True, timeout=600)
    assert done.returncode == 0, done.stderr[-3000:]
    two_processes.main(folder)
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
        assert other["train_loss"] == pytest.approx(one["train_loss"], rel=1e-12)
        assert other["train_accuracy"] == one["train_accuracy"]
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


def test_the_accuracy_that_is_told_is_that_of_every_process_network(results):
    """Also under batch normalisation, whose running averages each process made from its own share."""
    for case in CASES:
        for number in (0, 1):
            told = results[case, number, 2][1]
            assert told["alone"] == pytest.approx(told["epochs"][-1]["validation_accuracy"]), (case, number)


def test_parameters_that_are_not_used_are_named(results):
    said = [results["float32", *which][1]["unused"] for which in [(0, 1), (0, 2), (1, 2)]]
    assert said[0] == ""
    assert said[1] == said[2]
    assert "the network does not use spare.weight, spare.bias, whose gradients several processes would" in said[1]


def test_every_process_sees_its_own_share(results):
    assert [results["unequal shards", *which][1]["pictures"] for which in [(0, 1), (0, 2), (1, 2)]] == [60, 31, 29]
    assert results["unequal shards", 0, 2][1]["conditions"]["processes"] == 2
    assert [results["batch norm", *which][1]["pictures"] for which in [(0, 1), (0, 2), (1, 2)]] == [60, 30, 30]


def torchrun(folder, word, kind, restarts):
    """The finished process of a run with checkpoints."""
    folder.mkdir(exist_ok=True)
    words = ["--nproc-per-node", "2", "--max-restarts", str(restarts), str(TESTS / "two_processes.py")]
    words = [*TORCHRUN, *words, str(folder), word, kind]
    return subprocess.run(words, env=calm(), capture_output=True, text=True, timeout=600)


def test_after_a_process_is_killed_torchruns_restart_goes_on(tmp_path):
    done = torchrun(tmp_path, "KILL", "exact", restarts=5)
    assert done.returncode == 0, done.stderr[-3000:]
    assert "exitcode: -9" in done.stderr
    assert "Connection refused" not in done.stderr  # by the address of a process that is no more
    end, train, recipe = load_file(tmp_path / "end.safetensors"), patterns(60), SURVIVING["exact"]
    whole = build(recipe, train, seed=3).double()
    history = fit(whole, train, train[:31], recipe, 3, "cpu")
    assert apart(dict(whole.named_parameters()), end) < 1e-9
    assert not (tmp_path / "a disk that process 0 does not see").exists()
    assert json.loads((tmp_path / "losses.json").read_text()) == pytest.approx(history.column("train_loss"), rel=1e-6)
    # what two processes saved in the middle of the last epoch, taken over by one, which says what differs
    names = sorted(path.name for path in (tmp_path / "checkpoints").iterdir())
    assert names == ["epoch-0002-step-0000004.safetensors", "epoch-0003-step-0000000.safetensors"]
    (tmp_path / "checkpoints" / names[1]).unlink()
    net = build(recipe, train, seed=3).double()
    with pytest.warns(CheckpointWarning, match="processes is 1, was 2"):
        fit(net, train, train[:31], recipe, 3, "cpu", checkpoint=tmp_path / "checkpoints")
    assert apart(dict(whole.named_parameters()), dict(net.named_parameters())) < 1e-9


@pytest.mark.skipif("VGGLIB_FAULTS" not in os.environ, reason="a minute more, by `make faults`")
def test_a_killed_process_ends_the_job_with_the_reason_and_what_follows_is_the_same(tmp_path):
    lost = torchrun(tmp_path / "lost", "KILL", "random", restarts=0)
    assert lost.returncode != 0
    assert "Signal 9 (SIGKILL)" in lost.stderr
    saved = [path.name for path in (tmp_path / "lost" / "checkpoints").iterdir()]
    assert saved == ["epoch-0001-step-0000004.safetensors"]
    assert torchrun(tmp_path / "lost", "live", "random", restarts=0).returncode == 0  # the same command again
    restarted, whole = (torchrun(tmp_path / word, word, "random", restarts=1) for word in ("KILL", "live"))
    assert (restarted.returncode, whole.returncode) == (0, 0), restarted.stderr[-2000:]
    ends = [load_file(tmp_path / folder / "end.safetensors") for folder in ("lost", "KILL", "live")]
    assert apart(ends[0], ends[2]) == apart(ends[1], ends[2]) == 0
    losses = [(tmp_path / folder / "losses.json").read_text() for folder in ("lost", "KILL", "live")]
    assert losses[0] == losses[1] == losses[2]


@pytest.fixture
def two_hosts(tmp_path):
    """How to start a command on either of two hosts joined by a wire, each with a name that it resolves to itself.

    They are namespaces of Linux, as root may make them: (names, the words before a command on each).
    """
    if sys.platform != "linux" or os.geteuid() or not all(map(shutil.which, ("ip", "unshare", "nsenter"))):
        pytest.skip("needs Linux, root and the tools ip, unshare and nsenter")
    names, held = ("first-host", "second-host"), []
    try:
        for number, name in enumerate(names):
            other = f"10.77.0.{2 - number} {names[1 - number]}"
            (tmp_path / name).write_text(f"127.0.0.1 localhost\n127.0.1.1 {name}\n{other}\n")
            there = f"hostname {name} && mount --bind '{tmp_path / name}' /etc/hosts && ip link set lo up"
            command = ["unshare", "--net", "--uts", "--mount", "sh", "-c", f"{there} && echo ready && exec sleep 600"]
            held.append(subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True))
            if held[-1].stdout.readline() != "ready\n":
                pytest.skip(f"no namespaces here: {held[-1].communicate()[1]}")
        pids = [str(one.pid) for one in held]
        ends = "wire0", "netns", pids[0], "type", "veth", "peer", "name", "wire1", "netns", pids[1]
        subprocess.run(["ip", "link", "add", *ends], check=True)
        inside = [["nsenter", "--target", pid, "--net", "--uts", "--mount"] for pid in pids]
        for number, words in enumerate(inside):
            for order in (["addr", "add", f"10.77.0.{number + 1}/24"], ["link", "set", "up"]):
                subprocess.run([*words, "ip", *order, "dev", f"wire{number}"], check=True)
        yield names, inside
    finally:
        for one in held:
            one.kill()
            one.communicate()


def go_on_after_one_has_lost_its_process(folder, names, starters, endpoint):
    """Start what the second of two kills a process of, wait, and compare with what one process comes to."""
    words = ["--nnodes", "2", "--nproc-per-node", "1", "--max-restarts", "3", "--rdzv-id", "vgg"]
    words += ["--rdzv-backend", "c10d", "--rdzv-endpoint", endpoint]
    started = []
    for name, starter in zip(names, starters, strict=True):
        (folder / f"{name}'s disk").mkdir()
        command = [*starter, *TORCHRUN[:-1], *words, str(TESTS / "two_processes.py"), str(folder / f"{name}'s disk")]
        started.append(subprocess.Popen([*command, "KILL", "exact"], env=calm(), stderr=subprocess.PIPE, text=True))
    said = [one.communicate(timeout=300)[1] for one in started]
    assert [one.returncode for one in started] == [0, 0], said[0][-2000:] + said[1][-2000:]
    assert "exitcode: -9" in "".join(said)
    assert "Connection refused" not in "".join(said)
    train, recipe = patterns(60), SURVIVING["exact"]
    whole = build(recipe, train, seed=3).double()
    fit(whole, train, train[:31], recipe, 3, "cpu")
    (end,) = folder.glob("*/end.safetensors")
    assert apart(dict(whole.named_parameters()), load_file(end)) < 1e-9


@pytest.mark.skipif("VGGLIB_FAULTS" not in os.environ, reason="half a minute more, by `make faults`")
def test_two_starters_go_on_after_one_has_lost_its_process(tmp_path):
    """Both on this machine: only one of them counts a restart, and both must find each other again."""
    with socket.socket() as one:  # a port that is free
        one.bind(("localhost", 0))
        endpoint = f"localhost:{one.getsockname()[1]}"
    go_on_after_one_has_lost_its_process(tmp_path, ("first", "second"), ([], []), endpoint)


@pytest.mark.skipif("VGGLIB_FAULTS" not in os.environ, reason="half a minute more, by `make faults`")
def test_two_hosts_go_on_after_one_has_lost_its_process(tmp_path, two_hosts):
    """Each calls its own name 127.0.1.1, as Debian has it, where gloo would listen for the other."""
    names, inside = two_hosts
    go_on_after_one_has_lost_its_process(tmp_path, names, inside, f"{names[0]}:29500")


LOOPBACK = "127.0.1.1"  # Debian's address for a machine's own name


@pytest.mark.parametrize(
    ("own_name", "machines", "given", "listens"),
    [
        ([LOOPBACK, LOOPBACK], 2, None, ["at 10.77.0.1", "at 10.77.0.2"]),
        (["", ""], 2, None, ["at 10.77.0.1", "at 10.77.0.2"]),  # a name without an address
        (["10.77.0.1", LOOPBACK], 2, None, [None, "at 10.77.0.2"]),
        ([LOOPBACK, LOOPBACK], 1, None, [None, None]),  # one machine talks to itself
        ([LOOPBACK, LOOPBACK], 2, "eth7", ["eth7", "eth7"]),
    ],
)
def test_gloo_listens_where_other_machines_come(monkeypatch, own_name, machines, given, listens):
    """Process 0's machine is called by its own name, so that it learns its address from the other's."""
    monkeypatch.setattr(distributed.sys, "platform", "linux")
    monkeypatch.setenv("MASTER_ADDR", "first-host")
    monkeypatch.setenv("LOCAL_WORLD_SIZE", str(2 // machines))
    store, found = torch.distributed.HashStore(), []
    for number in (1, 0):
        monkeypatch.setattr(distributed, "_address_of", lambda name, number=number: own_name[number])
        towards = {"first-host": [LOOPBACK, "10.77.0.2"][number], "10.77.0.2": "10.77.0.1"}
        monkeypatch.setattr(distributed, "_address_towards", lambda other, towards=towards: towards.get(other, ""))
        monkeypatch.setattr(distributed, "_interface_at", lambda address: f"at {address}")
        monkeypatch.delenv("GLOO_SOCKET_IFNAME", raising=False)
        if given:
            monkeypatch.setenv("GLOO_SOCKET_IFNAME", given)
        if number:
            store.set("vgglib/address/0", LOOPBACK)
        distributed._listen_to_other_machines(store, number, 2)
        found.insert(0, os.environ.get("GLOO_SOCKET_IFNAME"))
    monkeypatch.delenv("GLOO_SOCKET_IFNAME", raising=False)
    assert found == listens


def test_addresses_and_interfaces_are_this_machines():
    assert distributed._address_of("localhost") == distributed._address_towards("localhost") == "127.0.0.1"
    assert distributed._address_of("no-such-host.invalid") == distributed._address_towards("no-such-host.invalid") == ""
    assert [distributed._only_here(address) for address in ("", LOOPBACK, "10.77.0.1")] == [True, True, False]
    if sys.platform == "linux":
        assert distributed._interface_at("127.0.0.1") == "lo"
        assert distributed._interface_at("203.0.113.7") is None


def test_a_lone_process_has_nothing_to_tell():
    with together("cpu") as device:
        assert (device, distributed.rank(), distributed.world()) == ("cpu", 0, 1)
    values = torch.tensor([1.0, 2.0])
    assert total(values) is values
    assert highest(values) is values
    assert from_all(values) == [values]
    assert from_first(b"a checkpoint") == b"a checkpoint"
    assert list(range(7))[share(7)] == list(range(7))


def test_a_start_is_not_mistaken_for_an_earlier_one(monkeypatch):
    """Whoever comes first: the store still holds all that earlier processes said, whole starts and broken ones."""
    store, names = torch.distributed.HashStore(), []
    for order in ([0, 1, 2], [2, 1, 0], [1], [1, 0, 2]):
        told, patience = {}, timedelta(seconds=60 if len(order) == 3 else 0.2)
        monkeypatch.setattr(distributed, "PATIENCE", patience)

        def come(number, told=told):
            with suppress(RuntimeError):  # nobody answers
                told[number] = distributed._this_start(store, number, 3)

        processes = [threading.Thread(target=come, args=(number,)) for number in order]
        for process in processes:
            process.start()
            time.sleep(0.1)
        for process in processes:
            process.join(60)
        assert sorted(told) == (sorted(order) if len(order) == 3 else [])
        assert len({*told.values()}) == bool(told)
        names += {*told.values()}
    assert len({*names}) == 3
    monkeypatch.setattr(distributed, "PATIENCE", timedelta(seconds=0.05))
    with pytest.raises(TimeoutError, match="of 3 processes 1, 2 did not come"):
        distributed._this_start(store, 0, 3)


def test_a_group_that_finds_no_connection_is_given_up(monkeypatch, capsys):
    given_up, codes = threading.Event(), []
    with distributed.within(60, given_up.set):
        pass
    assert not given_up.is_set()
    with distributed.within(0.01, given_up.set):
        assert given_up.wait(60)
    monkeypatch.setattr("vgglib.distributed.os._exit", codes.append)
    distributed._give_up()
    assert codes == [1]
    assert "vgglib: the processes found no connection within 60 s; torchrun starts" in capsys.readouterr().err
