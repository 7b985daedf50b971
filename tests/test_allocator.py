"""Freed memory: it stays in the process while it is kept, goes back afterwards, and changes no number of a training."""

import json
import subprocess
import sys
import threading

import pytest
import torch
from test_training import TINY, patterns

from vgglib import allocator
from vgglib.allocator import can_keep_memory, kept_memory
from vgglib.training import build, conditions, fit, recipe

needs_glibc = pytest.mark.skipif(not can_keep_memory("cpu"), reason="needs glibc's allocator, left as it is")

# a process of its own: the blocks that other tests left free would serve the large ones
_COUNT = """
import json, resource
import torch
from vgglib.allocator import kept_memory
def resident(): return int(open("/proc/self/statm").read().split()[1]) * resource.getpagesize()
def faults(numbers=2**24, times=20):
    for _ in range(times):
        torch.ones(numbers)
    before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
    for _ in range(times):
        torch.ones(numbers)
    return (resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before) / times
larger = dict(numbers=2**27, times=2)  # than what may still lie free between two blocks that are in use
found = {"before": faults(), "larger before": faults(**larger)}
with kept_memory(True):
    found["kept"] = faults()
    with kept_memory(True):
        pass
    found["after an inner one"] = faults()
    held = resident()
with kept_memory(False):
    found["not kept"] = faults(**larger)
found["given back"] = held - resident()
try:
    with kept_memory(True):
        raise KeyError
except KeyError:
    pass
found["after an error"] = faults(**larger)
print(json.dumps(found))
"""


@needs_glibc
def test_large_blocks_are_taken_from_the_system_once():
    answer = subprocess.run([sys.executable, "-c", _COUNT], capture_output=True, text=True, check=True)
    found = json.loads(answer.stdout)
    for name in ("kept", "after an inner one"):
        assert 5 * found[name] < found["before"], found
    for name in ("not kept", "after an error"):
        assert 2 * found[name] > found["larger before"] > 0, found
    assert found["given back"] > 2**25, found


@needs_glibc
def test_the_last_one_out_gives_back(monkeypatch):
    told = []
    monkeypatch.setattr(allocator, "_set", told.append)
    first, second = threading.Event(), threading.Event()

    def other():
        with kept_memory(True):
            first.set()
            second.wait(10)

    thread = threading.Thread(target=other)
    with kept_memory(True):
        thread.start()
        assert first.wait(10)
    assert told == [allocator._KEEP, allocator._KEEP]
    second.set()
    thread.join()
    assert told[2:] == [allocator._GIVE_BACK]


def test_where_it_is_left_alone(monkeypatch):
    assert not can_keep_memory("cuda")
    monkeypatch.setattr(allocator, "_is_glibc", lambda: True)
    for name, value in (("MALLOC_ARENA_MAX", "2"), ("GLIBC_TUNABLES", "glibc.malloc.trim_threshold=1")):
        monkeypatch.setenv(name, value)
        assert not can_keep_memory("cpu")
        monkeypatch.delenv(name)
    monkeypatch.setattr(allocator, "_is_glibc", lambda: False)
    assert not can_keep_memory("cpu")
    assert conditions(recipe("laptop", keep_memory=True), "cpu")["keep_memory"] is False
    monkeypatch.setattr("ctypes.CDLL", lambda name: pytest.fail("no C library was to be asked"))
    with kept_memory(False):
        pass


@needs_glibc
def test_training_is_the_same_bit_for_bit_and_each_way_is_on_record():
    train, nets = patterns(60), []
    for keep in (None, False):
        chosen = recipe("laptop", **{**vars(TINY), "keep_memory": keep, "dropout": 0.3})
        net = build(chosen, train)
        history = fit(net, train, None, chosen, seed=1, device="cpu")
        assert history.conditions["keep_memory"] is (keep is None)
        nets.append(net)
    for one, other in zip(*(net.parameters() for net in nets), strict=True):
        assert torch.equal(one, other)
