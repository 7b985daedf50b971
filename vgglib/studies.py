"""Experiments of several networks and seeds, each run by one command and recorded in data/results/.

``python -m vgglib study three-by-three`` runs what is not recorded yet: stopped, it goes on where it was.
"""

from collections.abc import Callable, Iterable
from dataclasses import asdict, dataclass
from pathlib import Path

from torch import nn
from torch.optim.swa_utils import update_bn

from vgglib import results
from vgglib.augment import view
from vgglib.cost import cost
from vgglib.devices import device_of
from vgglib.earlier import LENET, build_lenet
from vgglib.evaluation import accuracy_on
from vgglib.image_set import ImageSet
from vgglib.preparing import prepared
from vgglib.training import Recipe, build, conditions, fit, recipe, split


@dataclass(frozen=True)
class Study:
    """Networks to compare: a recipe for each label, all trained with the same seeds."""

    question: str
    recipes: dict[str, Recipe]
    seeds: tuple[int, ...]
    build: Callable[[Recipe, ImageSet, int], nn.Module] = build  # makes the network of a recipe
    pictures: int | None = None  # trained on only so many, the first of the training set
    settle: bool = False  # test once more, with batch normalisation's averages taken anew over the training pictures
    curves: bool = False  # record every epoch


_SMALL = dict(batch_norm=False, dropout=0.5, width=0.125, hidden=256, learning_rate=0.05, epochs=5)
_BRIEF = dict(width=0.125, hidden=256, epochs=3, validation=0)
_LONG = dict(width=0.125, hidden=128, learning_rate=0.05, epochs=30, patience=3)
STUDIES: dict[str, Study] = {
    "three-by-three": Study(
        "section 4.1: is B better than the shallow network in which one 5x5 layer replaces each pair of 3x3 layers?",
        {
            "B": recipe("laptop", configuration="B", **_SMALL),
            "five 5x5": recipe("laptop", configuration="64/5 | 128/5 | 256/5 | 512/5 | 512/5 |", **_SMALL),
        },
        seeds=(0, 1, 2, 3, 4),
    ),
    "batch-size": Study(
        "section 3.3: what happens when the batch grows with the number of devices, and the rate does or does not?",
        {
            f"{batch}, {rule}": recipe("laptop", **_BRIEF | more, batch_size=batch, learning_rate=rate)
            for batch, rule, rate, more in (
                (32, "rate kept", 0.0125, {}),
                (256, "rate kept", 0.0125, {}),
                (256, "rate scaled", 0.1, {}),
                (256, "as many steps", 0.0125, {"epochs": 24}),  # the rate kept, and the 600 steps of a batch of 32
                (2048, "rate kept", 0.0125, {}),
                (2048, "rate x 4", 0.05, {}),
                (2048, "rate scaled", 0.8, {}),
                (2048, "warmed up", 0.8, {"warm_up": 0.5}),  # over six of its twelve steps
            )
        },
        seeds=tuple(range(10)),
        pictures=6_400,
        settle=True,
    ),
    "rate-drops": Study(
        "section 3.1: what does it bring to divide the rate by 10 when the validation accuracy stops improving?",
        {schedule: recipe("laptop", **_LONG, schedule=schedule) for schedule in ("plateau", "constant", "linear")},
        seeds=(0, 1, 2),
        pictures=10_000,
        curves=True,
    ),
    "lenet": Study(
        "the baseline: what does LeNet-5 of 1998 reach on Fashion-MNIST?", {"LeNet-5": LENET}, (0, 1, 2), build_lenet
    ),
}


def run_study(
    name: str,
    data: tuple[ImageSet, ImageSet],
    path: Path | None = None,
    device: str | None = None,
    tell: Callable[[str], object] = print,
) -> dict:
    """Train and test every network of a study that is not recorded yet, and return the whole record.

    data: training and test set; the test set is used once for each trained network, at its end. The record is
    written after every network to ``path``, by default ``data/results/<name>.json``. Networks take turns, seed by
    seed, so that a slow hour of the machine meets all of them. Raises ValueError for an unknown name.
    """
    if name not in STUDIES:
        raise ValueError(f"unknown study {name!r}: choose from {', '.join(STUDIES)}")
    study, path = STUDIES[name], path or results.FOLDER / f"{name}.json"
    record = results.so_far(path, name, "label", "seed")
    return go_on(
        [
            run
            for run in record["runs"]
            if made_by(run, study.recipes.get(run["label"])) and ("settled_accuracy" in run or not study.settle)
        ],
        [(label, seed) for seed in study.seeds for label in study.recipes],
        lambda label, seed: _train_and_test(study, label, seed, data, device),
        lambda runs: _record(name, study, runs),
        path,
        tell,
    )


def go_on(
    runs: list[dict],
    plan: Iterable[tuple[str, int]],
    one: Callable[[str, int], dict],
    record: Callable[[list[dict]], dict],
    path: Path,
    tell: Callable[[str], object],
) -> dict:
    """Train what is planned and not among the runs, and return the record, written to ``path`` after every network.

    plan: labels with seeds, in the order to train them. one: trains one and returns its run. record: makes the whole
    record of the runs so far.
    """
    runs, before = list(runs), len(runs)
    for label, seed in plan:
        if any((run["label"], run["seed"]) == (label, seed) for run in runs):
            continue
        runs.append(run := one(label, seed))
        results.write(path, record(runs))
        gave = f"loss {run['late_loss']:.3f}" if "late_loss" in run else f"{100 * run['test_accuracy']:.2f} % right"
        tell(f"{label}, seed {seed}: {gave}, {run['seconds']:.0f} s")
    if len(runs) == before:
        tell(f"all {before} are in {path} already: nothing was trained (--result FILE begins anew)")
    return record(runs)


def summaries(runs: list[dict], labels: Iterable[str], what: str = "test_accuracy") -> dict[str, dict]:
    """Return the summary over seeds of one number, for each label that was run."""
    found = {label: [run[what] for run in runs if run["label"] == label] for label in labels}
    return {label: results.summary(values) for label, values in found.items() if values}


def _train_and_test(study: Study, label: str, seed: int, data: tuple[ImageSet, ImageSet], device: str | None) -> dict:
    """Return what one network gave."""
    chosen = study.recipes[label]
    part, watched = split(chosen, *data)
    part = part[: study.pictures]
    net = study.build(chosen, part, seed)
    table = cost(net, chosen.image_size)
    history = fit(net, part, watched, chosen, seed, device)
    test = data[1].to(device_of(net))
    accuracies = {"test_accuracy": accuracy_on(net, test, bf16=chosen.bf16)}
    if study.settle:
        pictures = part.images.to(device_of(net)).split(500)
        update_bn((prepared(net, view(some, chosen.image_size, chosen.image_size)) for some in pictures), net)
        accuracies["settled_accuracy"] = accuracy_on(net, test, bf16=chosen.bf16)
    return {
        "label": label,
        "seed": seed,
        **accuracies,
        "pictures": len(part),
        "parameters": table.parameters,
        "macs": table.macs,
        "validation_accuracy": history.epochs[-1].validation_accuracy,
        "train_loss": history.epochs[-1].train_loss,
        **({"epochs": [asdict(epoch) for epoch in history.epochs]} if study.curves else {}),
        "seconds": history.seconds,
        "conditions": conditions(chosen, device_of(net)),
        "recipe": plain(chosen),
    }


def _record(name: str, study: Study, runs: list[dict]) -> dict:
    """Return the record of a study: its summary by label, then every run."""
    both = ["test_accuracy", *(["settled_accuracy"] if study.settle else [])]
    return {
        "command": f"python -m vgglib study {name}",
        "question": study.question,
        **{what: summaries(runs, study.recipes, what) for what in both},
        "runs": runs,
    }


def made_by(run: dict, chosen: Recipe | None) -> bool:
    """Return whether a recorded run was trained by this recipe; a field that is younger than it had its default."""
    return chosen is not None and plain(Recipe("A")) | run["recipe"] == plain(chosen)


def plain(chosen: Recipe) -> dict:
    """Return a recipe as it looks after a journey through JSON."""
    return {name: list(value) if isinstance(value, tuple) else value for name, value in asdict(chosen).items()}
