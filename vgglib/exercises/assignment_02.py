"""Visible checks of notebooks/assignments/02_counting, and the layer that each student counts by hand."""

from collections.abc import Callable

from vgglib.exercises.assignment_01 import (
    NO_ID,
    alone,
    dice,
    missing,
    nobodys,
    not_yet,
    number_verdict,
    read_later,
    verdict_on,
)
from vgglib.teaching import Verdict


class MyLayer(dict[str, int]):
    """A convolution with its map; prints as a sentence, and is empty while there is no id."""

    hint = NO_ID

    def __repr__(self) -> str:
        if not self:
            return self.hint
        return (
            f"{self['kernel']}x{self['kernel']} convolution, stride 1, padded to keep the map's size: "
            f"{self['before']} channels in, {self['after']} out, map {self['height']} high and {self['width']} wide"
        )


def my_layer(student: object) -> MyLayer:
    """Return the layer that this student counts; an empty one while ``student`` is ``...``."""
    if nobodys(layer := MyLayer(), student):
        return layer
    chance = dice(student, "assignment 02")
    before, after = chance.sample([12, 24, 40, 48, 56, 72, 80], 2)
    height, width = chance.sample(range(14, 60, 2), 2)
    return MyLayer(kernel=chance.choice([3, 5, 7]), before=before, after=after, height=height, width=width)


def check_by_hand(student: object, my_parameters: object, my_macs: object, my_bytes: object) -> Verdict:
    """Return the verdict on a student's own layer: parameters, MACs, and bytes of its output in float32."""
    mine = my_layer(student)
    if not mine or all(given is ... for given in (my_parameters, my_macs, my_bytes)):
        return not_yet(mine)
    kernel, before, after, places = mine["kernel"], mine["before"], mine["after"], mine["height"] * mine["width"]
    weights = kernel * kernel * before * after
    answers = {
        "my_parameters": (my_parameters, weights + after, {
            weights: "each output channel has a bias, too",
            kernel * before * after + after: "a kernel has an area",
            kernel * kernel * after + after: "each kernel reaches through all the channels that come in",
            kernel * kernel * before + after: "there is one kernel for each channel that goes out",
        }),
        "my_macs": (my_macs, weights * places, {
            2 * weights * places: "a multiplication and an addition are one MAC",
            weights: "that is for one place of the map",
            (weights + after) * places: "the bias is added, not multiplied: it is no MAC",
            weights * mine["height"] ** 2: "the map is not square",
        }),
        "my_bytes": (my_bytes, 4 * after * places, {
            after * places: "that is the number of values: each takes four bytes",
            4 * before * places: "that is the input",
            4 * places: "that is one channel",
            32 * after * places: "these are bits",
        }),
    }  # fmt: skip
    for name, (given, right, slips) in answers.items():
        if given is ...:
            return missing(name, [*answers])
        verdict = number_verdict(given, right, slips)
        if verdict.status != "passed":
            return Verdict(verdict.status, f"{name}: {verdict.text}")
    return Verdict("passed", "parameters, MACs and bytes agree")


@alone
def check_parameters(attempt: Callable) -> Verdict:
    """Return the verdict on the parameters of a list of layers, biases included."""
    cases = {
        (((3, 64),), 3): 1_792,
        (((5, 8),), 2): 408,
        (((3, 4), (3, 4)), 2): 224,
        (((3, 4), "pool", (5, 6)), 2): 682,
        ((), 3): 0,
    }
    return verdict_on(attempt, cases, "count_parameters")


@alone
def check_macs(attempt: Callable) -> Verdict:
    """Return the verdict on the MACs of a list of layers for one picture."""
    cases = {
        (((3, 4),), 2, 6, 6): 2_592,
        (((5, 2),), 3, 4, 8): 4_800,
        (((3, 4), "pool", (3, 2)), 2, 8, 8): 5_760,
        (((3, 4), "pool", "pool", (3, 2)), 2, 11, 8): 6_624,
    }
    return verdict_on(attempt, cases, "count_macs")


@alone
def check_bytes(attempt: Callable) -> Verdict:
    """Return the verdict on the bytes of all maps that training keeps, the picture among them."""
    cases = {
        (((3, 4),), 2, 6, 6, 4): 864,
        (((3, 4),), 2, 6, 6, 2): 432,
        (((5, 2),), 3, 4, 6, 8): 960,
        (((3, 4), "pool", (5, 2)), 2, 8, 6, 4): 1_440,
        (("pool", (3, 2), "pool"), 2, 7, 6, 4): 488,
    }
    return verdict_on(attempt, cases, "count_bytes")


@alone
def check_saving(attempt: Callable) -> Verdict:
    """Return the verdict on per cent of weights that a stack of 3x3 layers saves against one large layer."""
    cases = {
        (2, 8, 8): 28.0,
        (3, 8, 8): 100 * 22 / 49,
        (2, 8, 16): -8.0,
        (2, 16, 4): 55.0,
    }
    return verdict_on(attempt, cases, "saving")


def check_explanation(answer: object) -> Verdict:
    """Return the verdict on the length and the topics of an explanation; a person grades what it says."""
    channels = ("channel", "width", "filter", "feature map")
    ideas = {"channels": channels, "the maps that are kept": ("map", "memory", "activation", "output")}
    return read_later(answer, ideas, "four to eight", at_least=40)
