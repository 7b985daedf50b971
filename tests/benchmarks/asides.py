"""The small trials that the chapters quote in passing, each by name, with its question, its seeds and what came out.

``OMP_NUM_THREADS=1 python tests/benchmarks/asides.py [NAME ...] [--result data/results/asides.json]``

Without names it runs all that is not recorded yet, and writes after each: stopped, it goes on where it was. The trials
take their settings from the cells around the text that quotes them; they run on the CPU, some fifteen minutes.
"""

import argparse
import math
import re
import statistics
import time
from collections.abc import Callable, Iterable
from copy import deepcopy
from dataclasses import dataclass, replace
from functools import cache
from pathlib import Path

import torch
from matplotlib import cbook, image
from torch import Tensor, nn
from torch.nn import functional as F

from vgglib import results
from vgglib.augment import view, whole
from vgglib.beginnings import PICTURES, paper_gain, recipe_for
from vgglib.checkpoint import shipped
from vgglib.compress import lighter_head, pruned, replace_fc6
from vgglib.configurations import layers
from vgglib.configurations import names as layer_names
from vgglib.cost import cost
from vgglib.data import ImageSet, fashion_mnist, on_canvas
from vgglib.devices import kept_dice
from vgglib.earlier import LENET, build_lenet
from vgglib.evaluation import accuracy_on, prepared, single_crop
from vgglib.gradients import HELD
from vgglib.lighter import RECIPE, last_maps
from vgglib.measured_cost import layer_seconds
from vgglib.model import VGG, fully_convolutional, initialise
from vgglib.studies import STUDIES
from vgglib.training import NonFiniteLossError, Recipe, batches, build, conditions, fit, recipe

EXACT = dict(bf16=False, fused=False, keep_memory=False)  # no arithmetic that is there for speed
PLAIN = recipe(  # chapter 05's `plain`
    "laptop", batch_norm=False, dropout=0.0, schedule="constant", learning_rate=0.005, batch_size=64, epochs=1, **EXACT
)
BARE = replace(PLAIN, channels_last=False)  # for what no `batches` lays out in memory
SICK = replace(PLAIN, configuration="B", initialisation="glorot", epochs=2)  # its exercise 3
PRUNED = replace(RECIPE, epochs=2)  # chapter 08's `chosen`
SHORT = replace(LENET, epochs=3)  # chapter 01's `short`
ONE_RUN = {  # chapter 03's `recipes`
    name: replace(one, learning_rate=0.03, epochs=4, **EXACT) for name, one in STUDIES["three-by-three"].recipes.items()
}
SCALES = (32, 48, 64)


@dataclass(frozen=True)
class Trial:
    """What is asked, which function answers it, from which seeds, and under which conditions."""

    question: str
    run: Callable[[tuple[int, ...]], dict]  # gives the values, from the seeds
    n: int  # repetitions, or pictures asked
    seeds: tuple[int, ...]
    recipe: Recipe = BARE  # that says the number format and the like


@cache
def pictures() -> tuple[ImageSet, ImageSet]:
    """Return Fashion-MNIST, training and test set."""
    return fashion_mnist()


def enlarged(few: ImageSet) -> Tensor:
    """Return chapter 05's `inputs`: pictures of 32 pixels, standardised by the whole training set."""
    mean, std = pictures()[0].mean_and_std()
    return (F.interpolate(few.images / 255, size=32, mode="bilinear") - mean) / std


def by_hand(net: nn.Module, loader: Iterable, optimiser: torch.optim.Optimizer) -> list[float]:
    """Return the loss of each step of an epoch: chapter 05's loop."""
    losses = []
    net.train()
    for X, y in loader:
        loss = F.cross_entropy(net(X), y)
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
        losses.append(loss.item())
    return losses


def trained(chosen: Recipe, count: int, seed: int) -> tuple[VGG, list[float]]:
    """Return a network, trained as chapter 05's `train_and_watch` does, and the mean loss of each epoch."""
    few = pictures()[0][:2048]
    net, means = build(chosen, few, seed), []
    optimiser = torch.optim.SGD(net.parameters(), chosen.learning_rate, momentum=0.9, weight_decay=5e-4)
    for epoch in range(1, chosen.epochs + 1):
        losses = by_hand(net, batches(net, few[:count], chosen, seed, epoch), optimiser)
        means.append(sum(losses) / len(losses))
    return net, means


def steepest(net: VGG) -> float:
    """Return the largest entry of the gradient that the last step left in the first layer."""
    return net.features[0].weight.grad.abs().max().item()


def finite(value: float) -> float | None:
    """Return a number, None in place of nan: JSON has none."""
    return value if math.isfinite(value) else None


@torch.no_grad()
def last_signal(net: VGG, X: Tensor) -> float:
    """Return the standard deviation of the signal after the last ReLU of the convolutional part."""
    for layer in net.features:
        X = layer(X)
        if isinstance(layer, nn.ReLU):
            spread = X.std().item()
    return spread


@torch.no_grad()
def lenet_by_hand(seeds: tuple[int, ...]) -> dict:
    """Chapter 01: the loop of its cell, weights and order drawn from the seed."""
    few, others = pictures()[0][:10_000], pictures()[0][10_000:12_000]
    reached = []
    for seed in seeds:
        with kept_dice(), torch.enable_grad():
            torch.manual_seed(seed)
            lenet = nn.Sequential(
                *[nn.Conv2d(1, 6, kernel_size=5, padding=2), nn.Tanh(), nn.AvgPool2d(2)],
                *[nn.Conv2d(6, 16, kernel_size=5), nn.Tanh(), nn.AvgPool2d(2)],
                nn.Flatten(),
                *[nn.Linear(16 * 5 * 5, 120), nn.Tanh()],
                *[nn.Linear(120, 84), nn.Tanh()],
                nn.Linear(84, 10),
            )
            optimiser = torch.optim.SGD(lenet.parameters(), lr=0.1, momentum=0.9)
            for _ in range(3):
                order = torch.randperm(len(few.labels)).split(128)
                by_hand(lenet, ((few.images[some] / 255, few.labels[some]) for some in order), optimiser)
        answers = lenet(others.images / 255).argmax(dim=1)
        reached.append((answers == others.labels).float().mean().item())
    return {"accuracy": reached}


def lenet_by_fit(seeds: tuple[int, ...]) -> dict:
    """Chapter 01: the same pictures, trained by `fit` with its recipe."""
    few, others = pictures()[0][:10_000], pictures()[0][10_000:12_000]
    reached = []
    for seed in seeds:
        net = build_lenet(SHORT, few, seed)
        fit(net, few, None, SHORT, seed, "cpu")
        reached.append(accuracy_on(net, others))
    return {"accuracy": reached}


def equal_weights(_: tuple[int, ...]) -> dict:
    """Chapter 02: the bell of D up to pool5, a mean for each maximum, along one side; in two it is a product."""
    bell, stride = torch.ones(1, 1, 1, dtype=torch.float64), 1
    for layer in layers("D"):
        kernel = torch.full((1, 1, layer.kernel), 1 / layer.kernel, dtype=torch.float64)
        bell = F.conv1d(bell, kernel, padding=stride * (layer.kernel - 1), dilation=stride)
        stride *= layer.stride
    held = torch.outer(bell.flatten(), bell.flatten()).flatten().sort(descending=True).values.cumsum(0)
    return {"side": bell.numel(), "share": (int((held < HELD - 1e-9).sum()) + 1) / held.numel()}


@torch.no_grad()
def first_loss(seeds: tuple[int, ...]) -> dict:
    """Chapter 05: what the network of its first loop pays before it learns, and in ten shuffles into batches of 64."""
    few = pictures()[0][:2048]
    own = VGG("A", in_channels=1, num_classes=10, image_size=32, width=0.25, hidden=512, dropout=0.0)
    scores = torch.cat([initialise(own, "he", seeds[0])(X) for X in enlarged(few).split(256)])
    each = F.cross_entropy(scores, few.labels, reduction="none")
    drawn = [torch.randperm(len(each), generator=torch.Generator().manual_seed(order)) for order in range(10)]
    return {
        "all": each.mean().item(),
        "batches": [some.mean().item() for order in drawn for some in each[order].split(64)],
    }


def padding(seeds: tuple[int, ...]) -> dict:
    """Chapter 05: the signal after E's last convolution, where pictures are padded by zeros, and by their far side."""
    X, found = enlarged(pictures()[0][:64]), {}
    net = VGG("E", in_channels=1, num_classes=10, image_size=32, width=0.25, hidden=64)
    for mode in ("zeros", "circular"):
        for module in net.features:
            if isinstance(module, nn.Conv2d):
                module.padding_mode = mode
        found[mode] = [last_signal(initialise(net, "he", seed), X) for seed in seeds]
    return found


def narrow_layers(seeds: tuple[int, ...]) -> dict:
    """Chapter 05: the signal after 16 convolutions of as many channels, as in `figures.signal`, which draws seed 0."""
    found = {}
    for channels in (16, 128):
        X = torch.randn(4, channels, 16, 16, generator=torch.Generator().manual_seed(0))
        net = VGG(f"{channels} " * 16, channels, 1, image_size=16, hidden=1)
        found[f"{channels} channels"] = [last_signal(initialise(net, "he", seed), X) for seed in seeds]
    return found


def slow_starts(seeds: tuple[int, ...]) -> dict:
    """Chapter 05: the mean loss of each of twelve epochs of 1,024 pictures, from two starts."""
    return {
        how: [trained(replace(PLAIN, epochs=12, initialisation=how), 1024, seed)[1] for seed in seeds]
        for how in ("glorot", "normal-0.01")
    }


@torch.no_grad()
def switched_off(seeds: tuple[int, ...]) -> dict:
    """Chapter 05: the share of outputs above 0 after the second convolution, before and after two epochs."""
    chosen, few = replace(PLAIN, epochs=2, initialisation="normal-0.1"), pictures()[0][:1024]

    def share(net: VGG) -> float:
        maps = torch.cat([net.features[:4](prepared(net, view(some, 32, 32))) for some in few.images.split(256)])
        return (maps > 0).float().mean().item()

    found = {"before": [share(build(chosen, few, seed)) for seed in seeds], "after": [], "loss": []}
    for seed in seeds:
        with torch.enable_grad():
            net, means = trained(chosen, 1024, seed)
        found["after"].append(share(net) if math.isfinite(means[-1]) else None)
        found["loss"].append([finite(mean) for mean in means])
    return found


def smaller_batches(seeds: tuple[int, ...]) -> dict:
    """Chapter 05: the recipe `sick` with one field changed: each epoch's mean loss, and the last gradient."""
    found = {}
    changes = {"batch of 16": {"batch_size": 16}, "batch of 8": {"batch_size": 8}, "rate 0.1": {"learning_rate": 0.1}}
    for told, change in {"sick": {}, **changes}.items():
        net, means = trained(replace(SICK, **change), 2048, seeds[0])
        found[told] = {"loss": [finite(mean) for mean in means], "steepest": finite(steepest(net))}
    return found


def other_reading(seeds: tuple[int, ...]) -> dict:
    """Chapter 06: the step that breaks A, B and E whose layers have the gain of 0.1, None where none does."""
    few, found = pictures()[0][:PICTURES], {}
    for name in ("A", "B", "E"):
        chosen, found[name] = replace(recipe_for(name), **EXACT), []
        for seed in seeds:
            net, broke = paper_gain(build(chosen, few, seed), seed, std=0.1), None
            try:
                fit(net, few, None, chosen, seed, "cpu")
            except NonFiniteLossError as error:  # a step's loss is told by the next
                broke = int(re.search(r"(?:at|after) step (\d+) of epoch 1", str(error))[1])
            found[name].append(broke)
    return {"loss not finite at step": found}


def first_steps(seeds: tuple[int, ...]) -> dict:
    """Chapter 06: A as in the paper, both readings of its "10^-2 variance": the loss of each step, four views a step,
    and how large the first gradient of conv1_1 is beside what weight decay adds to it."""
    path = cbook.get_sample_data("grace_hopper.jpg", asfileobj=False)
    photograph = torch.tensor(image.imread(path)).permute(2, 0, 1)[None]
    found = {}
    for way, steps in (("normal-0.1", 2), ("normal-0.01", 4)):
        found[way] = {"loss": [], "gradient": [], "weight decay": []}
        for seed in seeds:
            net = initialise(VGG("A", dropout=0.0), way, seed)
            optimiser = torch.optim.SGD(net.parameters(), 0.01, momentum=0.9, weight_decay=5e-4)
            large = 255 * whole(photograph, scale=256)
            places = torch.Generator().manual_seed(seed)
            corners = [torch.randint(side - 223, (4,), generator=places).tolist() for side in large.shape[2:]]
            X = torch.cat([large[..., i : i + 224, j : j + 224] for i, j in zip(*corners, strict=True)])
            weight = net.features[0].weight
            decay = 5e-4 * weight.detach().abs().max().item()
            losses = []
            for step in range(steps):
                losses += by_hand(net, [(X - X.mean((0, 2, 3), keepdim=True), torch.arange(4))], optimiser)
                if step == 0:
                    gradient = weight.grad.abs().max().item()
            found[way]["loss"].append([finite(loss) for loss in losses])
            found[way]["gradient"].append(finite(gradient))
            found[way]["weight decay"].append(decay)
    return found


@torch.no_grad()
def averages(seeds: tuple[int, ...]) -> dict:
    """Chapter 07: wrong answers for 500 canvases at three scales, by what is averaged."""
    test = on_canvas(pictures()[1][:1000], seed=seeds[0])[:500]
    net = shipped("protocol-canvas-D-32-64")
    full = fully_convolutional(net)
    votes = {way: [] for way in ("posteriors", "scores", "sums", "faulty")}
    for some in test.images.split(100):
        X = [prepared(net, whole(some, Q)) for Q in SCALES]
        maps = [torch.stack([full(one), full(one.flip(3))]) for one in X]  # (flips, pictures, classes, rows, columns)
        means = torch.stack([scores.mean(dim=(3, 4)) for scores in maps])
        sums = torch.stack([scores.sum(dim=(3, 4)) for scores in maps])
        places = torch.cat([scores.softmax(dim=2).flatten(start_dim=3) for scores in maps], dim=3)
        votes["posteriors"].append(means.softmax(dim=3).mean(dim=(0, 1)))
        votes["scores"].append(means.mean(dim=(0, 1)))
        votes["sums"].append(sums.softmax(dim=3).mean(dim=(0, 1)))
        votes["faulty"].append(places.mean(dim=(0, 3)))
    return {way: int((torch.cat(found).argmax(dim=1) != test.labels).sum()) for way, found in votes.items()}


@torch.no_grad()
def pruning(seeds: tuple[int, ...]) -> dict:
    """Chapter 08: a network's accuracy on 2,000 test pictures, by which weights of fc6 are left; four draws each."""
    train, test = pictures()
    few, some, found = train[:6_000], test[:2000], []
    for seed in seeds:
        net = build(PRUNED, few, seed)
        with torch.enable_grad():
            fit(net, few, None, PRUNED, seed, "cpu")
        fc6 = net.classifier[0]
        W, mean_in = fc6.weight.data, last_maps(net, few[:1000]).mean(dim=0)

        def reached(weight: Tensor, shift: Tensor | float = 0.0, net: VGG = net, fc6: nn.Linear = fc6) -> float:
            changed = deepcopy(fc6)
            changed.weight.data, changed.bias.data = weight, fc6.bias.data + shift
            return accuracy_on(replace_fc6(net, changed), some)

        network = {"whole": reached(W)}
        for keep in (0.2, 0.05):
            largest_in_value = W.flatten().sort(descending=True).values[round(keep * W.numel()) - 1]
            wrong = W * (largest_in_value <= W)
            dice = torch.Generator().manual_seed(seed)
            drawn = [W * (torch.rand(W.shape, generator=dice) < keep) for _ in range(4)]
            network[f"{keep:.0%}"] = {
                "faulty": reached(wrong),
                "sums put back": reached(wrong, (W - wrong) @ mean_in),
                "random": [reached(weight) for weight in drawn],
                "scaled": [reached(weight / keep) for weight in drawn],
                "largest": reached(pruned(fc6, keep).weight.data),
            }
        found.append(network)
    return {"networks": found}


@torch.no_grad()
def one_run_each(seeds: tuple[int, ...]) -> dict:
    """Chapter 03: B less five 5x5 layers, one training each, on 2,000 test pictures, and the gap's standard error."""
    train, test = pictures()
    found = {"gaps": [], "standard_errors": []}
    for seed in seeds:
        right = []
        for chosen in ONE_RUN.values():
            net = build(chosen, train[:8_000], seed)
            with torch.enable_grad():
                fit(net, train[:8_000], None, chosen, seed, "cpu")
            answers = single_crop(net, test.images[:2000], bf16=False).argmax(dim=1)
            right.append(answers.eq(test.labels[:2000]).double())
        gap = right[0] - right[1]
        found["gaps"].append(gap.mean().item())
        found["standard_errors"].append((gap.var() / len(gap)).sqrt().item())
    return found


def layer_times(_: tuple[int, ...]) -> dict:
    """Chapter 08: the share of D's three fully connected layers in a picture's time, on one thread and on two, and
    each convolution's milliseconds for a billion MACs on one."""
    net, X, found = VGG("D").eval(), torch.rand(1, 3, 224, 224), {}
    work = [row.macs for row in cost(net, 224)[1:]]
    before = torch.get_num_threads()
    try:
        for threads in (1, 2):
            torch.set_num_threads(threads)
            rounds = [[*layer_seconds(net, X, runs=3).values()] for _ in range(10)]
            found[f"fc6, {threads} threads"] = [times[-3] / sum(times) for times in rounds]
            found[f"fc6 to fc8, {threads} threads"] = [sum(times[-3:]) / sum(times) for times in rounds]
            if threads == 1:
                medians = map(statistics.median, zip(*rounds, strict=True))
                paid = zip([*layer_names(layers("D")), "fc6", "fc7", "fc8"], work, medians, strict=True)
                found["ms per billion MACs"] = {name: 1e12 * took / macs for name, macs, took in paid if macs}
    finally:
        torch.set_num_threads(before)
    return found


def average_head(_: tuple[int, ...]) -> dict:
    """Chapter 08: the share of time that D saves with an average in place of three layers, in five series of seven."""
    nets = [VGG("D")]
    nets.append(lighter_head(nets[0], "average"))
    optimisers = [torch.optim.SGD(net.parameters(), 1e-6, momentum=0.9) for net in nets]

    def use(net: nn.Module, _: object, X: Tensor) -> None:
        with torch.inference_mode():
            net.eval()(X)

    def step(net: nn.Module, optimiser: torch.optim.Optimizer, X: Tensor) -> None:
        optimiser.zero_grad()
        F.cross_entropy(net.train()(X), torch.zeros(len(X), dtype=torch.long)).backward()
        optimiser.step()

    found = {}
    for name, run, batch in (("alone", use, 1), ("among 16", use, 16), ("step", step, 1)):
        X, found[name] = torch.rand(batch, 3, 224, 224), []
        for _series in range(5):
            fastest = [math.inf, math.inf]
            for _round in range(3 if batch > 1 else 7):
                for which, (net, optimiser) in enumerate(zip(nets, optimisers, strict=True)):
                    started = time.perf_counter()
                    run(net, optimiser, X)
                    fastest[which] = min(fastest[which], time.perf_counter() - started)
            found[name].append(1 - fastest[1] / fastest[0])
    return found


TRIALS: dict[str, Trial] = {
    "one-run-each": Trial(
        "chapter 03: by how much is B better than five 5x5 layers on 2,000 test pictures, if each is trained once?",
        one_run_each, 4, (0, 1, 2, 3), ONE_RUN["B"],
    ),
    "layer-times": Trial(
        "chapter 08: which share of a picture's time do D's fully connected layers take, and does time follow MACs?",
        layer_times, 10, (),
    ),
    "average-head": Trial(
        "chapter 08: which share of the time does D save with an average in the place of its three last layers?",
        average_head, 5, (),
    ),
    "equal-weights": Trial(
        "chapter 02: which share of the pixels of D's field at pool5 holds 95 % of the gradient, if all weights are "
        "equal and poolings take the mean?",
        equal_weights, 1, (),
    ),
    "first-loss": Trial(
        "chapter 05: which loss do seed 0's weights pay before the first step, for 2,048 pictures and for 64?",
        first_loss, 320, (0,),
    ),
    "padding": Trial(
        "chapter 05: where does the signal end in E with He's weights, padded by zeros and circularly?",
        padding, 4, (0, 1, 2, 3),
    ),
    "narrow-layers": Trial(
        "chapter 05: where does the signal end behind 16 convolutions of 16 and of 128 channels with He's weights?",
        narrow_layers, 20, tuple(range(20)),
    ),
    "slow-starts": Trial(
        "chapter 05: which loss has each of twelve epochs of 1,024 pictures from the starts glorot and normal-0.01?",
        slow_starts, 3, (0, 1, 2), PLAIN,
    ),
    "switched-off": Trial(
        "chapter 05: which share of conv2_1's outputs is above 0 before and after two epochs from normal-0.1?",
        switched_off, 3, (0, 1, 2), PLAIN,
    ),
    "smaller-batches": Trial(
        "chapter 05: does the recipe sick learn in two epochs with smaller batches, or at a rate of 0.1?",
        smaller_batches, 1, (0,), SICK,
    ),
    "other-reading": Trial(
        "chapter 06: at which step does a network break whose layers have the gain of a standard deviation of 0.1?",
        other_reading, 5, (0, 1, 2, 3, 4), replace(recipe_for("E"), **EXACT),
    ),
    "first-steps": Trial(
        "chapter 06: do the first steps of A at full size end in nan, and does a gradient arrive at its first layer?",
        first_steps, 3, (0, 1, 2),
    ),
    "averages": Trial(
        "chapter 07: how many of 500 canvases are wrong by averaged posteriors, by averaged scores, by sums over the "
        "places, and by the function faulty?",
        averages, 500, (1,),
    ),
    "pruning": Trial(
        "chapter 08: what do moved sums cost a pruned fc6, and how far is a random choice from the largest weights?",
        pruning, 3, (0, 1, 2), PRUNED,
    ),
    "lenet-by-hand": Trial(
        "chapter 01: which share of 2,000 other pictures does LeNet-5 get right after three epochs by hand?",
        lenet_by_hand, 8, tuple(range(8)), BARE,
    ),
    "lenet-by-fit": Trial(
        "chapter 01: which share of 2,000 other pictures does LeNet-5 get right after three epochs by fit?",
        lenet_by_fit, 8, tuple(range(8)), SHORT,
    ),
}  # fmt: skip


def run(
    names: Iterable[str], path: Path, trials: dict[str, Trial] = TRIALS, tell: Callable[[str], object] = print
) -> dict:
    """Run the named trials that are not recorded yet, write after each, and return the whole record."""
    done = results.read(path)["trials"] if path.is_file() else {}
    record = {"command": "OMP_NUM_THREADS=1 python tests/benchmarks/asides.py", "trials": done}
    for name in names:
        if name in done:
            continue
        trial, started = trials[name], time.perf_counter()
        values = trial.run(trial.seeds)
        done[name] = {
            "question": trial.question,
            "values": values,
            "n": trial.n,
            "seeds": list(trial.seeds),
            "seconds": time.perf_counter() - started,
            "conditions": conditions(trial.recipe, "cpu"),
        }
        results.write(path, record)
        tell(f"{name}: {done[name]['seconds']:.0f} s")
    return record


def main() -> None:
    """Run what is asked for and not recorded yet."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("names", nargs="*", metavar="NAME", help=f"default: all of {', '.join(TRIALS)}")
    parser.add_argument("--result", type=Path, default=results.FOLDER / "asides.json")
    options = parser.parse_args()
    if unknown := set(options.names) - TRIALS.keys():
        parser.error(f"unknown: {', '.join(sorted(unknown))}; choose from {', '.join(TRIALS)}")
    run(options.names or TRIALS, options.result)


if __name__ == "__main__":
    main()
