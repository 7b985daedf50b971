"""The study of chapter 08: what VGG's fully connected layers are good for, measured on Fashion-MNIST.

``python -m vgglib study lighter`` trains one convolutional part under three heads, and compresses the first fully
connected layer of each full network afterwards, without training it again.
"""

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor, nn

from vgglib import results
from vgglib.augment import view
from vgglib.compress import lighter_head, low_rank, nonzero, pruned
from vgglib.cost import cost
from vgglib.devices import autocast, device_of, fast_in_bf16
from vgglib.evaluation import accuracy_on
from vgglib.image_set import ImageSet
from vgglib.metrics import accuracy
from vgglib.model import VGG
from vgglib.preparing import prepared
from vgglib.studies import go_on, made_by, plain, summaries
from vgglib.training import Recipe, build, conditions, fit, recipe, split

QUESTION = "what do VGG's fully connected layers add, and how much of the first one is needed?"
HEADS = ("fully connected", "linear", "average")
RECIPE: Recipe = recipe(  # configuration A at 28 pixels: two poolings, so that the last maps are 7x7 as in the paper
    "laptop", configuration="64 | 128 | 256 256 512 512 512 512", image_size=28, scale=28, width=0.125, hidden=512,
    epochs=3,
)  # fmt: skip
SEEDS = (0, 1, 2)
RANKS = (1, 2, 4, 8, 16, 32, 64, 128, 256)
SHARES = (0.5, 0.2, 0.1, 0.05, 0.02, 0.01, 0.005)


def with_head(head: str, chosen: Recipe, train: ImageSet, seed: int) -> VGG:
    """Return the recipe's network under one of HEADS; its convolutions start from the same numbers under each."""
    net = build(chosen, train, seed)
    return net if head == "fully connected" else lighter_head(net, head, seed)


def run_lighter(
    data: tuple[ImageSet, ImageSet],
    path: Path | None = None,
    device: str | None = None,
    chosen: Recipe = RECIPE,
    seeds: Iterable[int] = SEEDS,
    tell: Callable[[str], object] = print,
) -> dict:
    """Train what is not recorded yet and return the whole record, written to ``path`` after each network.

    data: training and test set; accuracies are those of the test set after training, and of the pictures held out,
    if the recipe holds out any.
    """
    path = path or results.FOLDER / "lighter.json"
    runs = results.so_far(path, "lighter", "label", "seed")["runs"]
    runs = [run for run in runs if made_by(run, chosen)]
    plan = [(head, seed) for seed in seeds for head in HEADS]
    return go_on(runs, plan, lambda head, seed: _one(head, chosen, seed, data, device), _record, path, tell)


def _one(head: str, chosen: Recipe, seed: int, data: tuple[ImageSet, ImageSet], device: str | None) -> dict:
    """Return what one network gave, with the compression curves where there is something to compress."""
    part, watched = split(chosen, *data)
    net = with_head(head, chosen, part, seed)
    history = fit(net, part, watched, chosen, seed, device)
    test = data[1].to(device_of(net))
    table = cost(net, chosen.image_size)
    run = {
        "label": head,
        "seed": seed,
        "test_accuracy": accuracy_on(net, test),
        "validation_accuracy": history.epochs[-1].validation_accuracy,
        "train_loss": history.epochs[-1].train_loss,
        "seconds": history.seconds,
        "parameters": table.parameters,
        "macs": table.macs,
    }
    if head == "fully connected":
        run["curves"] = compression_curves(net, watched and watched.to(device_of(net)), test)
    return {**run, "conditions": conditions(chosen, device_of(net)), "recipe": plain(chosen)}


def compression_curves(
    net: VGG,
    validation: ImageSet | None,
    test: ImageSet,
    ranks: Iterable[int] = RANKS,
    shares: Iterable[float] = SHARES,
) -> dict[str, list[dict]]:
    """Return how accurate ``net`` stays while its first fully connected layer shrinks, without training it again.

    A list of points for each way: "whole", "low rank" and "pruned"; each point has "setting" (1, rank, or share
    of weights kept), "weights" (stored, or not zero, in that layer) and the accuracies on the sets. The convolutions
    run once, in bfloat16 where the device is fast in it; the fully connected layers in float32.
    """
    fc6 = net.classifier[0]
    seen = {
        name: (last_maps(net, images), images.labels)
        for name, images in (("validation", validation), ("test", test))
        if images is not None
    }

    def point(setting: float, layer: nn.Module, weights: int) -> dict:
        head = nn.Sequential(layer, *list(net.classifier)[1:]).eval()
        with torch.no_grad():
            found = {
                f"{name}_accuracy": accuracy(head(maps).softmax(1), labels) for name, (maps, labels) in seen.items()
            }
        return {"setting": setting, "weights": weights, **found}

    low = [(rank, low_rank(fc6, rank)) for rank in ranks if rank <= min(fc6.weight.shape)]
    sparse = [(share, pruned(fc6, share)) for share in shares]
    return {
        "whole": [point(1, fc6, fc6.weight.numel())],
        "low rank": [point(rank, layer, layer[0].weight.numel() + layer[1].weight.numel()) for rank, layer in low],
        "pruned": [point(share, layer, nonzero(layer.weight)) for share, layer in sparse],
    }


@torch.no_grad()
def last_maps(net: VGG, images: ImageSet, batch_size: int = 500) -> Tensor:
    """Return what the fully connected layers of ``net`` are given for each picture, (N, values), in float32."""
    net.eval()
    device, maps = device_of(net), []
    for batch in images.images.split(batch_size):
        with autocast(device, fast_in_bf16(device)):
            maps.append(net.features(prepared(net, view(batch.to(device), net.image_size, None))).flatten(1).float())
    return torch.cat(maps)


@dataclass(frozen=True)
class Point:
    """One size of the first fully connected layer, over the seeds of a record; all but ``setting`` in per cent."""

    setting: float  # the rank, or the share of the weights that is kept
    weights: float  # that are left, of all weights of the layer
    validation: float | None  # mean accuracy on the pictures held out, if there were any
    test: float  # mean accuracy on the test pictures
    sd: float  # standard deviation of the latter


def curve(record: dict, way: str) -> list[Point]:
    """Return the points of one way to make the layer smaller: "low rank", "pruned", or the one of the "whole" layer."""
    all_weights = record["curves"]["whole"][0]["weights"]
    return [
        Point(
            setting=point["setting"],
            weights=100 * point["weights"] / all_weights,
            validation=100 * point["validation_accuracy"]["mean"] if "validation_accuracy" in point else None,
            test=100 * point["test_accuracy"]["mean"],
            sd=100 * point["test_accuracy"]["sd"],
        )
        for point in record["curves"][way]
    ]


def _record(runs: list[dict]) -> dict:
    """Return the record: summaries by head, then the curves over seeds, then every run."""
    full = [run["curves"] for run in runs if "curves" in run]
    return {
        "command": "python -m vgglib study lighter",
        "question": QUESTION,
        "test_accuracy": summaries(runs, HEADS),
        "curves": {way: [_over_seeds(points) for points in _together(full, way)] for way in full[0]} if full else {},
        "runs": runs,
    }


def _together(curves: list[dict], way: str) -> list[tuple[dict, ...]]:
    """Return the points of one way, those of all seeds at the same setting together."""
    return list(zip(*(curve[way] for curve in curves), strict=True))


def _over_seeds(points: tuple[dict, ...]) -> dict:
    accuracies = {name: results.summary([point[name] for point in points]) for name in points[0] if "accuracy" in name}
    return {"setting": points[0]["setting"], "weights": points[0]["weights"], **accuracies}
