"""What section 4's experiments are at 28 pixels: the stages of training, their scales, what is run, in which order."""

import re
from collections.abc import Iterable
from dataclasses import dataclass

from vgglib.configurations import TABLE_1
from vgglib.recipes import Recipe


def at_28(name: str) -> str:
    """Return a configuration of Table 1 without its last three poolings: 28 pixels then leave the paper's 7x7 map."""
    first, second, *rest = TABLE_1[name].split("|")
    return f"{first.strip()} | {second.strip()} | {' '.join(' '.join(rest).split())}"


@dataclass(frozen=True)
class Stage:
    """One training run in a chain: its training scale, the stage that it continues, and its test scales."""

    scale: int | tuple[int, int]  # S in pixels, or (S_min, S_max)
    starts_from: str | None  # the stage whose network it continues; None: from random numbers
    epochs: int
    learning_rate: float
    test_scale: int  # the single Q
    test_scales: tuple[int, ...]  # the three of Table 4


# Section 3.1: S = 384 starts from the network of S = 256 at a tenth of the rate, jitter from that of S = 384. The last
# is not in the paper: it trains as long as the network with jitter, so that scale is told apart from time.
STAGES = {
    "32": Stage(32, None, 12, 0.05, 32, (28, 32, 36)),
    "48": Stage(48, "32", 4, 0.005, 48, (44, 48, 52)),
    "[32, 64]": Stage((32, 64), "48", 4, 0.005, 48, (32, 48, 64)),
    "32 longer": Stage(32, "32", 8, 0.005, 32, (28, 32, 36)),
}
FULL_FRAMES = "Fashion-MNIST"  # what a record of the study protocol says of its pictures
CROPS_ON = 1000  # test pictures for the comparison with 150 crops, which takes long
CHAIN = ("32", "48", "[32, 64]")
# what is run, the most wanted first: (configuration, seed, stage)
PLAN = (
    *((name, seed, stage) for seed in (0, 1, 2) for name in ("D", "B") for stage in CHAIN),
    *(("D", seed, "32 longer") for seed in (0, 1, 2)),
    *(("D", seed, stage) for seed in (3, 4) for stage in (*CHAIN, "32 longer")),
    *((name, seed, stage) for seed in (0, 1, 2) for name in ("E", "C") for stage in CHAIN),
    *((name, seed, "32") for seed in (0, 1, 2) for name in ("A", "A-LRN")),
    *(("E", seed, stage) for seed in (3, 4) for stage in CHAIN),
    *(("B", seed, "32") for seed in (3, 4)),
)
SIZES = {"protocol-224": 8}  # the scales of this study are so many times as large: the paper's own
# the ladder of D once; its last rung needs E
PLAN_224 = tuple((name, 0, stage) for name in ("D", "E") for stage in CHAIN)
TWO = ("D [32, 64]", "E [32, 64]")  # of Table 6, and the seven that the authors sent to the contest
SEVEN = ("D 32", "D 48", "D [32, 64]", "C 32", "C 48", "E 32", "E 48")
TOGETHER = (("D 32", "D 48"), TWO, ("D [32, 64]", "B [32, 64]"), SEVEN)


def recipe_of(configuration: str, stage: str, width: float = 0.125, longer: float = 1, times: int = 1) -> Recipe:
    """Return how a network is trained: section 3.1's momentum and weight decay, and what makes few epochs do.

    times: 8 for the paper's own sizes, with all five poolings and 4096 hidden units at full width.

    Batch normalisation, which the paper did not have, small batches, and a rate that falls in a straight line stand for
    its 74 epochs. Batches of 256 were tried first, in one run, and a quarter of the epochs in a whole study, which is
    recorded, too (longer = 0.25): the losses were still high. Nothing else was tuned.
    """
    chosen = STAGES[stage]
    scale = chosen.scale if isinstance(chosen.scale, tuple) else (chosen.scale,)
    scale = tuple(times * side for side in scale)
    return Recipe(
        at_28(configuration) if times == 1 else configuration, width=width, hidden=round(512 * times * width),
        batch_norm=True, dropout=0.2, image_size=28 * times, scale=scale if len(scale) > 1 else scale[0],
        flip=True, normalise="mean", initialisation="he", epochs=round(longer * chosen.epochs),
        batch_size=64, learning_rate=chosen.learning_rate, schedule="linear", momentum=0.9, weight_decay=5e-4,
        validation=5000,
    )  # fmt: skip


def named(stage: str, times: int) -> str:
    """Return the name of a stage, or of several, with scales so many times as large."""
    return re.sub(r"\d+", lambda found: str(times * int(found[0])), stage) if times != 1 else stage


def listed(scales: Iterable[int]) -> str:
    """Return test scales as the tables have them: 28, 32, 36."""
    return ", ".join(map(str, scales))
