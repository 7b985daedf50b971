"""How far runs that differ in rounding alone end from each other: one process, two threads, two processes.

``python tests/benchmarks/bench_drift.py [--batch 250] [--result data/results/drift.json]``

The small network of notebooks/09_scaling_out.ipynb, at 28 pixels, one epoch of Fashion-MNIST in float32, without
dropout and batch normalisation, from the same seed; the largest difference of any weight to the run with one thread,
and what each gets right of the test set. About a minute on two cores. A report: it judges nothing.
"""

import argparse
import json
import os
import shlex
import subprocess
import sys
import tempfile
from pathlib import Path

from vgglib import results
from vgglib.checkpoint import load_network

OPTIONS = shlex.split(
    "--recipe laptop --width 1 --hidden 32 --image-size 28 --scale 28 --batch-norm false --bf16 false --dropout 0 "
    "--epochs 1 --validation 0 --learning-rate 0.05 --device cpu"
)
RUNS = {"one thread": (1, 1), "one thread again": (1, 1), "two threads": (1, 2), "two processes": (2, 1)}


def trained(processes: int, threads: int, batch: int) -> tuple[dict, dict]:
    """Return the weights and the history of a run."""
    torchrun = ["-m", "torch.distributed.run", "--standalone", f"--nproc-per-node={processes}"]
    command = [sys.executable, *(torchrun if processes > 1 else []), "-m", "vgglib", "train", *OPTIONS]
    command += ["--configuration", "8 | 16 |", "--batch-size", str(batch)]
    with tempfile.TemporaryDirectory() as folder:
        subprocess.run(
            [*command, "--out", folder], env={**os.environ, "OMP_NUM_THREADS": str(threads)}, check=True,
            capture_output=True,
        )  # fmt: skip
        run = Path(folder) / "laptop-seed0"
        history = json.loads((run / "history.json").read_text(encoding="utf-8"))
        return load_network(run / "network.safetensors").state_dict(), history


def main() -> None:
    """Train all, and print or write how far each ended from the first."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--batch", type=int, default=250, help="pictures a step (default: 250)")
    parser.add_argument("--result", help="also write the result to this JSON file")
    options = parser.parse_args()
    ended = {name: trained(*how, options.batch) for name, how in RUNS.items()}
    first, history = ended["one thread"]
    found = {
        "command": shlex.join(["python", *sys.argv]),
        "batch": options.batch,
        "steps": -(-60_000 // options.batch),
        "seed": history["seed"],
        "n": 1,
        "conditions": history["conditions"],
        "seconds": {name: sum(one["seconds"] for one in told["epochs"]) for name, (_, told) in ended.items()},
        "test_accuracy": {name: told["test_accuracy"] for name, (_, told) in ended.items()},
        "largest_weight": max(weights.abs().max().item() for weights in first.values()),
        "largest_difference": {
            name: max((first[key] - weights[key]).abs().max().item() for key in first)
            for name, (weights, _) in ended.items()
        },
    }
    for name, apart in found["largest_difference"].items():
        right = 100 * found["test_accuracy"][name]
        print(f"{name}: {apart:.2g} from one thread, after {found['steps']} steps; {right:.2f} % right")
    if options.result:
        results.write(options.result, found)


if __name__ == "__main__":
    main()
