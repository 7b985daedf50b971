"""Accuracy on the test set, used once a network, and the seconds that training took: several recipes, several seeds.

``python tests/benchmarks/time_to_accuracy.py laptop laptop:epochs=20 --seeds 0 1 2 3 4``

Each argument is a recipe, perhaps with fields changed: ``laptop:epochs=20,width=0.5``. The recipes take turns, seed by
seed. Written after every network to --result (default: data/results/time-to-accuracy.json); what is there already for
the same recipe, seed and device is not trained again. Seconds are those of all epochs, with data loading and
validation; on a GPU the first step, which loads its programs or compiles them, is in them. `make bench` leaves this
out: it takes as long as it says.
"""

import argparse
import shlex
import sys
from dataclasses import asdict
from pathlib import Path

from vgglib import results
from vgglib.commands.train import value_of
from vgglib.data import fashion_mnist
from vgglib.devices import best_device, describe, device_of, known_device
from vgglib.evaluation import accuracy_on
from vgglib.throughput import throughput
from vgglib.training import Recipe, build, fit, recipe, split


def parsed(text: str) -> Recipe:
    """Return the recipe in an argument."""
    name, _, changes = text.partition(":")
    pairs = (change.partition("=") for change in changes.split(",") if change)
    return recipe(name, **{field: value_of(value) for field, _, value in pairs})


def run(label: str, seed: int, data: tuple, device: object) -> dict:
    """Train and test one network."""
    chosen = parsed(label)
    part, watched = split(chosen, *data)
    net = build(chosen, part, seed)
    history = fit(net, part, watched, chosen, seed, device)
    return {
        "label": label,
        "seed": seed,
        "test_accuracy": accuracy_on(net, data[1].to(device_of(net)), chosen.test_scale, chosen.bf16),
        "seconds": history.seconds,
        "share_of_peak": throughput(net, history).share,
        "conditions": history.conditions,
        "recipe": asdict(chosen),
    }


def main(arguments: list[str] | None = None) -> None:
    """Train what is not recorded yet, write, and print the means."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("recipes", nargs="*", default=["laptop"], help="recipes, perhaps changed (default: laptop)")
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2, 3, 4], help="default: 0 1 2 3 4")
    parser.add_argument("--device", help="cpu, cuda or mps (default: the fastest there is)")
    parser.add_argument("--result", type=Path, default=results.FOLDER / "time-to-accuracy.json")
    parser.add_argument("--pictures", type=int, help="only so many training pictures, for a trial")
    options = parser.parse_args(arguments)
    if options.device:
        known_device(options.device)
    train, test = fashion_mnist()
    data = (train[: options.pictures] if options.pictures else train, test)
    device = options.device or best_device()
    runs = results.read(options.result)["runs"] if options.result.is_file() else []
    for seed in options.seeds:
        for label in options.recipes:
            parsed(label)
            known = [(one["label"], one["seed"], one["conditions"]["device"]) for one in runs]
            if (label, seed, describe(device)) not in known:
                runs.append(run(label, seed, data, device))
                by_label = {name: [one for one in runs if one["label"] == name] for name in {r["label"] for r in runs}}
                summaries = {
                    name: {key: results.summary([one[key] for one in those]) for key in ("test_accuracy", "seconds")}
                    for name, those in sorted(by_label.items())
                }
                command = shlex.join(["python", *sys.argv])
                results.write(options.result, {"command": command, "recipes": summaries, "runs": runs})
    for name, those in results.read(options.result)["recipes"].items():
        reached, took = those["test_accuracy"], those["seconds"]
        print(
            f"{name}: test accuracy {100 * reached['mean']:.2f} ± {100 * reached['sd']:.2f} % "
            f"(n={reached['n']} seeds), {took['mean']:.1f} ± {took['sd']:.1f} s"
        )


if __name__ == "__main__":
    main()
