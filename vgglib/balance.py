"""All networks that this book has trained, with what each reached and what it costs, from the records in data/results/.

Taught in notebooks/10_after_vgg.ipynb.
"""

import os
from dataclasses import dataclass
from functools import cache
from pathlib import Path

import torch

from vgglib import results
from vgglib.cost import cost
from vgglib.model import VGG
from vgglib.protocol import FULL_FRAMES, STAGES

CLASSES, TRAINING_PICTURES = 10, 60_000  # of Fashion-MNIST
NOT_MEANT_TO_BE_GOOD = {"batch-size", "rate-drops", "depth-controls"}  # mistrained on purpose, or by three schedules
OTHER_PICTURES = {"digits"}  # records of networks that were tested on something else


@dataclass(frozen=True)
class Trained:
    """What one kind of network reached over n seeds, and what it costs."""

    record: str  # the file in data/results/, without its ending
    label: str
    n: int  # seeds
    mean: float  # test accuracy, 0 to 1
    sd: float  # of the n accuracies
    parameters: int
    macs: int  # multiply-accumulates for one picture
    shown: int  # training pictures shown in all epochs, counted as often as they were shown
    reached: tuple[float, ...] = ()  # the n accuracies, where the record has them


def trained_networks(folder: str | os.PathLike | None = None) -> list[Trained]:
    """Return every trained network of the records in ``folder``, by default data/results/.

    A record counts if it has "test_accuracy", one summary or one for each label, and "runs" with a recipe, each with
    its label where there are several. Costs come from the runs' own "parameters" and "macs", or are worked out from
    the recipe; "pictures" says how many were trained on where that was not all. Of the study protocol those networks
    count that were trained at a single scale from random numbers, by their centre crops; a record of some "seeds"
    repeats networks of a whole one, and does not count. Other records are passed over, and so are those of
    NOT_MEANT_TO_BE_GOOD and OTHER_PICTURES, and garments on canvases. Raises ValueError if there is no such folder.
    """
    folder, found = Path(folder or results.FOLDER), []
    if not folder.is_dir():
        raise ValueError(f"there is no folder {folder} to look for records in")
    for path in sorted(folder.glob("*.json")):
        record = results.read(path)
        if isinstance(record, dict) and "ensembles" in record:
            found += [] if "seeds" in record else _of_protocol(path.stem, record)
            continue
        summaries = record.get("test_accuracy") if isinstance(record, dict) else None
        if not isinstance(summaries, dict) or path.stem in NOT_MEANT_TO_BE_GOOD | OTHER_PICTURES:
            continue
        alone = "mean" in summaries
        for label, summary in {path.stem: summaries}.items() if alone else summaries.items():
            runs = [run for run in record.get("runs", []) if "recipe" in run and (alone or run.get("label") == label)]
            if runs and isinstance(summary, dict) and {"n", "mean", "sd"} <= set(summary):
                numbers = summary["n"], summary["mean"], summary["sd"]
                reached = tuple(run["test_accuracy"] for run in runs if "test_accuracy" in run)
                found.append(Trained(path.stem, label, *numbers, *_cost(runs[0]), _shown(runs[0]), reached))
    return found


def _of_protocol(name: str, record: dict) -> list[Trained]:
    """Return the networks of a study of section 4 on Fashion-MNIST that continue no other network."""
    runs = [
        run for run in record["runs"] if STAGES[run["stage"]].starts_from is None and record["pictures"] == FULL_FRAMES
    ]
    found = []
    for configuration in dict.fromkeys(run["configuration"] for run in runs):
        some = [run for run in runs if run["configuration"] == configuration]
        crops = [test for run in some for test in run["tests"] if test["method"] == "single crop"]
        reached = tuple(1 - test["top1_error"] for test in crops)
        summary = results.summary([*reached])
        shown = some[0]["recipe"]["epochs"] * (record["training_pictures"] - some[0]["recipe"]["validation"])
        numbers = summary["n"], summary["mean"], summary["sd"]
        found.append(Trained(name, f"{configuration} at 28 pixels", *numbers, *_cost(some[0]), shown, reached))
    return found


def _cost(run: dict) -> tuple[int, int]:
    """Return a run's parameters and MACs, its own or those of its recipe's network."""
    if "parameters" in run and "macs" in run:
        return run["parameters"], run["macs"]
    parts = ("configuration", "image_size", "width", "hidden", "batch_norm")
    return _counted(run.get("classes", CLASSES), **{part: run["recipe"][part] for part in parts})


@cache
def _counted(classes: int, image_size: int, **parts: object) -> tuple[int, int]:
    """Return the parameters and MACs of a network for grey pictures; many records are of the same one."""
    with torch.device("meta"):  # shapes are enough
        table = cost(VGG(in_channels=1, num_classes=classes, image_size=image_size, **parts), image_size)
    return table.parameters, table.macs


def _shown(run: dict) -> int:
    """Return how many pictures a run was shown, each counted once an epoch."""
    epochs = len(run["epochs"]) if isinstance(run.get("epochs"), list) else run["recipe"]["epochs"]
    return epochs * run.get("pictures", TRAINING_PICTURES - run["recipe"]["validation"])
