"""The benchmarks can be started: all are imported, and those that a GPU waits for make a trial on the CPU."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
import torch

FOLDER = Path(__file__).resolve().parent / "benchmarks"
TINY_VGG16 = ("--width", "0.02", "--side", "32", "--batch", "2", "--steps", "1", "--rounds", "1", "--no-compile")
TRIALS = {
    "bench_vgg16": TINY_VGG16,
    "bench_d2l": ("--sizes", "32", "--steps", "1", "--rounds", "1"),
    "time_to_accuracy": ("laptop:epochs=1,width=0.05,validation=100", "--seeds", "0", "--pictures", "512"),
}


def python(*arguments):
    """What a new Python printed; its error, should it have failed."""
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    done = subprocess.run([sys.executable, *map(str, arguments)], capture_output=True, text=True, env=environment)
    assert done.returncode == 0, done.stderr[-2000:]
    return done.stdout


def test_every_benchmark_finds_what_it_imports():
    files = [str(path) for path in sorted(FOLDER.glob("*.py"))]
    assert len(files) > 8
    print_each = "import runpy, sys\nfor path in sys.argv[1:]:\n    runpy.run_path(path)\n    print(path)"
    assert python("-c", print_each, *files).split() == files


@pytest.mark.parametrize("name", TRIALS)
def test_a_benchmark_that_a_gpu_waits_for_makes_a_trial(name, tmp_path):
    python(FOLDER / f"{name}.py", *TRIALS[name], "--device", "cpu", "--result", tmp_path / "r.json")
    record = (tmp_path / "r.json").read_text(encoding="utf-8")
    assert json.loads(record)
    assert torch.__version__ in record  # under which versions
