"""Two studies of chapter 10: RepVGG blocks before and after folding, and what a VGG trained on clothes sees in digits.

``python -m vgglib study repvgg`` and ``python -m vgglib study digits`` train what is not recorded yet: stopped, they go
on where they were. The second needs scikit-learn, which has the digits. Taught in notebooks/10_after_vgg.ipynb.
"""

import statistics
import time
from collections.abc import Callable
from functools import cache
from pathlib import Path

import torch
from torch import Tensor
from torch.nn import functional as F

from vgglib import results
from vgglib.cost import cost
from vgglib.devices import device_of
from vgglib.evaluation import accuracy, single_crop
from vgglib.image_set import ImageSet
from vgglib.model import VGG
from vgglib.peers import peer
from vgglib.repvgg import folded, with_branches
from vgglib.studies import go_on, made_by, plain, summaries
from vgglib.training import Recipe, build, conditions, fit, recipe, split
from vgglib.transfer import features

SEEDS = (0, 1, 2, 3, 4)
PICTURES = 8000
BRANCHED: dict[str, Recipe] = {
    label: recipe(
        "laptop", configuration="A", batch_norm=batch_norm, width=0.125, hidden=64, dropout=0.0, batch_size=64,
        learning_rate=0.05, epochs=3,
    )
    for label, batch_norm in (("plain", False), ("batch norm", True), ("three branches", True))
}  # fmt: skip
BRANCHED_QUESTION = "do A's networks learn better with RepVGG's three branches, and do they answer alike when folded?"

CLOTHES: Recipe = recipe("laptop")
DIGITS_QUESTION = "appendix B: do features of a network trained on clothes serve a linear classifier of digits?"
DIGITS_SEEDS = (0, 1, 2)
PRICES = (10, 100)  # of a mistake: C of the linear support vector machine
SPLITS = dict(n_splits=5, train_size=900, random_state=0)
MAPS = 64  # after block 3 of CLOTHES
LOOKS = {"last hidden layer": None, "block 3": 3, "block 3, averaged": 3}
SOURCES = ("raw pixels", *(f"{who}, {look}" for who in ("untrained", "clothes") for look in LOOKS))
DIGITS = tuple(f"{source}, C={price}" for price in PRICES for source in SOURCES)


def run_repvgg(
    data: tuple[ImageSet, ImageSet],
    path: Path | None = None,
    device: str | None = None,
    tell: Callable[[str], object] = print,
) -> dict:
    """Train A plain, with batch normalisation and with three branches, where not recorded yet; return the whole record.

    data: training and test set; training takes the first PICTURES that are not held out, and the test set is used once
    for each network, at its end: with branches also folded, in float32, with the largest difference of a posterior.
    """
    path = path or results.FOLDER / "repvgg.json"
    runs = results.so_far(path, "repvgg", "label", "seed")["runs"]
    runs = [run for run in runs if made_by(run, BRANCHED.get(run["label"]))]

    def recorded(runs: list[dict]) -> dict:
        accuracies = summaries(runs, BRANCHED)
        command = "python -m vgglib study repvgg"
        return {"command": command, "question": BRANCHED_QUESTION, "test_accuracy": accuracies, "runs": runs}

    plan = [(label, seed) for seed in SEEDS for label in BRANCHED]
    return go_on(runs, plan, lambda label, seed: _branched(label, seed, data, device), recorded, path, tell)


def _branched(label: str, seed: int, data: tuple[ImageSet, ImageSet], device: str | None) -> dict:
    """Return what one network gave."""
    chosen = BRANCHED[label]
    part, _ = split(chosen, *data)
    part = part[:PICTURES]
    net = build(chosen, part, seed)
    if label == "three branches":
        net = with_branches(net, seed)
    history = fit(net, part, None, chosen, seed, device)
    test = data[1].to(device_of(net))
    posteriors, table = single_crop(net, test.images, bf16=False), cost(net, chosen.image_size)
    run = {
        "label": label,
        "seed": seed,
        "pictures": len(part),
        "test_accuracy": accuracy(posteriors, test.labels),
        "train_loss": history.epochs[-1].train_loss,
        "parameters": table.parameters,
        "macs": table.macs,
        "seconds": history.seconds,
        "conditions": conditions(chosen, device_of(net)),
        "recipe": plain(chosen),
    }
    if label == "three branches":
        once = folded(net.eval())
        same, table = single_crop(once, test.images, bf16=False), cost(once, chosen.image_size)
        run["folded"] = {
            "test_accuracy": accuracy(same, test.labels),
            "largest_difference": (same - posteriors).abs().max().item(),
            "parameters": table.parameters,
            "macs": table.macs,
        }
    return run


def run_digits(
    data: tuple[ImageSet, ImageSet],
    path: Path | None = None,
    device: str | None = None,
    tell: Callable[[str], object] = print,
) -> dict:
    """Classify digits by each of DIGITS that is not recorded yet, and return the whole record.

    data: the clothes that a network of recipe ``laptop`` is trained on, for each seed; those held out and the test set
    are not used. Each accuracy is the mean over five splits, 900 digits to train a linear classifier on and 897 to test
    it. Raises PeerMissing without scikit-learn.
    """
    path = path or results.FOLDER / "digits.json"
    runs = [run for run in results.so_far(path, "digits", "label", "seed")["runs"] if made_by(run, CLOTHES)]
    pictures, labels = _digits()

    @cache
    def network(who: str, seed: int) -> VGG:
        part, _ = split(CLOTHES, *data)
        net = build(CLOTHES, part, seed)
        if who == "clothes":
            tell(f"training on clothes, seed {seed}: {fit(net, part, None, CLOTHES, seed, device).seconds:.0f} s")
        return net

    def one(label: str, seed: int) -> dict:
        source, price = label.rsplit(", C=", 1)
        who, _, look = source.partition(", ")
        started = time.perf_counter()
        vectors = _seen(network(who, seed), look, pictures) if look else F.normalize(pictures.flatten(1).float(), dim=1)
        found = [_linear(vectors, labels, fitted, held, int(price)) for fitted, held in _splits(labels)]
        return {
            "label": label,
            "seed": seed,
            "values": vectors.shape[1],
            "splits": found,
            "test_accuracy": statistics.mean(found),
            "seconds": time.perf_counter() - started,
            "conditions": conditions(CLOTHES, device_of(network(who, seed)) if look else torch.device("cpu")),
            "recipe": plain(CLOTHES),
        }

    def recorded(runs: list[dict]) -> dict:
        accuracies = summaries(runs, DIGITS)
        command = "python -m vgglib study digits"
        return {"command": command, "question": DIGITS_QUESTION, "test_accuracy": accuracies, "runs": runs}

    plan = [(label, seed) for seed in DIGITS_SEEDS for label in DIGITS if seed == 0 or not label.startswith("raw")]
    return go_on(runs, plan, one, recorded, path, tell)


def _seen(net: VGG, look: str, pictures: Tensor) -> Tensor:
    """Return the features of a look, on the CPU: (N, values)."""
    found = features(net, pictures, block=LOOKS[look]).float().cpu()
    return F.normalize(found.view(len(found), MAPS, -1).mean(dim=2), dim=1) if look.endswith("averaged") else found


def _digits() -> tuple[Tensor, Tensor]:
    """Return scikit-learn's digits: uint8 (1797, 1, 8, 8), and int64 labels."""
    digits = peer("sklearn.datasets").load_digits()
    return torch.from_numpy(digits.images / 16 * 255).round().to(torch.uint8)[:, None], torch.from_numpy(digits.target)


def _splits(labels: Tensor) -> list:
    """Return pairs of indices: digits to fit on, digits to test on."""
    return [*peer("sklearn.model_selection").StratifiedShuffleSplit(**SPLITS).split(labels, labels)]


def _linear(vectors: Tensor, labels: Tensor, fitted: object, held: object, price: int) -> float:
    """Return the share of right answers on the digits held out, of a linear classifier of the others."""
    X, y = vectors.numpy(), labels.numpy()
    return float(peer("sklearn.svm").LinearSVC(C=price, dual=False).fit(X[fitted], y[fitted]).score(X[held], y[held]))
