"""Assignment 03, blocks: hidden inputs, right answers, known mistakes. Networks are compared by their description."""

import random

from grading.judge import ByHand, Case, Exercise
from vgglib.configurations import layers
from vgglib.exercises.assignment_03 import my_table

NAME = "03_blocks"
PRELOAD = ("torch",)
POOL, OVERLAPPING, SLOW = ("pool", 2, 2, 0), ("pool", 3, 2, 1), ("pool", 2, 1, 0)
UP = (*POOL, "up")  # keeps what is left over at an odd side


# a configuration as a string


def blocks_of(text):
    """Return a string in the book's notation as blocks of (kernel, channels), and whether it ends in a pooling."""
    found = [[]]
    for layer in layers(text):
        if layer.kind == "pool":
            found.append([])
        else:
            found[-1].append((layer.kernel, layer.channels))
    return (found[:-1], True) if not found[-1] else (found, False)


def aspect(blocks, closed, what):
    """Return one side of a configuration: where its poolings are, its channels, or its kernels."""
    if what == "blocks":
        return [*map(len, blocks), closed]
    place = {"channels": 1, "kernels": 0}[what]
    return [layer[place] for block in blocks for layer in block]


def mine(name, what, student, change=lambda blocks: blocks, closed=True):
    """Return one side of a student's own configuration; the options make it wrong."""
    return aspect(change([list(block) for block in my_table(student)]), closed, what)


def threes(blocks):
    """Every layer with a 3x3 kernel."""
    return [[(3, channels) for _, channels in block] for block in blocks]


def turned(blocks):
    """From the output side."""
    return [block[::-1] for block in blocks[::-1]]


def once(blocks):
    """One layer in each block."""
    return [block[:1] for block in blocks]


def joined(blocks):
    """One block of all."""
    return [[layer for block in blocks for layer in block]]


# numbers of one's own network


def by_hand(name, student, poolings=4, area=2, channels=None, bias=1, inside=False, kernel=None):
    """Return a number of a student's own network; the options make it wrong."""
    table = my_table(student)
    side = table.side // 2**poolings
    if name == "my_side":
        return side
    if name == "my_inputs":
        return side**area * (channels or table[-1][-1][1])
    before, total = table[1][0][1] if inside else table[0][-1][1], 0
    for size, after in table[1]:
        total += ((kernel or size) ** 2 * before + bias) * after
        before = after
    return total


# networks


def description(stack, in_channels, shape, bias=1):
    """Return what a stack of "relu", ("pool", size, stride, padding) and (kernel, channels, padding) is, as
    adapters.network says it. A pooling that ends in "up" rounds up.
    """
    found, parameters, (count, channels, height, width), fits = [], 0, shape, True
    before = in_channels
    for layer in stack:
        if layer == "relu":
            found.append(["ReLU"])
        elif layer[0] == "pool":
            size, stride, pad, *up = layer[1:]
            found.append(["MaxPool2d", size, stride, pad, 1])
            more = stride - 1 if up else 0
            height, width = ((one + 2 * pad - size + more) // stride + 1 for one in (height, width))
        else:
            kernel, after, padding, *given = layer
            before = given[0] if given else before
            fits &= before == channels
            found.append(["Conv2d", before, after, kernel, 1, 1])
            parameters += (kernel**2 * before + bias) * after
            height, width = height + 2 * padding - kernel + 1, width + 2 * padding - kernel + 1
            before = channels = after
    fits &= height > 0 and width > 0
    return {"layers": found, "shape": [count, channels, height, width] if fits else None, "parameters": parameters}


def part(value, args):
    """Return what of a network's description a case is about; args end in (what, shape)."""
    what, kinds = args[-2], [layer[0] for layer in value["layers"]]
    if what == "order":
        return kinds
    if what == "channels":
        return [layer[1:4] for layer in value["layers"] if layer[0] == "Conv2d"]
    return [value["shape"] or "does not run", unusual(value)] if what == "size" else value["parameters"]


def unusual(value):
    """Return what nobody asked for: strides and dilations of convolutions, poolings that are not 2x2 with stride 2."""
    sides = [layer[4 if layer[0] == "Conv2d" else 1 :] for layer in value["layers"]]
    return [one for one in sides if one not in ([], [1, 1], [2, 2, 0, 1])]


def block_stack(num_convs, in_channels, out_channels, kernel, relu=1, last=1, pad=None, pool=POOL, same=False):
    """Return the layers of a block; the options make it wrong."""
    padding = kernel // 2 if pad is None else pad
    stack = []
    for n in range(num_convs):
        stack.append((kernel, out_channels, padding, *([in_channels] if same else [])))
        stack += ["relu"] if relu and (last or n < num_convs - 1) else []
    return stack + ([pool] if pool else [])


def block(num_convs, in_channels, out_channels, kernel, what, shape, bias=1, **wrong):
    """Return one side of a block."""
    stack = block_stack(num_convs, in_channels, out_channels, kernel, **wrong)
    return part(description(stack, in_channels, shape, bias), (what, shape))


def backwards(num_convs, in_channels, out_channels, kernel, what, shape):
    """ReLU before its convolution."""
    pairs = block_stack(num_convs, in_channels, out_channels, kernel)
    stack = [layer for n in range(0, len(pairs) - 1, 2) for layer in (pairs[n + 1], pairs[n])] + [pairs[-1]]
    return part(description(stack, in_channels, shape), (what, shape))


def block_cases(chance: random.Random, student: str) -> list[Case]:
    """Return blocks with kernels other than 3, all channels different, and an odd side where sizes are asked for."""
    found = []
    for what in ("order", "channels", "size", "weights"):
        for num_convs in (2, 3):
            before, after = chance.sample([6, 8, 9, 10, 11, 12], 2)
            odd = what == "size"
            shape = (2, before, 2 * chance.randint(8, 12) + odd, 2 * chance.randint(13, 16))
            found.append(Case(what, (num_convs, before, after, chance.choice([5, 7]), what, shape)))
    return found


def build(text, in_channels, what, shape, change=lambda stack: stack, bias=1):
    """Return one side of a network in the book's notation; ``change`` makes it wrong."""
    stack = []
    for layer in layers(text):
        if layer.kind == "pool":
            stack.append(POOL)
        else:
            stack += [(layer.kernel, layer.channels, layer.padding), "relu"]
    return whole(description(change(stack), in_channels, shape, bias), (what, shape))


def whole(value, args):
    """Return a network's layers and its output's shape; the rest in one part alone, so that it costs one point."""
    if args[-2] == "channels":
        channels = [layer[1:3] for layer in value["layers"] if layer[0] == "Conv2d"]
        return [channels, value["shape"] or "does not run", unusual(value), value["parameters"]]
    layers = [layer[:4] if layer[0] == "Conv2d" else layer[0] for layer in value["layers"]]
    return [layers, value["shape"] or "does not run"]


def only_threes(stack):
    """Every convolution with a 3x3 kernel."""
    return [(3, layer[1], 1) if type(layer[0]) is int else layer for layer in stack]


def padded_by_one(stack):
    """Every convolution padded by 1, whatever its kernel."""
    return [(layer[0], layer[1], 1) if type(layer[0]) is int else layer for layer in stack]


def with_last_pool(stack):
    """A pooling at the end of every network."""
    return stack if stack[-1] == POOL else [*stack, POOL]


def without_open_block(stack):
    """Only the blocks that end in a pooling."""
    while stack and stack[-1] != POOL:
        stack = stack[:-1]
    return stack


def pooled(by):
    """Return a change: every pooling is this one."""
    return lambda stack: [by if layer == POOL else layer for layer in stack]


def from_three(stack):
    """The first layer always sees 3 channels."""
    return [(*stack[0], 3), *stack[1:]]


def always_from(channels):
    """Return a change: every layer sees so many channels."""
    return lambda stack: [(*layer, channels) if type(layer[0]) is int else layer for layer in stack]


def without_relus(stack):
    """No ReLU at all."""
    return [layer for layer in stack if layer != "relu"]


def without_last_relus(stack):
    """No ReLU before a pooling, and none at the end."""
    following = [*stack[1:], POOL]
    return [layer for layer, after in zip(stack, following, strict=True) if layer != "relu" or after != POOL]


def without_last_relu(stack):
    """No ReLU behind the network's last convolution."""
    last = max(n for n, layer in enumerate(stack) if layer == "relu")
    return stack[:last] + stack[last + 1 :]


def build_cases(chance: random.Random, student: str) -> list[Case]:
    """Return strings with bare numbers, with kernels, without a pooling at the end, and one for maps of odd sides."""
    a, b, c, d = chance.sample([5, 6, 7, 9, 10, 11, 13], 4)
    shape = (2, 4, 4 * chance.randint(4, 6), 4 * chance.randint(7, 9))
    texts = {"plain": [f"{a} {b} | {c} |", f"{b} | {c} {d} {a} |"], "kernels": [f"{a}/5 {b}/1 | {c} {d}/7 |"]}
    texts["open"] = [f"{d} {a} | {c} {b}"]
    found = [Case(part, (text, 4, part, shape)) for part, several in texts.items() for text in several]
    odd = (2, 4, shape[2] + 3, shape[3] + 2)
    return [*found, Case("channels", (f"{c} {a} | {d} | {b} |", 4, "channels", odd))]


def foreign(value):
    """Return a sentence about a network that holds other modules, if it does; layers in one's own cannot be seen."""
    if isinstance(value, dict) and ["own"] in value["layers"]:
        return (
            "return an nn.Sequential of plain layers, convolution, ReLU and pooling: yours holds a module of your own"
        )
    if isinstance(value, dict) and ["another"] in value["layers"]:
        return "convolution, ReLU and pooling were asked for, and yours holds a layer of another kind"
    return ""


FROM_THREE = "the first layer sees in_channels, not always 3"
FOLLOW = "each layer sees the channels that the layer before gives, and yours all see in_channels"
LAST_RELU = "a ReLU is missing: one follows every convolution, the last one, too"
ODD = "a pooling that meets an odd side drops the last row or column, and yours keeps it"
EXERCISES = [
    Exercise(
        "mine", "Exercise 1, your own configuration", "mine",
        {
            "blocks": (1, "the blocks and poolings are not those of your table"),
            "channels": (1, "the channels are not those of your table"),
            "kernels": (1, "the kernels are not those of your table"),
        },
        lambda chance, student: [Case(what, ("mine", what, student)) for what in ("blocks", "channels", "kernels")],
        mine,
        {
            "a bare number is a 3x3 layer; the others need their kernel behind a slash":
                lambda *args: mine(*args, change=threes),
            "every block of your table ends in a pooling, the last one too": lambda *args: mine(*args, closed=False),
            "input side first: you wrote the table from the other end": lambda *args: mine(*args, change=turned),
            "a block repeats its layers, and you wrote each block once": lambda *args: mine(*args, change=once),
            "the poolings are missing: | stands for one": lambda *args: mine(*args, change=joined, closed=False),
        },
        adapter="value", read=lambda value, args: aspect(*blocks_of(value), args[1]),
    ),
    Exercise(
        "by_hand_03", "Exercise 2, your own numbers", "my_side",
        {
            "my_side": (1, "my_side is not that of your network"),
            "my_inputs": (1, "my_inputs is not that of your network"),
            "my_block": (1, "my_block is not that of your network"),
        },
        lambda chance, student: [Case(name, (name, student)) for name in ("my_side", "my_inputs", "my_block")],
        by_hand,
        {
            "your network has four poolings, not five": lambda *args: by_hand(*args, poolings=5),
            "your network has four poolings, not three": lambda *args: by_hand(*args, poolings=3),
            "a map has an area: its side counts twice": lambda *args: by_hand(*args, area=1),
            "the last map has the channels of the last block": lambda *args: by_hand(*args, channels=3),
            "a map has as many channels as the last block, and you took one": lambda *args: by_hand(*args, channels=1),
            "you left the biases out: one for each output channel": lambda *args: by_hand(*args, bias=0),
            "the first layer of block 2 sees the channels of block 1": lambda *args: by_hand(*args, inside=True),
        },
        adapter="value",
    ),
    Exercise(
        "block", "Exercise 3, one block", "block",
        {
            "order": (1, "the layers, or their order, are wrong: convolution, ReLU, again and again, then a pooling"),
            "channels": (1, "the channels or the kernel are wrong"),
            "size": (1, "the output has the wrong size, or a stride, dilation or pooling was not asked for"),
            "weights": (1, "the number of weights is wrong"),
        },
        block_cases, block,
        {
            "from the second convolution on, out_channels come in": lambda *args: block(*args, same=True),
            LAST_RELU: lambda *args: block(*args, last=0),
            "the ReLUs are missing: one follows every convolution": lambda *args: block(*args, relu=0),
            "the pooling is missing": lambda *args: block(*args, pool=None),
            "without padding the map shrinks: pad by kernel // 2": lambda *args: block(*args, pad=0),
            "a padding of 1 is right for 3x3 kernels only: pad by kernel // 2": lambda *args: block(*args, pad=1),
            "a pooling with stride 1 does not halve the map": lambda *args: block(*args, pool=SLOW),
            ODD: lambda *args: block(*args, pool=UP),
            "the pooling is 2x2, and yours looks at 3x3 places": lambda *args: block(*args, pool=OVERLAPPING),
            "the biases are missing: one for each output channel": lambda *args: block(*args, bias=0),
            "the ReLU comes after its convolution, not before it": backwards,
        },
        adapter="network", read=part, remark=foreign,
    ),
    Exercise(
        "build", "Exercise 4, any configuration", "build",
        {
            "plain": (2, "wrong for bare numbers and poolings"),
            "kernels": (2, "wrong where a kernel stands behind a slash"),
            "open": (1, "wrong where the string does not end in a pooling"),
            "channels": (1, "wrong in its channels or its weights, at an odd side, or by an option of a layer"),
        },
        build_cases, build,
        {
            "a number behind a slash is the kernel, and you left it out":
                lambda *args: build(*args, change=only_threes),
            "a padding of 1 is right for 3x3 kernels only: pad by kernel // 2":
                lambda *args: build(*args, change=padded_by_one),
            "there is a pooling only where | stands, not always at the end":
                lambda *args: build(*args, change=with_last_pool),
            "what stands behind the last | is a block, too": lambda *args: build(*args, change=without_open_block),
            FROM_THREE: lambda *args: build(*args, change=from_three),
            "the pooling is 2x2, and yours looks at 3x3 places": lambda *args: build(*args, change=pooled(OVERLAPPING)),
            "a pooling with stride 1 does not halve the map": lambda *args: build(*args, change=pooled(SLOW)),
            ODD: lambda *args: build(*args, change=pooled(UP)),
            "the ReLUs are missing: one follows every convolution": lambda *args: build(*args, change=without_relus),
            LAST_RELU: lambda *args: build(*args, change=without_last_relus),
            f"{LAST_RELU} ": lambda *args: build(*args, change=without_last_relu),
            FOLLOW: lambda *args: build(*args, change=always_from(args[1])),
            "the biases are missing: one for each output channel": lambda *args: build(*args, bias=0),
        },
        adapter="network", read=whole, remark=foreign, credit={FROM_THREE: 2, FOLLOW: 2},
    ),
]  # fmt: skip
BY_HAND = [
    ByHand(
        "explain_03", "Exercise 5, explain", 4,
        "1 point: a 1x1 layer does not enlarge the receptive field, so C sees what B sees. 1 point: its ReLU makes "
        "the function bend once more, which is why C does better than B (or: C has more depth and weights "
        "than B, without seeing more). 1 point: D's third layers are 3x3, see "
        "further, and D does better than C, so spatial context matters besides. 1 point: what the comparison leaves "
        "open (D also has more weights; one run each; ImageNet at one scale).",
    )
]  # fmt: skip
