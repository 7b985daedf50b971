"""VGG-16 (configuration D) at 224 pixels, 3 channels, 1000 classes: images a second, and the share of the peak.

``python tests/benchmarks/bench_vgg16.py [--batch N] [--steps N] [--rounds 5] [--width 1.0] [--device cuda]
[--json | --result FILE]``

Training steps (forward, backward, fused SGD with momentum) on random pictures that lie on the device as uint8, cropped
and mirrored there; inference on the same. The peak is the largest matrix product's, measured in the same run and the
same number format. Start-up, with compilation, is told apart. A report: it judges nothing. On a CPU the default is a
batch of two, so that it ends. For data/results/: --result data/results/vgg16-speed.json
"""

import argparse
import json
import shlex
import statistics
import sys
import time

import torch
from torch.nn import functional as F

from vgglib import results
from vgglib.cost import cost
from vgglib.data import ImageSet
from vgglib.devices import autocast, best_device, can_compile, compiled, known_device, synchronise
from vgglib.throughput import measured_peak, training_flops
from vgglib.training import Recipe, batches, build, conditions


def pictures(count: int, side: int, classes: int) -> ImageSet:
    """Return random pictures of three channels."""
    dice = torch.Generator().manual_seed(0)
    images = torch.randint(0, 256, (count, 3, side, side), dtype=torch.uint8, generator=dice)
    return ImageSet(images, torch.arange(count) % classes, tuple(map(str, range(classes))))


def measure(recipe: Recipe, train: ImageSet, steps: int, rounds: int, device: torch.device) -> dict:
    """Return images a second of training and inference, round by round, in turns, and what they are of the peak."""
    settings = conditions(recipe, device)
    train, net = train.to(device), build(recipe, train).to(device)
    if settings["channels_last"]:
        net = net.to(memory_format=torch.channels_last)
    forward = compiled(net) if settings["compile"] else net
    optimiser = torch.optim.SGD(net.parameters(), 1e-4, recipe.momentum, fused=settings["fused"] or None)

    def one_round(training: bool, epoch: int) -> float:
        net.train(training)
        synchronise(device)
        started, seen = time.perf_counter(), 0
        with torch.set_grad_enabled(training):
            for X, y in batches(net, train, recipe, seed=0, epoch=epoch):
                with autocast(device, settings["bf16"]):
                    scores = forward(X)
                if training:
                    F.cross_entropy(scores.float(), y).backward()
                    optimiser.step()
                    optimiser.zero_grad()
                seen += len(y)
        synchronise(device)
        return seen / (time.perf_counter() - started)

    started = time.perf_counter()
    for training in (True, False):
        one_round(training, 0)
    start_up = time.perf_counter() - started
    found: dict[str, list[float]] = {"training": [], "inference": []}
    peaks = []
    for number in range(1, rounds + 1):
        for name in found:
            found[name].append(one_round(name == "training", number))
        peaks.append(measured_peak(device, settings["bf16"]))
    best, flops = max(peaks), training_flops(net, recipe.image_size)
    forward_flops = 2 * cost(net, recipe.image_size).macs
    medians = {name: statistics.median(speeds) for name, speeds in found.items()}
    return {
        "batch": recipe.batch_size,
        "steps": steps,
        "n": rounds,
        "conditions": settings,
        "start_up_seconds": start_up,
        "images_per_second": found,
        "median": medians,
        "peak_flops_per_second": best,
        "flops_per_training_image": flops,
        "share_of_peak": {
            "training": medians["training"] * flops / best,
            "inference": medians["inference"] * forward_flops / best,
        },
        "memory_bytes": torch.cuda.max_memory_allocated(device) if device.type == "cuda" else None,
    }


def main() -> None:
    """Measure, and print or write what was found."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--batch", type=int, help="pictures a step (default: 256 on a GPU, 2 on a CPU)")
    parser.add_argument("--steps", type=int, help="steps a round (default: 20 on a GPU, 1 on a CPU)")
    parser.add_argument("--rounds", type=int, default=5, help="rounds that count (default: 5)")
    parser.add_argument("--width", type=float, default=1.0, help="factor on the channels (default: 1)")
    parser.add_argument("--side", type=int, default=224, help="side of the pictures in pixels (default: 224)")
    parser.add_argument("--device", help="cpu, cuda or mps (default: the fastest there is)")
    parser.add_argument("--no-compile", action="store_true", help="leave torch.compile out")
    parser.add_argument("--json", action="store_true", help="print JSON and nothing else")
    parser.add_argument("--result", help="also write the result to this JSON file")
    options = parser.parse_args()
    device = known_device(options.device) if options.device else best_device()
    large = device.type == "cuda"
    batch, steps = options.batch or (256 if large else 2), options.steps or (20 if large else 1)
    recipe = Recipe(
        "D", width=options.width, hidden=max(1, round(4096 * options.width)), image_size=options.side,
        scale=options.side + 32, flip=True, batch_size=batch, compile=can_compile(device) and not options.no_compile,
    )  # fmt: skip
    train = pictures(steps * batch, options.side + 32, 1000)  # an epoch is a round
    result = {
        "command": shlex.join(["python", *sys.argv]),
        **measure(recipe, train, steps, options.rounds, device),
    }
    if options.result:
        results.write(options.result, result)
    if options.json:
        print(json.dumps(result))
        return
    where = result["conditions"]
    print(f"{where['device']}, torch {where['torch']}, {'bfloat16' if where['bf16'] else 'float32'}, batch {batch}")
    print(f"peak of a matrix product: {result['peak_flops_per_second'] / 1e12:.2f} TFLOP/s; start-up apart, "
          f"{result['start_up_seconds']:.1f} s")  # fmt: skip
    for name, speed in result["median"].items():
        print(f"{name:>10}: {speed:9,.1f} images/s, {100 * result['share_of_peak'][name]:.1f} % of the peak")


if __name__ == "__main__":
    main()
