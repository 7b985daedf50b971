"""Images per second over wall time, data loading included: d2l's training loop and ours, in turns, on one network.

``python tests/benchmarks/bench_d2l.py [--sizes 32 224] [--rounds 5] [--steps N] [--batch 128] [--json]``

The network is the VGG-11 that d2l trains, with a quarter of the channels; at sizes other than 224 pixels the first
fully connected layer is fitted to the smaller maps. d2l's side is its own data set, resizing, number of workers and
the body of its train_ch6; ours is vgglib.training.fit by the recipe "d2l". Each round trains a few steps on each side,
the order alternates, and both sides start from the state in which the round before left them.

What the clock of d2l's side holds: waiting for every batch of the round, the first included, and the steps. Its loader
is given exactly the pictures of the round, so that no picture is loaded outside of the clock. Starting its worker
processes is timed by itself, because it is paid once an epoch and not once a round. Ours has no workers; the clock is
that of fit's own report, without the estimate that fit makes before the first epoch. This is a report: it judges
nothing. On a machine whose cores are busy with other work the threads of a step wait for each other, and the figures
mean little: take a quiet one, or OMP_NUM_THREADS=1.
"""

import argparse
import json
import os
import statistics
import time
import warnings

import torch
from torch import nn
from torch.utils.data import DataLoader, Subset

from vgglib import peers, training
from vgglib.data import ImageSet, fashion_mnist
from vgglib.devices import best_device, synchronise

STEPS = {32: 40, 224: 2}  # a round of a few seconds on two cores


class Theirs:
    """d2l's loader, its optimiser and the body of its train_ch6."""

    def __init__(self, side: int, batch: int, steps: int, device: torch.device):
        self.d2l, self.batch, self.pictures, self.device = peers.d2l(), batch, batch * steps, device
        self.net = peers.d2l_network(ratio=4)
        first = next(n for n, layer in enumerate(self.net) if isinstance(layer, nn.Linear))
        self.net[first] = nn.Linear(128 * (side // 32) ** 2, self.net[first].out_features)
        for layer in self.net:
            if isinstance(layer, nn.Linear | nn.Conv2d):
                nn.init.xavier_uniform_(layer.weight)
        self.net.to(device)
        self.optimiser, self.loss = torch.optim.SGD(self.net.parameters(), lr=0.05), nn.CrossEntropyLoss()
        with peers.d2l_folder():
            whole, _ = self.d2l.load_data_fashion_mnist(batch, resize=side)
        self.data, self.workers = whole.dataset, whole.num_workers

    def round(self) -> tuple[float, float]:
        """Train for the steps of a round and return (images per second, seconds to start the workers)."""
        part = Subset(self.data, torch.randperm(len(self.data))[: self.pictures].tolist())
        started = time.perf_counter()
        loading = iter(DataLoader(part, self.batch, shuffle=True, num_workers=self.workers))
        start_up = time.perf_counter() - started
        metric = self.d2l.Accumulator(3)
        self.net.train()
        started = time.perf_counter()
        for X, y in loading:
            self.optimiser.zero_grad()
            X, y = X.to(self.device), y.to(self.device)
            scores = self.net(X)
            loss = self.loss(scores, y)
            loss.backward()
            self.optimiser.step()
            with torch.no_grad():
                metric.add(loss * X.shape[0], self.d2l.accuracy(scores, y), X.shape[0])
        synchronise(self.device)
        return metric[2] / (time.perf_counter() - started), start_up


class Ours:
    """vgglib.training.fit on as many pictures; every round is an epoch of its own."""

    def __init__(self, side: int, batch: int, steps: int, device: torch.device, train: ImageSet):
        self.recipe = training.recipe("d2l", image_size=side, scale=side, batch_size=batch, epochs=1)
        self.net, self.train, self.device = training.build(self.recipe, train).to(device), train, device
        self.pictures, self.rounds, self.bf16 = batch * steps, 0, None

    def round(self) -> float:
        """Train for the steps of a round and return images per second."""
        self.rounds += 1
        part = self.train.subset(torch.randperm(len(self.train))[: self.pictures])
        history = training.fit(self.net, part, None, self.recipe, seed=self.rounds, device=self.device)
        self.bf16 = history.conditions["bf16"]
        return history.epochs[0].images_per_second


def compare(side: int, rounds: int, steps: int, batch: int, device: torch.device, train: ImageSet) -> dict:
    """Return the images per second of both sides, round by round, after one round that is not counted."""
    theirs, ours = Theirs(side, batch, steps, device), Ours(side, batch, steps, device, train)
    counts = [sum(parameter.numel() for parameter in one.net.parameters()) for one in (theirs, ours)]
    assert counts[0] == counts[1], "the two sides must train the same network"
    speeds: dict[str, list[float]] = {"d2l": [], "vgglib": []}
    start_up = []
    for number in range(-1, rounds):
        for name in ("d2l", "vgglib") if number % 2 else ("vgglib", "d2l"):
            if name == "d2l":
                speed, started = theirs.round()
            else:
                speed, started = ours.round(), None
            if number >= 0:
                speeds[name].append(speed)
                start_up += [started] if started else []
    medians = {name: statistics.median(found) for name, found in speeds.items()}
    return {
        "side": side,
        "parameters": counts[0],
        "batch": batch,
        "steps": steps,
        "n": rounds,
        "images_per_second": speeds,
        "median": medians,
        "ratio": medians["vgglib"] / medians["d2l"],
        "d2l_workers": theirs.workers,
        "d2l_worker_start_seconds": statistics.median(start_up),
        "vgglib_bf16": ours.bf16,
    }


def main() -> None:
    """Compare at every size and print what was found."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--sizes", type=int, nargs="+", default=[32, 224], help="sides in pixels (default: 32 224)")
    parser.add_argument("--rounds", type=int, default=5, help="rounds that count (default: 5)")
    parser.add_argument(
        "--steps", type=int, help=f"steps a round (default: {STEPS[32]} at 32 pixels, {STEPS[224]} at 224)"
    )
    parser.add_argument("--batch", type=int, default=128, help="images a step (default: 128, as in d2l)")
    parser.add_argument("--json", action="store_true", help="print JSON and nothing else")
    options = parser.parse_args()
    device = best_device()
    warnings.simplefilter("ignore", training.NotLearningWarning)  # after a few steps: of course
    warnings.filterwarnings("ignore", message=".*worker processes in total")  # d2l takes 4 workers on any machine
    training.estimate = lambda *_: training.Estimate(1.0, 0.0, 0, 0)  # fit would measure before each round
    train, _ = fashion_mnist()
    found = {"conditions": {**training.conditions(training.RECIPES["d2l"], device), "cores": os.cpu_count()}}
    found["sizes"] = [
        compare(side, options.rounds, options.steps or STEPS.get(side, 5), options.batch, device, train)
        for side in options.sizes
    ]
    if options.json:
        print(json.dumps(found))
        return
    where = found["conditions"]
    print(f"{where['device']} of {where['cores']} cores, torch {where['torch']}, Python {where['python']}")
    for one in found["sizes"]:
        print(
            f"\n{one['side']} pixels, {one['parameters']:,} parameters, batch {one['batch']}, n={one['n']} rounds of "
            f"{one['steps']} steps; d2l in float32, vgglib in {'bfloat16' if one['vgglib_bf16'] else 'float32'}"
        )
        for name, speeds in one["images_per_second"].items():
            print(f"{name:>8}: {one['median'][name]:9,.1f} images/s  ({', '.join(f'{s:,.1f}' for s in speeds)})")
        print(
            f"   ratio: {one['ratio']:9.2f}  (loading included; d2l starts its {one['d2l_workers']} workers in "
            f"{one['d2l_worker_start_seconds']:.2f} s, once an epoch, not counted)"
        )


if __name__ == "__main__":
    main()
