"""Visible checks of notebooks/assignments/03_blocks, and the configuration that each student builds."""

import contextlib
from collections.abc import Callable

from vgglib.exercises.assignment_01 import (
    FIELD,
    NO_ID,
    alone,
    dice,
    missing,
    nobodys,
    not_yet,
    nothing_returned,
    number_verdict,
    read_later,
)
from vgglib.teaching import Verdict

POOL = "MaxPool2d 2, stride 2"


class MyTable(list[list[tuple[int, int]]]):
    """Blocks of layers (kernel, channels), input side first, and a picture's side; prints like a column of Table 1."""

    side: int = 0
    hint = NO_ID

    def __repr__(self) -> str:
        if not self:
            return self.hint
        lines = [f"input: {self.side}x{self.side} pixels, 3 channels"]
        for block in self:
            lines += [f"conv{kernel}-{channels}" for kernel, channels in block] + ["maxpool"]
        return "\n".join(lines)


def my_table(student: object) -> MyTable:
    """Return the configuration that this student builds; an empty one while ``student`` is ``...``."""
    table = MyTable()
    if nobodys(table, student):
        return table
    chance = dice(student, "assignment 03")
    channels = sorted(chance.sample([12, 20, 24, 28, 36, 40, 48, 56, 72, 88], 4))
    for width, count in zip(channels, chance.sample([1, 2, 3, 4], 4), strict=True):
        table.append([(3, width)] * count)
    longest = max(table, key=len)
    longest[-1] = (1, longest[-1][1])
    other = chance.choice([block for block in table if block is not longest])
    other[0] = (5, other[0][1])
    table.side = 16 * chance.choice([5, 6, 7, 9, 10, 11])
    return table


def check_mine(student: object, mine: object) -> Verdict:
    """Return the verdict on a student's own configuration as a string in the book's notation."""
    table = my_table(student)
    if not table or mine is ...:
        return not_yet(table)
    from vgglib.configurations import layers, names

    try:
        stack = layers(mine)
    except ValueError as error:
        return Verdict("failed", str(error))
    wanted = []
    for block in table:
        wanted += [("conv", kernel, channels) for kernel, channels in block] + [("pool", 2, None)]
    called = names(stack)
    for n, (kind, kernel, channels) in enumerate(wanted):
        if n >= len(stack):
            return Verdict("failed", f"your network ends after {called[-1]}; a {kind} should follow")
        got = stack[n]
        if (got.kind, got.kernel, got.channels) != (kind, kernel, channels):
            shown = "a pooling" if kind == "pool" else f"conv{kernel}-{channels}"
            yours = "a pooling" if got.kind == "pool" else f"conv{got.kernel}-{got.channels}"
            return Verdict("failed", f"layer {n + 1} should be {shown}, yours is {yours}")
    if len(stack) > len(wanted):
        return Verdict(
            "failed", f"your network has {len(stack)} layers, poolings included, and {len(wanted)} are asked for"
        )
    return Verdict("passed", f"all {len(wanted)} layers agree")


def check_by_hand(student: object, my_side: object, my_inputs: object, my_block: object) -> Verdict:
    """Return the verdict on three numbers of a student's own network."""
    table = my_table(student)
    if not table or all(given is ... for given in (my_side, my_inputs, my_block)):
        return not_yet(table)
    side, last = table.side // 16, table[-1][-1][1]
    before, block = table[0][-1][1], 0
    for kernel, channels in table[1]:
        block += (kernel * kernel * before + 1) * channels
        before = channels
    four = "there are four poolings"
    answers = {
        "my_side": (my_side, side, {table.side // 8: four, table.side // 32: four}),
        "my_inputs": (my_inputs, side * side * last, {
            side * last: "a map has an area", side * side: "that is one channel of the last map",
            side * side * 3: "the last map has more channels than the picture",
        }),
        "my_block": (my_block, block, {block - sum(channels for _, channels in table[1]): "that is without biases"}),
    }  # fmt: skip
    for name, (given, right, slips) in answers.items():
        if given is ...:
            return missing(name, [*answers])
        verdict = number_verdict(given, right, slips)
        if verdict.status != "passed":
            return Verdict(verdict.status, f"{name}: {verdict.text}")
    return Verdict("passed", "all three agree")


@alone
def check_block(attempt: Callable) -> Verdict:
    """Return the verdict on a function that builds one block."""
    for arguments in ((1, 3, 8, 3), (2, 3, 8, 3), (3, 6, 4, 5)):
        verdict = _check_network(attempt, "block", arguments, _block(*arguments), arguments[1])
        if verdict.status != "passed":
            return verdict
    return Verdict("passed", "block: 3 cases agree")


@alone
def check_build(attempt: Callable) -> Verdict:
    """Return the verdict on a function that builds the convolutional part of a network from its notation."""
    cases = {
        ("8 |", 3): _block(1, 3, 8, 3),
        ("8 8 | 12/5 |", 3): [*_block(2, 3, 8, 3), *_block(1, 8, 12, 5)],
        ("8 | 12 6/1", 4): [*_block(1, 4, 8, 3), *_block(1, 8, 12, 3)[:-1], *_block(1, 12, 6, 1)[:-1]],
    }
    for arguments, wanted in cases.items():
        verdict = _check_network(attempt, "build", arguments, wanted, arguments[1])
        if verdict.status != "passed":
            return verdict
    return Verdict("passed", f"build: {len(cases)} cases agree")


def _block(num_convs: int, in_channels: int, out_channels: int, kernel: int) -> list[str]:
    """Return the layers of a block in words."""
    found = []
    for before in [in_channels] + [out_channels] * (num_convs - 1):
        found += [f"Conv2d {before} to {out_channels}, kernel {kernel}, padding {kernel // 2}", "ReLU"]
    return [*found, POOL]


def _check_network(attempt: Callable, name: str, arguments: tuple, wanted: list[str], channels: int) -> Verdict:
    """Return the verdict on one network that was built; its layers are compared in words."""
    import torch
    from torch import nn

    call = f"{name}({', '.join(map(repr, arguments))})"
    try:
        net = attempt(*arguments)
    except NotImplementedError:
        net = ...
    except Exception as error:
        return Verdict("failed", f"{call} raised {type(error).__name__}: {error}")
    if net is ...:
        return Verdict("todo", f"{name}: not attempted yet")
    if net is None:
        return nothing_returned(attempt, name, call)
    if not isinstance(net, nn.Sequential):
        return Verdict("failed", f"{call} should be an nn.Sequential, yours is a {type(net).__name__}")
    with torch.no_grad(), contextlib.suppress(Exception):
        net(torch.zeros(2, channels, 12, 16))  # a lazy layer learns its channels; what fails is told below
    got = [_in_words(layer) for layer in flat(net)]
    for n, (mine, right) in enumerate(zip(got, wanted, strict=False), start=1):
        if mine != right:
            return Verdict("failed", f"{call}: layer {n} should be {right}, yours is {mine}")
    if len(got) != len(wanted):
        return Verdict("failed", f"{call} should have {len(wanted)} layers, yours has {len(got)}")
    convs = [layer for layer in flat(net) if isinstance(layer, nn.Conv2d)]
    if len(set(map(id, convs))) < len(convs):
        return Verdict("failed", f"{call}: one convolution stands in it twice; each layer needs weights of its own")
    pools = wanted.count(POOL)
    size = 12 >> pools, 16 >> pools
    try:
        with torch.no_grad():
            shape = tuple(net(torch.zeros(2, channels, 12, 16)).shape)
    except Exception as error:
        return Verdict("failed", f"{call} fails on a picture: {type(error).__name__}: {error}")
    if shape[2:] != size:
        return Verdict("failed", f"{call} should make a map of 12x16 {size[0]}x{size[1]}, yours gave shape {shape}")
    return Verdict("passed", name)


def flat(net: object) -> list:
    """Return the layers of a network of Sequentials in order, one that stands in it twice twice."""
    from torch import nn

    children = list(net) if isinstance(net, nn.Sequential) else []
    return [layer for child in children for layer in flat(child)] if children else [net]


def _in_words(layer: object) -> str:
    """Return a layer in words; what is usual in the book, such as stride 1 and biases, is not said."""
    name = type(layer).__name__
    if name == "Conv2d":
        kernel, padding = _side(layer.kernel_size), layer.padding
        if isinstance(padding, str):
            padding = [size // 2 if padding == "same" else 0 for size in layer.kernel_size]
        text = f"Conv2d {layer.in_channels} to {layer.out_channels}, kernel {kernel}, padding {_side(padding)}"
        unusual = {
            "stride": _side(layer.stride) != 1,
            "dilation": _side(layer.dilation) != 1,
            "groups": layer.groups != 1,
        }
        text += "".join(f", {what} {_side(getattr(layer, what))}" for what, there in unusual.items() if there)
        return text if layer.bias is not None else f"{text}, without biases"
    if name == "MaxPool2d":
        text = f"MaxPool2d {_side(layer.kernel_size)}, stride {_side(layer.stride)}"
        unusual = {
            "padding": _side(layer.padding) != 0,
            "dilation": _side(layer.dilation) != 1,
            "ceil_mode": layer.ceil_mode,
        }
        return text + "".join(f", {what} {_side(getattr(layer, what))}" for what, there in unusual.items() if there)
    return name


def _side(size: object) -> object:
    """Return 3 for 3 and (3, 3), and "3x5" for (3, 5)."""
    both = tuple(size) if isinstance(size, list | tuple) else (size, size)
    return both[0] if both[0] == both[-1] else "x".join(map(str, both))


def check_explanation(answer: object) -> Verdict:
    """Return the verdict on the length and the topics of an explanation; a person grades what it says."""
    ideas = {
        "the receptive field": (*FIELD, "context"),
        "the 1x1 layers": (
            "1(?: | ?(?:[x×]|by|\\\\times) ?)1\\b",
            "one by one",
            "point ?wise",
            "(?:kernel|filter|size|side)s? (?:of |with )?(?:(?:a )?(?:size|side|width) )?(?:of )?(?:1|one)\\b",
        ),
    }
    return read_later(answer, ideas, "four to eight", at_least=40)
