"""Wrong answers to assignment 04: (cell, source or function of the student's id, points, words of the feedback)."""

from vgglib.exercises.assignment_04 import LOOP, my_loop

RIGHT = "import torch\nfrom torch import nn\nfrom torch.nn import functional as F\n\n\n"


def line(of):
    """Return the answer cell of a student who names the line that ``of`` picks from (right line, all lines)."""

    def cell(student):
        mine = my_loop(student).splitlines()
        right = next(n for n, text in enumerate(LOOP, start=1) if mine[n - 1] != text)
        return f"line = {of(right)!r}"

    return cell


def another(*lines):
    """Return the first of these lines that is not the student's own faulty one."""
    return line(lambda right: next(n for n in lines if n != right))


def train(number, text):
    """Return the loop with another text in one of its lines."""
    return RIGHT + "\n".join(text if n == number else one for n, one in enumerate(LOOP, start=1))


RATES = """
def rates(first, accuracies, patience):
    rate, best, waited, drops, used = first, float("-inf"), 0, 0, []
    for accuracy in accuracies:
        {before}
        if accuracy {better} best:
            best, waited = accuracy, 0
        else:
            waited += 1
            {worse}
        if waited {enough} and drops < {most}:
            rate, drops = rate / {factor}, drops + 1
            {again}
        {after}
    return used
"""


def rates(**wrong):
    given = dict(before="used.append(rate)", better=">", worse="pass", enough="== patience", most=3, factor=10)
    given |= dict(again="waited = 0", after="pass")
    return RATES.format(**{**given, **wrong})


def convolution(
    weight="linear.weight.reshape(units, channels, side, side)", bias="conv.bias.copy_(linear.bias)", more=""
):
    return f"""{RIGHT}
def as_convolution(linear, channels, side):
    units = linear.out_features
    conv = nn.Conv2d(channels, units, side, dtype=linear.weight.dtype{more})
    with torch.no_grad():
        conv.weight.copy_({weight})
        {bias}
    return conv
"""


def combine(gives):
    return f"{RIGHT}def combine(scores):\n    return {gives}\n"


WRONG = {
    "line": {
        "the head": ("line_answer", another(1), 0, "line 1 only names"),
        "the loop": ("line_answer", another(5), 0, "line 5 goes through"),
        "the clearing, where it is right": ("line_answer", another(7, 6), 0, " is right: "),
        "the counting, where it is right": ("line_answer", another(11, 10), 0, "line 1"),
        "the mean, where it is right": ("line_answer", another(12), 0, "line 12 is right"),
        "no line of it": ("line_answer", line(lambda right: 40), 0, "that line of your loop is right"),
        "a word": ("line_answer", line(lambda right: "momentum"), 0, "you gave text"),
    },
    "train": {
        "two soft-maxes": (
            "train_answer",
            train(6, "        loss = F.cross_entropy(net(X).softmax(dim=1), y)"),
            0,  # as it was handed out to this student
            "a second one",
        ),
        "never cleared": ("train_answer", train(7, "        optimiser.zero_grad"), 2, "with brackets"),
        "evaluation mode": ("train_answer", train(3, "    net.eval()"), 3.5, "in training mode"),
        "a mean of means": (
            "train_answer",
            train(10, "        total += loss.item()").replace("count += len(y)", "count += 1"),
            3,
            "the last batch may be smaller",
        ),
        "a sum over too many": ("train_answer", train(10, "        total += loss.item()"), 3, "a sum over batches"),
        "no momentum": (
            "train_answer",
            train(2, "    optimiser = torch.optim.SGD(net.parameters(), lr=rate)"),
            2,
            "momentum is not used",
        ),
        "exchanged": (
            "train_answer",
            train(2, "    optimiser = torch.optim.SGD(net.parameters(), lr=momentum, momentum=rate)"),
            0,
            "",
        ),
        "the last loss": ("train_answer", train(12, "    return loss.item()"), 3, "last batch alone"),
        "the sum": ("train_answer", train(12, "    return total"), 3, "divide it by their number"),
        "a tensor with its graph": ("train_answer", train(12, "    return loss"), 2.5, "last batch alone"),
        "a tensor": (
            "train_answer",
            train(12, "    return torch.tensor(total / count)"),
            3.5,
            "no tensor: use .item()",
        ),
        "weight decay": (
            "train_answer",
            train(2, "    optimiser = torch.optim.SGD(net.parameters(), rate, momentum, weight_decay=5e-4)"),
            0,
            "weight decay was not asked for",
        ),
        "a mean of means, in evaluation mode": (
            "train_answer",
            train(10, "        total += loss.item()")
            .replace("count += len(y)", "count += 1")
            .replace("train()", "eval()"),
            2.5,
            "training mode while it trains; the last batch may be smaller",
        ),
        "a mean of means of two soft-maxes": (
            "train_answer",
            train(6, "        loss = F.cross_entropy(net(X).softmax(dim=1), y)")
            .replace("loss.item() * len(y)", "loss.item()")
            .replace("count += len(y)", "count += 1"),
            0,
            "a second one; and the last batch may be smaller",
        ),
        "logarithms forgotten": ("train_answer", train(6, "        loss = F.nll_loss(net(X), y)"), 0, "nll_loss takes"),
        "a sum over the batch": (
            "train_answer",
            train(6, '        loss = F.cross_entropy(net(X), y, reduction="sum")'),
            0,
            "you took the sum",
        ),
        "a sum of tensors": (
            "train_answer",
            train(10, "        total += loss * len(y)"),
            3.5,
            "no tensor: use .item()",
        ),
        "a loss after its step": (
            "train_answer",
            train(10, "        total += F.cross_entropy(net(X), y).item() * len(y)"),
            3,
            "you took the one after it",
        ),
        "a mean too many": (
            "train_answer",
            train(6, "        loss = F.cross_entropy(net(X), y) / len(y)"),
            0,
            "you divide it once more; what was right from the start earns nothing by itself",
        ),
        "the sum starts anew": (
            "train_answer",
            train(10, "        total = loss.item() * len(y)"),
            3,
            "sum starts anew",
        ),
        "the count starts anew": ("train_answer", train(11, "        count = len(y)"), 3, "count starts anew"),
        "the count starts at one": ("train_answer", train(4, "    total, count = 0.0, 1"), 3, "starts at zero"),
        "over the batches": ("train_answer", train(12, "    return total / len(batches)"), 3, "number of batches"),
        "never a step": ("train_answer", train(9, "        pass"), 0, "the weights after one step"),
        "backward without brackets": ("train_answer", train(8, "        loss.backward"), 0, "with brackets?"),
        "step before backward": (
            "train_answer",
            train(8, "        optimiser.step()").replace(
                "optimiser.step()\n        optimiser.step()", "optimiser.step()\n        loss.backward()"
            ),
            0,
            "after one step",
        ),
    },
    "rates": {
        "against the epoch before": ("rates_answer", rates(worse="best = accuracy"), 1, "best so far"),
        "the count goes on": ("rates_answer", rates(again="pass", enough=">= patience"), 1, "the count starts again"),
        "an epoch too long": ("rates_answer", rates(enough="== patience + 1"), 1, "an epoch too long"),
        "too impatient": ("rates_answer", rates(enough="== patience - 1"), 1, "wait long enough"),
        "halved": ("rates_answer", rates(factor=2), 1, "divides by 10"),
        "never": (
            "rates_answer",
            "def rates(first, accuracies, patience):\n    return [first for _ in accuracies]",
            0,
            "the rate never drops",
        ),
        "without end": ("rates_answer", rates(most=99), 3, "three drops in all"),
        "as good is better": ("rates_answer", rates(better=">="), 2, "no improvement"),
        "at once": ("rates_answer", rates(before="pass", after="used.append(rate)"), 1, "from the next epoch on"),
        "as good is better, and at once": (
            "rates_answer",
            rates(better=">=", before="pass", after="used.append(rate)"),
            1,
            "stops improving; a drop counts from the next epoch on",
        ),
        "two drops at most": (
            "rates_answer",
            rates(most=2),
            3,
            "more than three occasions to drop",
        ),
        "one number": (
            "rates_answer",
            "def rates(first, accuracies, patience):\n    return first / 10",
            0,
            "one number",
        ),
    },
    "as_convolution": {
        "channels last": (
            "convolution_answer",
            convolution("linear.weight.reshape(units, side, side, channels).permute(0, 3, 1, 2)"),
            1,
            "channel by channel",
        ),
        "transposed": (
            "convolution_answer",
            convolution("linear.weight.reshape(units, channels, side, side).transpose(2, 3)"),
            1,
            "rows and columns",
        ),
        "no bias": ("convolution_answer", convolution(bias="conv.bias.zero_()"), 1, "bias was left behind"),
        "no weights": ("convolution_answer", convolution("conv.weight"), 1, "other numbers"),
        "padded": ("convolution_answer", convolution(more=", padding=side // 2"), 1, "outside of the map"),
        "a kernel of one pixel": (
            "convolution_answer",
            RIGHT + "def as_convolution(linear, channels, side):\n"
            "    return nn.Conv2d(channels + 1, linear.out_features, 1, dtype=linear.weight.dtype)",
            0,
            "RuntimeError (the kernel has the wrong shape)",
        ),
        "a stride": ("convolution_answer", convolution(more=", stride=side"), 3, "wrong on a larger map"),
        "flattens": (
            "convolution_answer",
            RIGHT + "def as_convolution(linear, channels, side):\n    return nn.Sequential(nn.Flatten(), linear)",
            0,
            "return an nn.Conv2d",
        ),
        "float32": (
            "convolution_answer",
            convolution().replace(", dtype=linear.weight.dtype", ""),
            1,
            "of the dtype of `linear`",
        ),
        "float64 always": (
            "convolution_answer",
            convolution().replace("dtype=linear.weight.dtype", "dtype=torch.float64"),
            2,
            "may be float32",
        ),
        "double": (
            "convolution_answer",
            convolution().replace("return conv", "return conv.double()"),
            2,
            "may be float32",
        ),
        "a bias left in float32": (
            "convolution_answer",
            convolution("weight", "conv.weight = nn.Parameter(linear.weight.reshape(units, channels, side, side))")
            .replace("conv.weight.copy_(weight)", "conv.bias.copy_(linear.bias)")
            .replace(", dtype=linear.weight.dtype", ""),
            1,
            "its weight and its bias have to be",
        ),
        "float32 and transposed": (
            "convolution_answer",
            convolution("linear.weight.reshape(units, side, side, channels)").replace(
                ", dtype=linear.weight.dtype", ""
            ),
            0,
            "",
        ),
    },
    "combine": {
        "scores averaged": (
            "combine_answer",
            combine("torch.stack(scores).mean(0).softmax(1)"),
            0,
            "soft-max comes first",
        ),
        "over the pictures": (
            "combine_answer",
            combine("torch.stack([one.softmax(0) for one in scores]).mean(0)"),
            0,
            "not over the pictures",
        ),
        "no soft-max": ("combine_answer", combine("torch.stack(scores).mean(0)"), 0, "these are scores"),
        "the sum": ("combine_answer", combine("sum(one.softmax(1) for one in scores)"), 0, "number of networks"),
        "the largest": (
            "combine_answer",
            combine("torch.stack([one.softmax(1) for one in scores]).amax(0)"),
            0,
            "not the largest",
        ),
        "labels": (
            "combine_answer",
            combine("torch.stack([one.softmax(1) for one in scores]).mean(0).argmax(1)"),
            0,
            "not labels",
        ),
        "halved": ("combine_answer", combine("sum(one.softmax(1) for one in scores) / 2"), 2, "divide by 2"),
        "a list": ("combine_answer", combine("[one.softmax(1) for one in scores]"), 0, "wrong for two networks"),
    },
}
