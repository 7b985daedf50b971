"""Assignment 02, counting: hidden inputs, right answers, known mistakes. Plain integers, no library."""

import random

from grading.judge import ByHand, Case, Exercise
from vgglib.exercises.assignment_02 import my_layer

NAME = "02_counting"
PRELOAD = ("numpy",)


def by_hand(
    name,
    student,
    bias=1,
    side=2,
    reach=True,
    many=True,
    flops=1,
    square=False,
    everywhere=True,
    whose="after",
    size=4,
    bias_macs=0,
):
    """Return what a student's own layer costs; the options make it wrong."""
    mine = my_layer(student)
    before = mine["before"] if reach else 1
    places = mine["height"] * (mine["height"] if square else mine["width"])
    weights = mine["kernel"] ** side * before * (mine["after"] if many else 1)
    if name == "my_parameters":
        return weights + bias * mine["after"]
    if name == "my_macs":
        return flops * (weights + bias_macs * mine["after"]) * (places if everywhere else 1)
    return size * (mine[whose] if whose else 1) * places


def count_parameters(layers, channels, bias=1, side=2, follow=True, reach=True, pool=0):
    """Return the parameters of a list of layers; the options make it wrong."""
    total = 0
    for layer in layers:
        if layer == "pool":
            total += pool * channels
            continue
        kernel, after = layer
        total += kernel**side * (channels if reach else 1) * after + bias * after
        channels = after if follow else channels
    return total


def count_macs(layers, channels, height, width, flops=1, bias=0, shrink=2, up=False, square=False, pool=0, late=False):
    """Return the multiply-accumulates of a list of layers; the options make it wrong."""
    total, width = 0, height if square else width
    for layer in layers:
        if layer == "pool":
            total += pool * channels * height * width
            height, width = ((side + up) // shrink for side in (height, width))
            continue
        kernel, after = layer
        total += flops * (kernel**2 * channels + bias) * after * height * width
        channels = after
    return total


def count_bytes(
    layers, channels, height, width, bytes_per_value, picture=1, pools=1, convs=1, weights=0, most=False, up=False
):
    """Return the bytes of all maps; the options make it wrong."""
    maps = [picture * channels * height * width]
    extra = weights * count_parameters(layers, channels)
    for layer in layers:
        if layer == "pool":
            height, width = ((side + up) // 2 for side in (height, width))
            maps.append(pools * channels * height * width)
        else:
            channels = layer[1]
            maps.append(convs * channels * height * width)
    return bytes_per_value * ((max(maps) if most else sum(maps)) + extra)


def saving(depth, before, after, wide=False, of="single", per=100, sign=1):
    """Return per cent of weights saved; the options make it wrong."""
    first, single = 9 * before * after, (2 * depth + 1) ** 2 * before * after
    stack = first + (depth - 1) * 9 * after * after
    if wide:
        stack, single = depth * 9 * after * after, (2 * depth + 1) ** 2 * after * after
    return sign * per * (single - stack) / {"single": single, "stack": stack}[of]


def faulty_saving(*case):
    """Return what the program that was handed out says."""
    return saving(*case, wide=True, of="stack")


NO_BIAS = "you left the biases out: one for each output channel"
TWO = "a multiplication and an addition are one MAC; you counted two"
BIAS_MACS = "the bias is added, not multiplied: it is no MAC"
PICTURE, POOLINGS = "the picture is kept, too", "what a pooling gives is kept, too"
SIGN = "the sign is the other way round: more weights are a negative saving"
ROUNDED = "it is rounded: return the number as it is"
PER_CENT = "per cent were asked for"
SHARE = "a saving is a share of what would be spent without it: divide by the single layer"


# hidden inputs: all sizes different, none of them 0 or 1, kernels other than 3, and odd: no even
# one keeps the size of its map


def some(chance, count, pools=0):
    """Return convolutions with different odd kernels and different channels, and poolings between them."""
    layers = list(zip(chance.sample([5, 7, 9, 11], count), chance.sample([6, 7, 9, 10, 11, 13], count), strict=True))
    for place in sorted(chance.sample(range(1, count), pools), reverse=True):
        layers.insert(place, "pool")
    return layers


def parameter_cases(chance: random.Random, student: str) -> list[Case]:
    """Return single layers and chains."""
    found = [Case("one", (some(chance, 1), channels)) for channels in chance.sample([4, 5, 8, 12], 2)]
    return found + [Case("chain", (some(chance, n, n - 2), 5 + n)) for n in (2, 3, 4)]


def macs_cases(chance: random.Random, student: str) -> list[Case]:
    """Return stacks without pooling, with pooling of even maps, and of odd ones."""
    found = [Case("plain", (some(chance, n), 8, 2 * chance.randint(8, 12), 2 * chance.randint(14, 18))) for n in (1, 2)]
    found += [Case("pooling", (some(chance, n + 1, n), 8, 16 * n, 24 * n)) for n in (1, 2)]
    sides = 4 * chance.randint(3, 5) + 3, 4 * chance.randint(6, 8) + 3
    return [*found, Case("odd", (some(chance, 3, 2), 8, *sides))]


def bytes_cases(chance: random.Random, student: str) -> list[Case]:
    """Return stacks in float32, with poolings of odd maps, first and last ones, and in narrower and wider numbers."""
    sizes = 4 * chance.randint(3, 5), 4 * chance.randint(6, 8)
    found = [Case("float32", (some(chance, n, n - 1), 5, *sizes, 4)) for n in (2, 3)]
    odd = sizes[0] + 3, sizes[1] + 3
    for layers in (["pool", *some(chance, 2)], [*some(chance, 2, 1), "pool"]):
        found.append(Case("pooling", (layers, 5, *odd, 4)))
    return found + [Case("narrow", (some(chance, 3, 1), 5, *sizes, size)) for size in (2, 8)]


def saving_cases(chance: random.Random, student: str) -> list[Case]:
    """Return stacks whose channels stay, and stacks whose channels change in the first layer."""
    found = [Case("equal", (n, 8 * n + 4, 8 * n + 4)) for n in chance.sample([2, 3, 4, 5], 2)]
    pairs = (
        chance.choice([(12, 24), (16, 40), (20, 44)]),
        chance.choice([(48, 20), (36, 28)]),
    )  # the first saves nothing
    pairs += (chance.choice([(20, 56), (24, 60)]),)
    return found + [Case("changing", (n, *pair)) for n, pair in zip((2, 3, 4), pairs, strict=True)]


EXERCISES = [
    Exercise(
        "by_hand_02", "Exercise 1, your own layer", "my_parameters",
        {
            "my_parameters": (1, "my_parameters is not that of your layer"),
            "my_macs": (1, "my_macs is not that of your layer"),
            "my_bytes": (1, "my_bytes is not that of your layer's output"),
        },
        lambda chance, student: [Case(name, (name, student)) for name in ("my_parameters", "my_macs", "my_bytes")],
        by_hand,
        {
            "each output channel has a bias, too": lambda name, student: by_hand(name, student, bias=0),
            "a kernel has an area: its side counts twice": lambda name, student: by_hand(name, student, side=1),
            "each kernel reaches through all the channels that come in":
                lambda name, student: by_hand(name, student, reach=False),
            "there is one kernel for each channel that goes out":
                lambda name, student: by_hand(name, student, many=False),
            "a multiplication and an addition are one MAC": lambda name, student: by_hand(name, student, flops=2),
            "the bias is added, not multiplied: it is no MAC":
                lambda name, student: by_hand(name, student, bias_macs=1),
            "the MACs are those for one place of the map":
                lambda name, student: by_hand(name, student, everywhere=False),
            "the map is not square": lambda name, student: by_hand(name, student, square=True),
            "my_bytes asks for the output, and you gave the input":
                lambda name, student: by_hand(name, student, whose="before"),
            "my_bytes asks for all channels, and you gave that of one":
                lambda name, student: by_hand(name, student, whose=None),
            "a value in float32 takes four bytes": lambda name, student: by_hand(name, student, size=1),
            "these are bits, eight to a byte": lambda name, student: by_hand(name, student, size=32),
        },
        adapter="value",
    ),
    Exercise(
        "count_parameters", "Exercise 2, parameters", "count_parameters",
        {
            "one": (1, "wrong for a single layer"),
            "chain": (2, "wrong for several layers: each sees the channels that the one before gives"),
        },
        parameter_cases, count_parameters,
        {
            NO_BIAS: lambda layers, channels: count_parameters(layers, channels, bias=0),
            "a kernel has an area: its side counts twice":
                lambda layers, channels: count_parameters(layers, channels, side=1),
            "each layer sees the channels that the layer *before* gives, not those of the picture":
                lambda layers, channels: count_parameters(layers, channels, follow=False),
            "each kernel reaches through all the channels that come in":
                lambda layers, channels: count_parameters(layers, channels, reach=False),
            "a pooling learns nothing: it has no parameters":
                lambda layers, channels: count_parameters(layers, channels, pool=1),
            "there is one bias for each output channel, not one for each layer":
                lambda layers, channels: count_parameters(layers, channels, bias=0) + _convolutions(layers),
            "this is right for 3x3 kernels only":
                lambda layers, channels: count_parameters(_threes(layers), channels),
        },
        credit={NO_BIAS: 1},
    ),
    Exercise(
        "count_macs", "Exercise 3, multiply-accumulates", "count_macs",
        {
            "plain": (1, "wrong where the map keeps its size"),
            "pooling": (2, "wrong behind a pooling, which halves both sides of the map"),
            "odd": (1, "wrong where a pooling meets an odd side: it drops the last row or column"),
        },
        macs_cases, count_macs,
        {
            TWO: lambda *case: count_macs(*case, flops=2),
            BIAS_MACS: lambda *case: count_macs(*case, bias=1),
            "behind a pooling the map is smaller, and you kept its size": lambda *case: count_macs(*case, shrink=1),
            "a pooling halves both sides, so a quarter of the places is left": lambda *case: _half(*case),
            "a pooling meets an odd side: it drops the last row, and you kept it":
                lambda *case: count_macs(*case, up=True),
            "the map is not square: height and width both count": lambda *case: count_macs(*case, square=True),
            "a pooling compares and multiplies nothing: it costs no MACs": lambda *case: count_macs(*case, pool=1),
        },
        credit={TWO: 2, BIAS_MACS: 2},
    ),
    Exercise(
        "count_bytes", "Exercise 4, memory", "count_bytes",
        {
            "float32": (1, "wrong for four bytes a value"),
            "pooling": (1, "wrong where a pooling meets an odd side, or stands first or last"),
            "narrow": (1, "wrong for two or eight bytes a value"),
        },
        bytes_cases, count_bytes,
        {
            "you took four bytes a value, whatever was asked for": lambda *case: count_bytes(*case[:-1], 4),
            PICTURE: lambda *case: count_bytes(*case, picture=0),
            POOLINGS: lambda *case: count_bytes(*case, pools=0),
            "the maps were asked for, and you added the weights": lambda *case: count_bytes(*case, weights=1),
            "all maps are kept for the way back, not only the largest": lambda *case: count_bytes(*case, most=True),
            "that is the number of values, not of bytes": lambda *case: count_bytes(*case[:-1], 1),
            "a pooling meets an odd side: it drops the last row, and you kept it":
                lambda *case: count_bytes(*case, up=True),
        },
        credit={PICTURE: 1, POOLINGS: 1},
    ),
    Exercise(
        "saving", "Exercise 5, find the error", "saving",
        {
            "equal": (2, "wrong where all channels are equal"),
            "changing": (2, "wrong where the first layer changes the number of channels"),
        },
        saving_cases, saving,
        {
            "of its two mistakes none is mended": faulty_saving,
            SHARE: lambda *case: saving(*case, of="stack"),
            "take the channels layer by layer: the first layer sees those that come in, the others those that it gives":
                lambda *case: saving(*case, wide=True),
            SIGN: lambda *case: saving(*case, sign=-1),
            PER_CENT: lambda *case: saving(*case, per=1),
            ROUNDED: lambda *case: round(saving(*case), 2),
            f"{ROUNDED} ": lambda *case: round(saving(*case), 1),
            f"{ROUNDED}  ": lambda *case: round(saving(*case)),
            "that is the share that is left": lambda *case: 100 - saving(*case),
            "a stack may also cost more, and then saves less than nothing": lambda *case: abs(saving(*case)),
        },
        mends=True, idle=lambda student: faulty_saving, credit={SHARE: 2, SIGN: 2, PER_CENT: 2, ROUNDED: 3},
    ),
]  # fmt: skip


def _convolutions(layers):
    return sum(layer != "pool" for layer in layers)


def _threes(layers):
    return [layer if layer == "pool" else (3, layer[1]) for layer in layers]


def _half(layers, channels, height, width):
    total = 0
    for layer in layers:
        if layer == "pool":
            height //= 2
            continue
        kernel, after = layer
        total += kernel**2 * channels * after * height * width
        channels = after
    return total


BY_HAND = [
    ByHand(
        "explain_02", "Exercise 6, explain", 3,
        "1 point: weights: the stack has fewer where the channels stay the same, and may have more where its first "
        "layer raises them, because its second layer works on the wide map. 1 point: memory in training: a stack keeps "
        "one map for each layer, always more than the single layer. 1 point: a condition or a measurement is named "
        "that decides (channels, whether it is trained or only used, time measured on the device), no rule of thumb.",
    )
]  # fmt: skip
