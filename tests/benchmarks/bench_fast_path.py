"""What each part of the fast path brings on this device, each taken away in turn while the others stay.

``python tests/benchmarks/bench_fast_path.py [--recipe laptop] [--pictures 2560] [--rounds 5] [--json | --result FILE]``

Ratios within a round, so that a slow moment of the machine meets both sides; the median of the rounds. On a CPU each
variant of each round has a process of its own, because memory that one has left free would serve the next; on a GPU
they share one, where each is compiled once. A report: it judges nothing. For data/results/: --result
data/results/fast-path.json, and --recipe d2l --pictures 1024 --rounds 3 --result data/results/fast-path-224.json; on a
GPU, where a round should take seconds, --recipe gpu --pictures 51200 --device cuda --result
data/results/fast-path-cuda.json
"""

import argparse
import json
import shlex
import sys

import torch

from vgglib import results
from vgglib.ablation import ablation
from vgglib.data import fashion_mnist
from vgglib.devices import best_device, known_device
from vgglib.training import recipe


def main() -> None:
    """Measure, and print or write what was found."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--recipe", default="laptop", help="whose network and batches (default: laptop)")
    parser.add_argument("--pictures", type=int, default=2560, help="pictures a round (default: 2560)")
    parser.add_argument("--rounds", type=int, default=5, help="rounds that count (default: 5)")
    parser.add_argument("--device", help="cpu, cuda or mps (default: the fastest there is)")
    parser.add_argument("--json", action="store_true", help="print JSON and nothing else")
    parser.add_argument("--result", help="also write the result to this JSON file")
    options = parser.parse_args()
    if options.device:
        known_device(options.device)
    device = torch.device(options.device or best_device())
    train, _ = fashion_mnist()
    tell, apart = (lambda text: None) if options.json else print, device.type == "cpu"
    found = ablation(recipe(options.recipe), train, options.pictures, options.rounds, device, tell, apart)
    result = {
        "command": shlex.join(["python", *sys.argv]),
        "recipe_name": options.recipe,
        "pictures": options.pictures,
        "n": options.rounds,
        "conditions": found.conditions,
        "images_per_second": found.speeds,
        "brings": found.factors(),
    }
    if options.result:
        results.write(options.result, result)
    if options.json:
        print(json.dumps(result))
        return
    where = found.conditions
    print(f"{where['device']}, torch {where['torch']}, recipe {options.recipe}, n={options.rounds} rounds")
    print(f"{'everything':>20}: {found.median('everything'):9,.0f} images/s")
    for name, ratio in result["brings"].items():
        print(
            f"{'without ' + name:>20}: {found.median(name):9,.0f} images/s, so that it brings a factor of {ratio:.2f}"
        )


if __name__ == "__main__":
    main()
