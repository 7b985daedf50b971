"""The study of chapter 10: configuration E and twice its depth, with and without batch normalisation and shortcuts.

``python -m vgglib study depth`` trains what is not recorded yet: stopped, it goes on where it was. So does
``depth-controls``, for the same networks at a lower rate, and with shortcuts whose branches do not start at zero.
"""

from collections.abc import Callable, Iterable
from dataclasses import replace
from pathlib import Path

from vgglib import results
from vgglib.cost import cost
from vgglib.devices import device_of
from vgglib.evaluation import accuracy_on
from vgglib.image_set import ImageSet
from vgglib.model import VGG
from vgglib.residual import twice, with_shortcuts
from vgglib.studies import go_on, made_by, plain, summaries
from vgglib.training import NonFiniteLossError, Recipe, build, conditions, fit, recipe, split

QUESTION = "does E learn better at twice its depth, and what do batch normalisation and shortcuts change?"
PICTURES, SEEDS = 8000, (0, 1, 2, 3, 4)
RECIPE: Recipe = recipe(
    "laptop", configuration="E", width=0.125, hidden=64, dropout=0.0, batch_size=64, learning_rate=0.05, epochs=3
)
SLOWER = 0.4  # the rate without batch normalisation, as a share: at the full rate plain E seldom learns
NETWORKS: dict[str, tuple[str, bool, bool]] = {  # label: configuration, batch normalisation, shortcuts
    f"{name}{', batch norm' if norm else ''}{', shortcuts' if shortcuts else ''}": (notation, norm, shortcuts)
    for norm in (False, True)
    for shortcuts in (False, True)
    for name, notation in (("E", "E"), ("2E", twice("E")))
}
LOWER = 0.25  # a lower rate, as a share of the network's own
CONTROLS: dict[str, tuple[str, float, bool]] = {  # label: network, share of its rate, whether branches start at zero
    "2E, lower rate": ("2E", LOWER, True),
    "E, lower rate": ("E", LOWER, True),
    "E, the rate of batch norm": ("E", 1 / SLOWER, True),
    "2E, batch norm, lower rate": ("2E, batch norm", LOWER, True),
    "E, batch norm, lower rate": ("E, batch norm", LOWER, True),
    "2E, shortcuts not from zero": ("2E, shortcuts", 1.0, False),
    "2E, batch norm, shortcuts not from zero": ("2E, batch norm, shortcuts", 1.0, False),
}
CONTROL_QUESTION = "what of the study depth comes from the learning rate, and from branches that start at zero?"
CONTROL_SEEDS = (0, 1, 2)


def build_network(label: str, train: ImageSet, seed: int = 0, chosen: Recipe = RECIPE) -> tuple[VGG, Recipe]:
    """Return a network of the study, untrained, and its recipe. Plain and with shortcuts it starts from one draw.

    Raises ValueError listing the labels for one that is not among them.
    """
    chosen = recipe_of(label, chosen)
    net = build(chosen, train, seed)
    network, _, from_zero = _control(label)
    return (with_shortcuts(net, from_zero) if NETWORKS[network][2] else net), chosen


def recipe_of(label: str, chosen: Recipe = RECIPE) -> Recipe:
    """Return how a network of the study is trained. Raises ValueError as build_network does."""
    if label not in (*NETWORKS, *CONTROLS):
        raise ValueError(f"unknown network {label!r}: choose from {'; '.join((*NETWORKS, *CONTROLS))}")
    network, share, _ = _control(label)
    configuration, norm, _ = NETWORKS[network]
    rate = chosen.learning_rate * (1 if norm else SLOWER) * share
    return replace(chosen, configuration=configuration, batch_norm=norm, learning_rate=rate)


def _control(label: str) -> tuple[str, float, bool]:
    """Return a control's network, share of the rate and start; those of a network of the study itself."""
    return CONTROLS.get(label, (label, 1.0, True))


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
    return _run("depth", NETWORKS, QUESTION, data, path, device, tell, chosen, pictures, seeds)


def run_controls(
    data: tuple[ImageSet, ImageSet],
    path: Path | None = None,
    device: str | None = None,
    tell: Callable[[str], object] = print,
    chosen: Recipe = RECIPE,
    pictures: int = PICTURES,
    seeds: Iterable[int] = CONTROL_SEEDS,
) -> dict:
    """Do the same for the controls, written to data/results/depth-controls.json."""
    return _run("depth-controls", CONTROLS, CONTROL_QUESTION, data, path, device, tell, chosen, pictures, seeds)


def _run(
    name: str,
    labels: Iterable[str],
    question: str,
    data: tuple[ImageSet, ImageSet],
    path: Path | None,
    device: str | None,
    tell: Callable[[str], object],
    chosen: Recipe,
    pictures: int,
    seeds: Iterable[int],
) -> dict:
    """Train what is not recorded yet of one of the two studies, and return the whole record."""
    path = path or results.FOLDER / f"{name}.json"
    record = results.so_far(path, name, "label", "seed", "pictures")
    wanted = {label: recipe_of(label, chosen) for label in labels}
    runs = [run for run in record["runs"] if made_by(run, wanted.get(run["label"])) and run["pictures"] == pictures]
    plan = [(label, seed) for seed in seeds for label in wanted]

    def recorded(runs: list[dict]) -> dict:
        """Summaries by network, then every run."""
        command = f"python -m vgglib study {name}"
        return {"command": command, "question": question, "test_accuracy": summaries(runs, wanted), "runs": runs}

    return go_on(
        runs, plan, lambda label, seed: _one(label, seed, data, device, chosen, pictures), recorded, path, tell
    )


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
        "test_accuracy": accuracy_on(net, data[1].to(device_of(net)), bf16=chosen.bf16),
        "validation_accuracy": (
            accuracy_on(net, watched.to(device_of(net)), bf16=chosen.bf16) if watched is not None else None
        ),
        "train_loss": losses[-1] if losses else None,
        "train_losses": losses,
        "stopped": stopped,
        "parameters": table.parameters,
        "macs": table.macs,
        "seconds": seconds,
        "conditions": conditions(chosen, device_of(net)),
        "recipe": plain(chosen),
    }
