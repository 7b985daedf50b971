"""Assignment 01, receptive fields: hidden inputs, right answers, known mistakes. Plain integers, no library."""

import itertools
import math
import random

from grading.judge import ByHand, Case, Exercise
from vgglib.exercises.assignment_01 import my_stack

NAME = "01_receptive_fields"
PRELOAD = ("numpy",)


def walk(layers, add=lambda kernel, dilation: dilation * (kernel - 1), jump_after=False):
    """Return size, stride and padding of a stack of (kernel, stride, padding, dilation); the options make it wrong."""
    size, jump, padding = 1, 1, 0
    for kernel, stride, pad, dilation in layers:
        size += add(kernel, dilation) * jump * (stride if jump_after else 1)
        padding += pad * jump
        jump *= stride
    return size, jump, padding


def padded(layers):
    """Return (kernel, stride, padding) with a dilation of 1."""
    return [(k, s, p, 1) for k, s, p in layers]


def dilated(layers):
    """Return (kernel, stride, dilation) with a padding of 0."""
    return [(k, s, 0, d) for k, s, d in layers]


# by hand


def by_hand(name, student, **wrong):
    """Return what a student's own stack gives."""
    stack = padded(my_stack(student))
    fields = [walk(stack[: n + 1], **wrong) for n in range(len(stack))]
    if name == "sizes":
        return [size for size, _, _ in fields]
    if name == "strides":
        return [jump for _, jump, _ in fields]
    return 2 * fields[-1][1] - fields[-1][2]


def by_hand_sums(name, student):
    """Strides added up."""
    if name != "strides":
        return by_hand(name, student)
    return list(itertools.accumulate(stride for _, stride, _ in my_stack(student)))


def by_hand_padding(name, student):
    """Paddings added up without the strides before them."""
    if name != "start":
        return by_hand(name, student)
    stack = my_stack(student)
    return 2 * math.prod(s for _, s, _ in stack) - sum(p for _, _, p in stack)


def by_hand_clipped(name, student):
    """Windows that are not allowed to begin outside."""
    return max(0, by_hand(name, student)) if name == "start" else by_hand(name, student)


# hidden inputs


def some_layers(chance, count, kernels=(2, 4, 5, 6, 7), strides=(1,), dilations=(1,)):
    """Return layers whose kernels all differ, so that a mistake cannot cancel."""
    return [(k, chance.choice(strides), chance.choice(dilations)) for k in chance.sample(kernels, count)]


def field_cases(chance: random.Random, student: str) -> list[Case]:
    """Return stacks without strides, with strides, with dilation, and none at all."""
    found = [Case("plain", (some_layers(chance, n),)) for n in (2, 3, 4)]
    found += [Case("strides", (some_layers(chance, n, strides=(2, 3)),)) for n in (2, 3, 4)]
    found += [Case("dilation", (some_layers(chance, n, strides=(2, 3), dilations=(2, 3)),)) for n in (1, 3)]
    return [*found, Case("nothing", ([],))]


def field(layers):
    """Return (size, stride)."""
    return walk(dilated(layers))[:2]


def padded_stack(chance, count):
    """Return (kernel, stride, padding): paddings and strides above 1 and all kernels different."""
    return [(k, chance.choice([2, 3]), chance.choice([2, 3])) for k in chance.sample([4, 5, 6, 7], count)]


def window(layers, unit, side, first=0, last=0, jumps=True, clip=True):
    """Return the clipped window; the options make it wrong."""
    size, jump, padding = walk(padded(layers))
    padding = padding if jumps else sum(p for _, _, p in layers)
    start = unit * jump - padding
    ends = start + first, start + size - 1 + last
    return (max(ends[0], 0), min(ends[1], side - 1)) if clip else ends


def units(layers, side):
    """Return how many units there are side by side behind layers on a picture of this side."""
    for kernel, stride, padding in layers:
        side = (side + 2 * padding - kernel) // stride + 1
    return side


def last_unit(chance, layers):
    """Return the last unit of a picture, which sees padding on the right, and the picture's side."""
    size, jump, padding = walk(padded(layers))
    while True:
        side = size + chance.randint(20, 60)
        unit = units(layers, side) - 1
        if unit * jump - padding + size - side >= 2:
            return unit, side


def window_cases(chance: random.Random, student: str) -> list[Case]:
    """Return units in the middle of a large picture, and at both of its edges; all of them exist."""
    found = []
    for count in (2, 3):
        layers = padded_stack(chance, count)
        size, jump, padding = walk(padded(layers))
        inside = padding // jump + chance.randint(2, 5)
        found.append(Case("inside", (layers, inside, inside * jump + size + chance.randint(20, 60))))
        found.append(Case("left", (layers, 0, 4 * size + chance.randint(20, 60))))
        found.append(Case("right", (layers, *last_unit(chance, layers))))
    kernel, side = chance.choice([5, 7, 9]), 2 * chance.randint(12, 20) + 1
    uneven = [(2, 2, 0), (kernel, 1, kernel // 2)]  # the pooling leaves the last pixel out, the window does not
    return [*found, Case("right", (uneven, side // 2 - 1, side))]


def centre(layers, unit, half=lambda size: (size - 1) / 2, jumps=True):
    """Return the middle of an unclipped window; the options make it wrong."""
    size, jump, padding = walk(padded(layers))
    return unit * jump - (padding if jumps else sum(p for _, _, p in layers)) + half(size)


def faulty_centre(layers, unit):
    """Return what the program that was handed out says."""
    return centre(layers, unit, half=lambda size: (size - 1) // 2)


def cut_centre(layers, unit):
    """Return the middle of the part of a window that does not begin left of the picture."""
    size, first = walk(padded(layers))[0], centre(layers, unit, half=lambda size: 0)
    return (max(first, 0) + first + size - 1) / 2


def centre_cases(chance: random.Random, student: str) -> list[Case]:
    """Return stacks with odd fields, and with even ones."""
    found = {"odd": [], "even": []}
    while min(map(len, found.values())) < 3:
        layers = padded_stack(chance, chance.choice([2, 3]))
        kind = "odd" if walk(padded(layers))[0] % 2 else "even"
        if len(found[kind]) < 3:  # unit 0 first, whose window leaves the picture
            found[kind].append(Case(kind, (layers, chance.randint(2, 9) if found[kind] else 0)))
    return found["odd"] + found["even"]


WHOLE = "the middle of the whole window is asked for, also where it leaves the picture"
JUMPS = "a layer's padding counts in its own pixels: multiply it by the strides before it"
SIZE_FIRST, PIXELS = "size and stride are exchanged: the size comes first", "first and last pixel are exchanged"
INCLUSIVE = "the last pixel is part of the window: it is start + size - 1"
EXERCISES = [
    Exercise(
        "by_hand_01", "Exercise 1, your own stack", "sizes",
        {
            "sizes": (2, "the sizes are not those of your stack"),
            "strides": (1, "the strides are not those of your stack"),
            "start": (1, "the window of unit 2 begins elsewhere"),
        },
        lambda chance, student: [Case(name, (name, student)) for name in ("sizes", "strides", "start")],
        by_hand,
        {
            "each layer adds kernel - 1 steps, and you added kernel":
                lambda name, student: by_hand(name, student, add=lambda kernel, dilation: kernel),
            "a step is as long as the strides *before* the layer make it; you took the layer's own stride in":
                lambda name, student: by_hand(name, student, jump_after=True),
            "strides multiply, and you added them": by_hand_sums,
            JUMPS: by_hand_padding,
            "a window may begin at a negative pixel, outside of the picture": by_hand_clipped,
        },
        adapter="value",
    ),
    Exercise(
        "field", "Exercise 2, size and stride of any stack", "field",
        {
            "plain": (2, "wrong where all strides are 1"),
            "strides": (2, "wrong where strides are larger than 1"),
            "dilation": (1, "wrong where kernels are dilated"),
            "nothing": (1, "a stack without layers sees 1 pixel with stride 1"),
        },
        field_cases, field,
        {
            "each layer adds kernel - 1 steps, and you added kernel":
                lambda layers: walk(dilated(layers), add=lambda k, d: d * k)[:2],
            "a step is as long as the strides *before* the layer make it; you took the layer's own stride in":
                lambda layers: walk(dilated(layers), jump_after=True)[:2],
            "you went through the layers from the output side; they come input side first":
                lambda layers: walk(dilated(layers[::-1]))[:2],
            "you left the dilation out: it spreads a kernel over dilation * (kernel - 1) + 1 pixels":
                lambda layers: walk(dilated(layers), add=lambda k, d: k - 1)[:2],
            "a dilated kernel reaches over dilation * (kernel - 1) + 1 pixels, not over dilation * kernel":
                lambda layers: walk(dilated(layers), add=lambda k, d: d * k - 1)[:2],
            "you left the strides out of the size: behind a stride of 2 each step is 2 pixels long":
                lambda layers: (1 + sum(d * (k - 1) for k, _, d in layers), walk(dilated(layers))[1]),
            "strides multiply, and you added them":
                lambda layers: (field(layers)[0], sum(s for _, s, _ in layers) or 1),
            "you gave the field of the last layer alone":
                lambda layers: walk(dilated(layers[-1:]))[:2],
            SIZE_FIRST: lambda layers: field(layers)[::-1],
        },
        slight=("nothing",), credit={SIZE_FIRST: 2},
    ),
    Exercise(
        "window", "Exercise 3, what a unit sees of the picture", "window",
        {
            "inside": (2, "wrong for units whose window lies inside the picture"),
            "left": (1, "wrong where a window begins outside of the picture"),
            "right": (1, "wrong where a window ends outside of the picture"),
        },
        window_cases, window,
        {
            JUMPS: lambda layers, unit, side: window(layers, unit, side, jumps=False),
            INCLUSIVE:
                lambda layers, unit, side: window(layers, unit, side, last=1),
            "the window is not clipped to the picture":
                lambda layers, unit, side: window(layers, unit, side, clip=False),
            "the last pixel of a picture is side - 1":
                lambda layers, unit, side: (
                    window(layers, unit, side)[0], min(window(layers, unit, side, clip=False)[1], side)),
            "you left the padding out":
                lambda layers, unit, side: window([(k, s, 0) for k, s, _ in layers], unit, side),
            "neighbouring windows lie stride pixels apart, and you took 1":
                lambda layers, unit, side: _slow_window(layers, unit, side),
            PIXELS: lambda layers, unit, side: window(layers, unit, side)[::-1],
        },
        credit={JUMPS: 1.5, INCLUSIVE: 2, PIXELS: 1.5},
    ),
    Exercise(
        "centre", "Exercise 4, find the error", "centre",
        {
            "odd": (1, "wrong even where the field has a middle pixel"),
            "even": (2, "wrong where the field has an even size: its middle lies between two pixels"),
        },
        centre_cases, centre,
        {
            "whole-number division drops the half pixel of an even field": faulty_centre,
            "the middle of pixels 0 to size - 1 is (size - 1) / 2, not size / 2":
                lambda layers, unit: centre(layers, unit, half=lambda size: size / 2),
            "rounded up, it is as wrong as rounded down: the middle may lie between two pixels":
                lambda layers, unit: centre(layers, unit, half=lambda size: size // 2),
            JUMPS: lambda layers, unit: centre(layers, unit, jumps=False),
            WHOLE: cut_centre,
            "you left the padding out":
                lambda layers, unit: centre([(k, s, 0) for k, s, _ in layers], unit),
        },
        mends=True, idle=lambda student: faulty_centre, credit={JUMPS: 1, WHOLE: 2},
    ),
]  # fmt: skip


def _slow_window(layers, unit, side):
    size, _, padding = walk(padded(layers))
    return max(unit - padding, 0), min(unit - padding + size - 1, side - 1)


BY_HAND = [
    ByHand(
        "explain_01", "Exercise 5, explain", 3,
        "1 point: beyond the edge a unit's window lies on padding, that is on zeros (or: a crop is padded with zeros, "
        "the whole picture has real pixels there). 1 point: so the field may be larger than the picture, and a "
        "unit of the same layer sees more on a larger picture. 1 point: the field says what *may* matter; the "
        "pixels in the middle matter most, since most ways through the layers lead there.",
    )
]  # fmt: skip
