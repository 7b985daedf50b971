"""Wrong answers to assignment 01: (cell, source or function of the student's id, points, words of the feedback)."""

from vgglib.exercises.assignment_01 import my_stack

WALK = """
    size, jump, padding = 1, 1, 0
    for kernel, stride, extra in layers:
        size += {step}
        padding += {pad}
        jump *= stride
    return {gives}
"""


def walk(name, step="(kernel - 1) * jump", pad="extra * jump", gives="size, jump"):
    return f"def {name}:" + WALK.format(step=step, pad=pad, gives=gives)


def field(**wrong):
    return walk("field(layers)", **{"step": "extra * (kernel - 1) * jump", **wrong})


FIRST = "unit * jump - padding"


def window(gives=f"max(0, {FIRST}), min(side - 1, {FIRST} + size - 1)", **wrong):
    return walk("window(layers, unit, side)", gives=gives, **wrong)


def centre(gives=f"{FIRST} + (size - 1) / 2", **wrong):
    return walk("centre(layers, unit)", gives=gives, **wrong)


def by_hand(step="(k - 1) * jump", jump="jump * s", pad="p * jump", start="2 * jump - padding"):
    """Return the answer cell of one student, worked out with or without a mistake."""

    def cell(student):
        code = ["size, jump, padding, sizes, strides = 1, 1, 0, [], []", "for k, s, p in stack:"]
        code += [f"    size += {step}", f"    padding += {pad}", f"    jump = {jump}"]
        code += ["    sizes.append(size)", "    strides.append(jump)", f"start = {start}"]
        names = {"stack": my_stack(student)}
        exec("\n".join(code), names)
        return f"sizes, strides, start = {names['sizes']}, {names['strides']}, {names['start']}"

    return cell


def sums(student):
    return [sum(stride for _, stride, _ in my_stack(student)[: n + 1]) for n in range(4)]


WRONG = {
    "by_hand_01": {
        "adds the kernel, not kernel - 1": ("by_hand_answer_01", by_hand(step="k * jump"), 2, "kernel - 1"),
        "uses the new stride": ("by_hand_answer_01", by_hand(step="(k - 1) * jump * s"), 2, "*before*"),
        "adds the strides": (
            "by_hand_answer_01",
            lambda student: by_hand()(student) + f"\nstrides = {sums(student)}",
            3,
            "multiply",
        ),
        "paddings without strides": ("by_hand_answer_01", by_hand(pad="p"), 3, "multiply it by the strides"),
        "forgets the strides": ("by_hand_answer_01", by_hand(step="k - 1"), 2, "the sizes are not"),
        "unit 1 for unit 2": ("by_hand_answer_01", by_hand(start="jump - padding"), 3, "begins elsewhere"),
        "three numbers of four": (
            "by_hand_answer_01",
            lambda student: by_hand()(student) + "\nsizes = sizes[:3]",
            2,
            "another number of values",
        ),
        "text": ("by_hand_answer_01", lambda student: by_hand()(student) + "\nstart = str(start)", 3, "you gave text"),
        "a comma behind it": (
            "by_hand_answer_01",
            lambda student: by_hand()(student) + "\nstart = (start,)",
            3,
            "no comma behind it",
        ),
        "a list of texts": (
            "by_hand_answer_01",
            lambda student: by_hand()(student) + "\nsizes = list(map(str, sizes))",
            2,
            "you gave text where numbers are expected",
        ),
        "a set": (
            "by_hand_answer_01",
            lambda student: by_hand()(student) + "\nstrides = set(strides)",
            3,
            "strides gave something that cannot be graded: a set has no order",
        ),
        "a set, and text": (
            "by_hand_answer_01",
            lambda student: by_hand()(student) + "\nstrides, start = set(strides), str(start)",
            2,
            "a set has no order (start: you gave text where a number is expected: leave out the quotation marks)",
        ),
        "a neighbour's answers": ("by_hand_answer_01", lambda student: by_hand()("berta"), 0, "not those of your"),
    },
    "field": {
        "adds the kernel, not kernel - 1": ("field_answer", field(step="extra * kernel * jump"), 0, "kernel - 1"),
        "uses the new stride": ("field_answer", field(step="extra * (kernel - 1) * jump * stride"), 3, "*before*"),
        "from the output side": (
            "field_answer",
            field().replace("in layers", "in reversed(layers)"),
            3,
            "input side first",
        ),
        "without dilation": ("field_answer", field(step="(kernel - 1) * jump"), 5, "left the dilation out"),
        "dilation times kernel": (
            "field_answer",
            field(step="(extra * kernel - 1) * jump"),
            5,
            "not over dilation * kernel",
        ),
        "without strides": ("field_answer", field(step="extra * (kernel - 1)"), 3, "left the strides out"),
        "strides added": ("field_answer", field(gives="size, sum(s for _, s, _ in layers) or 1"), 0, "multiply"),
        "only for 3x3": ("field_answer", field(step="extra * 2 * jump"), 0, "wrong where all strides are 1"),
        "the last layer alone": ("field_answer", field().replace("in layers", "in layers[-1:]"), 0, "last layer alone"),
        "exchanged": ("field_answer", field(gives="jump, size"), 2, "size and stride are exchanged"),
        "a dictionary": ("field_answer", field(gives='{"size": size, "stride": jump}'), 0, "you gave a dictionary"),
        "text": ("field_answer", field(gives='f"{size}, {jump}"'), 0, "you gave text where 2 values are expected"),
        "printed": (
            "field_answer",
            field().replace("return size, jump", "print(size, jump)"),
            0,
            "field returned nothing: did you print it in place of `return`?",
        ),
        "nothing for one layer": (
            "field_answer",
            field().replace("return", "if len(layers) != 1:\n        return"),
            5,
            "field returned nothing in some cases",
        ),
        "one pixel": ("field_answer", "def field(layers):\n    return 1, 1", 0, "wrong where"),
        "dilation in a single layer alone": (
            "field_answer",
            field(step="(extra if len(layers) == 1 else 1) * (kernel - 1) * jump"),
            5,
            "wrong where kernels are dilated",
        ),
        "by heart": (
            "field_answer",
            "def field(layers):\n    return {2: (5, 1), 1: (5, 1), 3: (19, 4), 0: (1, 1)}.get(len(layers), (7, 1))",
            0,
            "wrong where",
        ),
    },
    "window": {
        "paddings without strides": ("window_answer", window(pad="extra"), 1.5, "multiply it by the strides"),
        "one pixel too many": (
            "window_answer",
            window(f"max(0, {FIRST}), min(side - 1, {FIRST} + size)"),
            2,
            "start + size - 1",
        ),
        "not clipped": ("window_answer", window(f"({FIRST}, {FIRST} + size - 1)"), 2, "not clipped"),
        "clipped to side": ("window_answer", window(f"max(0, {FIRST}), min(side, {FIRST} + size - 1)"), 3, "side - 1"),
        "without padding": ("window_answer", window(pad="0"), 0, "left the padding out"),
        "clipped map by map": (
            "window_answer",
            "def window(layers, unit, side):\n    sides, last = [side], unit\n    for k, s, p in layers:\n"
            "        sides.append((sides[-1] + 2 * p - k) // s + 1)\n    for (k, s, p), length in "
            "zip(reversed(layers), sides[-2::-1]):\n        unit, last = max(0, unit * s - p), "
            "min(length - 1, last * s - p + k - 1)\n    return unit, last",
            3,
            "wrong where a window ends outside of the picture",
        ),
        "windows one pixel apart": (
            "window_answer",
            window("max(0, unit - padding), min(side - 1, unit - padding + size - 1)"),
            1,
            "you took 1",
        ),
        "exchanged": (
            "window_answer",
            window(f"min(side - 1, {FIRST} + size - 1), max(0, {FIRST})"),
            1.5,
            "first and last pixel are exchanged",
        ),
        "one number": ("window_answer", window("max(0, unit * jump - padding)"), 0, "one number"),
    },
    "centre": {
        "the faulty program": (
            "centre_answer",
            centre(f"{FIRST} + (size - 1) // 2"),
            0,
            "as it was handed out; whole-number",
        ),
        "half of the size": ("centre_answer", centre(f"{FIRST} + size / 2"), 0, "not size / 2"),
        "rounded up": ("centre_answer", centre(f"{FIRST} + size // 2"), 0, "rounded up"),
        "paddings without strides": ("centre_answer", centre(pad="extra"), 1, "multiply it by the strides"),
        "without padding": ("centre_answer", centre(pad="0"), 0, "left the padding out"),
        "of the part in the picture": (
            "centre_answer",
            centre(f"(max(0, {FIRST}) + {FIRST} + size - 1) / 2"),
            2,
            "the whole window is asked for",
        ),
        "nan": ("centre_answer", centre("float('nan')"), 0, "nan"),
        "an error inside": ("centre_answer", centre("1 / 0"), 0, "ZeroDivisionError"),
    },
}
