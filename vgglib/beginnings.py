"""How deep networks begin (section 3.1): the paper's normal weights, Glorot's, He's, each with and without A's layers.

A warmed network comes after A, which has seen every picture twice itself. "longer" is the control: the deep network
alone, from Glorot's or He's weights, for as many steps as both.

``python -m vgglib study warm-start`` trains what is not recorded yet; so does ``batch-norm-start``, which sets batch
normalisation beside the warm start. Taught in notebooks/06_training_scale.ipynb and 10_after_vgg.ipynb.
"""

import warnings
from collections.abc import Callable, Sequence
from functools import cache
from pathlib import Path

import torch
from torch import nn

from vgglib import results
from vgglib.devices import device_of
from vgglib.image_set import ImageSet
from vgglib.model import VGG, initialise, warm_start
from vgglib.sizes import torch_seed
from vgglib.studies import go_on, made_by, plain, summaries
from vgglib.training import NotLearningWarning, Recipe, build, conditions, fit, recipe

DEEP = ("B", "E")
WAYS = ("paper", "glorot", "he")
BEGUN = ("paper", "paper, warm", "glorot", "glorot, warm", "glorot, longer", "he", "he, warm", "he, longer")
LABELS = tuple(f"{name}, {begun}" for name in DEEP for begun in BEGUN)
NORMED = tuple(f"E, {way}{more}" for way in WAYS for more in ("", ", warm", ", batch norm"))
SEEDS = (0, 1, 2, 3, 4)
QUESTIONS = {
    "warm-start": "section 3.1: what lets a deep network begin to learn: better random weights, or A's layers?",
    "batch-norm-start": "does batch normalisation take the place of the warm start, from each kind of random weights?",
}
PICTURES = 4_800  # of the training set, each seen twice: 300 steps
FEW_STEPS: Recipe = recipe(
    "laptop", width=0.125, hidden=128, batch_norm=False, dropout=0.0, flip=False, epochs=2, batch_size=32,
    learning_rate=0.01, schedule="constant", validation=0,
)  # fmt: skip


INPUTS = {
    "features.0": 27,
    "classifier.0": 25_088,
    "classifier.3": 4096,
    "classifier.6": 4096,
}  # of a unit, in the paper


def paper_gain(net: VGG, seed: int = 0, std: float = 0.01) -> VGG:
    """Return ``net`` with normal weights that do to a signal what N(0, 0.01) does in the paper's network; biases 0.

    A layer multiplies the size of a signal by its standard deviation times the root of its inputs. A narrow network
    has fewer inputs, so each standard deviation here is ``std`` times the root of how many times fewer they are. std:
    0.01, or 0.1 for the other reading of the paper's "10^-2 variance".
    """
    generator = torch.Generator().manual_seed(torch_seed(seed))
    for name, module in net.named_modules():
        if isinstance(module, nn.Conv2d | nn.Linear):
            inputs = module.weight[0].numel()
            nn.init.normal_(
                module.weight, std=std * (INPUTS.get(name, inputs / net.width) / inputs) ** 0.5, generator=generator
            )
            nn.init.zeros_(module.bias)
    return net


def beginner(
    configuration: str, way: str, few: ImageSet, seed: int = 0, shallow: VGG | None = None, batch_norm: bool = False
) -> VGG:
    """Return an untrained network of FEW_STEPS, begun in one of WAYS; with ``shallow``, its layers are copied in.

    Raises ValueError for another way.
    """
    if way not in WAYS:
        raise ValueError(f"unknown way {way!r}: choose from {', '.join(WAYS)}")
    net = build(recipe_for(configuration, batch_norm=batch_norm), few, seed)
    net = paper_gain(net, seed) if way == "paper" else initialise(net, way, seed)
    if shallow is not None:
        warm_start(net, shallow)
    return net


def recipe_for(configuration: str, **changes: object) -> Recipe:
    """Return FEW_STEPS for another configuration."""
    return Recipe(**{**vars(FEW_STEPS), "configuration": configuration, **changes})


def recipe_of(label: str) -> Recipe:
    """Return the recipe of one of LABELS or NORMED: twice the epochs, batch normalisation, where the label says so."""
    longer = 2 if label.endswith("longer") else 1
    normed = label.endswith("batch norm")
    return recipe_for(label.split(",")[0], epochs=longer * FEW_STEPS.epochs, batch_norm=normed)


def shallow_network(few: ImageSet, seed: int = 0, device: str | None = None) -> VGG:
    """Return configuration A, trained on the same pictures from He's weights: what the deep ones are warmed by."""
    chosen = recipe_for("A")
    net = build(chosen, few, seed)
    fit(net, few, None, chosen, seed, device)
    return net


def run_warm_starts(
    data: tuple[ImageSet, ImageSet],
    path: Path | None = None,
    device: str | None = None,
    tell: Callable[[str], object] = print,
) -> dict:
    """Train every deep network, begun in every way, cold and warm, that is not recorded yet; return the whole record.

    data: training and test set; only the training set is used, and what counts is the loss of the last pass, while
    training: whether a network has left ln(10). Written after every network to ``path``, by default
    ``data/results/warm-start.json``.
    """
    return _run_all("warm-start", LABELS, data, path, device, tell)


def run_batch_norm_starts(
    data: tuple[ImageSet, ImageSet],
    path: Path | None = None,
    device: str | None = None,
    tell: Callable[[str], object] = print,
) -> dict:
    """Do the same for E, cold, warm, and cold with batch normalisation: data/results/batch-norm-start.json."""
    return _run_all("batch-norm-start", NORMED, data, path, device, tell)


def _run_all(
    name: str,
    labels: Sequence[str],
    data: tuple[ImageSet, ImageSet],
    path: Path | None,
    device: str | None,
    tell: Callable[[str], object],
) -> dict:
    """Train what is not recorded yet of one of the two studies, and return the whole record."""
    path = path or results.FOLDER / f"{name}.json"
    runs = results.so_far(path, name, "label", "seed")["runs"]
    runs = [run for run in runs if made_by(run, recipe_of(run["label"]))]
    few = data[0][:PICTURES]
    plan = [(label, seed) for seed in SEEDS for label in labels]
    shallow = cache(lambda seed: shallow_network(few, seed, device))

    def one(label: str, seed: int) -> dict:
        configuration, way, *more = label.split(", ")
        net = beginner(
            configuration, way, few, seed, shallow(seed) if more == ["warm"] else None, more == ["batch norm"]
        )
        return _run(net, few, label, seed, device)

    return go_on(runs, plan, one, lambda runs: _record(name, labels, runs), path, tell)


def _run(net: VGG, few: ImageSet, label: str, seed: int, device: str | None) -> dict:
    """Return what a few steps gave."""
    chosen = recipe_of(label)
    with warnings.catch_warnings():  # many of these do not learn, and that is the result
        warnings.simplefilter("ignore", NotLearningWarning)
        history = fit(net, few, None, chosen, seed, device)
    return {
        "label": label,
        "seed": seed,
        "recipe": plain(chosen),
        "late_loss": history.epochs[-1].train_loss,
        "seconds": history.seconds,
        "conditions": conditions(chosen, device_of(net)),
    }


def _record(name: str, labels: Sequence[str], runs: list[dict]) -> dict:
    """Return the record: a summary for each configuration and way, in their order, then every run."""
    runs = sorted(runs, key=lambda run: (run["seed"], labels.index(run["label"])))
    return {
        "command": f"python -m vgglib study {name}",
        "question": QUESTIONS[name],
        "late_loss": summaries(runs, labels, "late_loss"),
        "runs": runs,
    }
