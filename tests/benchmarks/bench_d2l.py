"""Images per second over wall time, data loading included: d2l's training loop and ours, in turns, on one network.

``python tests/benchmarks/bench_d2l.py [--sizes 32 224] [--rounds 5] [--steps N] [--batch 128] [--float32] [--json]``
``python tests/benchmarks/bench_d2l.py --same-loss 20 --sizes 224``: the losses of the first 20 steps of both sides,
from the same weights, on the same pictures, without dropout, in float32 and in the number format that is fast here.
The weights are He's: from those that d2l draws, the first 20 losses are all that of guessing, and would agree anyhow.
The rate is 0.01: from He's weights d2l's 0.05 throws the loss about, and any rounding decides where to. Both get the
pictures as vgglib enlarges them; d2l rounds them to bytes, and that alone moves a loss by a tenth within 20 steps.
``python tests/benchmarks/bench_d2l.py --same-accuracy 10 --sizes 32 --seeds 0 1 2``: both sides' accuracy on the test
set after 10 epochs, from the same weights, in another order of the pictures, and the mean of the losses of each epoch's
steps. --result FILE writes what was found.

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
import shlex
import statistics
import sys
import time
import warnings
from collections.abc import Iterator

import torch
from torch import nn
from torch.utils.data import DataLoader, Subset, TensorDataset

from vgglib import peers, results, training
from vgglib.augment import stream, view
from vgglib.data import ImageSet, fashion_mnist
from vgglib.devices import best_device, fast_in_bf16, known_device, synchronise
from vgglib.evaluation import accuracy_on

STEPS = {32: 40, 224: 6}  # half a minute at most on two cores; the first step of a round also pays for its memory
ON_A_GPU = 400  # so that a round takes seconds, and the first batch of d2l's loader hardly counts


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
        return self.train_on(torch.randperm(len(self.data))[: self.pictures].tolist())

    def train_on(
        self, order: list[int], shuffle: bool = True, losses: list[float] | None = None
    ) -> tuple[float, float]:
        """Train once on the pictures at these places; losses: where to put the loss of every step."""
        started = time.perf_counter()
        loading = iter(DataLoader(Subset(self.data, order), self.batch, shuffle=shuffle, num_workers=self.workers))
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
            if losses is not None:
                losses.append(loss.item())
        synchronise(self.device)
        return metric[2] / (time.perf_counter() - started), start_up


class Ours:
    """vgglib.training.fit on as many pictures; every round is an epoch of its own."""

    def __init__(
        self, side: int, batch: int, steps: int, device: torch.device, train: ImageSet, bf16: bool | None = None
    ):
        self.recipe = training.recipe("d2l", image_size=side, scale=side, batch_size=batch, epochs=1, bf16=bf16)
        self.net, self.train, self.device = training.build(self.recipe, train).to(device), train, device
        self.pictures, self.rounds, self.bf16 = batch * steps, 0, None

    def round(self) -> float:
        """Train for the steps of a round and return images per second."""
        self.rounds += 1
        part = self.train.subset(torch.randperm(len(self.train))[: self.pictures])
        history = training.fit(self.net, part, None, self.recipe, seed=self.rounds, device=self.device)
        self.bf16 = history.conditions["bf16"]
        return history.epochs[0].images_per_second


def same_loss(side: int, batch: int, steps: int, device: torch.device, train: ImageSet, bf16: bool) -> dict:
    """Return the losses of the first steps of both sides, on the same pictures in the same order, without dropout."""
    train = train[: batch * steps]
    theirs = Theirs(side, batch, steps, device)
    theirs.data = TensorDataset(view(train.images, side, side), train.labels)
    chosen = training.recipe(
        "d2l", image_size=side, scale=side, batch_size=batch, epochs=1, dropout=0.0, bf16=bf16, channels_last=bf16,
        learning_rate=0.01,
    )  # fmt: skip
    theirs.optimiser.param_groups[0]["lr"] = chosen.learning_rate
    torch.manual_seed(0)
    for layer in theirs.net:
        if isinstance(layer, nn.Linear | nn.Conv2d):
            nn.init.kaiming_normal_(layer.weight, nonlinearity="relu")
            nn.init.zeros_(layer.bias)
        if isinstance(layer, nn.Dropout):
            layer.p = 0.0
    net = copied(theirs, chosen, train, device)
    losses: dict[str, list[float]] = {"d2l": [], "vgglib": []}

    class Listening(training.Guard):
        def look(self, step: int, loss: torch.Tensor, asked: bool) -> tuple[int | None, bool]:
            losses["vgglib"].append(loss.item())
            return super().look(step, loss, asked)

    guard, training.Guard = training.Guard, Listening
    try:
        training.fit(net, train, None, chosen, seed=0, device=device)
    finally:
        training.Guard = guard
    order = torch.randperm(len(train), generator=torch.Generator().manual_seed(stream(0, 1, "order")))
    theirs.train_on(order.tolist(), shuffle=False, losses=losses["d2l"])
    apart = max(abs(a - b) / a for a, b in zip(losses["d2l"], losses["vgglib"], strict=True))
    return {
        "side": side, "batch": batch, "steps": steps, "seed": 0, "learning_rate": chosen.learning_rate,
        "vgglib_bf16": bf16, "losses": losses,
        "largest_relative_difference": apart, "fell_by": losses["d2l"][0] - losses["d2l"][-1],
    }  # fmt: skip


def same_accuracy(
    side: int, batch: int, epochs: int, seeds: list[int], device: torch.device, data: tuple, bf16: bool | None = None
) -> Iterator[dict]:
    """Give the test accuracy of both sides after so many epochs from the same weights, again after every seed."""
    train, test = data
    found: dict[str, list[float]] = {"d2l": [], "vgglib": []}
    means: dict[str, list[list[float]]] = {"d2l": [], "vgglib": []}  # the training loss of each epoch, by seed
    for seed in seeds:
        torch.manual_seed(seed)
        theirs = Theirs(side, batch, 1, device)
        chosen = training.recipe(
            "d2l", image_size=side, scale=side, batch_size=batch, epochs=epochs, watch_test=False, bf16=bf16
        )
        net = copied(theirs, chosen, train, device)
        history = training.fit(net, train, None, chosen, seed, device)
        means["vgglib"].append(history.column("train_loss"))
        means["d2l"].append([])
        for _ in range(epochs):
            losses: list[float] = []
            theirs.train_on(list(range(len(train))), losses=losses)
            means["d2l"][-1].append(statistics.mean(losses))
        found["vgglib"].append(accuracy_on(net, test.to(device), bf16=bf16))
        theirs.net.image_size = (side, side)
        found["d2l"].append(accuracy_on(theirs.net, test.to(device), bf16=False))
        yield {
            "side": side, "batch": batch, "epochs": epochs, "seeds": seeds[: len(found["d2l"])],
            "pictures": len(train), "vgglib_bf16": history.conditions["bf16"], "by_seed": found,
            "train_loss": means,
            "test_accuracy": {name: results.summary(accuracies) for name, accuracies in found.items()},
        }  # fmt: skip


def copied(theirs: Theirs, chosen: training.Recipe, train: ImageSet, device: torch.device) -> nn.Module:
    """Return our network of the recipe with the weights of theirs."""
    net = training.build(chosen, train).to(device)
    with torch.no_grad():
        for mine, other in zip(net.parameters(), theirs.net.parameters(), strict=True):
            mine.copy_(other)
    return net


def compare(
    side: int, rounds: int, steps: int, batch: int, device: torch.device, train: ImageSet, bf16: bool | None = None
) -> dict:
    """Return the images per second of both sides, round by round, after one round that is not counted."""
    theirs, ours = Theirs(side, batch, steps, device), Ours(side, batch, steps, device, train, bf16)
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
        "--steps",
        type=int,
        help=f"steps a round (default: {STEPS[32]} at 32 pixels, {STEPS[224]} at 224; {ON_A_GPU} on a GPU)",
    )
    parser.add_argument("--batch", type=int, default=128, help="images a step (default: 128, as in d2l)")
    parser.add_argument("--json", action="store_true", help="print JSON and nothing else")
    parser.add_argument("--same-loss", type=int, metavar="STEPS", help="compare the losses of the first steps instead")
    parser.add_argument("--same-accuracy", type=int, metavar="EPOCHS", help="compare accuracies instead")
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2], help="of --same-accuracy (default: 0 1 2)")
    parser.add_argument("--float32", action="store_true", help="no bfloat16 on our side, as on d2l's")
    parser.add_argument("--device", help="cpu, cuda or mps (default: the fastest there is)")
    parser.add_argument("--pictures", type=int, help="only so many training pictures for --same-accuracy, for a trial")
    parser.add_argument("--result", help="also write the result to this JSON file")
    options = parser.parse_args()
    if options.device:
        known_device(options.device)
    device = torch.device(options.device or best_device())
    warnings.simplefilter("ignore", training.NotLearningWarning)  # after a few steps: of course
    warnings.filterwarnings("ignore", message=".*worker processes in total")  # d2l takes 4 workers on any machine
    training.estimate = lambda *_: training.Estimate(1.0, 0.0, 0, 0, 0, 1)  # fit would measure before each round
    train, test = fashion_mnist()
    bf16 = False if options.float32 else None
    chosen = training.recipe("d2l", bf16=bf16)
    found = {
        "command": shlex.join(["python", *sys.argv]),
        "conditions": {**training.conditions(chosen, device), "cores": os.cpu_count()},
    }
    if options.same_loss:
        formats = [False, True] if fast_in_bf16(device) else [False]
        found["same_loss"] = [
            same_loss(side, options.batch, options.same_loss, device, train, bf16)
            for side in options.sizes
            for bf16 in formats
        ]
    elif options.same_accuracy:
        data = (train[: options.pictures] if options.pictures else train, test)
        found["same_accuracy"] = []
        for side in options.sizes:
            before = found["same_accuracy"]
            for one in same_accuracy(side, options.batch, options.same_accuracy, options.seeds, device, data, bf16):
                found["same_accuracy"] = [*before, one]
                if options.result:  # an hour's work: kept seed by seed
                    results.write(options.result, found)
    else:
        usual = dict.fromkeys(options.sizes, ON_A_GPU) if device.type == "cuda" else STEPS
        found["sizes"] = [
            compare(side, options.rounds, options.steps or usual.get(side, 5), options.batch, device, train, bf16)
            for side in options.sizes
        ]
    if options.result:
        results.write(options.result, found)
    if options.json:
        print(json.dumps(found))
        return
    where = found["conditions"]
    print(f"{where['device']} of {where['cores']} cores, torch {where['torch']}, Python {where['python']}")
    for one in found.get("same_loss", []):
        print(
            f"{one['side']} pixels, batch {one['batch']}: the losses of {one['steps']} steps differ by at most "
            f"{one['largest_relative_difference']:.1e} of their size, vgglib in "
            f"{'bfloat16' if one['vgglib_bf16'] else 'float32'}, d2l in float32; they fell by {one['fell_by']:.2f}"
        )
    for one in found.get("same_accuracy", []):
        for name, reached in one["test_accuracy"].items():
            print(
                f"{one['side']} pixels, {one['epochs']} epochs: {name} {100 * reached['mean']:.2f} ± "
                f"{100 * reached['sd']:.2f} % of the test set (n={reached['n']} seeds)"
            )
    for one in found.get("sizes", []):
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
