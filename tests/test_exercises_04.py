"""The checks of chapter 04: they pass what is right, wait for the untouched stub, and name what is wrong."""

import itertools
import re
from pathlib import Path

import nbformat
import pytest
import torch
from torch import nn

from vgglib.configurations import TABLE_1, layers
from vgglib.cost import cost
from vgglib.exercises import chapter_04
from vgglib.model import VGG

CELLS = nbformat.read(Path(__file__).parent.parent / "notebooks" / "04_blocks_and_configurations.ipynb", 4).cells


def attempt(name, source):
    """Return what a cell, or a folded solution, binds to a name."""
    scope = {"nn": nn, "torch": torch}
    exec(source, scope)
    return scope[name]


def stub(name):
    begins = re.compile(rf"(?m)^(def {name}\(|{name} = )")
    (source,) = [cell.source for cell in CELLS if cell.cell_type == "code" and begins.search(cell.source)]
    return attempt(name, source)


def solution(name):
    folds = re.findall(
        r"Solution and why</summary>\s+```python\n(.*?)```", "\n".join(cell.source for cell in CELLS), re.S
    )
    (source,) = [fold for fold in folds if re.search(rf"(?m)^(def {name}\(|{name} = )", fold)]
    return attempt(name, source)


CHECKS = {
    "block_4": chapter_04.check_block_parameters,
    "share": chapter_04.check_share,
    "conv5_2": chapter_04.check_macs,
    "column": chapter_04.check_column,
    "repaired_block": chapter_04.check_repaired_block,
    "answer": chapter_04.check_explanation,
}


@pytest.mark.parametrize("name", CHECKS)
def test_untouched_stub_waits(name):
    verdict = CHECKS[name](stub(name))
    assert (verdict.status, str(verdict)) == ("todo", "⏳ not attempted yet")


@pytest.mark.parametrize("name", ["block_4", "share", "conv5_2", "column", "repaired_block"])
def test_folded_solution_passes(name):
    verdict = CHECKS[name](solution(name))
    assert verdict.status == "passed", verdict


# --- compute --------------------------------------------------------------------------------------------------------


def test_block_4_is_that_of_the_network():
    block = VGG("C", image_size=32, hidden=1).blocks[3]
    assert chapter_04.check_block_parameters(sum(weight.numel() for weight in block.parameters())).status == "passed"


FIRST, SECOND, ONE = (9 * 256 + 1) * 512, (9 * 512 + 1) * 512, (512 + 1) * 512
WEIGHTS = 9 * 256 * 512 + 9 * 512 * 512 + 512 * 512
WRONG_BLOCKS = {
    "no biases": (WEIGHTS, "bias"),
    "one bias a layer": (WEIGHTS + 3, "each output channel"),
    "a bias vector missing": (FIRST + SECOND + ONE - 512, "one of the three layers"),
    "two bias vectors missing": (FIRST + SECOND + ONE - 1024, "two of the three layers"),
    "in millions": (3.802624, "exact number"),
    "in millions, rounded": (3.803, "exact number"),
    "in thousands": (3802.624, "exact number"),
    "rounded": (3.8e6, "exact number"),
    "512 channels into all three": (2 * SECOND + ONE, "256"),
    "256 channels into all three": (2 * FIRST + 257 * 512, "512"),
    "256 channels into the 1x1 layer": (FIRST + SECOND + 257 * 512, "1x1"),
    "the 1x1 layer forgotten": (FIRST + SECOND, "A and B"),
    "block 4 of D": (FIRST + 2 * SECOND, "of D"),
    "the first layer forgotten": (SECOND + ONE, "missing"),
    "kernels of one input channel": (2 * (9 + 1) * 512 + (1 + 1) * 512, "input channels"),
    "a word": ("many", "not it"),
}


@pytest.mark.parametrize("mistake", WRONG_BLOCKS)
def test_wrong_block_is_explained(mistake):
    answer, reason = WRONG_BLOCKS[mistake]
    verdict = chapter_04.check_block_parameters(answer)
    assert verdict.status == "failed"
    assert reason in verdict.text


def of_conv5_2(image_size):
    """Return the MACs that cost() counts for D's conv5_2, which torchvision and cost() call features.26."""
    with torch.device("meta"):
        rows = cost(VGG("D", image_size=image_size), image_size)
    (row,) = [row for row in rows if row.name == "features.26"]
    return row.macs


def test_no_layer_outside_of_block_5_costs_as_much():
    with torch.device("meta"):
        rows = cost(VGG("D", image_size=384), 384)
    alike = [row.name for row in rows if row.macs == of_conv5_2(384)]
    assert alike == ["features.24", "features.26", "features.28"]


@pytest.mark.parametrize("kind", [int, float])
def test_macs_are_those_of_the_network(kind):
    assert chapter_04.check_macs(kind(of_conv5_2(384))).status == "passed"


MACS = 9 * 512 * 512 * 24 * 24
WRONG_MACS = {
    "after pool5": (9 * 512 * 512 * 12 * 12, "12 wide"),
    "after three poolings": (9 * 512 * 512 * 48 * 48, "48 wide"),
    "of block 3": (9 * 256 * 256 * 96 * 96, "48 wide"),
    "after two poolings": (9 * 512 * 512 * 96 * 96, "96 wide"),
    "no pooling": (9 * 512 * 512 * 384 * 384, "384 wide"),
    "at 224 pixels": (of_conv5_2(224), "that is for a picture of 224"),
    "scaled by the side": (of_conv5_2(224) * 384 // 224, "in height and in width"),
    "FLOPs": (2 * MACS, "FLOPs"),
    "with the biases": (MACS + 512 * 24 * 24, "biases"),
    "256 input channels": (9 * 256 * 512 * 24 * 24, "256"),
    "no window": (512 * 512 * 24 * 24, "window"),
    "one input channel": (9 * 512 * 24 * 24, "all 512 input channels"),
    "weights": (9 * 512 * 512, "weights"),
    "parameters": ((9 * 512 + 1) * 512, "parameters"),
    "one row": (9 * 512 * 512 * 24, "rows"),
    "in billions": (1.359, "exact number"),
    "in billions, exactly": (torch.tensor(1.358954496, dtype=torch.float64), "exact number"),
    "rounded": (1.36e9, "exact number"),
    "another number": (1.4e9, "is not it"),
}


@pytest.mark.parametrize("mistake", WRONG_MACS)
def test_wrong_macs_are_explained(mistake):
    answer, reason = WRONG_MACS[mistake]
    verdict = chapter_04.check_macs(answer)
    assert verdict.status == "failed"
    assert reason in verdict.text


FC6, FC, E, D, A = 102_764_544, 123_642_856, 143_667_240, 138_357_544, 132_863_336


@pytest.mark.parametrize("answer", [71.5, 71.53, 100 * FC6 / E])
def test_share_passes_with_more_decimals(answer):
    assert chapter_04.check_share(answer).status == "passed"


WRONG_SHARES = {
    "a fraction": (FC6 / E, "per cent"),
    "no decimal place": (72, "one decimal"),
    "of D": (100 * FC6 / D, "in D"),
    "of A": (100 * FC6 / A, "in A"),
    "all three layers": (100 * FC / E, "all three"),
    "fc6's parameters": (FC6, "what per cent"),
    "of fc7": (100 * (4096 + 1) * 4096 / E, "fc7"),
    "of the fully connected layers": (100 * FC6 / FC, "not of the network"),
    "upside down": (100 * E / FC6, "turn"),
    "by the convolutions": (100 * FC6 / (E - FC), "whole network"),
    "true": (True, "not it"),
    "text": ("71.5 %", "not it"),
}


@pytest.mark.parametrize("mistake", WRONG_SHARES)
def test_wrong_share_is_explained(mistake):
    answer, reason = WRONG_SHARES[mistake]
    verdict = chapter_04.check_share(answer)
    assert verdict.status == "failed"
    assert reason in verdict.text


# --- code -----------------------------------------------------------------------------------------------------------


def joined(blocks, pool="|", ones="/1", reverse=False, last=True):
    """Write blocks as an almost right solution would."""
    words = []
    for threes, small, channels in blocks:
        block = [f"{channels}"] * threes + [f"{channels}{ones}"] * small
        words += (block[::-1] if reverse else block) + ([pool] if pool else [])
    return " ".join(words if last or not pool else words[:-1])


def raises(*_arguments):
    raise KeyError("threes")


def bare_error(*_arguments):
    raise ValueError


WRONG_COLUMNS = {
    "no poolings": lambda blocks: joined(blocks, pool=""),
    "no pooling at the end": lambda blocks: joined(blocks, last=False),
    "1x1 layers as 3x3": lambda blocks: joined(blocks, ones=""),
    "1x1 layers first": lambda blocks: joined(blocks, reverse=True),
    "1x1 layers left out": lambda blocks: joined([(threes, 0, channels) for threes, _, channels in blocks]),
    "one 3x3 layer a block": lambda blocks: joined([(min(threes, 1), ones, c) for threes, ones, c in blocks]),
    "at most one 1x1 layer": lambda blocks: joined([(threes, min(ones, 1), c) for threes, ones, c in blocks]),
    "only the first block": lambda blocks: joined(blocks[:1]),
    "only Table 1's channels": lambda blocks: joined(
        [(t, o, 64 * 2 ** min(n, 3)) for n, (t, o, _) in enumerate(blocks)]
    ),
    "the multiplied number": lambda blocks: " ".join(f"{threes * channels} |" for threes, _, channels in blocks),
    "no spaces": lambda blocks: joined(blocks).replace(" ", ""),
    "commas": lambda blocks: joined(blocks).replace(" ", ", "),
    "torchvision's M": lambda blocks: joined(blocks, pool="M"),
    "a list": lambda blocks: joined(blocks).split(),
    "always C": lambda blocks: TABLE_1["C"],
    "prints and returns nothing": lambda blocks: None,
    "an empty string": lambda blocks: "",
    "an error": raises,
}


@pytest.mark.parametrize("mistake", WRONG_COLUMNS)
def test_wrong_column_is_rejected_with_its_call(mistake):
    verdict = chapter_04.check_column(WRONG_COLUMNS[mistake])
    assert verdict.status == "failed"
    assert "column([" in verdict.text


@pytest.mark.parametrize(
    ("mistake", "said"),
    [
        ("no poolings", "lacks the pooling at the end of the last block"),
        ("no pooling at the end", "lacks the pooling at the end of the last block: each block ends in |"),
        ("1x1 layers as 3x3", "has 3x3 layers only: a 1x1 layer is written with /1"),
        ("1x1 layers first", "has its 1x1 layers elsewhere"),
        ("1x1 layers left out", "has 2 where 3 convolutions should be"),
        ("one 3x3 layer a block", "has 1 where 2 convolutions should be"),
    ],
)
def test_wrong_column_is_explained(mistake, said):
    assert said in chapter_04.check_column(WRONG_COLUMNS[mistake]).text


def test_poolings_that_are_missing_or_elsewhere_are_explained():
    def lazy(blocks):
        return joined(blocks).replace(" |", "", 1) if len(blocks) > 1 else joined(blocks)

    assert "lacks poolings: each block ends in |" in chapter_04.check_column(lazy).text
    late = chapter_04.check_column(
        lambda blocks: "| " + joined(blocks, last=False) if len(blocks) > 1 else joined(blocks)
    )
    assert "has its poolings elsewhere: each block ends in one |" in late.text


def test_column_may_space_as_it_likes():
    assert chapter_04.check_column(lambda blocks: joined(blocks).replace("|", " |  ")).status == "passed"
    assert chapter_04.check_column(lambda blocks: joined(blocks).replace(" |", "|")).status == "passed"


def test_column_that_is_not_implemented_waits():
    def later(_blocks):
        raise NotImplementedError

    assert chapter_04.check_column(later).status == "todo"
    assert chapter_04.check_repaired_block(lambda *_channels: later(0)).status == "todo"


def test_column_check_holds_configurations_of_table_1():
    solved = solution("column")
    for name in "ABCDE":
        blocks = []
        for text in TABLE_1[name].rstrip(" |").split(" | "):
            words = text.split()
            ones = sum("/1" in word for word in words)
            blocks.append((len(words) - ones, ones, int(words[0])))
        assert layers(solved(blocks)) == layers(name)


# --- find the error -------------------------------------------------------------------------------------------------


POOL = (nn.MaxPool2d(2, 2),)


def built(kernels=(3, 3, 1), padding=None, relu=(True, True, True), pool=POOL, fixed=None, mode="zeros"):
    """Return a function that builds a block, right unless told otherwise."""

    def block(in_channels, out_channels):
        in_channels, out_channels = fixed or (in_channels, out_channels)
        modules, channels = [], in_channels
        for n, (kernel, active) in enumerate(zip(kernels, relu, strict=False)):
            side = kernel // 2 if padding is None else padding[n] if isinstance(padding, tuple) else padding
            conv = nn.Conv2d(channels, out_channels, kernel, padding=side, padding_mode=mode)
            modules += [conv, *([nn.ReLU()] if active else [])]
            channels = out_channels
        return nn.Sequential(*modules, *pool)

    return block


def chain(sizes, bias=True, after=nn.Identity, bend=nn.ReLU):
    """A function that builds a block of convolutions (in, out, kernel), each with a bend, and a pooling."""

    def build(i, o):
        parts = [(nn.Conv2d(a, b, k, padding=k // 2, bias=bias), bend(), after()) for a, b, k in sizes(i, o)]
        return nn.Sequential(*itertools.chain(*parts), nn.MaxPool2d(2))

    return build


WRONG_REPAIRS = {
    "unchanged: padding 1 everywhere": (built(padding=1), "(2, 8, 7, 11); print the side after each layer: which ones"),
    "padding 0 everywhere": (built(padding=0), "(2, 8, 4, 8); print the side after each layer: which ones"),
    "the 1x1 layer made 3x3": (built(kernels=(3, 3, 3)), "[3, 3, 1]"),
    "the 1x1 layer left out": (built(kernels=(3, 3)), "[3, 3, 1]"),
    "the 1x1 layer first": (built(kernels=(1, 3, 3)), "[3, 3, 1]"),
    "no pooling": (built(pool=()), "the max-pooling that ends the block is missing: ("),
    "two poolings": (built(pool=(nn.MaxPool2d(2, 2), nn.MaxPool2d(2, 2))), "should become"),
    "average pooling": (built(pool=(nn.AvgPool2d(2, 2),)), "max-pooling"),
    "a crop in place of the repair": (built(padding=1, pool=(nn.AdaptiveMaxPool2d((6, 10)),)), "paddings of [1, 1, 1]"),
    "a cut in place of the repair": (built(padding=1, pool=(nn.ZeroPad2d((0, -1, 0, -1)), *POOL)), "[1, 1, 1]"),
    "a pooling in place of the repair": (built(padding=1, pool=(nn.MaxPool2d(3, 2),)), "[1, 1, 1]"),
    "paddings that make up for each other": (built(padding=(1, 0, 1)), "with paddings of [1, 0, 1]"),
    "paddings by other names": (built(padding=("same", "valid", 1)), "with paddings of ['same', 'valid', 1]"),
    "padding with reflected values": (built(mode="reflect"), "pads with zeros, yours has padding_mode='reflect'"),
    "overlapping pooling": (built(pool=(nn.MaxPool2d(3, 2, 1),)), "max-pooling"),
    "no ReLU after the 1x1 layer": (built(relu=(True, True, False)), "ReLU"),
    "no ReLU at all": (built(relu=(False, False, False)), "ReLU"),
    "fixed channels": (built(fixed=(3, 8)), "have 6 channels, yours have [8, 8, 8]"),
    "narrow to the end": (chain(lambda i, o: [(i, i, 3), (i, o, 3), (o, o, 1)]), "channels, yours have"),
    "wide in the middle": (chain(lambda i, o: [(i, 2 * o, 3), (2 * o, o, 3), (o, o, 1)]), "channels, yours have"),
    "no biases": (chain(lambda i, o: [(i, o, 3), (o, o, 3), (o, o, 1)], bias=False), "biases"),
    "dropout": (chain(lambda i, o: [(i, o, 3), (o, o, 3), (o, o, 1)], after=nn.Dropout), "no Dropout"),
    "a ReLU with a lid": (chain(lambda i, o: [(i, o, 3), (o, o, 3), (o, o, 1)], bend=nn.ReLU6), "ReLU"),
    "channels never updated": (
        lambda i, o: nn.Sequential(
            nn.Conv2d(i, o, 3, padding=1), nn.ReLU(), nn.Conv2d(i, o, 3, padding=1), nn.ReLU(), nn.Conv2d(i, o, 1),
            nn.ReLU(), nn.MaxPool2d(2, 2),
        ),
        "raised",
    ),
    "a list of layers": (lambda i, o: list(built()(i, o)), "nn.Sequential"),
    "returns nothing": (lambda i, o: None, "nn.Sequential"),
    "an error": (raises, "KeyError"),
    "an error without a message": (bare_error, "ValueError"),
}  # fmt: skip


@pytest.mark.parametrize("mistake", WRONG_REPAIRS)
def test_wrong_repair_is_rejected_with_its_reason(mistake):
    build, reason = WRONG_REPAIRS[mistake]
    verdict = chapter_04.check_repaired_block(build)
    assert verdict.status == "failed"
    assert reason in verdict.text


def test_the_same_block_by_another_hand_passes():
    right = chain(lambda i, o: [(i, o, 3), (o, o, 3), (o, o, 1)])
    assert chapter_04.check_repaired_block(right).status == "passed"


def test_the_faulty_block_of_the_chapter_is_rejected():
    (source,) = [cell.source for cell in CELLS if cell.source.startswith("def faulty_block")]
    function = source.split("\n\n")[0]
    verdict = chapter_04.check_repaired_block(attempt("faulty_block", function))
    assert verdict.status == "failed"
    assert "padding" not in verdict.text  # that is for the reader to find


def test_padding_may_be_a_layer_of_its_own():
    def block(i, o):
        pad = nn.ZeroPad2d(1)
        threes = [pad, nn.Conv2d(i, o, 3), nn.ReLU(), pad, nn.Conv2d(o, o, 3), nn.ReLU()]
        return nn.Sequential(*threes, nn.Conv2d(o, o, 1), nn.ReLU(), *POOL)

    assert chapter_04.check_repaired_block(block).status == "passed"


@pytest.mark.parametrize("inplace", [True, False])
def test_repair_may_be_written_out(inplace):
    def block(i, o):
        relu = nn.ReLU(inplace=inplace)
        threes = [nn.Conv2d(i, o, 3, padding=1), relu, nn.Conv2d(o, o, 3, padding="same"), relu]
        return nn.Sequential(nn.Sequential(*threes), nn.Conv2d(o, o, 1), relu, nn.MaxPool2d(2))

    assert chapter_04.check_repaired_block(block).status == "passed"


# --- explain --------------------------------------------------------------------------------------------------------


GOOD = [
    "There are four times as many output positions, and the same kernel is used at each of them.",
    "The kernel slides over 4 times the pixels, but its weights are shared, so no parameter is added.",
    "The kernel is applied at four times as many output positions, and no new weights are needed for that.",
    "There are 4x more windows to compute, but one kernel serves them all, whatever the image size.",
    "2*2 as many windows to multiply, while the kernel itself does not get bigger.",
    "In a fully connected layer the weights grow. A convolution uses one kernel at all 4x positions.",
    "The parameters depend on kernel and channels, not on the picture size; it slides over 4x the positions.",
    "The parameters depend on input and output channels and on the kernel, and 4x the positions share them.",
    "Each output channel has its own kernel, shared by all positions, of which there are four times as many.",
    "The weights multiply four times as many windows, and each weight is the same in all of them.",
    "The kernel needs no larger size and there are no more kernels, only four times as many positions.",
    "The kernel is moved over twice as many rows and twice as many columns. Its weights are reused.",
    "The number of output pixels doubles in each direction. The filter stays the same.",
    "The weights are four times more often used, at four times the places, and are the same at each.",
    "MACs = H*W*k*k*Cin*Cout, so 2H*2W gives 4 times. Parameters = k*k*Cin*Cout has no H or W in it.",
    "MACs are outputs times 9 times channels, and the outputs are four times more. The weights have no height and "
    "width in their formula.",
    "The parameters are k*k*Cin*Cout and contain neither H nor W, while the MACs are that number times H*W, and that "
    "grows fourfold",
    "H*W becomes 4*H*W, so four times the MACs. A kernel of 3x3xC does not know how large the picture is",
    "The filter is moved over the image, and its number of steps is quadrupled. The filter is not altered by this.",
    "A kernel is applied once for each pixel of the output, and there are now four times as many pixels. Its weights "
    "are learned once and used everywhere.",
    "The cost doubles with the height and doubles again with the width as there are more pixels; the filter bank is "
    "one and the same.",
    "Four times the places, each with the same kernel: it does not double the weights.",
    "No new filters are needed; the filter just takes four times as many steps over the picture.",
    "If the weights were not shared, there would be more of them. As it is, one kernel serves four times the places.",
    "In a fully connected layer the weights are not shared, here they are, at four times the positions.",
    "The layer learns one kernel for four times as many places, so the weights remain.",
    "No parameters are quadrupled, only the places are. The same weights work at each.",
    "The weights do not change at each place; there are four times as many places.",
    "It has four times the places, and does not need four times the weights.",
    "The number of weights stays the same, the number of places becomes four times as large.",
]
WRONG_WORDS = {
    "too short": "four positions share",
    "no weights": "The output map has four times as many pixels, so there is more work to do for it.",
    "no positions": "It is four times the work, since the weights are shared by everything that there is.",
    "no factor": "The same kernel is used at every position of the output, so the work grows and weights stay.",
    "a number": 4,
}


@pytest.mark.parametrize("text", GOOD)
def test_explanation_passes(text):
    assert chapter_04.check_explanation(text).status == "passed"


def test_folded_explanation_passes():
    text = "\n".join(cell.source for cell in CELLS if cell.cell_type == "markdown")
    (folded,) = re.findall(r"Solution and why</summary>\s+(The output map.*?)\s+</details>", text, re.S)
    assert chapter_04.check_explanation(folded).status == "passed"


@pytest.mark.parametrize("mistake", WRONG_WORDS)
def test_wrong_explanation_is_rejected(mistake):
    assert chapter_04.check_explanation(WRONG_WORDS[mistake]).status == "failed"


FALSE_CLAIMS = {
    "parameters depend on the picture": (
        "The number of parameters depends on the picture size, which is four times the area, and stays shared.",
        "no size of a picture",
    ),
    "weights grow": (
        "The same kernel slides over four times the positions, so the weights grow fourfold.",
        "same weights for every picture",
    ),
    "more parameters": (
        "There are four times as many positions for the same kernel, which needs four times as many parameters.",
        "same weights for every picture",
    ),
    "more weights": (
        "The places are four times more and the shared weights are also four times more.",
        "same weights for every picture",
    ),
    "new kernels": (
        "Four times the output: the convolution gets four new kernels, one for each area, the same as before.",
        "in number and in size",
    ),
    "larger kernels": (
        "It needs larger kernels, but the position count is four times smaller, so the same.",
        "in number and in size",
    ),
    "weights that are not shared": (
        "The weights are not shared between places, so four times more weights are needed at the same places.",
        "shares them between all places",
    ),
    "parameters depend on the pixels": (
        "The parameters depend on the pixels: four times the pixels need four times the parameters. "
        "The MACs are the same weights.",
        "same weights for every picture",
    ),
    "learned four times": (
        "The network learns the same weights four times, once at each place.",
        "learned once",
    ),
    "other weights at every pixel": (
        "All weights change at every pixel, so no weights are the same, and the work is four times.",
        "learned once",
    ),
    "as many places": (
        "The number of places stays the same, and the same weights are used four times at each place.",
        "the places that become more",
    ),
    "parameters are quadrupled": (
        "The parameters are quadrupled at every place but the same.",
        "same weights for every picture",
    ),
    "parameters are doubled": (
        "Doubling height and width doubles the parameters because the map doubles, the same kernel gives 2x2.",
        "same weights for every picture",
    ),
    "a kernel for each position": (
        "Each position has its own kernel, and there are four times as many; they stay the same in training.",
        "in number and in size",
    ),
}


@pytest.mark.parametrize("claim", FALSE_CLAIMS)
def test_false_claim_is_answered(claim):
    text, said = FALSE_CLAIMS[claim]
    verdict = chapter_04.check_explanation(text)
    assert verdict.status == "failed"
    assert said in verdict.text
