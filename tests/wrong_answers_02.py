"""Wrong answers to assignment 02: (cell, source or function of the student's id, points, words of the feedback)."""

from vgglib.exercises.assignment_02 import my_layer

HAND = "by_hand_answer_02"


def by_hand(parameters="k * k * b * a + a", macs="k * k * b * a * h * w", size="4 * a * h * w"):
    """Return the answer cell of one student, worked out with or without a mistake."""

    def cell(student):
        mine = my_layer(student)
        names = dict(k=mine["kernel"], b=mine["before"], a=mine["after"], h=mine["height"], w=mine["width"])
        values = [eval(text, {}, dict(names)) for text in (parameters, macs, size)]
        return "my_parameters, my_macs, my_bytes = {!r}, {!r}, {!r}".format(*values)

    return cell


def parameters(add="(kernel * kernel * channels + 1) * after", follow="channels = after", pool="continue"):
    return f"""
def count_parameters(layers, channels):
    total = 0
    for layer in layers:
        if layer == "pool":
            {pool}
        kernel, after = layer
        total += {add}
        {follow}
    return total
"""


def macs(add="kernel * kernel * channels * after * height * width", height="height // 2", width="width // 2", first=""):
    return f"""
def count_macs(layers, channels, height, width):
    total = 0
    {first}
    for layer in layers:
        if layer == "pool":
            height, width = {height}, {width}
        else:
            kernel, after = layer
            total += {add}
            channels = after
    return total
"""


def memory(
    start="channels * height * width",
    pool="channels * height * width",
    gives="values * bytes_per_value",
    more="0",
    half="height // 2, width // 2",
):
    return f"""
def count_bytes(layers, channels, height, width, bytes_per_value):
    values = {start}
    for layer in layers:
        if layer == "pool":
            height, width = {half}
            values += {pool}
        else:
            kernel, after = layer
            values += after * height * width + {more}
            channels = after
    return {gives}
"""


def saving(first="before", rest="after", single="before * after", of="single", gives="100 * (single - stack) / {of}"):
    return f"""
def saving(depth, before, after):
    stack = 9 * {first} * after + (depth - 1) * 9 * {rest} * after
    single = (2 * depth + 1) ** 2 * {single}
    return {gives.format(of=of)}
"""


WRONG = {
    "by_hand_02": {
        "no bias, and FLOPs": (
            HAND,
            by_hand("k * k * b * a", "2 * k * k * b * a * h * w"),
            1,
            "each output channel has a bias, too; a multiplication and an addition are one MAC",
        ),
        "one kernel, one place, one channel": (
            HAND,
            by_hand("k * k * b + a", "k * k * b * a", "4 * h * w"),
            0,
            "one kernel for each channel that goes out; the MACs are those for one place of the map; my_bytes asks",
        ),
        "reaches through one channel": (HAND, by_hand("k * k * a + a"), 2, "through all the channels"),
        "without biases": (HAND, by_hand(parameters="k * k * b * a"), 2, "each output channel has a bias"),
        "a side for an area": (HAND, by_hand("k * b * a + a", "k * b * a * h * w"), 1, "a kernel has an area"),
        "one channel in": (HAND, by_hand("k * k * a + a", "k * k * a * h * w"), 1, "all the channels that come in"),
        "FLOPs": (HAND, by_hand(macs="2 * k * k * b * a * h * w"), 2, "are one MAC"),
        "biases as MACs": (HAND, by_hand(macs="(k * k * b + 1) * a * h * w"), 2, "it is no MAC"),
        "the input's bytes": (HAND, by_hand(size="4 * b * h * w"), 2, "you gave the input"),
        "values": (HAND, by_hand(size="a * h * w"), 2, "four bytes"),
        "bits": (HAND, by_hand(size="32 * a * h * w"), 2, "these are bits"),
        "a square map": (HAND, by_hand(macs="k * k * b * a * h * h", size="4 * a * h * h"), 1, "not square"),
        "a neighbour's answers": (HAND, lambda student: by_hand()("berta"), 0, "is not that of your layer"),
    },
    "count_parameters": {
        "without biases": (
            "parameters_answer",
            parameters("kernel * kernel * channels * after"),
            1,
            "left the biases out",
        ),
        "a side for an area": ("parameters_answer", parameters("(kernel * channels + 1) * after"), 0, "an area"),
        "the picture's channels everywhere": ("parameters_answer", parameters(follow="pass"), 1, "layer *before*"),
        "one channel in": (
            "parameters_answer",
            parameters("(kernel * kernel + 1) * after"),
            0,
            "channels that come in",
        ),
        "poolings with parameters": (
            "parameters_answer",
            parameters(pool="total += channels; continue"),
            1,
            "a pooling learns nothing",
        ),
        "one bias a layer": (
            "parameters_answer",
            parameters("kernel * kernel * channels * after + 1"),
            0,
            "one bias for each output",
        ),
        "only for 3x3": ("parameters_answer", parameters("(9 * channels + 1) * after"), 0, "3x3 kernels only"),
        "poolings not expected": ("parameters_answer", parameters(pool="pass"), 1, "ValueError"),
        "by heart": (
            "parameters_answer",
            "def count_parameters(layers, channels):\n"
            "    return {64: 1792, 8: 408, 4: 224, 6: 682}[layers[-1][1]] if layers else 0",
            0,
            "KeyError",
        ),
    },
    "count_macs": {
        "FLOPs": ("macs_answer", macs("2 * kernel * kernel * channels * after * height * width"), 2, "you counted two"),
        "with biases": ("macs_answer", macs("(kernel * kernel * channels + 1) * after * height * width"), 2, "no MAC"),
        "maps that keep their size": ("macs_answer", macs(height="height", width="width"), 1, "kept its size"),
        "one side halved": ("macs_answer", macs(width="width"), 1, "halves both sides"),
        "odd sides rounded up": (
            "macs_answer",
            macs(height="(height + 1) // 2", width="(width + 1) // 2"),
            3,
            "drops the last",
        ),
        "square maps": ("macs_answer", macs("kernel * kernel * channels * after * height * height"), 0, "not square"),
        "half pixels": ("macs_answer", macs(height="height / 2", width="width / 2"), 3, "odd side"),
        "parameters": ("macs_answer", macs("kernel * kernel * channels * after"), 0, "wrong where the map"),
    },
    "count_bytes": {
        "always four bytes": ("bytes_answer", memory(gives="values * 4"), 2, "four bytes a value, whatever"),
        "two bytes or four": (
            "bytes_answer",
            memory(gives="values * (4 if bytes_per_value == 4 else 2)"),
            2,
            "two or eight bytes",
        ),
        "without the picture": ("bytes_answer", memory(start="0"), 1, "the picture is kept"),
        "without poolings": ("bytes_answer", memory(pool="0"), 1, "what a pooling gives"),
        "with weights": (
            "bytes_answer",
            memory(more="(kernel * kernel * channels + 1) * after"),
            0,
            "added the weights",
        ),
        "values": ("bytes_answer", memory(gives="values"), 0, "not of bytes"),
        "bits": ("bytes_answer", memory(gives="8 * values * bytes_per_value"), 0, "wrong for four bytes"),
        "odd sides rounded up": (
            "bytes_answer",
            memory(half="(height + 1) // 2, (width + 1) // 2"),
            2,
            "drops the last row, and you kept it",
        ),
        "a pooling that needs a convolution before it": (
            "bytes_answer",
            memory(pool="after * height * width"),
            2,
            "UnboundLocalError",
        ),
        "a pooling at the end left out": (
            "bytes_answer",
            memory().replace(
                "values =", 'layers = layers[:-1] if layers[-1:] == ["pool"] else layers\n    values =', 1
            ),
            2,
            "stands first or last",
        ),
        "the largest map": (
            "bytes_answer",
            memory()
            .replace("values += after * height * width + 0", "values = max(values, after * height * width)")
            .replace("values += channels", "values += 0 * channels"),
            0,
            "not only the largest",
        ),
    },
    "saving": {
        "the faulty program": (
            "saving_answer",
            saving(first="after", single="after * after", of="stack"),
            0,
            "the faulty program, as it was handed out; of its two mistakes none",
        ),
        "a share of the stack": ("saving_answer", saving(of="stack"), 2, "divide by the single layer"),
        "the wide map everywhere": (
            "saving_answer",
            saving(first="after", single="after * after"),
            2,
            "layer by layer",
        ),
        "the narrow map everywhere": ("saving_answer", saving(rest="before"), 2, "layer by layer"),
        "the wrong sign": ("saving_answer", saving(gives="100 * (stack - single) / single"), 2, "other way round"),
        "a fraction": ("saving_answer", saving(gives="(single - stack) / single"), 2, "per cent were asked for"),
        "what is left": ("saving_answer", saving(gives="100 * stack / single"), 0, "the share that is left"),
        "rounded": ("saving_answer", saving(gives="round(100 * (single - stack) / single)"), 3, "it is rounded"),
    },
}
