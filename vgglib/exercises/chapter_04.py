"""Checks of the exercises in notebooks/04_blocks_and_configurations.ipynb."""

import math
from collections.abc import Callable
from numbers import Number

import torch
from torch import nn
from torch.nn import functional

from vgglib.configurations import Layer, layers
from vgglib.teaching import Verdict, as_number, check_answer, check_words

TODO = Verdict("todo", "not attempted yet")


def check_block_parameters(answer: object) -> Verdict:
    """Return the verdict on the parameters of block 4 of configuration C: 256 channels in, 512 out, with biases."""
    parameters = (9 * 256 + 1) * 512 + (9 * 512 + 1) * 512 + (512 + 1) * 512
    mistakes = {
        3_801_088: "these are the weights; each output channel has a bias as well",
        3_801_091: "one bias for each layer; there is one for each output channel",
        3_801_600: "two of the three layers have no biases in it",
        3_802_112: "one of the three layers has no biases in it",
        4_982_272: "the first of the three layers sees 256 channels, not 512",
        2_491_904: "only the first layer sees 256 channels; the next two see 512",
        3_671_552: "the 1x1 layer sees the 512 channels of the layer before it, not 256",
        3_539_968: "the 1x1 layer is missing; without it this is the block of A and B",
        5_899_776: "that is block 4 of D; in C the last kernel is 1x1",
        2_622_464: "the first layer, from 256 to 512 channels, is missing",
        11_264: "each kernel reaches through all input channels, not one",
    }
    return check_answer(answer, parameters, mistakes | _in_short(answer, parameters))


def _in_short(answer: object, actual: int) -> dict[object, str]:
    """Return the reason for an answer that is the right one rounded, or in thousands, millions or billions."""
    number = as_number(answer)
    if isinstance(number, int | float):
        rounded = [float(f"{actual:.{digits}g}") for digits in range(2, 12)]
        if any(math.isclose(number * unit, one) for unit in (1, 1e3, 1e6, 1e9) for one in rounded):
            return {number: "rounded, or in another unit; write the exact number, all its digits"}
    return {}


def check_share(answer: object) -> Verdict:
    """Return the verdict on the share of fc6 in all parameters of E, in per cent with one decimal place."""
    mistakes = {
        0.7: "give it in per cent",
        72.0: "right to a whole per cent; give one decimal place",
        71.0: "that is cut off; give one decimal place",
        74.3: "that is the share in D; E is larger",
        86.1: "that is the share of all three fully connected layers",
        77.3: "that is the share in A",
        83.1: "that is its share of the fully connected layers, not of the network",
        139.8: "turn the fraction over",
        11.7: "that is the share of fc7",
        102_764_544.0: "that is how many parameters fc6 has; what per cent of all of E's is that?",
        513.2: "divide by the whole network, not by its convolutions alone",
    }
    answer = as_number(answer)
    plain = isinstance(answer, Number) and not isinstance(answer, bool | complex)
    if plain:
        rounded = round(float(answer), 1)
        mistakes = {answer: mistakes[rounded]} if rounded in mistakes else {}
        return check_answer(answer, answer if rounded == 71.5 else 71.5, mistakes)
    return check_answer(answer, 71.5, mistakes)


def check_macs(answer: object) -> Verdict:
    """Return the verdict on the MACs of conv5_2 in D for one picture of 384 pixels: 512 channels, maps 24 wide.

    Blocks 2 to 4 would not do: half the channels on maps twice as wide cost the same.
    """
    macs = 9 * 512 * 512 * 24 * 24
    mistakes = {
        macs // 4: "that is for maps 12 wide; pool5 comes after conv5_2",
        4 * macs: "that is for maps 48 wide; four poolings come before conv5_2",
        16 * macs: "that is for maps 96 wide; four poolings come before conv5_2",
        256 * macs: "that is for maps 384 wide; four poolings come before conv5_2",
        9 * 512 * 512 * 14 * 14: "that is for a picture of 224 pixels",
        9 * 512 * 512 * 14 * 14 * 384 // 224: "that is the number for 224 pixels times 384 / 224; the map grows in "
        "height and in width",
        2 * macs: "a MAC is one multiplication and one addition together; FLOPs count both",
        (9 * 512 + 1) * 512 * 24 * 24: "MACs leave the biases out",
        macs // 2: "conv5_2 sees the 512 channels of conv5_1, not 256",
        macs // 9: "each value is a sum over a 3x3 window",
        macs // 512: "each kernel reaches through all 512 input channels, and there are 512 of them",
        9 * 512 * 512: "these are the weights; each is used at every place of the map",
        (9 * 512 + 1) * 512: "these are the parameters; each weight is used at every place of the map",
        9 * 512 * 512 * 24: "a kernel has 24 rows of 24 places",
    }
    return check_answer(answer, macs, mistakes | _in_short(answer, macs))


DESCRIPTIONS = {  # blocks as (number of 3x3 layers, number of 1x1 layers after them, channels), and their layers
    ((1, 0, 64),): "64 |",
    ((2, 0, 48),): "48 48 |",
    ((1, 0, 8), (1, 0, 24)): "8 | 24 |",
    ((2, 1, 32),): "32 32 32/1 |",
    ((0, 2, 16), (3, 0, 40)): "16/1 16/1 | 40 40 40 |",
    ((1, 0, 64), (1, 0, 128), (2, 0, 256), (2, 0, 512), (2, 0, 512)): "A",
    ((2, 0, 64), (2, 0, 128), (2, 1, 256), (2, 1, 512), (2, 1, 512)): "C",
    ((2, 0, 64), (2, 0, 128), (4, 0, 256), (4, 0, 512), (4, 0, 512)): "E",
}


def check_column(attempt: Callable) -> Verdict:
    """Return the verdict on a function that writes blocks, given as tuples, in the notation of Table 1."""
    for blocks, expected in DESCRIPTIONS.items():
        call = f"column({list(blocks)})"
        try:
            got = attempt(list(blocks))
        except NotImplementedError:
            return TODO
        except Exception as error:
            return Verdict("failed", f"{call} raised {type(error).__name__}: {error}")
        if got is ...:
            return TODO
        if not isinstance(got, str):
            return Verdict("failed", f"{call} should be a string such as '64 64 | 128 |', yours gave {got!r}")
        try:
            stack = layers(got)
        except ValueError:
            return Verdict("failed", f"{call} gave {got!r}, which is not in the notation of Table 1")
        if stack != layers(expected):
            what = _what_differs(stack, layers(expected)) or "is not that"
            return Verdict("failed", f"{call} should stand for {_told(layers(expected))}; yours, {got!r}, {what}")
    return Verdict("passed", f"column: {len(DESCRIPTIONS)} descriptions agree, A, C and E among them")


def _what_differs(got: list[Layer], expected: list[Layer]) -> str:
    """Return which of the usual mistakes turns one stack into the other, as the end of a sentence, or nothing."""
    convolutions = [[layer for layer in stack if layer.kind == "conv"] for stack in (got, expected)]
    pools = [sum(layer.kind == "pool" for layer in stack) for stack in (got, expected)]
    if convolutions[0] == convolutions[1]:
        if pools[0] == pools[1] - 1 and got == expected[:-1]:
            return "lacks the pooling at the end of the last block: each block ends in |"
        if pools[0] < pools[1]:
            return "lacks poolings: each block ends in |"
        return "has its poolings elsewhere: each block ends in one |"
    words = [[(layer.kernel, layer.channels) for layer in some] for some in convolutions]
    if [channels for _, channels in words[0]] == [channels for _, channels in words[1]]:
        if sorted(words[0]) == sorted(words[1]):
            return "has its 1x1 layers elsewhere: they come after the 3x3 layers of their block"
        if {kernel for kernel, _ in words[0]} == {3}:
            return "has 3x3 layers only: a 1x1 layer is written with /1"
    if len(words[0]) != len(words[1]):
        return f"has {len(words[0])} where {len(words[1])} convolutions should be"
    return ""


def _told(stack: list[Layer]) -> str:
    """Return the layers in the paper's words."""
    return ", ".join("maxpool" if layer.kind == "pool" else f"conv{layer.kernel}-{layer.channels}" for layer in stack)


def check_repaired_block(attempt: Callable) -> Verdict:
    """Return the verdict on a function that builds a block of configuration C: two 3x3 layers, one 1x1, a pooling."""
    for channels in ((3, 8), (5, 6)):
        call = f"repaired_block{channels}"
        try:
            block = attempt(*channels)
            if block is ...:
                return TODO
            if not isinstance(block, nn.Module):
                return Verdict("failed", f"{call} should return an nn.Sequential, yours gave {type(block).__name__}")
            complaint = _complaint(block.double().eval(), *channels)
        except NotImplementedError:
            return TODO
        except Exception as error:
            return Verdict("failed", f"{call} raised {type(error).__name__}: {str(error).partition(chr(10))[0]}")
        if complaint:
            return Verdict("failed", f"{call}: {complaint}")
    return Verdict("passed", "repaired_block: the layers, the shapes and the values are those of configuration C")


def _complaint(block: nn.Module, in_channels: int, out_channels: int) -> str:
    """Return what is wrong with a block of configuration C, or nothing."""
    convolutions = [module for module in block.modules() if isinstance(module, nn.Conv2d)]
    kernels = [module.kernel_size[0] for module in convolutions]
    if kernels != [3, 3, 1]:
        return f"the kernels should be [3, 3, 1], yours are {kernels}"
    wide = [module.out_channels for module in convolutions]
    if wide != [out_channels] * 3:
        return f"all three layers of a block have {out_channels} channels, yours have {wide}"
    if any(module.bias is None for module in convolutions):
        return "each convolution of the paper has biases"
    others = [type(module).__name__ for module in block.modules() if isinstance(module, nn.Dropout | nn.BatchNorm2d)]
    if others:
        return f"a block of the paper has no {others[0]}"
    X = 100 * (torch.rand(2, in_channels, 12, 20, generator=torch.Generator().manual_seed(0)).double() - 0.5)
    with torch.no_grad():
        got = block(X.clone())
        if tuple(got.shape) != (2, out_channels, 6, 10):
            sizes = f"{tuple(X.shape)} should become (2, {out_channels}, 6, 10), yours became {tuple(got.shape)}"
            if not any(isinstance(module, nn.MaxPool2d | nn.AdaptiveMaxPool2d) for module in block.modules()):
                return f"the max-pooling that ends the block is missing: {sizes}"
            return f"{sizes}; print the side after each layer: which ones change it, besides the pooling?"
        expected = X
        for module in convolutions:
            side = module.kernel_size[0] // 2
            expected = functional.conv2d(expected, module.weight, module.bias, padding=side).relu()
        if not torch.allclose(got, functional.max_pool2d(expected, 2)):
            return _of_other_values(convolutions)
    return ""


def _of_other_values(convolutions: list[nn.Conv2d]) -> str:
    """Return why a block whose output has the right shape holds other values than one of configuration C."""
    for module in convolutions:
        if module.padding_mode != "zeros":
            return f"the paper pads with zeros, yours has padding_mode={module.padding_mode!r}"
    paddings = [module.padding if isinstance(module.padding, str) else module.padding[0] for module in convolutions]
    if any(padding not in ("same", side) for padding, side in zip(paddings, (1, 1, 0), strict=True)):
        return (
            f"the shape is right, but with paddings of {paddings} not every convolution keeps the side: something else "
            "makes up for it. Repair the layer itself"
        )
    return "the shape is right, the values are not: a ReLU follows each convolution, then one 2x2 max-pooling"


_NOT = r"\b(no|not|none|nothing|never|neither|nor|zero|cannot|without|instead of|rather than|would)\b|n['’]t\b"
_ELSEWHERE = r"\bfc ?\d|\b(fully|linear|dense|unlike|nor|never)\b"
_OTHERWISE = _NOT + "|" + _ELSEWHERE
_WEIGHTS = "(weights?|parameters?|kernels?|filters?)"


def check_explanation(answer: object) -> Verdict:
    """Return the verdict on why a picture of twice the side costs four times the MACs, and no convolution weights."""
    ideas = {
        "the places at which a kernel is used": (
            r"position|place|spot|rows|columns|pixel|location|output|maps?\b|slid|spatial|area|window|grid|resolution",
            r"everywhere|unit|appl|times as (many|often)|steps?\b|moved|\d?h [x×·]? ?\d?w\b",
        ),
        "the same weights being used again": (
            r"(not|n t|t) (be )?(change|grow|increase|alter|need)|constant|remain|neither|not know",
            r"no (h or w|height|width)\b",
            "same|shar|re ?us|again|depend|independent|regardless|identical|fixed|only on|kernel size",
            "does ?n? ?o?t? care|never|unchanged|stay|(learned|stored) once|used everywhere",
            rf"(no|zero|without) (new |more |extra |further |additional |other )*{_WEIGHTS}\b",
            r"(one|a single) (kernel|filter|set of weights)\b(?! (for|per)\b)|whatever",
            r"(each|every) (kernel|filter|weight) is\b",
            "(not|n t|t) get (any )?(bigger|larger)|no (bigger|larger)",
        ),
        "the factor four": (
            r"2 ?[x×·^ ] ?2|doubl(e|es|ed|ing) again",
            "four|4|quadrupl|2 ?[*x×·^] ?2|2²|twice as many rows|twice the rows|squar",
            "doubl(e|es|ed|ing) (in|along) (both|each)|both (directions|sides|dimensions|axes)|both height and width",
            "height and width",
        ),
    }
    return check_words(answer, ideas, against=_FALSE)


_FALSE = (  # what is claimed, what makes it no such claim, and what to answer
    (
        rf"\b{_WEIGHTS} (count |size |also |themselves |itself |then |must |will |have to |has to )*"
        "(grow|quadruple|increase|(get|become|are|is)s? (larger|bigger))"
        rf"|\b{_WEIGHTS} (is|are) (also |then |now |themselves )*(four|4) times "
        r"(more|larger|bigger|as (many|much|large|big))\b(?! (often|times|used))"
        rf"|\b(four times|4 ?x|more|extra|additional) (as many |more )?(weights|parameters|kernels|filters)\b"
        rf"|\b(needs? (four|4) times|(doubl|quadrupl)(e|es|ed|ing)) (the |its )?{_WEIGHTS}\b",
        _OTHERWISE,
        "a convolution has the same weights for every picture: count the places at which it uses them",
    ),
    (
        rf"(?<!no )\b{_WEIGHTS} (is|are) (quadrupled|not (shared|the same|reused))",
        _ELSEWHERE,
        "a convolution has the same weights for every picture, and shares them between all places",
    ),
    (
        r"\b(no|different) (weights|kernels|filters) are (the same|shared)|\bweights change at (every|each)"
        r"|\blearns? (\w+ ){0,3}(four|4) times, |\bplaces (stays?|is|are|remains?) the same\b",
        _ELSEWHERE,
        "the kernel is learned once, and used at each place: it is the places that become more",
    ),
    (
        r"\b(weights?|parameters?)\b( \w+)? depends? (\w+ )?(up)?on (the )?(size of the )?"
        "(picture|image|resolution|pixels|input (size|side|picture|image|resolution))",
        _OTHERWISE,
        "a convolution has kernel x kernel weights for each pair of channels: no size of a picture stands there",
    ),
    (
        r"\b(four|4|more|new|larger|bigger) (new |other |more |different )?(kernels|filters)\b"
        r"|\b(position|pixel|place|area)s? (has|have|gets?|needs?|uses?) (\w+ ){0,2}"
        r"(own|different|new|separate) (\w+ )?(kernel|filter|weight|parameter)",
        _OTHERWISE,
        "the kernels stay as they are, in number and in size: count the places at which one is used",
    ),
)
