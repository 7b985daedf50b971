"""Wrong answers to assignment 03: (cell, source or function of the student's id, points, words of the feedback)."""

from vgglib.exercises.assignment_03 import my_table

HAND = "by_hand_answer_03"


def mine(change=lambda blocks: blocks, word=lambda k, c: f"{c}" if k == 3 else f"{c}/{k}", between=" | ", end=" |"):
    """Return the answer cell of one student, with or without a mistake."""

    def cell(student):
        blocks = change([list(block) for block in my_table(student)])
        return f"mine = {between.join(' '.join(word(*layer) for layer in block) for block in blocks) + end!r}"

    return cell


def by_hand(poolings=4, inputs="side * side * last", bias=1, seen="first"):
    """Return the answer cell of one student, worked out with or without a mistake."""

    def cell(student):
        table = my_table(student)
        names = dict(
            side=table.side // 2**poolings, last=table[-1][-1][1], first=table[0][-1][1], second=table[1][0][1]
        )
        before, total = names[seen], 0
        for kernel, after in table[1]:
            total, before = total + (kernel * kernel * before + bias) * after, after
        return f"my_side, my_inputs, my_block = {names['side']}, {eval(inputs, {}, names)}, {total}"

    return cell


def block(conv="nn.Conv2d(in_channels, out_channels, kernel, padding=kernel // 2)", follow="in_channels = out_channels",
          relu="nn.ReLU()", pool="nn.MaxPool2d(2)", end=""):  # fmt: skip
    return f"""
from torch import nn
def block(num_convs, in_channels, out_channels, kernel):
    layers = []
    for _ in range(num_convs):
        layers += [{conv}, {relu}]
        {follow}
    {end}
    return nn.Sequential(*layers, {pool})
"""


def build(
    kernel="int(kernel or 3)", padding="kernel // 2", first="", end="", words='notation.replace("|", " | ").split()'
):
    return f"""
from torch import nn
def build(notation, in_channels):
    layers = []
    {first}
    for word in {words}:
        if word == "|":
            layers.append(nn.MaxPool2d(2))
            continue
        channels, _, kernel = word.partition("/")
        kernel = {kernel}
        layers += [nn.Conv2d(in_channels, int(channels), kernel, padding={padding}), nn.ReLU()]
        in_channels = int(channels)
    {end}
    return nn.Sequential(*layers)
"""


SHARED = """
from torch import nn
def block(num_convs, in_channels, out_channels, kernel):
    conv = nn.Conv2d(out_channels, out_channels, kernel, padding=kernel // 2)
    first = nn.Conv2d(in_channels, out_channels, kernel, padding=kernel // 2)
    layers = [first, nn.ReLU()] + [conv, nn.ReLU()] * (num_convs - 1)
    return nn.Sequential(*layers, nn.MaxPool2d(2))
"""
OWN = """
from torch import nn
class Block(nn.Module):
    def __init__(self, *sizes):
        super().__init__()
        self.conv = nn.Conv2d(sizes[1], sizes[2], sizes[3])
    def forward(self, X):
        return self.conv(X)
def block(num_convs, in_channels, out_channels, kernel):
    return Block(num_convs, in_channels, out_channels, kernel)
"""
WRAPPED = """
class Block(nn.Module):
    def __init__(self, net):
        super().__init__()
        self.net = net
    def forward(self, X):
        return self.net(X)
plain = block
def block(*sizes):
    return Block(plain(*sizes))
"""
WRONG = {
    "mine": {
        "3x3 everywhere": ("mine_answer", mine(word=lambda k, c: f"{c}"), 2, "behind a slash"),
        "no pooling at the end": ("mine_answer", mine(end=""), 2, "the last one too"),
        "from the output side": ("mine_answer", mine(lambda b: [x[::-1] for x in b[::-1]]), 0, "input side first"),
        "each block once": ("mine_answer", mine(lambda b: [x[:1] for x in b]), 0, "wrote each block once"),
        "no poolings": ("mine_answer", mine(between=" ", end=""), 2, "poolings are missing"),
        "no notation": ("mine_answer", mine(word=lambda k, c: f"conv{k}-{c}"), 0, "not those of your table"),
        "a list": ("mine_answer", lambda student: "mine = [(2, 64), (2, 128)]", 0, "not those of your table"),
        "a neighbour's": ("mine_answer", lambda student: mine()("berta"), 0, "not those of your table"),
    },
    "by_hand_03": {
        "five poolings": (HAND, by_hand(poolings=5), 1, "not five"),
        "three poolings": (HAND, by_hand(poolings=3), 1, "not three"),
        "a side for an area": (HAND, by_hand(inputs="side * last"), 2, "a map has an area"),
        "the picture's channels": (HAND, by_hand(inputs="side * side * 3"), 2, "channels of the last block"),
        "without biases": (HAND, by_hand(bias=0), 2, "left the biases out"),
        "one channel, and without biases": (
            HAND,
            by_hand(inputs="side * side", bias=0),
            1,
            "you took one; you left the biases out",
        ),
        "block 2 sees itself": (HAND, by_hand(seen="second"), 2, "sees the channels of block 1"),
    },
    "block": {
        "the first layer again and again": ("block_answer", block(follow="pass"), 1, "out_channels come in"),
        "no ReLU at the end": ("block_answer", block(end="layers = layers[:-1]"), 3, "the last one, too"),
        "no ReLU": ("block_answer", block().replace(", nn.ReLU()]", "]"), 3, "the ReLUs are missing"),
        "no pooling": ("block_answer", block().replace(", nn.MaxPool2d(2)", ""), 2, "the pooling is missing"),
        "no padding": ("block_answer", block("nn.Conv2d(in_channels, out_channels, kernel)"), 3, "without padding"),
        "padded by 1": (
            "block_answer",
            block("nn.Conv2d(in_channels, out_channels, kernel, padding=1)"),
            3,
            "3x3 kernels only",
        ),
        "pooling with stride 1": ("block_answer", block(pool="nn.MaxPool2d(2, stride=1)"), 3, "does not halve"),
        "an overlapping pooling": ("block_answer", block(pool="nn.MaxPool2d(3, 2, 1)"), 3, "3x3 places"),
        "odd sides rounded up": ("block_answer", block(pool="nn.MaxPool2d(2, ceil_mode=True)"), 3, "yours keeps it"),
        "no biases": (
            "block_answer",
            block("nn.Conv2d(in_channels, out_channels, kernel, padding=kernel // 2, bias=False)"),
            3,
            "the biases are missing",
        ),
        "a stride": (
            "block_answer",
            block("nn.Conv2d(in_channels, out_channels, kernel, padding=kernel // 2, stride=2)"),
            3,
            "a stride, dilation or pooling was not asked for",
        ),
        "a dilation": (
            "block_answer",
            block('nn.Conv2d(in_channels, out_channels, kernel, padding="same", dilation=2)'),
            3,
            "a stride, dilation or pooling was not asked for",
        ),
        "ReLU first": (
            "block_answer",
            block().replace(
                "[nn.Conv2d(in_channels, out_channels, kernel, padding=kernel // 2), nn.ReLU()]",
                "[nn.ReLU(), nn.Conv2d(in_channels, out_channels, kernel, padding=kernel // 2)]",
            ),
            3,
            "not before it",
        ),
        "one layer twice": ("block_answer", SHARED, 3, "number of weights"),
        "a network of one's own": ("block_answer", OWN, 0, "yours holds a module of your own"),
        "the same in a module of one's own": ("block_answer", block() + WRAPPED, 2, "holds a module of your own"),
        "a list of layers": (
            "block_answer",
            block().replace("nn.Sequential(*layers", "list((*layers").replace("nn.MaxPool2d(2))", "nn.MaxPool2d(2)))"),
            0,
            "no torch.nn.Module",
        ),
    },
    "build": {
        "slashes left out": ("build_answer", build(kernel="3"), 4, "you left it out"),
        "padded by 1": ("build_answer", build(padding="1"), 4, "3x3 kernels only"),
        "a pooling at the end of all": (
            "build_answer",
            build(end="layers += [] if isinstance(layers[-1], nn.MaxPool2d) else [nn.MaxPool2d(2)]"),
            5,
            "not always at the end",
        ),
        "an open block left out": (
            "build_answer",
            build(end="while not isinstance(layers[-1], nn.MaxPool2d): layers.pop()"),
            5,
            "is a block, too",
        ),
        "from three channels": ("build_answer", build(first="in_channels = 3"), 2, "not always 3"),
        "no ReLUs": ("build_answer", build().replace(", nn.ReLU()]", "]"), 1, "the ReLUs are missing"),
        "no ReLU at the end": (
            "build_answer",
            build(end="layers.pop([type(layer) for layer in layers].index(nn.ReLU, len(layers) - 2))"),
            1,
            "the last one, too",
        ),
        "no ReLU before a pooling": (
            "build_answer",
            build().replace("layers.append(", "layers.pop(), layers.append("),
            1,
            "a ReLU is missing",
        ),
        "in_channels everywhere": (
            "build_answer",
            build().replace("in_channels = int(channels)", "pass"),
            2,
            "yours all see in_channels",
        ),
        "pooling with stride 1": (
            "build_answer",
            build().replace("MaxPool2d(2)", "MaxPool2d(2, stride=1)"),
            0,
            "does not halve",
        ),
        "odd sides rounded up": (
            "build_answer",
            build().replace("MaxPool2d(2)", "MaxPool2d(2, ceil_mode=True)"),
            5,
            "yours keeps it",
        ),
        "batch normalisation": (
            "build_answer",
            build().replace(", nn.ReLU()]", ", nn.BatchNorm2d(int(channels)), nn.ReLU()]"),
            0,
            "a layer of another kind",
        ),
        "no biases": ("build_answer", build(padding="kernel // 2, bias=False"), 5, "the biases are missing"),
        "an overlapping pooling": (
            "build_answer",
            build().replace("MaxPool2d(2)", "MaxPool2d(3, 2, 1)"),
            5,
            "3x3 places",
        ),
        "a dilation": ("build_answer", build(padding='"same", dilation=2'), 5, "an option of a layer"),
        "no poolings": ("build_answer", build(words='notation.replace("|", " ").split()'), 0, "wrong for bare numbers"),
        "slashes not expected": (
            "build_answer",
            build().replace('word.partition("/")', 'word, "", ""'),
            4,
            "ValueError",
        ),
    },
}
