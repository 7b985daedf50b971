"""Dense evaluation against 150 crops, and batched views against torchvision's one by one; a report, it judges nothing.

``python tests/benchmarks/bench_testing.py [--pictures 8] [--rounds 15] [--json | --result FILE]``

Testing: network D at 28 pixels, an eighth as wide, on Fashion-MNIST at the scales 32, 48 and 64 (the paper's divided
by 8), both flips; MACs are counted, seconds measured in turns. For the full-size D, MACs alone. Views: pictures a
second of vgglib.augment.Augment on batches of 256, and of torchvision's resize, crop and flip a picture at a time, on
tensors and on PIL pictures as ImageFolder hands them out; crop 28 out of pictures rescaled to S = 32, in turns. Goals:
crops cost 7.1 times the MACs of dense evaluation on the full-size D; batched views are 10 times as fast.
"""

import argparse
import json
import platform
import shlex
import statistics
import sys
import time

import torch
from torchvision.transforms import v2
from torchvision.transforms.v2 import functional as V

from vgglib import results
from vgglib.augment import Augment
from vgglib.cost import cost
from vgglib.data import fashion_mnist
from vgglib.devices import describe, fast_in_bf16
from vgglib.evaluation import dense, multi_crop, over_scales
from vgglib.model import VGG, fully_convolutional
from vgglib.protocol import at_28


def macs(configuration: str, crop: int, scales: tuple[int, ...], **options: object) -> tuple[int, int]:
    """Return the MACs of dense evaluation and of 50 crops at each scale, for one picture, both flips."""
    with torch.device("meta"):
        net = VGG(configuration, image_size=crop, **options)
        full = fully_convolutional(net)
    return 2 * sum(cost(full, scale).macs for scale in scales), 50 * len(scales) * cost(net, crop).macs


def seconds(run: object) -> float:
    """Return the seconds of one call."""
    started = time.perf_counter()
    run()
    return time.perf_counter() - started


def in_turns(runs: dict, pictures: dict[str, int], rounds: int) -> dict[str, list[float]]:
    """Return the pictures a second of each run in each round, in turns after one to warm up."""
    speeds = {name: [] for name in runs}
    for turn in range(rounds + 1):
        for name, run in runs.items():
            took = seconds(run)
            if turn:
                speeds[name].append(pictures[name] / took)
    return speeds


def ratio(speeds: dict[str, list[float]], fast: str, slow: str) -> float:
    """Return how many times as fast one side was as the other: the median over rounds, in each of which both ran."""
    return statistics.median(one / other for one, other in zip(speeds[fast], speeds[slow], strict=True))


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--pictures", type=int, default=8, help="pictures to test")
    parser.add_argument("--rounds", type=int, default=15)
    parser.add_argument("--json", action="store_true", help="print JSON and nothing else")
    parser.add_argument("--result", help="also write the result to this JSON file")
    options = parser.parse_args()

    full_dense, full_crops = macs("D", 224, (256, 384, 512))
    small = dict(in_channels=1, num_classes=10, width=0.125, hidden=64)
    our_dense, our_crops = macs(at_28("D"), 28, (32, 48, 64), **small)
    net = VGG(at_28("D"), image_size=28, **small).eval()
    images = fashion_mnist()[1].images
    few, scales = images[: options.pictures], (32, 48, 64)
    tested = in_turns(
        {
            "dense": lambda: over_scales(dense, net, few, scales),
            "150 crops": lambda: over_scales(multi_crop, net, few, scales),
        },
        dict.fromkeys(("dense", "150 crops"), len(few)),
        options.rounds,
    )

    augment, many = Augment(28, 32), images[:2560]
    draws = augment.draws(len(many), seed=0, epoch=1)
    one_by_one = v2.Compose([v2.Resize(32, antialias=True), v2.RandomCrop(28), v2.RandomHorizontalFlip()])
    pil = [V.to_pil_image(picture) for picture in many[:512]]
    viewed = in_turns(
        {
            "batched": lambda: [augment(X, row) for X, row in zip(many.split(256), draws.split(256), strict=True)],
            "tensors": lambda: torch.stack([V.to_dtype(one_by_one(X), torch.float32, scale=True) for X in many[:512]]),
            "PIL": lambda: torch.stack([V.pil_to_tensor(one_by_one(X)).float() / 255 for X in pil]),
        },
        {"batched": len(many), "tensors": 512, "PIL": 512},
        options.rounds,
    )
    report = {
        "command": shlex.join(["python", *sys.argv]),
        "n": options.rounds,
        "conditions": {
            "device": describe("cpu"),
            "torch": torch.__version__,
            "python": platform.python_version(),
            "bf16": fast_in_bf16("cpu"),
        },
        "sizes": [
            {
                "what": f"network D at 28 pixels, an eighth as wide, at scales 32, 48 and 64, {len(few)} pictures",
                "images_per_second": tested,
                "ratio": ratio(tested, "dense", "150 crops"),
                "macs_ratio": our_crops / our_dense,
                "macs_ratio_full_size": full_crops / full_dense,
            },
            {
                "what": "crops of 28 pixels out of pictures rescaled to 32",
                "images_per_second": viewed,
                "ratio": ratio(viewed, "batched", "PIL"),
                "ratio_to_tensors": ratio(viewed, "batched", "tensors"),
            },
        ],
    }
    if options.result:
        results.write(options.result, report)
    if options.json:
        print(json.dumps(report))
        return
    print(f"{report['conditions']['device']}, torch {torch.__version__}, medians of {options.rounds} rounds")
    print(f"MACs, crops over dense: {full_crops / full_dense:.2f} for D, {our_crops / our_dense:.2f} at 28 pixels")
    print(f"seconds, crops over dense, at 28 pixels: {report['sizes'][0]['ratio']:.2f} ({len(few)} pictures)")
    told = ", ".join(f"{name} {statistics.median(speeds):,.0f}" for name, speeds in viewed.items())
    views = report["sizes"][1]
    print(
        f"views a second: {told}; batched over tensors {views['ratio_to_tensors']:.1f}, over PIL {views['ratio']:.1f}"
    )


if __name__ == "__main__":
    main()
