"""The study of chapter 10: configuration E and twice its depth, with and without batch normalisation and shortcuts.

``python -m vgglib study depth`` trains what is not recorded yet: stopped, it goes on where it was.
"""

from collections.abc import Callable, Iterable
from dataclasses import replace
from pathlib import Path

from vgglib import results
from vgglib.cost import cost
from vgglib.data import ImageSet
from vgglib.devices import device_of
from vgglib.evaluation import accuracy_on
from vgglib.model import VGG
from vgglib.residual import twice, with_shortcuts
from vgglib.studies import go_on, made_by, plain, summaries
from vgglib.training import NonFiniteLossError, Recipe, build, conditions, fit, recipe, split

QUESTION = "does E learn better at twice its depth, and what do batch normalisation and shortcuts change?"
PICTURES, SEEDS = 8000, (0, 1, 2, 3, 4)
RECIPE: Recipe = recipe(
    "laptop", configuration="E", width=0.125, hidden=64, dropout=0.0, batch_size=64, learning_rate=0.05, epochs=3
)
SLOWER = 0.4  # the rate without batch normalisation, as a share: at the full rate plain E stayed at guessing in a trial
NETWORKS: dict[str, tuple[str, bool, bool]] = {  # label: configuration, batch normalisation, shortcuts
    f"{name}{', batch norm' if norm else ''}{', shortcuts' if shortcuts else ''}": (notation, norm, shortcuts)
    for norm in (False, True)
    for shortcuts in (False, True)
    for name, notation in (("E", "E"), ("2E", twice("E")))
}


def build_network(label: str, train: ImageSet, seed: int = 0, chosen: Recipe = RECIPE) -> tuple[VGG, Recipe]:
    """Return a network of the study, untrained, and its recipe. Plain and with shortcuts it starts from one draw.

    Raises ValueError listing the labels for one that is not among them.
    """
    chosen = recipe_of(label, chosen)
    net = build(chosen, train, seed)
    return (with_shortcuts(net) if NETWORKS[label][2] else net), chosen


def recipe_of(label: str, chosen: Recipe = RECIPE) -> Recipe:
    """Return how a network of the study is trained. Raises ValueError as build_network does."""
    if label not in NETWORKS:
        raise ValueError(f"unknown network {label!r}: choose from {'; '.join(NETWORKS)}")
    configuration, norm, _ = NETWORKS[label]
    rate = chosen.learning_rate * (1 if norm else SLOWER)
    return replace(chosen, configuration=configuration, batch_norm=norm, learning_rate=rate)


def run_depth(
    data: tuple[ImageSet, ImageSet],
    path: Path | None = None,
    device: str | None = None,
    tell: Callable[[str], object] = print,
    chosen: Recipe = RECIPE,
    pictures: int = PICTURES,
    seeds: Iterable[int] = SEEDS,
) -> dict:
    """Train what is not recorded yet and return the whole record, written to ``path`` after each network.

    data: training and test set; training takes the first ``pictures`` that are not held out, and the test set is used
    once for each network, at its end. A run whose loss became infinite or nan is recorded with the reason, and with
    the accuracy that the network then has.
    """
    path = path or results.FOLDER / "depth.json"
    record = results.so_far(path, "depth", "label", "seed", "pictures")
    wanted = {label: recipe_of(label, chosen) for label in NETWORKS}
    runs = [run for run in record["runs"] if made_by(run, wanted.get(run["label"])) and run["pictures"] == pictures]
    plan = [(label, seed) for seed in seeds for label in NETWORKS]
    return go_on(runs, plan, lambda label, seed: _one(label, seed, data, device, chosen, pictures), _record, path, tell)


def _one(
    label: str, seed: int, data: tuple[ImageSet, ImageSet], device: str | None, chosen: Recipe, pictures: int
) -> dict:
    """Return what one network gave."""
    part, watched = split(chosen, *data)
    part = part[:pictures]
    net, chosen = build_network(label, part, seed, chosen)
    losses, seconds, stopped = [], 0.0, None
    try:
        history = fit(net, part, None, chosen, seed, device)
        losses, seconds = history.column("train_loss"), history.seconds
    except NonFiniteLossError as error:
        stopped = str(error)
    table = cost(net, chosen.image_size)
    return {
        "label": label,
        "seed": seed,
        "pictures": len(part),
        "test_accuracy": accuracy_on(net, data[1].to(device_of(net))),
        "validation_accuracy": accuracy_on(net, watched.to(device_of(net))) if watched is not None else None,
        "train_loss": losses[-1] if losses else None,
        "train_losses": losses,
        "stopped": stopped,
        "parameters": table.parameters,
        "macs": table.macs,
        "seconds": seconds,
        "conditions": conditions(chosen, device_of(net)),
        "recipe": plain(chosen),
    }


def _record(runs: list[dict]) -> dict:
    """Return the record: summaries by network, then every run."""
    return {
        "command": "python -m vgglib study depth",
        "question": QUESTION,
        "test_accuracy": summaries(runs, NETWORKS),
        "runs": runs,
    }
